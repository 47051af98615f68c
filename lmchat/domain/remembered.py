"""What lmchat itself remembers from one run to the next."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

_RECENT = 9
"""As many as there are keys Alt+1 … Alt+9."""


class Remembered(Struct, frozen=True, kw_only=True):
    """Choices that were made on the screen; the configuration file is the user's alone."""

    endpoint: str = ""
    """URL of the last used server."""
    model: str = ""
    """Id of the last used model."""
    recent: tuple[tuple[str, str], ...] = ()
    """(endpoint URL, model id) of the last used models, newest first."""
    theme: str = ""
    """Name of the chosen theme; empty: the default."""
    has_sessions: bool = True
    """Whether the list of sessions is shown where there is room."""
    has_telemetry: bool = True
    """Whether telemetry is shown where there is room."""

    def with_model(self, endpoint: str, model: str) -> Remembered:
        """Return it with a model as the last used one."""
        others = [pair for pair in self.recent if pair != (endpoint, model)]
        return replace(self, endpoint=endpoint, model=model, recent=((endpoint, model), *others)[:_RECENT])
