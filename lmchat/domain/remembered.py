"""Choices on the screen that the next run remembers."""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, is_address

_MAX_RECENT = 9  # one for each of the keys Alt+1 … Alt+9


class Remembered(Struct, frozen=True, kw_only=True):
    """Choices on the screen that the next run remembers."""

    endpoint: str = ""  # the last used server, as `server_id_of` names it
    model: str = ""
    recent: tuple[tuple[str, str], ...] = ()
    """Server (by `server_id_of`) and model id of the last used models, newest first."""
    theme: str = ""
    has_sessions: bool = True  # whether the list of sessions is shown
    has_telemetry: bool = True  # whether the telemetry panel is shown
    has_import_offer: bool = False  # whether the import of other programs' chats was offered
    allowed_tools: dict[str, str] = field(default_factory=dict)
    """Fingerprints of tools that run without a question, by `SERVER/TOOL`."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Addresses of the last used models, each once, newest first.

        The built-in engine has none: it gets another one in each run.
        """
        servers = dict.fromkeys(server for server, _ in self.recent)
        return tuple(
            Endpoint.parse(server)
            for server in servers
            if server != Product.BUILT_IN.value and is_address(server)
        )

    def with_model(self, endpoint: str, model: str) -> Remembered:
        """Return the choices with this server and model as the last used ones.

        `recent` keeps the newest `_MAX_RECENT` pairs.
        """
        newest = (endpoint, model)
        others = [pair for pair in self.recent if pair != newest]
        recent = (newest, *others)[:_MAX_RECENT]
        return replace(self, endpoint=endpoint, model=model, recent=recent)

    def with_allowed(self, tool: str, fingerprint: str) -> Remembered:
        """Return the choices with a tool, `SERVER/TOOL`, that runs without a question.

        The fingerprint is of its description: a tool that has changed asks again.
        """
        return replace(self, allowed_tools={**self.allowed_tools, tool: fingerprint})
