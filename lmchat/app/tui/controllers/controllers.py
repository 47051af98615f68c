"""All controllers of the screen: made here, each with the ones that it calls."""

from __future__ import annotations

from lmchat.app.tui.controllers.appearance import Appearance
from lmchat.app.tui.controllers.branches import Branches
from lmchat.app.tui.controllers.export_import import ExportImport
from lmchat.app.tui.controllers.hints import KeyHints
from lmchat.app.tui.controllers.message_actions import MessageActions
from lmchat.app.tui.controllers.model_switch import ModelSwitch
from lmchat.app.tui.controllers.palette import Palette
from lmchat.app.tui.controllers.prompt_files import PromptFiles
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.reports import Reports
from lmchat.app.tui.controllers.saved_sessions import SavedSessions
from lmchat.app.tui.controllers.server_search import ServerSearch
from lmchat.app.tui.controllers.session_view import SessionView
from lmchat.app.tui.controllers.status import StatusDisplay
from lmchat.app.tui.controllers.turn_view import TurnView
from lmchat.app.tui.screen_services import ScreenServices


class Controllers:
    def __init__(self, ui: ScreenServices) -> None:
        self.appearance = Appearance(ui)
        self.status = StatusDisplay(ui)
        self.prompt_text = PromptText(ui)
        self.prompt_files = PromptFiles(ui, self.prompt_text)
        self.session_view = SessionView(ui, self.status, self.prompt_text)
        self.turn_view = TurnView(ui, self.status, self.session_view, self.prompt_text)
        self.export_import = ExportImport(ui, self.session_view)
        self.saved_sessions = SavedSessions(ui, self.session_view)
        self.branches = Branches(ui, self.session_view, self.turn_view, self.prompt_text)
        self.model_switch = ModelSwitch(ui, self.prompt_text, self.turn_view)
        self.message_actions = MessageActions(ui, self.prompt_text)
        self.reports = Reports(ui, self.prompt_text, self.branches)
        self.hints = KeyHints(
            ui, self.prompt_text, self.prompt_files, self.branches, self.saved_sessions
        )
        self.server_search = ServerSearch(ui, self.model_switch)
        self.palette = Palette(ui, self.server_search)
