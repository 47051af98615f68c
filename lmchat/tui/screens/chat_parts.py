"""The chat screen's parts: columns, log, prompt, row of keys, and how they stand at each size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Center, Horizontal, Vertical
from textual.getters import query_one
from textual.timer import Timer
from textual.worker import Worker

from lmchat.domain.telemetry import Health
from lmchat.services.library import Listed
from lmchat.services.turn_stats import Speedometer
from lmchat.services.workspace import Workspace
from lmchat.tui.quirks.app import PatchedScreen
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import Line
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel


class ChatParts(PatchedScreen):
    """Three columns and a row of keys; shows the open session of the workspace."""

    AUTO_FOCUS = "PromptInput"

    sessions = query_one(SessionList)
    log_view = query_one(ChatLog)
    prompt = query_one(Prompt)
    prompt_input = query_one(PromptInput)
    telemetry = query_one(TelemetryPanel)
    keys_row = query_one(KeysRow)
    title_line = query_one("#title", Line)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.health = Health()
        self.last_action = "looking for a server"
        self.speedometer = Speedometer()
        self.is_leaving = False
        """Whether lmchat is being left: nothing is begun any more."""
        self.is_painted = False
        """Whether it was shown before."""
        self._ticker: Timer | None = None
        self._marker: Timer | None = None
        self._left_out = 0
        self._list_warning = ""
        self._listed = Listed()

    def compose(self) -> ComposeResult:
        """Sessions, chat, telemetry; below them the keys."""
        self.add_class(*self._first_classes())
        with Horizontal(id="body"):
            yield SessionList()
            with Vertical(id="chat"):
                with Center(id="title-row"):
                    yield Line(id="title")
                yield ChatLog(id="log")
                yield Prompt()
            yield TelemetryPanel(self.workspace.settings.ui.sections, id="telemetry")
        yield KeysRow()

    def _first_classes(self) -> list[str]:
        """Return the classes of size and panels: set before the first styles are made, they cost nothing."""
        app, remembered = self.app, self.workspace.remembered
        wide = [name for least, name in app.HORIZONTAL_BREAKPOINTS or [] if self.app.size.width >= least]
        tall = [name for least, name in app.VERTICAL_BREAKPOINTS or [] if self.app.size.height >= least]
        classes = [*wide[-1:], *tall[-1:]]
        if not remembered.has_sessions:
            classes.append("-sessions-hidden")
        if not (remembered.has_telemetry and self.workspace.settings.ui.sidebar):
            classes.append("-telemetry-hidden")
        return classes

    def on_resize(self) -> None:
        """Say where the terminal has become too small, or no longer is."""
        self.keys_row.refresh()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Keep the styles that all widgets were given when they were mounted a moment ago."""
        event.refresh_styles &= self.is_painted
        self.is_painted = True

    @property
    def conversation_id(self) -> str:
        """Id of the session that is shown."""
        return self.open_sessions.shown.conversation.header.session_id

    def begin_work(self, work: Callable[[], Awaitable[None]], name: str, *, is_only: bool = True) -> None:
        """Run something behind the screen; `is_only` ends what was begun under this name before."""

        async def run() -> None:
            await work()

        _: Worker[None] = self.run_worker(run, name=name, group=name, exclusive=is_only)
