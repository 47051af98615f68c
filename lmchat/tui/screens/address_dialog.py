"""Dialogs for a server's address and for the permission to use a host beyond this machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.binding import Binding

from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed
from lmchat.text import safe_line
from lmchat.tui.intents import CopyText, TryAddress
from lmchat.tui.screens.ask_dialog import AskDialog, ConfirmDialog
from lmchat.tui.widgets.keys_row import Hint


class AddressDialog(AskDialog):
    """Dialog that posts each address to try; the caller shows why it failed, or dismisses it."""

    def __init__(self, typed: str = "") -> None:
        super().__init__(
            "Address of the server",
            text="Host and port, as in 127.0.0.1:8080. With or without http:// and /v1.",
            value=typed,
            verb="look there",
            check=_problem_of,
        )

    def accept(self, typed: str) -> None:
        self.show_note("Looking there")
        self.post_message(TryAddress(typed))


class AllowDialog(ConfirmDialog):
    """Dialog that returns True if a host beyond this machine may be used in this run."""

    BINDINGS = [Binding("y", "copy_line", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self, endpoint: Endpoint, *, allowed: Sequence[str] = ()) -> None:
        """Create the dialog; `allowed` are the hosts that the configuration already allows."""
        self._line = f"allowed_hosts = {_toml_list((*allowed, endpoint.netloc))}"
        is_open = endpoint.scheme == "http"
        text = (
            f"{safe_line(endpoint.netloc)} is not this machine: what you write goes there"
            f"{', not encrypted' if is_open else ''}. It holds until lmchat ends.\n\n"
            f"For good, put this line into config.toml:\n{safe_line(self._line)}"
        )
        super().__init__("Talk to another machine?", text=text, verb="allow for this run")

    def hints(self) -> Iterable[Hint]:
        return (*super().hints(), ("y", "copy the line"))

    def action_copy_line(self) -> None:
        self.post_message(CopyText(self._line))


def _toml_list(hosts: Sequence[str]) -> str:
    quoted = [f'"{host}"' for host in dict.fromkeys(hosts)]
    return f"[{', '.join(quoted)}]"


def _problem_of(typed: str) -> str:
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""
