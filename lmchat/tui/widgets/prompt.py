"""Prompt area: pill, queue, command list, and the prompt on its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.reactive import reactive
from textual.widget import Widget

from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import icons_for
from lmchat.tui.messages import Post
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, Part, content, fit
from lmchat.tui.widgets.prompt_input import FoldedBlocks, PromptInput, SlashList
from lmchat.tui.widgets.row_list import RowList


class Pill(Widget):
    """`↓ 6 new lines  End` at the right; empty where nothing is new."""

    class Pressed(Post):
        """Request to scroll the log to its end."""

    new_lines: reactive[int | None] = reactive(
        None
    )  # None at the end of the log, 0 where it was only left

    def render(self) -> Content:
        if self.new_lines is None:
            return Content("")
        arrow, count = icons_for(self).down_arrow, self.new_lines
        words = formatting.counted(count, "new line") if count else "more below"
        text = content(((f"{arrow} {words}", "$primary"), ("  ", ""), ("End", STRONG)))
        return Content(" " * max(self.content_size.width - text.cell_length, 0)) + text

    def on_click(self) -> None:
        if self.new_lines is not None:
            self.post_message(self.Pressed())


class QueueCard(LineWidget, can_focus=True):
    """`next  Which herbs go with them?   ↑ edit  Del remove`; after a failure it is `held`."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.QUEUE)]

    def __init__(self, index: int, text: str, *, is_held: bool = False) -> None:
        super().__init__()
        self._index = index
        self.show_entry(text, is_held=is_held)

    def show_entry(self, text: str, *, is_held: bool) -> None:
        self._text, self._is_held = safe_line(FoldedBlocks().fold_files(text)), is_held
        self.refresh()

    def action_queue(self, what: str) -> None:
        self.post_message(PromptInput.QueueActWanted(what, self._index))

    def render(self) -> Content:
        """Drop the hint before the text is cut to nothing."""
        icons, width = icons_for(self), self.content_size.width
        word = ("held", "$warning") if self._is_held else ("next", MUTED)
        left = content((word, ("  ", ""), (self._text, "")))
        key = f"bold {MUTED}"
        hint = content(
            ((icons.up_arrow, key), (" edit  ", MUTED), ("Del", key), (" remove", MUTED))
        )
        return fit(
            [left], hint if width >= 2 * hint.cell_length - 2 else Content(""), width, icons.cut
        )


class PromptStatus(LineWidget):
    """`● qwen3-8b · LM Studio     ~24 tok · 41 %`; below 80 columns it is the one-line status."""

    def __init__(self) -> None:
        super().__init__()
        self._state: tuple[Part, tuple[str, ...], str, str] = (("", ""), (), "", "")

    def show_state(self, dot: Part, left: Sequence[str], right: str, narrow: str = "") -> None:
        """Show state, model and server, and figures, which `narrow` replaces on a narrow screen."""
        state = (dot, tuple(left), right, narrow or right)
        if state != self._state:
            self._state = state
            self.refresh()

    def render(self) -> Content:
        dot, left, right, narrow = self._state
        icons = icons_for(self)
        first = [dot, (" ", "")] if dot[0] else []
        first += [(name, MUTED) for name in left[:1]]
        others = [content(((f" {icons.dot} {name}", MUTED),)) for name in left[1:]]
        shown = content(((narrow if self.screen.has_class("-narrow") else right, MUTED),))
        return fit([content(first), *others], shown, self.content_size.width, icons.cut)


class Prompt(Vertical):
    """Container of the prompt's widgets, whose messages bubble through it."""

    input = query_one(PromptInput)
    status = query_one(PromptStatus)
    pill = query_one(Pill)

    def compose(self) -> ComposeResult:
        yield Pill()
        with Vertical(id="prompt-card"):
            yield PromptInput()
            yield PromptStatus()

    async def show_queue(self, entries: Sequence[tuple[str, bool]]) -> None:
        """Show the queued texts, each with whether it is held back after a failure."""
        cards = list(self.query(QueueCard))
        had_focus = any(card.has_focus for card in cards)
        added, surplus = [], cards[len(entries) :]
        for index, (text, is_held) in enumerate(entries):
            if index < len(cards):
                cards[index].show_entry(text, is_held=is_held)
            else:
                added.append(QueueCard(index, text, is_held=is_held))
        self.input.has_queue = bool(entries)
        if added and not self.query("#queue"):
            await self.mount(Vertical(id="queue"), after=self.pill)
        for queue in self.query("#queue"):
            await queue.remove_children(surplus)
            await queue.mount_all(added)
        if had_focus and not any(card.has_focus for card in cards[: len(entries)]):
            (cards[len(entries) - 1] if entries else self.input).focus()

    @on(PromptInput.CompletionChanged)
    async def show_commands(self, event: PromptInput.CompletionChanged) -> None:
        event.stop()
        if event.completion.rows and not self.query(SlashList):
            await self.mount(SlashList(), before="#prompt-card")
        for rows in self.query(SlashList):
            rows.show_completion(event.completion)

    @on(RowList.Taken)
    def take_command(self, event: RowList.Taken) -> None:
        event.stop()
        self.input.choose(event.rows.keys.index(event.key))
        self.input.focus()
