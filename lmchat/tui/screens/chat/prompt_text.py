"""Text of the prompt: drafts, the edit of an earlier prompt, and commands that are being typed."""

from __future__ import annotations

from contextlib import suppress

from textual.timer import Timer

from lmchat.domain.attached_files import file_line, without_file_lines
from lmchat.domain.message import ChatMessage
from lmchat.errors import LMChatError
from lmchat.services.open_sessions import OpenSession, OpenSessions
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.widgets import ChatWidgets

SAVE_AFTER_S = 0.2
"""As much of what is typed may be lost to a kill; a write is 2 kB for up to 1,000 characters."""


class PromptText:
    """Text of the prompt: the draft of each session, an edit, a command in between."""

    def __init__(
        self,
        open_sessions: OpenSessions,
        widgets: ChatWidgets,
        background: Background,
        status: StatusDisplay,
    ) -> None:
        self.edited_id = ""  # the earlier prompt that is being edited; empty for a new one
        self._open_sessions = open_sessions
        self._drafts = open_sessions.drafts
        self._widgets = widgets
        self._background = background
        self._status = status
        self._before_edit = ""
        self._before_command = ""
        self._timer: Timer | None = None

    @property
    def _draft_id(self) -> str:
        """The session of the draft; empty for all sessions without messages."""
        conversation = self._open_sessions.shown.conversation
        return conversation.header.session_id if conversation.messages else ""

    @property
    def has_unseen_image(self) -> bool:
        """Whether there is an image and the model cannot see."""
        draft = self._widgets.prompt_input.full_text
        return self._open_sessions.next_turn.options.has_unseen_image(draft)

    def load(self) -> None:
        self._widgets.prompt_input.load_draft(self._drafts.text(self._draft_id))

    def forget(self) -> None:
        self._drafts.note(self._draft_id, "")

    # Saving

    def save(self) -> None:
        """Save what is typed, and what waits, with the session that it was typed in."""
        typed = self._widgets.prompt_input.full_text
        self._save(self._draft_id, typed, self._open_sessions.shown)

    def save_soon(self) -> None:
        if self._timer is None:
            self._timer = self._background.begin_later(SAVE_AFTER_S, self._save_when_sent)

    def _save_when_sent(self) -> None:
        """Save; what was just sent stays a draft until it is on the disk as a prompt."""
        self._timer = None
        opened = self._open_sessions.shown
        if opened.is_busy and not opened.conversation.is_running:
            self.save_soon()
        else:
            self.save()

    def save_waiting(self, opened: OpenSession) -> None:
        """Save what waits in a session, which may be another than the shown one."""
        if opened is self._open_sessions.shown:
            self.save_soon()
        else:
            draft = self._drafts.text(opened.session_id)
            self._save(opened.session_id, draft, opened)

    def _save(self, draft_id: str, text: str, opened: OpenSession) -> None:
        self._drafts.note(draft_id, text, [queued.text for queued in opened.queue])
        self._background.begin(self.write, "draft", is_only=False)

    async def write(self) -> None:
        with suppress(LMChatError):  # they are in memory, and the store's own warning is shown
            await self._drafts.write()
            await self._open_sessions.bookmarks.write()

    # Edits and commands

    def begin_edit(self, prompt: ChatMessage) -> None:
        """Put an earlier prompt into the prompt; Enter sends it as another version."""
        prompt_input = self._widgets.prompt_input
        if not self.edited_id:
            self._before_edit = prompt_input.full_text
        self.edited_id = prompt.message_id
        files = "".join(map(file_line, prompt.files))
        prompt_input.put(files + without_file_lines(prompt.text))
        prompt_input.focus()
        self._status.show_action("editing")

    def leave_edit(self) -> bool:
        """Restore what was typed before the edit; return whether there was an edit."""
        if not self.edited_id:
            return False
        self.edited_id = ""
        self._widgets.prompt_input.put(self._before_edit)
        self._before_edit = ""
        self._status.show_action("edit cancelled")
        return True

    def begin_command(self, start: str) -> None:
        prompt_input = self._widgets.prompt_input
        self._before_command = self._before_command or prompt_input.full_text
        prompt_input.put(start)
        prompt_input.focus()

    def leave_command(self) -> bool:
        """Restore what was typed before the command; return whether there was any."""
        text = self._before_command
        self._before_command = ""
        if text and not self._widgets.prompt_input.text.strip():
            self._widgets.prompt_input.put(text)
        return bool(text)
