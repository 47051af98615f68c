"""Start of model servers on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Candidate, Verdict
from lmchat.files import is_absolute_path

_STARTABLE = (Verdict.REFUSED, Verdict.SERVER_OFF)
"""Verdicts on an address at which a server can be started."""


class ServerLauncher(Struct, frozen=True, kw_only=True):
    """Functions that find and start the model servers of this machine."""

    find: Callable[[], Sequence[Installed]]
    """Finds the installed servers; it blocks."""
    start: Callable[[ServerStart], Awaitable[Candidate]]
    """Starts a server and waits until it answers; raises `LMChatError`."""
    engine_command: str = ""
    """Command that installs the built-in engine; empty if it is installed."""


def possible_start(candidate: Candidate, installed: Installed) -> ServerStart | None:
    """Return how to start the installed server of an address.

    None if the address is on another machine or in use, if the program has no absolute path, or if
    no command is known that starts this product.
    """
    can_start = (
        is_startable(candidate) and is_absolute_path(installed.program) and bool(installed.start)
    )
    if not can_start:
        return None
    return ServerStart(product=candidate.product, argv=installed.start, endpoint=candidate.endpoint)


def is_startable(candidate: Candidate) -> bool:
    """Whether a server could be started at this address: it is on this machine and not in use."""
    return candidate.verdict in _STARTABLE and candidate.endpoint.is_loopback
