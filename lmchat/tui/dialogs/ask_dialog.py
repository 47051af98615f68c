"""Dialogs with one question: for a text, a server or a file, or yes and no; progress of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from textual import events, on
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import Worker

from lmchat.attachments.web_page import PageAddress
from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.launcher import ServerStart
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.products import product_named
from lmchat.tui.dialogs.dialog import Dialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import MUTED, cut_middle, paragraphs, styled
from lmchat.units import plural

_MOST_PATHS = 8  # that one question names; the others are counted
_PATH_CELLS = 200  # width to which a path is cut
PAUSE_S = 0.5  # without a key, before the key that says yes: other keys were meant for the prompt

Attempt = Callable[[Any], Awaitable[Any]]
"""Tries what was typed. Returns the result of the dialog, with which it is left.

After an `LMChatError`, or with a text as result, the dialog stays, and shows why. An empty text
says nothing, as after a question to which the user has said no.
"""


def refuse_empty(typed: str) -> str:
    """Return why a text is rejected if it is empty: the `check` unless another one is given."""
    return "" if typed else "Type something, or press Esc."


def accept_any(_typed: str) -> str:
    """Return that a text is not rejected: the `check` of a dialog in which it may be empty."""
    return ""


class AskDialog(Dialog):
    """Question for a text; returns the text, or with an attempt the result of the attempt.

    If the text is rejected or the attempt fails, words under the input say why.
    """

    TRYING: ClassVar[str] = ""  # words under the input during the attempt

    def __init__(
        self,
        title: str,
        *,
        text: str = "",
        value: str = "",
        verb: str = "choose",
        check: Callable[[str], str] = refuse_empty,
        attempt: Attempt | None = None,
    ) -> None:
        """Create the dialog.

        Args:
            title: The title.
            text: Words above the input.
            value: The text that the input has at first.
            verb: The word for Enter.
            check: Returns why a text is rejected, or "" to accept it.
            attempt: Tries the text that has passed the check.
        """
        super().__init__(title, (("Enter", verb),), is_small=True)
        self._text = text
        self._value = value
        self._check = check
        self._attempt = attempt

    def compose_content(self) -> Iterable[Widget]:
        if self._text:
            yield Static(paragraphs(self._text, MUTED), classes="words gap")
        yield self.field()
        yield Static("", classes="verdict gap")

    def field(self) -> Field:
        """Return the input; a subclass may have another."""
        return Field(self._value)

    def on_key(self, event: events.Key) -> None:
        """Insert a letter that was typed before the input had the focus."""
        if event.is_printable and event.character:
            event.stop()
            self.query_one(Input).insert_text_at_cursor(event.character)

    def show_problem(self, words: str) -> None:
        if self.can_show:
            verdict = f"! {words}" if words else ""
            self.query_one(".verdict", Static).update(styled(verdict, "$error"))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Leave with the typed text, without blanks around it, or begin the attempt in a worker.

        If the text is rejected or the attempt fails, show why.
        """
        event.stop()
        typed = event.value.strip()
        attempt = self._attempt
        if problem := self._check(typed):
            self.show_problem(problem)
        elif attempt is None:
            self.dismiss(typed)
        else:

            async def try_typed() -> None:
                try:
                    result = await attempt(typed)
                except LMChatError as error:
                    result = error.message_with_hint
                if isinstance(result, str):
                    self.show_problem(result)
                else:
                    self.dismiss(result)

            self.query_one(".verdict", Static).update(styled(self.TRYING, MUTED))
            _: Worker[None] = self.run_worker(
                try_typed, name="attempt", group="attempt", exclusive=True
            )


class AddressDialog(AskDialog):
    """Dialog that tries each address that is typed; returns the server that answers."""

    TRYING = "Checking"

    def __init__(self, attempt: Attempt, typed: str = "") -> None:
        super().__init__(
            "Server address",
            text="Host and port, for example localhost:9931; http:// and /v1 are optional.",
            value=typed,
            verb="check it",
            check=_problem_of_address,
            attempt=attempt,
        )


def _problem_of_address(typed: str) -> str:
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""


class KeyDialog(AskDialog):
    """Dialog that tries each key that is typed; returns the server that accepts it."""

    TRYING = "Checking the API key"

    def __init__(
        self, product: str, endpoint: Endpoint, attempt: Attempt, *, problem: str = ""
    ) -> None:
        """Create the dialog; `problem` says why the key so far cannot be used, if there is one."""
        super().__init__(
            f"{product_named(product).subject} needs an API key",
            text=f"{product_named(product).key_step}.\n{endpoint.url}",
            verb="check and save",
            attempt=attempt,
        )
        self._problem = problem

    def field(self) -> Field:
        return Field(is_masked=True, placeholder="Paste or type it; it is not shown")

    def on_mount(self) -> None:
        self.call_after_refresh(self.show_problem, self._problem)


class ConfirmDialog(Dialog):
    """Yes-or-no question; returns True on its key, and None on Esc.

    The key counts only after a pause: otherwise it may be the next key of a text that the user
    types, who has not seen the question yet.
    """

    AUTO_FOCUS = ""
    LEAVE = "no"

    def __init__(
        self, title: str, *, text: str = "", verb: str = "yes", key: str = "Enter"
    ) -> None:
        """Create the dialog.

        Args:
            title: The question.
            text: Words below it.
            verb: The word for a yes.
            key: The key for a yes: `y` for a question that may open while the user types.
        """
        super().__init__(title, ((key, verb),), is_small=True)
        self.ready_s = inf  # time from which the key counts, by the monotonic clock
        self._text = text
        self._key = key.lower()

    def compose_content(self) -> Iterable[Widget]:
        yield Static(paragraphs(self._text), classes="words gap")

    def on_screen_resume(self) -> None:
        self.ready_s = monotonic() + PAUSE_S

    def on_key(self, event: events.Key) -> None:
        is_ready = event.time >= self.ready_s
        self.ready_s = max(self.ready_s, event.time + PAUSE_S)
        if event.key == self._key and is_ready:
            event.stop()
            self.dismiss(True)


def outside_question(paths: Sequence[Path]) -> ConfirmDialog:
    """Return the question whether files outside the working folder are read."""
    lines = [str(cut_middle(str(path), _PATH_CELLS)) for path in paths[:_MOST_PATHS]]
    if more := len(paths) - len(lines):
        lines.append(f"and {plural(more, 'more file')}")
    title = "Attach from outside this folder?"
    return ConfirmDialog(title, text="\n".join(lines), verb="attach", key="y")


def page_question(address: PageAddress) -> ConfirmDialog:
    """Return the question whether a page of the web is fetched."""
    url = cut_middle(address.url, _PATH_CELLS)
    text = f"{url}\nHost: {address.host}, port {address.port}"
    return ConfirmDialog("Download this page?", text=text, verb="download", key="y")


def host_question(endpoint: Endpoint, *, allowed: Sequence[str] = ()) -> ConfirmDialog:
    """Return the question whether another machine may be used in this run.

    `allowed` are the hosts that the configuration allows already, for the line in the question.
    """
    hosts = dict.fromkeys((*allowed, endpoint.netloc))
    listed = ", ".join(f'"{host}"' for host in hosts)
    unencrypted = " unencrypted" if endpoint.scheme == "http" else ""
    return ConfirmDialog(
        "Connect to another machine?",
        text=f"{safe_line(endpoint.netloc)} is not this machine. "
        f"Your prompts will be sent there{unencrypted}. Allowed until you quit lmchat.\n\n"
        f"To allow it permanently, add this line to config.toml:\n"
        f"{safe_line(f'allowed_hosts = [{listed}]')}",
        verb="allow for this run",
    )


def start_question(start: ServerStart) -> ConfirmDialog:
    """Return the question whether a server is started with a command."""
    words = product_named(start.product).stop_words
    text = f"{start.command}\n\nIt keeps running when lmchat ends. {words}".rstrip()
    return ConfirmDialog(f"Start {start.product}?", text=text, verb="run this command")


class ProgressDialog(Dialog):
    """Progress of work that Esc stops: Esc closes the dialog, and the owner stops the work."""

    AUTO_FOCUS = ""
    LEAVE = "stop"

    def __init__(self, title: str) -> None:
        super().__init__(title, is_small=True)
        self._words = Static("", classes="words gap")

    def compose_content(self) -> Iterable[Widget]:
        yield self._words

    def show_progress(self, words: str) -> None:
        self._words.update(styled(words))
