"""The session on the chat screen: its messages, its prompt, the way to another session and back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from textual.timer import Timer

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import Session
from lmchat.errors import LMChatError
from lmchat.services.conversation import Conversation
from lmchat.services.library import Listed, with_unsaved
from lmchat.services.open_sessions import OpenSession, written_elsewhere
from lmchat.services.save_queue import BETWEEN
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.screens.chat.figures import Figures
from lmchat.tui.screens.chat.view import ChatView
from lmchat.tui.widgets.chat_log.viewport import parse_bookmark
from lmchat.tui.widgets.line import STRONG, content

SAVE_AFTER_S = 0.2
"""As much of what is typed may be lost to a kill; a write is 2 kB for up to a thousand characters."""
_REST_S = 1.0
"""From a movement in the log to the write of the reading position."""
_FILL_AFTER_S = 0.1
"""From the first paint of a long session to the reading of the rest: keys come first."""
_MARK_AFTER_S = 0.3
"""From a key to the search for what would be left out: it goes over the whole session."""
_COMPARED = 64
"""Newest messages that are compared to see whether another lmchat has changed the session."""
_TITLE = "New session"


class PromptText:
    """Text of the prompt: the draft of each session, the edit of an earlier prompt, a command in between."""

    def __init__(self, workspace: Workspace, view: ChatView, figures: Figures) -> None:
        self.edited_id = ""
        """The earlier prompt that is being edited; empty where a new one is typed."""
        self._open = workspace.open_sessions
        self._view = view
        self._figures = figures
        self._before_edit = ""
        self._before_command = ""
        self._timer: Timer | None = None
        self._saved_queue: Sequence[str] = ()

    @property
    def draft_id(self) -> str:
        """Id of the session that is typed in; empty for a new one."""
        conversation = self._open.shown.conversation
        return conversation.header.session_id if conversation.messages else ""

    def load(self) -> None:
        """Show the draft of the session."""
        self._view.prompt_input.load_draft(self._open.drafts.text(self.draft_id))

    def forget(self) -> None:
        """Drop the draft: it was sent."""
        self._open.drafts.note(self.draft_id, "")

    def save(self) -> None:
        """Keep what is typed, and what waits, with the session that it was typed in."""
        self._timer = None
        self._saved_queue = _texts(self._open.shown)
        self._open.drafts.note(self.draft_id, self._view.prompt_input.full_text, self._saved_queue)
        self._begin_write()

    def save_soon(self) -> None:
        """Save a moment after a key, for the case that lmchat is killed."""
        if self._timer is None:
            self._timer = self._view.screen.set_timer(SAVE_AFTER_S, self._save_when_sent)

    def _save_when_sent(self) -> None:
        """Save; what was just sent stays a draft until it is on the disk as a prompt."""
        self._timer = None
        opened = self._open.shown
        if opened.is_asking and not opened.conversation.is_running:
            self.save_soon()
        else:
            self.save()

    def save_queue(self, opened: OpenSession) -> None:
        """Keep what waits in a session, which may be another than the shown one."""
        if opened is self._open.shown:
            if _texts(opened) != self._saved_queue:
                self.save_soon()
            return
        session_id, drafts = opened.conversation.header.session_id, self._open.drafts
        drafts.note(session_id, drafts.text(session_id), _texts(opened))
        self._begin_write()

    def _begin_write(self) -> None:
        """Write drafts; where that fails they are still in memory, and the store's own warning is shown."""

        async def write() -> None:
            with suppress(LMChatError):
                await self._open.drafts.write()

        self._view.begin_work(write, "draft", is_only=False)

    def begin_edit(self, prompt: ChatMessage) -> None:
        """Put an earlier prompt into the prompt; Enter sends it as another version."""
        self._before_edit = self._before_edit if self.edited_id else self._view.prompt_input.full_text
        self.edited_id = prompt.message_id
        self._view.prompt_input.put(prompt.text)
        self._view.prompt_input.focus()
        self._figures.show_action("editing; Enter sends, Esc leaves")

    def leave_edit(self) -> bool:
        """Bring back what was typed before the edit; return whether one was going on."""
        was_editing, self.edited_id = bool(self.edited_id), ""
        if was_editing:
            self._view.prompt_input.put(self._before_edit)
            self._before_edit = ""
            self._figures.show_action("edit left")
        return was_editing

    def begin_command(self, start: str) -> None:
        """Begin a slash command in the prompt."""
        self._before_command = self._before_command or self._view.prompt_input.full_text
        self._view.prompt_input.put(start)
        self._view.prompt_input.focus()

    def leave_command(self) -> bool:
        """Bring back what was typed before the command; return whether there was any."""
        text, self._before_command = self._before_command, ""
        if text and not self._view.prompt_input.text.strip():
            self._view.prompt_input.put(text)
        return bool(text)


class Sessions:
    """Shows the session that is open, follows where it is read, and changes to another one."""

    def __init__(self, workspace: Workspace, view: ChatView, figures: Figures, text: PromptText) -> None:
        self._workspace = workspace
        self._open = workspace.open_sessions
        self._view = view
        self._figures = figures
        self._text = text
        self._listed = Listed()
        self._marker: Timer | None = None
        self._bookmarker: Timer | None = None

    @property
    def shown_id(self) -> str:
        """Id of the session that is shown."""
        return self._open.shown.conversation.header.session_id

    def show(self) -> None:
        """Show the session that is open."""
        self.show_conversation()
        self.show_queue()
        self.show_list()

    def show_conversation(self) -> None:
        """Show its messages, title and figures."""
        self.show_messages(self._open.shown.conversation)
        self.mark_left_out()
        self.show_title()
        self._figures.refresh()

    def show_messages(self, conversation: Conversation) -> None:
        """Show the messages from their end; what was not read yet follows a moment later."""
        self._view.log.load(
            conversation.shown_messages,
            is_whole=conversation.is_whole,
            elsewhere=written_elsewhere(conversation),
        )
        if not conversation.is_whole:
            self._view.screen.set_timer(_FILL_AFTER_S, lambda: self._begin_fill(conversation))

    def _begin_fill(self, conversation: Conversation) -> None:
        if self._open.is_shown(conversation):
            self._view.begin_work(lambda: self._fill(conversation), "fill")

    async def _fill(self, conversation: Conversation) -> None:
        try:
            await conversation.fill()
        except LMChatError as error:
            self._view.tell(error)
            return
        if self._open.is_shown(conversation):
            self.mark_left_out()
            self._figures.refresh()

    def mark_left_out(self) -> None:
        """Mark in the log what would be left out of the next request, before it is sent."""
        self._marker = None
        conversation, log = self._open.shown.conversation, self._view.log
        if conversation.is_whole and not log.is_whole:
            log.fill(conversation.shown_messages)
        plan = self._open.plan(self._view.prompt_input.full_text)
        first = next((one for one in plan.messages if one.role is not Role.SYSTEM), None) if plan else None
        self._figures.left_out = plan.left_out if plan else 0
        log.mark_left_out(self._figures.left_out, first.message_id if first else None)

    def mark_left_out_soon(self) -> None:
        """Do so a moment after a key."""
        if self._marker is None:
            self._marker = self._view.screen.set_timer(_MARK_AFTER_S, self.mark_left_out)

    def show_title(self) -> None:
        """Show the title."""
        title = safe_line(self._open.shown.conversation.header.title) or _TITLE
        self._view.title_line.show([content(((title, STRONG),))])

    def title_of(self, session_id: str) -> str:
        """Return the title of a listed session."""
        headers = (header for group in self._listed.groups for header in group.headers)
        known = (self._open.shown.conversation.header, *headers)
        return next((safe_line(header.title) for header in known if header.session_id == session_id), "")

    def show_queue(self) -> None:
        """Show what waits above the prompt, and keep it."""
        entries = [(queued.text, queued.is_held) for queued in self._open.shown.queue]
        self._view.begin_work(lambda: self._view.prompt.show_queue(entries), "queue")
        self._text.save_queue(self._open.shown)

    def show_list(self) -> None:
        """Fetch the list of sessions again."""
        self._view.begin_work(self.fetch_list, "library")

    async def fetch_list(self) -> None:
        """Fetch the list of sessions and show it."""
        typed, limit = self._view.session_list.part
        try:
            self._listed = await self._workspace.library.listed(typed, limit=limit)
            self._figures.list_warning = ""
            self._take_title()
        except LMChatError as error:
            self._figures.list_warning = error.words
            self._figures.refresh()
        self._view.session_list.show(
            with_unsaved(self._listed.groups, self._open.unsaved()),
            self.shown_id,
            self._open.streaming,
            self._open.unread,
            typed=typed,
            is_more=self._listed.is_more,
        )

    def _take_title(self) -> None:
        """Take over a title that another lmchat has given to the session that is shown."""
        shown = self._open.shown.conversation
        listed = (header for group in self._listed.groups for header in group.headers)
        header = next((one for one in listed if one.session_id == shown.header.session_id), None)
        if header is not None and header.title != shown.header.title:
            shown.rename(header.title)
            self.show_title()

    def begin(self) -> None:
        """Begin a new session; a running answer goes on and is saved."""
        self._text.leave_edit()
        if self._open.shown.conversation.messages or self._open.shown.is_busy:
            self._text.save()
            self.save_bookmark()
            self.show_new()
            self._text.load()
        else:
            self.show_list()  # another lmchat may have begun some
        self._figures.show_action("new session")
        self._view.prompt_input.focus()

    def show_new(self) -> None:
        """Show a new session; what is typed stays in the prompt."""
        self._open.begin()
        self.show()

    def show_path(self, session: Session) -> None:
        """Show another path of the session, or a fork, at its end."""
        self._open.adopt(session)
        self.show()

    def open(self, session_id: str, *, message_id: str = "", words: Sequence[str] = ()) -> None:
        """Show another session, at a message where one is named, with words marked."""
        self._view.attempt(lambda: self.go_to(session_id, message_id=message_id, words=words), group="open")

    async def go_to(
        self, session_id: str, *, message_id: str = "", words: Sequence[str] = (), takes_queue: bool = False
    ) -> None:
        """Show another session; all is read before anything changes.

        Args:
            session_id: Its id.
            message_id: The message to go to; empty for its end, or where it was left.
            words: Words to mark there.
            takes_queue: Whether what waits in a session without messages is meant for the other one.
        """
        await self._open.drafts.load(session_id)
        mark = ""
        if message_id:
            session = await self._workspace.store.set_leaf(session_id, message_id)
            self._save_before_leaving()
            left = self._open.shown
            self._open.adopt(session)
        else:
            opened = await self._open.fetch(session_id)
            mark = await self._open.bookmarks.find(session_id)
            await _read_up_to(mark, opened.conversation)
            self._save_before_leaving()
            left = self._open.shown
            self._open.show(opened)
        self._move_queue(left, takes_queue=takes_queue)
        self._text.load()
        self.show()
        self._view.prompt_input.focus()
        if mark:
            self._view.log.go_to_bookmark(mark)
        if message_id:
            self._view.log.show_message(message_id)
        if words:
            self._view.close_find_bar()
            self._view.log.hits.mark_words(message_id, words)

    def _save_before_leaving(self) -> None:
        self._text.leave_edit()
        self._text.save()
        self.save_bookmark()

    def _move_queue(self, left: OpenSession, *, takes_queue: bool) -> None:
        """Let nothing wait where it cannot be seen: a session without a first message is not listed."""
        if left.conversation.messages or not left.is_waiting:
            return
        waiting, left.queue = left.queue, []
        typed = self._open.drafts.text("")
        if takes_queue:
            self._open.shown.queue += waiting
            self._open.drafts.note("", typed)
        else:
            texts = [*(one.text for one in waiting), typed]
            self._open.drafts.note("", BETWEEN.join(one for one in texts if one))

    def reload(self) -> None:
        """Show what another lmchat has written to this session since it was read."""
        if self._open.shown.conversation.messages:
            self._view.begin_work(self._reload, "reload")

    async def _reload(self) -> None:
        shown = self._open.shown
        with suppress(LMChatError):  # what is shown stays; the store has its own warning
            opened = await self._open.fetch(self.shown_id)
            if opened is shown or shown is not self._open.shown or shown.is_busy:
                return
            if _newest(opened.conversation) != _newest(shown.conversation):
                mark = self._view.log.viewport.bookmark
                await _read_up_to(mark, opened.conversation)
                if shown is self._open.shown and not shown.is_busy:
                    self._open.show(opened)
                    self.show()
                    self._view.log.go_to_bookmark(mark)

    def save_bookmark(self) -> None:
        """Keep where the session is being read."""
        self._bookmarker = None
        bookmarks, mark = self._open.bookmarks, self._view.log.viewport.bookmark
        if bookmarks.is_at(self.shown_id, mark):
            return
        bookmarks.note(self.shown_id, mark)

        async def write() -> None:
            with suppress(LMChatError):
                await bookmarks.write()

        self._view.begin_work(write, "draft", is_only=False)

    def save_bookmark_soon(self) -> None:
        """Save it once the log has come to rest; following an answer is no movement."""
        is_at_end = self._view.log.viewport.is_following and self._open.bookmarks.is_at(self.shown_id, "")
        if self._bookmarker is None and not is_at_end:
            self._bookmarker = self._view.screen.set_timer(_REST_S, self.save_bookmark)


def _texts(opened: OpenSession) -> tuple[str, ...]:
    return tuple(queued.text for queued in opened.queue)


def _newest(conversation: Conversation) -> list[tuple[object, ...]]:
    newest = conversation.messages[-_COMPARED:]
    return [(one.message_id, one.state, one.text, one.versions) for one in newest]


async def _read_up_to(mark: str, conversation: Conversation) -> None:
    """Read all of a session where its bookmark is before what was read."""
    position = parse_bookmark(mark)
    if position is not None and conversation.find(position[0]) is None:
        await conversation.fill()
