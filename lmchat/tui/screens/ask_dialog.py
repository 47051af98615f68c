"""Dialogs with one question: for a text, a server's address or key, a file, or yes and no."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace
from textual import events, on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import Worker

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed
from lmchat.text import plural, safe_line, safe_text
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.line import MUTED, Parts, content, cut_middle

_MOST_PATHS = 8  # shown in one question
_PATH_CELLS = 200
_RESTS_S = 0.5  # for which a question takes no keys: they were meant for the prompt

Attempt = Callable[[Any], Awaitable[Any]]
"""Tries what was typed; returns the result, or as text why it failed."""


class AskDialog(Dialog[Any]):
    """Text question; returns the text, and shows under the input why a text is rejected.

    With an attempt, it returns the result of that.
    """

    EMPTY: ClassVar[str] = "Type something, or press Esc."
    TRYING: ClassVar[str] = ""  # words under the input during the attempt

    def __init__(
        self,
        title: str,
        *,
        text: str | Parts = "",
        value: str = "",
        verb: str = "choose",
        check: Callable[[str], str] | None = None,
        hints: Sequence[Hint] = (),
        attempt: Attempt | None = None,
    ) -> None:
        """Create the dialog; on Enter, `check` returns why a text is rejected, or nothing."""
        super().__init__(title, (("Enter", verb), *hints), is_small=True)
        self._text: Parts = ((safe_text(text), MUTED),) if isinstance(text, str) else text
        self._value, self._check, self._attempt = value, check, attempt

    def compose_content(self) -> Iterable[Widget]:
        if "".join(part for part, _ in self._text):
            yield Static(content(self._text), classes="words gap")
        yield self.field()
        yield Static("", classes="verdict gap")

    def field(self) -> Field:
        return Field(self._value)

    def on_key(self, event: events.Key) -> None:
        """Add keys that were typed before the input had the focus."""
        if event.is_printable and event.character:
            event.stop()
            self.query_one(Input).insert_text_at_cursor(event.character)

    def show_problem(self, words: str) -> None:
        self._say(f"! {safe_line(words)}" if words else "", "$error")

    def show_note(self, words: str) -> None:
        self._say(safe_line(words), MUTED)

    def _say(self, words: str, style: str) -> None:
        if self.can_show:
            self.query_one(".verdict", Static).update(content(((words, style),)))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        event.stop()
        typed = event.value.strip()
        problem = self._check(typed) if self._check else "" if typed else self.EMPTY
        if problem:
            self.show_problem(problem)
        else:
            self.accept(typed)

    def accept(self, typed: Any) -> None:
        attempt = self._attempt
        if attempt is None:
            self.dismiss(typed)
            return

        async def work() -> None:
            found = await attempt(typed)
            if isinstance(found, str):
                self.show_problem(found)
            else:
                self.dismiss(found)

        self.show_note(self.TRYING)
        _: Worker[None] = self.run_worker(work, name="attempt", group="attempt", exclusive=True)


class ConfirmDialog(Dialog[bool | None]):
    """Yes-or-no question; returns True on Enter and None on Esc."""

    AUTO_FOCUS = ""
    LEAVE = "no"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "confirm", show=False)]

    def __init__(
        self, title: str, *, text: str = "", verb: str = "yes", hints: Sequence[Hint] = ()
    ) -> None:
        super().__init__(title, (("Enter", verb), *hints), is_small=True)
        self._text = safe_text(text)

    def compose_content(self) -> Iterable[Widget]:
        yield Static(content(((self._text, ""),)), classes="words gap")

    def action_confirm(self) -> None:
        self.dismiss(True)


class OutsideDialog(Dialog[bool | None]):
    """Question whether files outside the working folder are read; returns True on `y`, None on Esc.

    Enter, which may still be meant for the prompt, does nothing, and neither does a key of the first moment.
    """

    AUTO_FOCUS = ""
    LEAVE = "no"
    HINTS = (("y", "attach"),)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "confirm", show=False)]

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__("Attach from outside this folder?", is_small=True)
        self._paths = paths
        self.ready_s = inf  # from when on it takes keys, by the monotonic clock

    def compose_content(self) -> Iterable[Widget]:
        shown = self._paths[:_MOST_PATHS]
        lines = [cut_middle(safe_line(str(path)), _PATH_CELLS) for path in shown]
        if more := len(self._paths) - len(shown):
            lines.append(f"and {plural(more, 'more file')}")
        yield Static(content((("\n".join(lines), ""),)), classes="words gap")

    def on_mount(self) -> None:
        self.ready_s = monotonic() + _RESTS_S

    def action_confirm(self) -> None:
        if monotonic() >= self.ready_s:
            self.dismiss(True)


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
        self._words.update(content(((words, ""),)))


class AddressDialog(AskDialog):
    """Dialog that tries each address that is typed; returns the server that answers."""

    TRYING = "Checking"

    def __init__(self, attempt: Attempt, typed: str = "") -> None:
        super().__init__(
            "Server address",
            text="Host and port, for example 127.0.0.1:9931; http:// and /v1 are optional.",
            value=typed,
            verb="check it",
            check=_problem_of,
            attempt=attempt,
        )


def _problem_of(typed: str) -> str:
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""


class AllowDialog(ConfirmDialog):
    """Dialog that returns True if a host beyond this machine may be used in this run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy_line", show=False)]

    def __init__(self, endpoint: Endpoint, *, allowed: Sequence[str] = ()) -> None:
        """Create the dialog; `allowed` are the hosts that the configuration already allows."""
        hosts = ", ".join(f'"{host}"' for host in dict.fromkeys((*allowed, endpoint.netloc)))
        self._line = f"allowed_hosts = [{hosts}]"
        text = (
            f"{safe_line(endpoint.netloc)} is not this machine. Your prompts will be sent there"
            f"{' unencrypted' if endpoint.scheme == 'http' else ''}. Allowed until you quit lmchat.\n\n"
            f"To allow it permanently, add this line to config.toml:\n{safe_line(self._line)}"
        )
        hints = (("y", "copy the line"),)
        super().__init__(
            "Connect to another machine?", text=text, verb="allow for this run", hints=hints
        )

    def action_copy_line(self) -> None:
        self.app.copy_to_clipboard(self._line)


class KeyDialog(AskDialog):
    """Dialog that tries each key that is typed; returns the server that accepts it."""

    EMPTY = "Type the API key, or press Esc."
    TRYING = "Checking the API key"

    def __init__(
        self, product: Product, endpoint: Endpoint, attempt: Attempt, *, problem: str = ""
    ) -> None:
        """Create the dialog; `problem` says why the key so far is no good."""
        text = ((f"{product.facts.where_key_is}\n", ""), (safe_line(endpoint.url), MUTED))
        super().__init__(
            f"{product.subject} needs an API key", text=text, verb="check and save", attempt=attempt
        )
        self._problem = problem

    def field(self) -> Field:
        return Field(is_masked=True, placeholder="Paste or type it; it is not shown")

    def on_mount(self) -> None:
        if self._problem:
            self.show_problem(self._problem)


_OPTION = r"^(--reasoning|--branches)(?: |$)|(?:^| )(--reasoning|--branches)$"
"""Option as on the command line, before or after the file's name."""


class ExportRequest(Struct, frozen=True, kw_only=True):
    """File and contents of an export."""

    name: str
    with_reasoning: bool = False
    with_branches: bool = False


class ExportDialog(AskDialog):
    """Question for the file and the contents of an export; the attempt writes an `ExportRequest`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "include('with_reasoning')", show=False, priority=True),
        Binding("ctrl+b", "include('with_branches')", show=False, priority=True),
    ]

    def __init__(self, wish: ExportRequest, attempt: Attempt, *, proposed: str) -> None:
        super().__init__(
            "Export to which file?",
            value=wish.name or proposed,
            verb="export",
            hints=(("^R", "reasoning"), ("^B", "branches")),
            attempt=attempt,
        )
        self._wish = wish

    def on_mount(self) -> None:
        self.show_problem("")

    def action_include(self, field: str) -> None:
        self._wish = replace(self._wish, **{field: not getattr(self._wish, field)})
        self.show_problem("")

    def show_problem(self, words: str) -> None:
        """Show why the name is rejected, or else what the file will contain."""
        thoughts, branches = (
            "yes" if one else "no" for one in (self._wish.with_reasoning, self._wish.with_branches)
        )
        if words:
            super().show_problem(words)
        else:
            self.show_note(f"Reasoning: {thoughts}   Other branches: {branches}")

    def accept(self, typed: str) -> None:
        super().accept(replace(self._wish, name=typed))


def parse_export(words: str) -> ExportRequest:
    """Parse the argument of `/export`."""
    name, options = words.strip(), set[str]()
    while found := re.search(_OPTION, name):
        options.add(found[1] or found[2])
        name = (name[: found.start()] + name[found.end() :]).strip()
    return ExportRequest(
        name=name, with_reasoning="--reasoning" in options, with_branches="--branches" in options
    )
