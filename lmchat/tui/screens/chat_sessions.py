"""Moving between sessions: opening, searching, and what is typed and not sent in each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from textual import on
from textual.timer import Timer

from lmchat.domain.session import SearchHit, Session
from lmchat.errors import LMChatError
from lmchat.services.conversation import AnswerBegun, Conversation
from lmchat.services.open_sessions import OpenSession
from lmchat.services.save_queue import BETWEEN
from lmchat.tui.quirks.driver import lend_terminal
from lmchat.tui.screens.chat_turns import ChatTurns
from lmchat.tui.widgets.chat_log.viewport import parse_bookmark
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList

KEEP_AFTER_S = 0.2
"""As much of what is typed may be lost to a kill; a write is 2 kB for up to a thousand characters."""
REST_S = 1.0
"""From a movement in the log to the bookmark."""
_AWAY = "away"
"""Worker that has lent the terminal."""


class ChatSessions(ChatTurns):
    """Moves between sessions; an answer that streams in one goes on behind another."""

    _keeping: Timer | None = None
    """Runs from a key to the write of what is typed."""
    _marking: Timer | None = None
    """Runs from a movement in the log to the write of where one is."""
    _kept_waiting: Sequence[str] = ()
    """What waited when that was written last."""

    def on_mount(self) -> None:
        """Follow where one reads."""
        self.watch(self.log_view, "scroll_y", self._mark_soon, init=False)

    def attempt(
        self, work: Callable[[], Awaitable[None]], group: str = "library", *, typed: str = ""
    ) -> None:
        """Run something that may fail; what goes wrong is told, and what was typed goes back."""

        async def told() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed and not self.prompt_input.text:
                    self.prompt_input.put(typed)
                self.tell(error)

        self.begin_work(told, group, is_only=group == "open")

    def lend_to(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run what gives the terminal to another program; a key that came twice does not run two."""

        async def lent() -> None:
            with lend_terminal(self.app):
                await work()

        if not any(worker.group == _AWAY and not worker.is_finished for worker in self.workers):
            self.attempt(lent, group=_AWAY)

    def action_new_session(self) -> None:
        """Begin a new session; a running answer goes on and is saved."""
        self.leave_edit()
        if self.open_sessions.shown.conversation.messages or self.open_sessions.shown.is_busy:
            self.note_draft()
            self.note_bookmark()
            self.open_sessions.begin()
            self.prompt_input.load_draft(self.open_sessions.drafts.text(""))
            self.show_session()
        else:
            self.show_sessions()  # another lmchat may have begun some
        self.show_action("new session")
        self.prompt_input.focus()

    def open_session(self, session_id: str, *, message_id: str = "", words: Sequence[str] = ()) -> None:
        """Show another session, at a message where one is named, with words marked."""
        self.attempt(lambda: self.go_to(session_id, message_id=message_id, words=words), group="open")

    async def go_to(
        self, session_id: str, *, message_id: str = "", words: Sequence[str] = (), is_resumed: bool = False
    ) -> None:
        """Show another session; all is read before anything changes.

        Args:
            session_id: Which.
            message_id: Where in it; empty for its end, or where it was left.
            words: What to mark there.
            is_resumed: Whether it is the one that lmchat was started with: what was said before it came
                is meant for it.
        """
        await self.open_sessions.drafts.load(session_id)
        mark = ""
        if message_id:
            session = await self.workspace.store.set_leaf(session_id, message_id)
            self._leave_prompt()
            left = self.open_sessions.shown
            self.open_sessions.adopt(session)
            self._bring_along(left, is_resumed=False)
        else:
            opened = await self.open_sessions.fetch(session_id)
            mark = await self.open_sessions.bookmarks.find(session_id)
            position = parse_bookmark(mark)
            if position is not None and opened.conversation.find(position[0]) is None:
                await opened.conversation.fill()
            self._leave_prompt()
            left = self.open_sessions.shown
            self.open_sessions.show(opened)
            self._bring_along(left, is_resumed=is_resumed)
        self.prompt_input.load_draft(self.open_sessions.drafts.text(session_id))
        self.show_session()
        self.prompt_input.focus()
        if mark:
            self.log_view.go_to_bookmark(mark)
        if message_id:
            self.log_view.show_message(message_id)
        if words:
            self.close_find_bar()
            self.log_view.hits.mark_words(message_id, words)

    def _bring_along(self, left: OpenSession, *, is_resumed: bool) -> None:
        """Let nothing wait where nobody sees it: a session without a first message is not listed."""
        if left.conversation.messages or not left.is_waiting:
            return
        waiting, left.queue = left.queue, []
        typed = self.open_sessions.drafts.text("")
        if is_resumed:
            self.open_sessions.shown.queue += waiting
            self.open_sessions.drafts.note("", typed)
            if not self.open_sessions.has_to_wait:  # the server was found meanwhile
                self.send_waiting()
        else:
            texts = [*(one.text for one in waiting), typed]
            self.open_sessions.drafts.note("", BETWEEN.join(one for one in texts if one))

    def _send(self, opened: OpenSession, text: str) -> None:
        """Send what waited; where it begins its session, it is no draft of a new one any more."""
        if not opened.conversation.messages:
            self.open_sessions.drafts.note(
                "", "" if opened is self.open_sessions.shown else self.open_sessions.drafts.text("")
            )
        super()._send(opened, text)

    def _leave_prompt(self) -> None:
        self.leave_edit()
        self.note_draft()
        self.note_bookmark()

    def leave_edit(self) -> bool:
        """Give up editing an earlier prompt; tell whether there was anything to give up: here nothing is."""
        return False

    def note_draft(self) -> None:
        """Keep what is typed, and what waits, with the session that it was typed in."""
        self._keeping = None
        self._kept_waiting = self._waiting
        self.open_sessions.drafts.note(self.drafted_in(), self.prompt_input.full_text, self._kept_waiting)
        self.begin_work(self._write_drafts, "draft", is_only=False)

    @property
    def _waiting(self) -> tuple[str, ...]:
        return tuple(queued.text for queued in self.open_sessions.shown.queue)

    def show_queue(self) -> None:
        """Show what waits above the prompt, and keep it."""
        super().show_queue()
        if self._waiting != self._kept_waiting:
            self.keep_typed()

    def _show_begun(self, conversation: Conversation, event: AnswerBegun, *, is_shown: bool) -> None:
        """Show that an answer has begun; behind another session, what waited there is no draft any more."""
        super()._show_begun(conversation, event, is_shown=is_shown)
        opened = next((one for one in self.open_sessions.asking if one.conversation is conversation), None)
        if opened is not None and not is_shown:
            drafts, session_id = self.open_sessions.drafts, conversation.header.session_id
            drafts.note(session_id, drafts.text(session_id), [queued.text for queued in opened.queue])
            self.begin_work(self._write_drafts, "draft", is_only=False)

    def note_bookmark(self) -> None:
        """Keep where one is reading in the session that is shown."""
        self._marking = None
        mark = self.log_view.viewport.bookmark
        if not self.open_sessions.bookmarks.is_at(self.conversation_id, mark):
            self.open_sessions.bookmarks.note(self.conversation_id, mark)
            self.begin_work(self._write_bookmarks, "draft", is_only=False)

    def _mark_soon(self) -> None:
        """Note where one is once the log has come to rest; following an answer is no movement."""
        is_at_end = self.log_view.viewport.is_following and self.open_sessions.bookmarks.is_at(
            self.conversation_id, ""
        )
        if self._marking is None and not is_at_end:
            self._marking = self.set_timer(REST_S, self.note_bookmark)

    async def _write_bookmarks(self) -> None:
        with suppress(LMChatError):
            await self.open_sessions.bookmarks.write()

    def drafted_in(self) -> str:
        """Return the session that is typed in, empty for a new one."""
        conversation = self.open_sessions.shown.conversation
        return conversation.header.session_id if conversation.messages else ""

    @on(PromptInput.Drafted)
    def keep_typed(self) -> None:
        """Keep what is typed a moment after it was typed, for the case that lmchat is killed."""
        if self._keeping is None:
            self._keeping = self.set_timer(KEEP_AFTER_S, self._keep)

    def _keep(self) -> None:
        """Write what is typed; what was just sent stays a draft until it is on the disk as a prompt."""
        self._keeping = None
        opened = self.open_sessions.shown
        if opened.is_asking and not opened.conversation.is_running:
            self.keep_typed()
        else:
            self.note_draft()

    async def _write_drafts(self) -> None:
        """Write drafts; where that fails they are still in memory, and the store's own warning stands."""
        with suppress(LMChatError):
            await self.open_sessions.drafts.write()

    def show_path(self, session: Session) -> None:
        """Show another path of the session, or a fork, at its end."""
        self.open_sessions.adopt(session)
        self.show_session()

    @on(SessionList.Opened)
    def open_chosen(self, event: SessionList.Opened) -> None:
        """Show the session that was chosen."""
        self.remove_class("-sessions-over")
        self.open_session(event.session_id)

    def action_search_sessions(
        self, query: str = "", *, before: Callable[[SearchHit], None] | None = None
    ) -> None:
        """Search all words of all sessions; `before` is called when a hit is about to be shown."""
        from lmchat.tui.screens.search_dialog import SearchDialog

        def go(hit: SearchHit | None) -> None:
            if hit is not None:
                if before is not None:
                    before(hit)
                self.open_session(hit.session_id, message_id=hit.message_id, words=hit.words)

        self.app.push_screen(SearchDialog(query), go)

    @on(SessionList.PartWanted)
    def list_part(self) -> None:
        """List what is wanted now."""
        self.show_sessions()

    @on(SessionList.SearchWanted)
    def search_typed(self, event: SessionList.SearchWanted) -> None:
        """Search for what no title held."""
        self.action_search_sessions(event.query)
