"""Asks for the address of a server, until one answers; asks before another machine is talked to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from textual.binding import Binding
from textual.widgets import Input

from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed
from lmchat.text import safe_line
from lmchat.tui.intents import CopyText, TryAddress
from lmchat.tui.screens.ask_dialog import AskDialog, ConfirmDialog
from lmchat.tui.widgets.keys_row import Hint


class AddressDialog(AskDialog):
    """Posts each address to try; whoever tried it says what is wrong, or dismisses."""

    def __init__(self, typed: str = "") -> None:
        super().__init__(
            "Address of the server",
            text="Host and port, as in 127.0.0.1:8080. With or without http:// and /v1.",
            value=typed,
            verb="look there",
            check=_problem_of,
        )

    def hand_over(self, take: Callable[[str], None]) -> None:
        """Close, and pass on what was typed; keys that are on their way are waited for."""

        def close() -> None:
            self.dismiss(None)
            take(field.value)

        field = self.query_one(Input)
        field.call_later(close)

    def accept(self, typed: str) -> None:
        """Ask for a look there."""
        self.show_note("Looking there")
        self.post_message(TryAddress(typed))


class AllowDialog(ConfirmDialog):
    """Dismisses with True where a host beyond this machine may be talked to, for this run."""

    BINDINGS = [Binding("y", "copy_line", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self, endpoint: Endpoint, *, allowed: Sequence[str] = ()) -> None:
        """`allowed` are the hosts that are on the list already."""
        self._line = f"allowed_hosts = {_toml_list((*allowed, endpoint.netloc))}"
        is_open = endpoint.scheme == "http"
        text = (
            f"{safe_line(endpoint.netloc)} is not this machine: what you write goes there"
            f"{', not encrypted' if is_open else ''}. It holds until lmchat ends.\n\n"
            f"For good, put this line into config.toml:\n{safe_line(self._line)}"
        )
        super().__init__("Talk to another machine?", text=text, verb="allow for this run")

    def hints(self) -> Iterable[Hint]:
        """Return the verb of Enter, and how to get the line."""
        return (*super().hints(), ("y", "copy the line"))

    def action_copy_line(self) -> None:
        """Put the line for the configuration on the clipboard."""
        self.post_message(CopyText(self._line))


def _toml_list(hosts: Sequence[str]) -> str:
    quoted = [f'"{host}"' for host in dict.fromkeys(hosts)]
    return f"[{', '.join(quoted)}]"


def _problem_of(typed: str) -> str:
    """Return why a text is no address, or nothing."""
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""
