"""Dialogs: a raised panel over the dimmed chat, with title, content and keys.

A hint is a key, as people write it, and a word for what it does. Figures are short texts at the
right of the title, such as `3 hits`. Leaving is closing, with a result or, by Esc, with None. In a
list, the chosen row has the bar, and Enter takes it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from lmchat.app.tui.widgets.field import Field
from lmchat.app.tui.widgets.key_bar import Hint, written
from lmchat.app.tui.widgets.line import MUTED, STRONG, LineWidget, content, paragraphs, styled
from lmchat.app.tui.widgets.message_row import MessageRow
from lmchat.app.tui.widgets.row_list import ListRow, RowList, wrapped_rows
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS

_TITLE_GAP = 2  # least cells


class Dialog(ModalScreen[Any]):
    """Modal dialog; Esc leaves it without a result."""

    CSS_PATH = "dialogs.tcss"
    AUTO_FOCUS = "Input"  # selector of the widget that gets the focus, if there is one
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave")]
    HEADING: ClassVar[str] = ""
    HINTS: ClassVar[Sequence[Hint]] = ()  # keys and their words, without Esc
    LEAVE: ClassVar[str] = "close"  # word for Esc
    GROWS: ClassVar[str] = ""  # selector of the widget that may fill the height

    def __init__(
        self,
        heading: str = "",
        hints: Sequence[Hint] = (),
        *,
        text: str = "",
        is_small: bool = False,
    ) -> None:
        """The defaults are of the class; a small dialog is for a question."""
        super().__init__(classes="-small" if is_small else None)
        self.heading = safe_line(heading or self.HEADING)
        self.text = text  # below the heading
        self.hints = hints or self.HINTS
        self._late_result: tuple[Any, ...] = ()  # of a `dismiss` before the dialog was on top

    @property
    def can_show(self) -> bool:
        """Whether it is open and has all its widgets, so that they can be changed.

        A dialog that is left removes them one by one.
        """
        return self.is_mounted and self.is_attached and self in self.app.screen_stack

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave with a result, at once or as soon as the dialog is mounted and on top.

        Its work may end while it is being opened or another dialog covers it. Textual always closes
        the screen on top, which would be the wrong one.
        """
        if self.is_active and self.is_mounted:
            return super().dismiss(result)
        self._late_result = (result,)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        """Leave now that the dialog is on top, if `dismiss` was called before."""
        if self._late_result:
            self.dismiss(*self._late_result)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield LineWidget([styled(self.heading, STRONG)], id="dialog-title", classes="gap")
            yield from self.compose_content()
            yield MessageRow(lift=1)
            yield LineWidget(id="dialog-keys")

    def on_mount(self) -> None:
        self.show_keys(self.hints)
        if self.GROWS:
            self.screen_layout_refresh_signal.subscribe(self, self._limit_height)

    def compose_content(self) -> Iterable[Widget]:
        """Return the widgets between title and keys."""
        yield Static(paragraphs(self.text), classes="words gap")

    def show_keys(self, hints: Sequence[Hint]) -> None:
        """Show as many hints as there is room for, and at the right that for Esc."""
        pieces = [
            content((("  " if index else "", ""), (key, STRONG), (f" {word}", MUTED)))
            for index, (key, word) in enumerate(hints)
        ]
        leave = content((("Esc", STRONG), (f" {self.LEAVE}", MUTED)))
        self.query_one("#dialog-keys", LineWidget).show(pieces, leave)

    def show_figures(self, *figures: str) -> None:
        """Show as many figures as there is room for, to the right of the title."""
        title = self.query_one("#dialog-title", LineWidget)
        dot = f" {SIGNS.dot} "
        room = title.size.width - cell_len(self.heading) - _TITLE_GAP
        fitting = list(figures)
        while fitting and styled(dot.join(fitting)).cell_length > room:
            fitting.pop()
        title.show([styled(self.heading, STRONG)], styled(dot.join(fitting), MUTED))

    def _limit_height(self, _: Screen[Any]) -> None:
        """Keep a long list or text from pushing the keys below it off the screen.

        After each layout, since what is beside it may grow at any time.
        """
        if self.can_show:
            widget = self.query_one(self.GROWS)
            box = self.query_one(".dialog")
            siblings_height = box.virtual_size.height - widget.outer_size.height
            frame_height = box.gutter.height + box.styles.margin.height
            room = self.size.height - siblings_height - frame_height
            widget.styles.max_height = max(room, 1)  # lays out again only if it has changed

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Refuse keys that were meant for the chat, before the dialog is complete and drawn."""
        if action != "leave" and not (
            self.can_show and all(one.rows for one in self.query(RowList))
        ):
            return False
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Leave without a result, and end the letters of the list of sessions behind it."""
        chat_screen = self.app.screen_stack[0]
        chat_screen.set_focus(None)  # its prompt gets the focus as it is shown
        chat_screen.remove_class("-sessions-over")
        self.dismiss(None)


class ListDialog(Dialog):
    """Dialog with a list, and a filter if a subclass wants one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("up", "move(-1)"),
        ("down", "move(1)"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
        ("home", "move(-1_000_000)"),  # `move` stops at the ends
        ("end", "move(1_000_000)"),
        ("enter", "accept"),
    ]
    GROWS = "RowList"
    PLACEHOLDER: ClassVar[str] = ""  # words in the empty filter; without them there is none

    def compose_content(self) -> Iterable[Widget]:
        if self.PLACEHOLDER:
            yield Field(placeholder=self.PLACEHOLDER)
        yield RowList()

    # Textual calls those of `Dialog`, too

    def on_mount(self) -> None:
        """Show the list as focused, unless the filter gets the focus."""
        self.list.looks_focused = not self.query(Field)

    def on_resize(self) -> None:
        """Draw once the list has its size."""
        self.call_after_refresh(self.redraw)

    def redraw(self, **how: Any) -> None:
        """Call `draw`, unless the dialog is being opened or left."""
        if self.can_show:
            self.draw(**how)

    def draw(self) -> None:
        """Draw the rows for the current width, with `show_rows`."""

    @property
    def list(self) -> RowList:
        return self.query_one(RowList)

    @property
    def typed(self) -> str:
        return self.query_one(Field).value

    @on(Input.Changed)
    def change_filter(self, event: Input.Changed) -> None:
        event.stop()
        self.filter(event.value)

    def filter(self, typed: str) -> None:  # noqa: ARG002 - for subclasses that do more than draw
        """Show what matches the typed words."""
        self.redraw()

    @on(Input.Submitted)
    @on(RowList.Clicked)
    def accept_chosen(self, event: Message) -> None:
        """Act on the chosen row after Enter in the filter, or after a click."""
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        if self.list.key is not None:
            self.dismiss(self.list.key)

    def action_move(self, by: int) -> None:
        self.list.move(by)
        self.show_choice()

    def action_page(self, direction: int) -> None:
        self.list.page(direction)
        self.show_choice()

    def show_choice(self) -> None:
        """Show what depends on the row that a key has chosen."""
        self.show_keys(self.hints_now())

    def hints_now(self) -> Sequence[Hint]:
        """Without a chosen row, most keys have nothing to act on."""
        return self.hints if self.list.key is not None else ()

    def show_rows(
        self, rows: Sequence[ListRow], *figures: str, choose: Hashable = None, nothing: str = ""
    ) -> None:
        """Show other rows, or without any the words `nothing`, and figures in the title.

        `choose` is the key of the row to choose; None keeps the choice.
        """
        self.list.show(rows or wrapped_rows(nothing, self.list.text_width), choose=choose)
        self.show_figures(*figures)
        self.show_keys(self.hints_now())


class PickDialog(ListDialog):
    """List of given rows; returns the key of the taken one."""

    def __init__(
        self,
        heading: str,
        rows: Sequence[ListRow],
        *,
        figures: Sequence[str] = (),
        verb: str = "open",
        choose: Hashable = None,
        nothing: str = "",
        key: str = "enter",
    ) -> None:
        """`verb` is the word for Enter; `nothing` is shown without rows.

        `choose` is the key of the row that is chosen at first; None for the first. `key` is another
        one than Enter for a question that comes by itself, as in `ConfirmDialog`.
        """
        super().__init__(heading, ((written(key), verb), ("↑ ↓", "choose")))
        self.set_class(key != "enter", "-unasked")
        self._key = key
        self._rows = rows
        self._figures = figures
        self._choose = choose
        self._nothing = nothing

    def on_key(self, event: events.Key) -> None:
        if event.key == self._key != "enter":
            self.dismiss(self.list.key)

    def action_accept(self) -> None:
        """Another key is needed if Enter, or a click, may be meant for what is behind."""
        if self._key == "enter":
            super().action_accept()

    def draw(self) -> None:
        self.show_rows(self._rows, *self._figures, choose=self._choose, nothing=self._nothing)
        self._choose = None  # later drawings keep the user's choice
