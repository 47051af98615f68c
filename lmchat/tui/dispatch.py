"""Controllers of the chat screen: each owns a part of its state, and uses those made before it."""

from __future__ import annotations

from textual.screen import Screen

from lmchat.services.workspace import Workspace
from lmchat.tui.chat_view import ChatCore
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.context_view import ContextView
from lmchat.tui.controllers.hints import KeyHints
from lmchat.tui.controllers.message_actions import MessageActions
from lmchat.tui.controllers.message_contents import MessageContents
from lmchat.tui.controllers.message_file import MessageFile
from lmchat.tui.controllers.next_request import NextRequest
from lmchat.tui.controllers.prompt_pages import PromptPages
from lmchat.tui.controllers.prompt_text import PromptFiles, PromptText
from lmchat.tui.controllers.saved_sessions import SavedSessions
from lmchat.tui.controllers.sending import Turns
from lmchat.tui.controllers.shell_commands import ShellCommands
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.controllers.status import StatusDisplay


class ChatControllers:
    """All controllers of a chat screen, in the order in which they need each other."""

    def __init__(self, screen: Screen[None], workspace: Workspace) -> None:
        self.core = core = ChatCore(screen, workspace)
        self.status = status = StatusDisplay(core)
        self.prompt_text = prompt_text = PromptText(core, status)
        self.prompt_files = PromptFiles(core, prompt_text)
        self.prompt_pages = prompt_pages = PromptPages(core, status, prompt_text)
        self.shell_commands = shell_commands = ShellCommands(core, status, prompt_text)
        self.sessions = sessions = ShownSession(core, status, prompt_text)
        self.turns = turns = Turns(core, status, sessions, prompt_text)
        self.branches = branches = Branches(core, status, sessions, turns)
        self.context = ContextView(core, sessions, prompt_text, branches)
        self.contents = contents = MessageContents(core)
        self.next_request = NextRequest(core, sessions, prompt_text, contents)
        message_file = MessageFile(core)
        self.messages = MessageActions(
            core, sessions, prompt_text, turns, branches, contents, message_file
        )
        self.saved_sessions = SavedSessions(core, status, sessions, turns)
        self.hints = KeyHints(core, status, prompt_text, shell_commands, prompt_pages)
