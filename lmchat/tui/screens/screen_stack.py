"""The screens that are shown now or lie below others."""

from __future__ import annotations

from typing import Any

from textual.app import App


def screens_of(app: App[None], name: str) -> list[Any]:
    """Return the screens of a class; its module need not be imported."""
    return [screen for screen in app.screen_stack if type(screen).__name__ == name]
