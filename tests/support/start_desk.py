"""The welcome page alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmchat.app.tui.welcome.server_rows import LocalSetup
from lmchat.app.tui.welcome.welcome_screen import WelcomeFacts, WelcomeScreen
from lmchat.core.servers.discovery.status import ServerStatus


def found(
    results: Sequence[ServerStatus] = (), here: LocalSetup | None = None, **more: Any
) -> WelcomeFacts:
    """Return what was found 2 s ago by a clock that stands at 0."""
    return WelcomeFacts(
        servers=results,
        searched_at_s=-2.0,
        search_pause_s=5.0,
        machine=here or LocalSetup(),
        **more,
    )


def bare_page(what: WelcomeFacts | None = None) -> WelcomeScreen:
    """Return the welcome page with what it is handed alone."""
    page = WelcomeScreen(lambda: 0.0)
    page.show(what or WelcomeFacts())
    return page
