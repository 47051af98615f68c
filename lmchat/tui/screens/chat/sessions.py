"""The session on the chat screen: its messages, its prompt, the way to another session and back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace
from textual.timer import Timer

from lmchat.domain.message import ChatMessage, Role, file_line, without_file_lines
from lmchat.domain.session import Session
from lmchat.errors import LMChatError
from lmchat.services.conversation import Conversation
from lmchat.services.library import SessionGroup, with_unsaved
from lmchat.services.open_sessions import OpenSession
from lmchat.services.save_queue import SEPARATOR
from lmchat.text import safe_line
from lmchat.tui.screens.chat.view import ChatView, begin_work
from lmchat.tui.widgets.chat_log.viewport import parse_bookmark
from lmchat.tui.widgets.line import STRONG, content

SAVE_AFTER_S = 0.2
"""As much of what is typed may be lost to a kill; a write is 2 kB for up to a thousand characters."""
_FILL_AFTER_S = (
    0.1  # from the first paint of a long session to the reading of the rest: keys come first
)
_MARK_AFTER_S = (
    0.3  # from a key to the search for what would be left out: it reads the whole session
)
_COMPARED = (
    64  # newest messages that are compared to see whether another lmchat has changed the session
)


class PromptText:
    """Text of the prompt: the draft of each session, the edit of an earlier prompt, a command in between."""

    def __init__(self, view: ChatView) -> None:
        self.edited_id = (
            ""  # the earlier prompt that is being edited; empty where a new one is typed
        )
        self._open_sessions = view.workspace.open_sessions
        self._drafts = self._open_sessions.drafts
        self._view = view
        self._before_edit = self._before_command = ""
        self._timer: Timer | None = None

    @property
    def draft_id(self) -> str:
        conversation = self._open_sessions.shown.conversation
        return conversation.header.session_id if conversation.messages else ""

    def load(self) -> None:
        self._view.prompt_input.load_draft(self._drafts.text(self.draft_id))

    def forget(self) -> None:
        self._drafts.note(self.draft_id, "")

    def save(self) -> None:
        """Save what is typed, and what waits, with the session that it was typed in."""
        self._save(self.draft_id, self._view.prompt_input.full_text, self._open_sessions.shown)

    def save_soon(self) -> None:
        if self._timer is None:
            self._timer = self._view.screen.set_timer(SAVE_AFTER_S, self._save_when_sent)

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
            session_id = opened.conversation.header.session_id
            self._save(session_id, self._drafts.text(session_id), opened)

    def _save(self, draft_id: str, text: str, opened: OpenSession) -> None:
        self._drafts.note(draft_id, text, [queued.text for queued in opened.queue])
        begin_work(self._view.screen, self.write, "draft", is_only=False)

    async def write(self) -> None:
        with suppress(
            LMChatError
        ):  # they are still in memory, and the store's own warning is shown
            await self._drafts.write()
            await self._open_sessions.bookmarks.write()

    def begin_edit(self, prompt: ChatMessage) -> None:
        """Put an earlier prompt into the prompt; Enter sends it as another version."""
        prompt_input = self._view.prompt_input
        self._before_edit = self._before_edit if self.edited_id else prompt_input.full_text
        self.edited_id = prompt.message_id
        prompt_input.put("".join(map(file_line, prompt.files)) + without_file_lines(prompt.text))
        prompt_input.focus()
        self._view.show_action("editing")

    def leave_edit(self) -> bool:
        """Bring back what was typed before the edit; return whether one was going on."""
        was_editing, self.edited_id = bool(self.edited_id), ""
        if was_editing:
            self._view.prompt_input.put(self._before_edit)
            self._before_edit = ""
            self._view.show_action("edit cancelled")
        return was_editing

    def begin_command(self, start: str) -> None:
        self._before_command = self._before_command or self._view.prompt_input.full_text
        self._view.prompt_input.put(start)
        self._view.prompt_input.focus()

    def leave_command(self) -> bool:
        """Bring back what was typed before the command; return whether there was any."""
        text, self._before_command = self._before_command, ""
        if text and not self._view.prompt_input.text.strip():
            self._view.prompt_input.put(text)
        return bool(text)


class ShownSession:
    """Shows the open session with its prompt, keeps where it is read, and changes to another one."""

    def __init__(self, view: ChatView, prompt_text: PromptText) -> None:
        self._workspace = view.workspace
        self._open_sessions = view.workspace.open_sessions
        self._view = view
        self._prompt_text = prompt_text
        self._groups: tuple[SessionGroup, ...] = ()
        self._marker: Timer | None = None
        self._has_looked = False

    @property
    def shown_id(self) -> str:
        return self._open_sessions.shown.conversation.header.session_id

    def show(self) -> None:
        self.show_conversation()
        self.show_queue()
        self.show_list()

    def show_conversation(self) -> None:
        self.show_messages(self._open_sessions.shown.conversation)
        self.mark_left_out()
        self.show_title()
        self._view.refresh()

    def show_messages(self, conversation: Conversation) -> None:
        """Show the messages from their end; what was not read yet follows a moment later."""
        messages, is_ours = conversation.shown_messages, conversation.is_running
        self._view.log.load(
            messages, has_all_messages=conversation.has_all_messages, is_ours=is_ours
        )
        if not conversation.has_all_messages:
            fill = partial(self._view.attempt, partial(self._fill, conversation), "fill")
            self._view.screen.set_timer(_FILL_AFTER_S, fill)

    async def _fill(self, conversation: Conversation) -> None:
        if self._open_sessions.is_shown(conversation):
            await conversation.fill()
        if self._open_sessions.is_shown(conversation):
            self.mark_left_out()
            self._view.refresh()

    def mark_left_out(self) -> None:
        """Mark in the log what would be left out of the next request, before it is sent."""
        self._marker = None
        conversation, log = self._open_sessions.shown.conversation, self._view.log
        if conversation.has_all_messages and not log.has_all_messages:
            log.fill(conversation.shown_messages)
        plan = self._open_sessions.next_turn.plan(conversation, self._view.prompt_input.full_text)
        first = (
            next((one for one in plan.messages if one.role is not Role.SYSTEM), None)
            if plan
            else None
        )
        self._view.left_out = plan.left_out if plan else 0
        log.mark_left_out(self._view.left_out, first.message_id if first else None)

    def mark_left_out_soon(self) -> None:
        if self._marker is None:
            self._marker = self._view.screen.set_timer(_MARK_AFTER_S, self.mark_left_out)

    def show_title(self) -> None:
        title = safe_line(self._open_sessions.shown.conversation.header.title) or "New session"
        self._view.title_line.show([content(((title, STRONG),))])

    def show_queue(self) -> None:
        entries = [(queued.text, queued.is_held) for queued in self._open_sessions.shown.queue]
        begin_work(self._view.screen, lambda: self._view.prompt.show_queue(entries), "queue")
        self._prompt_text.save_waiting(self._open_sessions.shown)

    def show_list(self) -> None:
        begin_work(self._view.screen, self.fetch_list, "library")

    async def fetch_list(self) -> None:
        try:
            self._groups = await self._workspace.library.groups()
            self._view.list_warning = ""
        except LMChatError as error:
            self._view.list_warning = error.words
            self._view.refresh()
        self._view.session_list.show(
            with_unsaved(self._groups, self._open_sessions.unsaved()),
            self.shown_id,
            self._open_sessions.streaming,
            self._open_sessions.unread,
            self._open_sessions.with_question,
        )
        importer = self._workspace.importer
        if importer is not None and not (
            self._groups or self._has_looked or self._view.list_warning
        ):
            self._has_looked = True
            if programs := await importer.programs():
                self._offer_import(f"/import all imports your chats of {', '.join(programs)}")

    def _offer_import(self, words: str) -> None:
        """Say in the empty list, and once in a notification, that other programs have chats."""
        self._view.session_list.offer(f"{words}.")
        if not self._workspace.remembered.has_import_offer:
            self._view.notify(f"{words}; so does `lmchat import --from all`.")
            self._view.remember(replace(self._workspace.remembered, has_import_offer=True))

    def begin(self) -> None:
        """Begin a new session; a running answer goes on and is saved."""
        opened = self._open_sessions.shown
        self._prompt_text.leave_edit()
        if opened.conversation.messages or opened.is_busy:
            self.save()
            self.show_new()
            self._prompt_text.load()
        else:
            self.show_list()  # another lmchat may have begun some
        self._view.show_action("new session")
        self._view.prompt_input.focus()

    def show_new(self) -> None:
        """Show a new session; what is typed stays in the prompt."""
        self._open_sessions.begin()
        self.show()

    def show_path(self, session: Session) -> None:
        self._open_sessions.show_path(session)
        self.show()

    def switch_to(
        self, session_id: str, *, message_id: str = "", words: Sequence[str] = ()
    ) -> None:
        self._view.attempt(
            lambda: self.go_to(session_id, message_id=message_id, words=words), group="open"
        )

    async def go_to(
        self,
        session_id: str,
        *,
        message_id: str = "",
        words: Sequence[str] = (),
        takes_queue: bool = False,
    ) -> None:
        """Show another session; all is read before anything changes.

        Args:
            session_id: Its id.
            message_id: The message to go to; empty for its end, or where it was left.
            words: Words to mark there.
            takes_queue: Whether what waits in a session without messages is meant for the other one.
        """
        await self._open_sessions.drafts.load(session_id)
        mark = ""
        if message_id:
            show = partial(
                self._open_sessions.show_path,
                await self._workspace.store.set_leaf(session_id, message_id),
            )
        else:
            opened = await self._open_sessions.load(session_id)
            mark = await self._open_sessions.bookmarks.load(session_id)
            await _read_up_to(mark, opened.conversation)
            show = partial(self._open_sessions.show, opened)
        self._prompt_text.leave_edit()
        self.save()
        left = self._open_sessions.shown
        show()
        self._move_queue(left, takes_queue=takes_queue)
        self._prompt_text.load()
        self.show()
        self._view.prompt_input.focus()
        if mark:
            self._view.log.go_to_bookmark(mark)
        self._view.focus_card()
        if message_id:  # letters are then typed, and delete nothing
            self._view.log.show_message(message_id, takes_focus=False)
        if words:
            self._view.close_find_bar()
            self._view.log.finder.mark_words(message_id, words)

    def _move_queue(self, left: OpenSession, *, takes_queue: bool) -> None:
        """Let nothing wait where it cannot be seen: a session without a first message is not listed."""
        if left.conversation.messages or not left.is_waiting:
            return
        waiting, left.queue = left.queue, []
        typed = [self._open_sessions.drafts.text("")]
        if takes_queue:
            self._open_sessions.shown.queue += waiting
        else:
            typed = [*(one.text for one in waiting), *typed]
        self._open_sessions.drafts.note("", SEPARATOR.join(filter(None, typed)))

    async def reload(self) -> None:
        """Show what another lmchat has written to this session since it was read."""
        shown = self._open_sessions.shown
        if not shown.conversation.messages:
            return
        with suppress(LMChatError):  # what is shown stays; the store has its own warning
            opened = await self._open_sessions.load(self.shown_id)
            mark = self._view.log.viewport.bookmark
            if _newest(opened.conversation) != _newest(shown.conversation):
                await _read_up_to(mark, opened.conversation)
                if shown is self._open_sessions.shown and not shown.is_busy:
                    self._open_sessions.show(opened)
                    self.show()
                    self._view.log.go_to_bookmark(mark)

    def save(self) -> None:
        """Save what is typed, and where the session is being read."""
        self._open_sessions.bookmarks.note(self.shown_id, self._view.log.viewport.bookmark)
        self._prompt_text.save()


def _newest(conversation: Conversation) -> list[object]:
    newest = conversation.messages[-_COMPARED:]
    return [
        conversation.header.title,
        *((one.message_id, one.state, one.text, one.versions) for one in newest),
    ]


async def _read_up_to(mark: str, conversation: Conversation) -> None:
    """Read all of a session where its bookmark is before what was read."""
    position = parse_bookmark(mark)
    if position is not None and conversation.find(position[0]) is None:
        await conversation.fill()
