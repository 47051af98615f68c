"""The services that the screen works with, put together by `cli`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct, field

from lmchat.config.settings import Settings
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Endpoint
from lmchat.services.catalogue import Catalogue
from lmchat.services.examination import Examination
from lmchat.services.importing import Importer
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import ChatStore, Engine, ServerClient
from lmchat.services.server_launcher import ServerLauncher
from lmchat.services.target_state import TargetState, target_state


class Platform(Struct, frozen=True, kw_only=True):
    """Access to terminal, disk and other programs."""

    copy: Callable[[str], Awaitable[str]]
    """Copy a text to the clipboard; returns how, as words for a notification."""
    paste: Callable[[], Awaitable[str]]
    """Return the text of the clipboard; raises `LMChatError` where it cannot be read."""
    examination: Callable[[], Examination]
    """Return the checks of the doctor, which are imported late."""
    find_files: Callable[[str], Awaitable[tuple[str, ...]]]
    """Return the files of the working folder that match a few letters."""
    edit: Callable[[str], Awaitable[str]]
    page: Callable[[str], Awaitable[None]]
    open_page: Callable[[str], Awaitable[bool]]
    open_file: Callable[[str, bytes], Awaitable[bool]]
    """Open a copy of a file, with its name, in the system's viewer."""
    remember: Callable[[Remembered], Awaitable[None]]
    keep_key: Callable[[Endpoint, str], Awaitable[str]]
    """Store an accepted key; returns where, as words for a notification."""
    notification: Callable[[str], str]
    """Return the bytes that make the terminal notify the user; empty for none."""
    note_error: Callable[[BaseException], str]  # log an unexpected error; returns its id in the log
    log_file: str
    themes_folder: Path  # folder of the user's own themes
    config_file: Path


class Workspace(Struct, kw_only=True):
    """The services of a run of the screen; what `make_…` returns is imported late."""

    settings: Settings
    backend: ServerClient
    store: ChatStore
    library: Library
    open_sessions: OpenSessions
    monitor: Monitor
    catalogue: Catalogue
    platform: Platform
    remembered: Remembered
    is_temporary: bool = False  # whether sessions are in memory only
    resume_id: str = ""  # session to open at the start; empty: a new one
    notices: list[str] = field(default_factory=list)
    warning: str = ""
    is_leaving: bool = False  # whether lmchat is quitting: nothing new begins
    make_launcher: Callable[[], ServerLauncher] | None = None
    importer: Importer | None = None
    make_engine: Callable[[], Awaitable[Engine]] | None = None
    is_local: bool = False  # whether to start the built-in engine without asking
    local_model: str = ""
    clock: Callable[[], float] = time.monotonic

    @property
    def target_state(self) -> TargetState:
        """How far the way to a model has come."""
        return target_state(self.open_sessions.next_turn.target, self.catalogue.candidates)
