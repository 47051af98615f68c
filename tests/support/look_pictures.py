"""Panels and dialogs of fixed data, and steps to a picture of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace
from textual.pilot import Pilot
from textual.screen import Screen

from lmchat.app.tui.widgets.key_bar import KeyBar
from lmchat.app.tui.widgets.session_list import SessionList
from lmchat.app.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.app.tui.widgets.telemetry_rows import panel_sections
from lmchat.core.config.settings import UiSettings
from lmchat.core.sessions.message import Role, text_message
from tests.support.look_data import (
    ANSWERING,
    GROUPS,
    KEYS,
    LAST_KEYS,
    NOW,
    OPEN_ID,
    UNREAD,
)
from tests.support.tui_host import Host, screen_text

SECTIONS = UiSettings().sections
SIZES = {"120x40": (120, 40), "80x24": (80, 24), "40x12": (40, 12)}


def panels(screen: Callable[[], Screen] | None = None, **more) -> Host:
    sessions = SessionList()
    telemetry = TelemetryPanel(SECTIONS)
    keys = KeyBar()

    def show(_app: Host) -> None:
        sessions.show(GROUPS, OPEN_ID, today=NOW.date(), unread=UNREAD)
        telemetry.show(partial(panel_sections, ANSWERING))
        keys.show(KEYS, LAST_KEYS)

    return Host(sessions, telemetry, keys, before=show, screen=screen, **more)


def steps(*keys: str, sees: str, then: Callable[[Screen], object] | None = None) -> Callable:
    """Press keys, hand data over, and look at what is there before the picture is taken."""

    async def run(pilot: Pilot) -> None:
        await pilot.pause()
        await pilot.press(*keys)
        if then is not None:
            then(pilot.app.screen)
        for _ in range(
            3
        ):  # a refresh may ask for another: a list that grew, a dialog that got tight
            await pilot.pause()
        assert sees in screen_text(pilot.app)

    return run


def said(message_id: str, text: str, parent_id: str | None = None, model: str = ""):
    role = Role.ASSISTANT if model else Role.USER
    made = text_message(role, text, parent_id=parent_id)
    return replace(made, message_id=message_id, model=model, created_at=NOW)


TREE = (
    said("plan", "Plan a garden on the north side of the house"),
    said("leaves", "Leaves first: lettuce, spinach and chard.", "plan", "qwen3-8b"),
    said("shade", "And in full shade?", "leaves"),
    said("ferns", "Ferns, hostas and ivy.", "shade", "qwen3-8b"),
    said("moss", "Moss, and nothing else.", "shade", "gemma-3-4b"),
    said("mow", "Does moss need mowing?", "moss"),
    said("never", "Never.", "mow", "gemma-3-4b"),
    said("sun", "And in the sun?", "leaves"),
    said("tomatoes", "Tomatoes.", "sun", "qwen3-8b"),
    said("roots", "Roots: carrots and beets.\x1b[2J", "plan", "gemma-3-4b"),
)

PATH = ("plan", "leaves", "shade", "moss", "mow", "never")
