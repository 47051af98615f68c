"""Dialogs with one question: for a text, or yes and no; and the progress of a long work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from textual import events, on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import Worker

from lmchat.attachments.web_page import PageAddress
from lmchat.tui.dialogs.dialog import Dialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.key_bar import Hint
from lmchat.tui.widgets.line import MUTED, cut_middle, paragraphs, styled
from lmchat.units import plural

_MOST_PATHS = 8  # that one question names; the others are counted
_PATH_CELLS = 200  # width to which a path is cut
PAUSE_S = 0.5  # without a key, before the key that says yes: other keys were meant for the prompt

Attempt = Callable[[Any], Awaitable[Any]]
"""Tries what was typed. Returns the result of the dialog, with which it is left.

But a text means a failure, and the dialog stays: it shows the text, which says why. An empty text
says nothing, as after a question to which the user has said no.
"""


def accept_any(_typed: str) -> str:
    """Return that a text is not rejected: the `check` of a dialog in which it may be empty."""
    return ""


class AskDialog(Dialog[Any]):
    """Question for a text; returns the text, or with an attempt the result of the attempt.

    If the text is rejected or the attempt fails, words under the input say why.
    """

    EMPTY: ClassVar[str] = "Type something, or press Esc."
    TRYING: ClassVar[str] = ""  # words under the input during the attempt

    def __init__(
        self,
        title: str,
        *,
        text: str | Content = "",
        value: str = "",
        verb: str = "choose",
        check: Callable[[str], str] | None = None,
        hints: Sequence[Hint] = (),
        attempt: Attempt | None = None,
    ) -> None:
        """Create the dialog.

        Args:
            title: The title.
            text: Words above the input.
            value: The text that the input has at first.
            verb: The word for Enter.
            check: Returns why a text is rejected, or "" to accept it. Without a check, all but an
                empty text are accepted.
            hints: Keys beside Enter and Esc.
            attempt: Tries the text that has passed the check.
        """
        super().__init__(title, (("Enter", verb), *hints), is_small=True)
        self._text = paragraphs(text, MUTED) if isinstance(text, str) else text
        self._value = value
        self._check = check
        self._attempt = attempt

    def compose_content(self) -> Iterable[Widget]:
        if self._text:
            yield Static(self._text, classes="words gap")
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
        self._show_verdict(f"! {words}" if words else "", "$error")

    def show_note(self, words: str) -> None:
        self._show_verdict(words, MUTED)

    def _show_verdict(self, words: str, style: str) -> None:
        if self.can_show:
            self.query_one(".verdict", Static).update(styled(words, style))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Accept the typed text, without blanks around it, or show why it is rejected."""
        event.stop()
        typed = event.value.strip()
        if problem := self._problem_of(typed):
            self.show_problem(problem)
        else:
            self.accept(typed)

    def _problem_of(self, typed: str) -> str:
        """Return why a text is rejected; empty if it is not."""
        if self._check is not None:
            return self._check(typed)
        return "" if typed else self.EMPTY

    def accept(self, typed: Any) -> None:
        """Leave with what was typed, or begin the attempt in a worker.

        If the attempt succeeds, leave with its result; otherwise show why it has failed. `typed` is
        the text, or what a subclass makes of it, as `ExportDialog` does.
        """
        attempt = self._attempt
        if attempt is None:
            self.dismiss(typed)
            return

        async def try_typed() -> None:
            result = await attempt(typed)
            if isinstance(result, str):
                self.show_problem(result)
            else:
                self.dismiss(result)

        self.show_note(self.TRYING)
        _: Worker[None] = self.run_worker(
            try_typed, name="attempt", group="attempt", exclusive=True
        )


class ConfirmDialog(Dialog[bool | None]):
    """Yes-or-no question; returns True on its key, and None on Esc.

    The key counts only after a pause: otherwise it may be the next key of a text that the user
    types, who has not seen the question yet.
    """

    AUTO_FOCUS = ""
    LEAVE = "no"

    def __init__(
        self,
        title: str,
        *,
        text: str = "",
        verb: str = "yes",
        key: str = "Enter",
        hints: Sequence[Hint] = (),
    ) -> None:
        """Create the dialog.

        Args:
            title: The question.
            text: Words below it.
            verb: The word for a yes.
            key: The key for a yes: `y` for a question that may open while the user types.
            hints: Other keys.
        """
        super().__init__(title, ((key, verb), *hints), is_small=True)
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


class OutsideDialog(ConfirmDialog):
    """Question whether files outside the working folder are read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        lines = [str(cut_middle(str(path), _PATH_CELLS)) for path in paths[:_MOST_PATHS]]
        if more := len(paths) - len(lines):
            lines.append(f"and {plural(more, 'more file')}")
        title = "Attach from outside this folder?"
        super().__init__(title, text="\n".join(lines), verb="attach", key="y")


class PageDialog(ConfirmDialog):
    """Question whether a page of the web is fetched; it names the host and the port."""

    def __init__(self, address: PageAddress) -> None:
        url = cut_middle(address.url, _PATH_CELLS)
        text = f"{url}\nHost: {address.host}, port {address.port}"
        super().__init__("Download this page?", text=text, verb="download", key="y")


class WorkDialog(Dialog[None]):
    """Progress of work that Esc stops."""

    AUTO_FOCUS = ""
    LEAVE = "stop"

    def __init__(self, title: str) -> None:
        super().__init__(title, is_small=True)
        self._words = Static("", classes="words gap")

    def compose_content(self) -> Iterable[Widget]:
        yield self._words

    def show_progress(self, words: str) -> None:
        self._words.update(styled(words))
