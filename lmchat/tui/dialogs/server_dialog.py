"""Dialogs about a server: its address, whether its host is allowed, and its API key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from lmchat.errors import EndpointNotAllowed
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.products.product import product_named
from lmchat.tui.dialogs.ask_dialog import AskDialog, Attempt, ConfirmDialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import MUTED, styled


class AddressDialog(AskDialog):
    """Dialog that tries each address that is typed; returns the server that answers."""

    TRYING = "Checking"

    def __init__(self, attempt: Attempt, typed: str = "") -> None:
        super().__init__(
            "Server address",
            text="Host and port, for example localhost:9931; http:// and /v1 are optional.",
            value=typed,
            verb="check it",
            check=_problem_of,
            attempt=attempt,
        )


def _problem_of(typed: str) -> str:
    """Return why a text is no address; empty if it is one."""
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""


class AllowDialog(ConfirmDialog):
    """Dialog that returns True if another machine may be used in this run, and None if not."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "copy_line")]

    def __init__(self, endpoint: Endpoint, *, allowed: Sequence[str] = ()) -> None:
        """Create the dialog for the host of an endpoint.

        `allowed` are the hosts that the configuration allows already: the line for config.toml that
        the dialog shows has them, too.
        """
        hosts = dict.fromkeys((*allowed, endpoint.netloc))
        listed = ", ".join(f'"{host}"' for host in hosts)
        self._line = f"allowed_hosts = [{listed}]"
        unencrypted = " unencrypted" if endpoint.scheme == "http" else ""
        super().__init__(
            "Connect to another machine?",
            text=f"{safe_line(endpoint.netloc)} is not this machine. "
            f"Your prompts will be sent there{unencrypted}. Allowed until you quit lmchat.\n\n"
            f"To allow it permanently, add this line to config.toml:\n{safe_line(self._line)}",
            verb="allow for this run",
            hints=(("y", "copy the line"),),
        )

    def action_copy_line(self) -> None:
        self.app.copy_to_clipboard(self._line)


class KeyDialog(AskDialog):
    """Dialog that tries each key that is typed; returns the server that accepts it."""

    EMPTY = "Type the API key, or press Esc."
    TRYING = "Checking the API key"

    def __init__(
        self, product: str, endpoint: Endpoint, attempt: Attempt, *, problem: str = ""
    ) -> None:
        """Create the dialog; `problem` says why the key so far cannot be used, if there is one."""
        where = styled(product_named(product).where_key_is)
        super().__init__(
            f"{product_named(product).subject} needs an API key",
            text=Content("\n").join((where, styled(endpoint.url, MUTED))),
            verb="check and save",
            attempt=attempt,
        )
        self._problem = problem

    def field(self) -> Field:
        return Field(is_masked=True, placeholder="Paste or type it; it is not shown")

    def on_mount(self) -> None:
        if self._problem:
            self.show_problem(self._problem)
