"""All controllers of the screen: made here, each with the ones that it calls."""

from __future__ import annotations

from lmchat.tui.controllers.appearance import Appearance
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.export_import import ExportImport
from lmchat.tui.controllers.hints import KeyHints
from lmchat.tui.controllers.message_actions import MessageActions
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.controllers.palette import Palette
from lmchat.tui.controllers.prompt_files import PromptFiles
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.reports import Reports
from lmchat.tui.controllers.saved_sessions import SavedSessions
from lmchat.tui.controllers.server_search import ServerSearch
from lmchat.tui.controllers.session_view import SessionView
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.controllers.turn_view import TurnView
from lmchat.tui.screen_services import ScreenServices


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
