"""Start of model servers on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Candidate


class ServerLauncher(Struct, frozen=True, kw_only=True):
    """Functions that find and start the model servers of this machine."""

    find: Callable[[], Sequence[Installed]]
    """Finds the installed servers; it blocks."""
    start: Callable[[ServerStart], Awaitable[Candidate]]
    """Starts a server and waits until it answers; raises `LMChatError`."""
    engine_command: str = ""
    """Command that installs the built-in engine; empty if it is installed."""
