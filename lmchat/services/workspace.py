"""The services that the screen works with, put together by `cli`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.server import Endpoint
from lmchat.services.candidates import Catalogue
from lmchat.services.doctor import Examination
from lmchat.services.importing import Importer
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Backend, ChatStore, Engine
from lmchat.services.server_launcher import ServerLauncher


class Outside(Struct, frozen=True, kw_only=True):
    """Access to terminal, disk and other programs."""

    copy: Callable[[str], Awaitable[str]]
    """Put text on the clipboard; returns the way it took, as words for a toast."""
    examination: Callable[[], Examination]
    """Return the checks of the doctor; they are imported when a page first wants them."""
    edit: Callable[[str], Awaitable[str]]
    """Let the user edit a text in the external editor; the terminal is suspended meanwhile."""
    page: Callable[[str], Awaitable[None]]
    """Show a text in the pager; the terminal is suspended meanwhile."""
    open_page: Callable[[str], Awaitable[bool]]
    """Show a page of the web in the user's browser; False where there is none."""
    read_text: Callable[[str], Awaitable[str]]
    """Read a text file for the prompt; refuses what is not text."""
    remember: Callable[[Remembered], Awaitable[None]]
    keep_key: Callable[[Endpoint, str], Awaitable[str]]
    """Keep a key that a server has accepted; returns where, as words for a toast."""
    notification: Callable[[str], str]
    """Return the bytes that tell the terminal that a long answer has ended; empty for none."""
    note_error: Callable[[BaseException], str]
    """Put an error of our own into the log file; returns the id under which it stands there."""
    log_file: str


class Workspace(Struct, kw_only=True):
    """The services of a run of the screen."""

    settings: Settings
    backend: Backend
    store: ChatStore
    library: Library
    open_sessions: OpenSessions
    monitor: Monitor
    catalogue: Catalogue
    outside: Outside
    remembered: Remembered
    """From the last run, kept up to date."""
    resume_id: str = ""
    """Session to open at the start; empty: a new one."""
    notices: list[str] = field(default_factory=list)
    """Sentences to be shown once, as they come."""
    warning: str = ""
    """A standing warning, shown until it is mended."""
    make_launcher: Callable[[], ServerLauncher] | None = None
    """Return the one launcher of this run; what it works with is imported when a page first wants it."""
    make_importer: Callable[[], Importer] | None = None
    """Return what imports chats from files; file formats are imported when they are first wanted."""
    make_engine: Callable[[], Awaitable[Engine]] | None = None
    """Return the built-in engine of this run; its modules are imported when it is first wanted."""
    is_local: bool = False
    """Whether the built-in engine is to be started without asking."""
    local_model: str = ""
    clock: Callable[[], float] = time.monotonic
