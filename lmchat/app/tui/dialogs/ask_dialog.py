"""Dialogs with one question: for a text, or one of yes and no, as about a server or a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from time import monotonic
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import Worker

from lmchat.app.tui.dialogs.dialog import Dialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.field import Field
from lmchat.app.tui.widgets.key_bar import written
from lmchat.app.tui.widgets.line import MUTED, paragraphs, styled
from lmchat.base.errors import LMChatError
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.installed import ServerStart
from lmchat.core.servers.products import product_named

_PAUSE_S = 0.5  # before Enter, without a key
Attempt = Callable[[str], Awaitable[object]]
"""Tries what was typed. If its result is no text, the dialog is left with it.

A text, or an `LMChatError`, is a problem: the dialog stays open and shows it. "" shows nothing: the
user has just refused to allow the host.
"""


class AskDialog(Dialog):
    """Question for a text; returns the text, or the result of the attempt."""

    def __init__(
        self,
        title: str,
        *,
        text: str = "",
        value: str = "",
        verb: str = "choose",
        may_be_empty: bool = False,
        is_masked: bool = False,
        attempt: Attempt | None = None,
    ) -> None:
        """`text` is above the input, which has `value` at first; `verb` is the word for Enter."""
        super().__init__(title, (("Enter", verb),), text=text, is_small=True)
        self._value = value
        self._may_be_empty = may_be_empty
        self._is_masked = is_masked
        self._attempt = attempt

    def compose_content(self) -> Iterable[Widget]:
        if self.text:
            yield Static(paragraphs(self.text, MUTED), classes="words gap")
        yield Field(self._value, is_masked=self._is_masked)
        yield Static("", classes="problem gap")

    def show_problem(self, text: str) -> None:
        """Show under the input what is wrong; "" removes it.

        An attempt may end after the dialog was left.
        """
        if self.can_show:
            problem = f"! {text}" if text else ""
            self.query_one(".problem", Static).update(styled(problem, "$error"))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        """Leave with the typed text, without blanks around it, or start the attempt in a worker."""
        event.stop()
        typed = event.value.strip()
        if not (typed or self._may_be_empty):
            self.show_problem("Type something, or press Esc.")
        elif self._attempt is None:
            self.dismiss(typed)
        else:
            self.query_one(".problem", Static).update(styled("Checking", MUTED))
            work = partial(self._try, self._attempt, typed)
            # mypy needs the type of the worker
            _: Worker[None] = self.run_worker(work, name="attempt", group="attempt", exclusive=True)

    async def _try(self, attempt: Attempt, typed: str) -> None:
        """Leave with the result of the attempt, or stay and show a text as a problem."""
        try:
            result = await attempt(typed)
        except LMChatError as error:
            result = error.message_with_next_step
        if not isinstance(result, str):
            self.dismiss(result)
            return
        self.show_problem(result)
        if self._is_masked:  # typing or pasting replaces the hidden text
            self.query_one(Input).select_all()


def key_dialog(server: ServerStatus, attempt: Attempt) -> AskDialog:
    """Ask for the API key of a server; `attempt` checks and saves it."""
    product = product_named(server.product)
    problem = "The previous API key was rejected.\n" if server.reason == "key_rejected" else ""
    return AskDialog(
        f"{product.subject} needs an API key",
        text=f"{problem}{product.step('key')}.\n{server.endpoint.url}\nThe key is not shown.",
        verb="check and save",
        is_masked=True,
        attempt=attempt,
    )


class ConfirmDialog(Dialog):
    """Yes-or-no question; returns True on its key, and None on Esc.

    Enter counts only a moment after the last key: else it may be one that was pressed twice.
    """

    LEAVE = "no"

    def __init__(
        self, title: str, *, text: str = "", verb: str = "yes", key: str = "enter"
    ) -> None:
        """`key` is another one for a question that comes by itself, perhaps while the user types.

        Letters then go to the prompt behind it.
        """
        super().__init__(title, ((written(key), verb),), text=text, is_small=True)
        self.set_class(key != "enter", "-unasked")
        self.ready_s = inf  # monotonic time from which Enter counts
        self._key = key

    def on_screen_resume(self) -> None:
        """The question is on top now; Textual calls that of `Dialog`, too."""
        self.ready_s = monotonic() + _PAUSE_S

    def on_key(self, event: events.Key) -> None:
        """Leave with True on the key for a yes; on another one, say which key is needed."""
        is_ready = event.key != "enter" or event.time >= self.ready_s
        self.ready_s = max(self.ready_s, event.time + _PAUSE_S)
        if event.key == self._key and is_ready:
            event.stop()
            self.dismiss(True)
        elif event.key in ("enter", "y"):
            [(key, verb)] = self.hints
            again = " again" if event.key == self._key else ""
            self.show_keys(((f"Press {key}{again} to", verb),))


async def confirmed(ui: ScreenServices, title: str, text: str, verb: str) -> bool:
    """Ask for a yes.

    Its key is Enter if the user's own key has opened the question; else the user may be typing.
    """
    last = ui.app.key_queue.last_key
    # a digit chooses a row of the welcome page, where nothing is typed
    is_choice = last == "enter" or (last.isdigit() and ui.app.focused is None)
    key = "enter" if is_choice else ui.unasked_key
    return bool(await ui.ask(ConfirmDialog(title, text=text, verb=verb, key=key)))


class QuitDialog(Dialog):
    """Question what to do when sessions cannot be saved at the end; None to wait."""

    QUIT = "quit"
    EXPORT = "export"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", f"dismiss({QUIT!r})"),
        ("e", f"dismiss({EXPORT!r})"),
        ("enter", "hint"),
    ]
    HINTS = (("q", "quit without saving"), ("e", "export this session"))
    LEAVE = "wait"

    def __init__(self, unsaved: str, error: LMChatError | None) -> None:
        """`unsaved` is from `ChatService.unsaved_text`; `error` is the reason, if known."""
        unsaved = safe_line(unsaved)
        reason = "." if error is None else f": {error.message}"
        super().__init__(
            "Quit without saving?",
            text=f"{unsaved[:1].upper()}{unsaved[1:]} is not saved{reason}\n"
            "While lmchat is open, it tries to save again every few seconds.",
        )

    def action_hint(self) -> None:
        """Say that Enter is not enough."""
        quit_hint, export_hint = self.HINTS
        self.show_keys((("Press q to", quit_hint[1]), export_hint))


def host_question(endpoint: Endpoint) -> ConfirmDialog:
    """Ask whether a server on another machine may be used until lmchat ends."""
    unencrypted = " unencrypted" if endpoint.scheme == "http" else ""
    line = safe_line(f'allowed_hosts = ["{endpoint.netloc}"]')
    return ConfirmDialog(
        "Connect to another machine?",
        text=f"{safe_line(endpoint.netloc)} is not this machine. "
        f"Your prompts will be sent there{unencrypted}. Allowed until you quit lmchat.\n\n"
        f"To allow it permanently, add it to config.toml:\n{line}",
        verb="allow for this run",
    )


def start_question(start: ServerStart) -> ConfirmDialog:
    how_to_stop = product_named(start.product).step("stop")
    text = f"{start.command}\n\nIt keeps running when lmchat ends. {how_to_stop}".rstrip()
    return ConfirmDialog(f"Start {start.product}?", text=text, verb="run this command")
