"""The session on the chat screen: its messages, its prompt, and the change to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from textual.timer import Timer

from lmchat.app.tui.chat_log.viewport import Bookmark
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.status import StatusDisplay
from lmchat.app.tui.messages import ReadSessions
from lmchat.app.tui.screen_services import ScreenServices, Work
from lmchat.base.errors import SessionNotFound
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.drafts import SessionTexts
from lmchat.core.chat.session import OpenSession
from lmchat.core.sessions.message import Role
from lmchat.core.sessions.session import Session

_LOAD_OLDER_AFTER_S = 0.1
"""Time from the first paint of a long session to reading its older messages: keys come first."""
_ELSEWHERE = "elsewhere"  # of the worker that looks at what another lmchat writes
_SWITCH = "open"  # of the workers that show another session
_LOOK_EVERY_S = 2.0
"""Time between two looks at what another lmchat writes."""
_MARK_AFTER_S = 0.3
"""Time from a key to the search for messages left out, which reads the whole session."""


class SessionView:
    """Shows a session in memory with its queue and draft, and changes to another session."""

    def __init__(
        self,
        ui: ScreenServices,
        status: StatusDisplay,
        prompt_text: PromptText,
    ) -> None:
        self._ui = ui
        self._log = ui.widgets.log
        self._chat = ui.workspace.chat
        self._store = ui.workspace.store
        self._status = status
        self._prompt_text = prompt_text
        # texts of `Bookmark`s; "" is the end of the log
        self.bookmarks = SessionTexts(self._store.bookmark, self._store.save_bookmark)
        self._mark_timer: Timer | None = None  # runs from a key until `mark_left_out`

    @property
    def active_id(self) -> str:
        return self._chat.active.session_id

    # Messages, title and queue

    def redraw(self) -> None:
        self.show_messages()
        self.mark_left_out()
        self.show_title()
        self.show_queue()

    def show_messages(self) -> None:
        """Show the messages in the log, scrolled to their end.

        Of a long session, only the newest are in memory. The older ones are read
        `_LOAD_OLDER_AFTER_S` later, so that the first keys do not wait.
        """
        session = self._chat.active
        self._log.show(
            session.messages_so_far,
            # an answer that streams without a turn here is of another lmchat
            is_ours=session.is_running,
        )
        if not session.has_all_messages:
            load = partial(self._load_older, session)
            self._ui.start_later(
                _LOAD_OLDER_AFTER_S, lambda: self._ui.start(load, "older messages")
            )

        if not session.is_running and (elsewhere := session.streaming_ids):
            self._ui.start(partial(self._await_ends, session, elsewhere), _ELSEWHERE, is_only=True)

    async def catch_up(self) -> None:
        """Show what another lmchat has added to the active session, or chosen in it."""
        session = self._chat.active
        with suppress(SessionNotFound):  # it is in the trash, or not saved yet
            stored = await self._chat.open_sessions.find_or_load(session.session_id)
            read = Bookmark.parse(self._log.viewport.bookmark)
            if read is not None and stored.messages.find(read.message_id) is None:
                await stored.load_older()
            if (
                session is self._chat.active
                and not self._prompt_text.edited_id
                and stored.messages.leaf_id != session.messages.leaf_id
            ):
                self._chat.open_sessions.switch_to(stored)
                self.redraw()
                if read is not None:
                    self._log.go_to_bookmark(read)

    async def _await_ends(self, session: OpenSession, elsewhere: set[str]) -> None:
        """Show how answers and tool calls of another lmchat end; it may be killed."""
        while elsewhere and session is self._chat.active:
            await asyncio.sleep(_LOOK_EVERY_S)
            for message in await self._chat.open_sessions.read_ends(session, elsewhere):
                elsewhere.remove(message.message_id)
                self._log.replace(message)

    async def _load_older(self, session: OpenSession) -> None:
        if session is self._chat.active:
            await session.load_older()
        if session is self._chat.active:
            self._log.prepend_older(session.messages_so_far)
            self.mark_left_out()

    def mark_left_out(self) -> None:
        """Mark which messages a request with the typed text would leave out."""
        self._mark_timer = None
        draft = self._prompt_text.typed_prompt  # none: an edit takes the place of its message
        edited_id = self._prompt_text.edited_id
        selection = self._chat.context_window.select(self._chat.active, draft, edited_id)
        count = 0 if selection is None else selection.left_out  # of messages
        messages = () if selection is None else selection.messages
        # at the first message behind them: never the system prompt, which is always sent
        sent_ids = (message.message_id for message in messages if message.role is not Role.SYSTEM)
        self._log.mark_left_out(count, next(sent_ids, None))

    def mark_left_out_soon(self) -> None:
        """In `_MARK_AFTER_S`, once for all keys until then, show what the draft changes."""
        if self._mark_timer is None:
            self._mark_timer = self._ui.start_later(_MARK_AFTER_S, self._mark_and_show)

    def _mark_and_show(self) -> None:
        self.mark_left_out()
        self._status.refresh()  # the panel counts the draft, too

    def show_title(self) -> None:
        self._ui.widgets.show_title(safe_line(self._chat.active.header.title))

    def show_queue(self) -> None:
        self._ui.widgets.prompt_area.show_queue(self._chat.active.queue.drafts)

    # Tool calls

    def show_calls(self) -> None:
        """Show the running tool calls, and the card of the one that asks.

        `Dispatcher` calls this with each `ShowChanges`: their times change without an event. An
        answer of the card is chosen only in an empty prompt.
        """
        session = self._chat.active
        prompt_input = self._ui.widgets.prompt_input
        if prompt_input.text or self._ui.screen.focused is not prompt_input:
            self._log.calls.choice = 0
        self._log.calls.set_states(
            session.running_calls,
            asked_id=session.question.message.message_id if session.question else "",
            told=session.turn.told,
            now_s=self._ui.workspace.clock(),
        )

    def show_card(self) -> None:
        """Show the card that asks about a tool call, if there is one, to who follows the answer."""
        self._ui.app.key_queue.note_question()
        self.show_calls()
        if self._log.viewport.is_following:
            self._log.show_card()

    # Changing the session

    def start_new(self) -> None:
        """Show the new session with its draft; a running answer continues.

        If nothing has started in the active session, it stays.
        """
        self._ui.stop(_SWITCH)
        if self._chat.active.has_started:
            left_id = self.active_id
            self.leave()
            self.switch_to_new()
            self._prompt_text.show_draft(left_id)
        else:
            # another lmchat may have started sessions
            self._ui.screen.post_message(ReadSessions())
        self._ui.show_action("new session")
        self._ui.widgets.prompt_input.focus()

    def leave(self) -> None:
        """Prepare the change to another session, which the caller shows next."""
        self.keep_draft_and_position()
        self._prompt_text.cancel_edit()
        self._status.speedometer.restart()

    def switch_to_new(self) -> None:
        """Show the new session; what is typed stays in the prompt."""
        self._chat.open_sessions.switch_to_new()
        self.redraw()

    def show_path(self, session: Session) -> None:
        self._chat.open_sessions.switch_to_path(session)
        self.redraw()

    def switch_to(
        self, session_id: str, *, message_id: str = "", words: Sequence[str] = ()
    ) -> None:
        """Show another session, or a message in it with marked words."""
        self.start_switch(partial(self.go_to, session_id, message_id=message_id, words=words))

    def start_switch(self, work: Work) -> None:
        """Run work that calls `go_to`; an earlier switch is cancelled."""
        self._ui.start(work, _SWITCH, is_only=True, holds_keys=True)

    async def go_to(
        self,
        session_id: str,
        *,
        message_id: str = "",
        words: Sequence[str] = (),
        takes_prompts: bool = False,
    ) -> None:
        """Show another session. It is read first; if that fails, the active session stays.

        With a message, the path to it becomes the active one, also on the disk, which raises
        `RequestInvalid` while a turn may add messages to the active path. Else the place is shown
        where the user left the session. With `takes_prompts`, what is typed and what waits in the
        active session move into the other one.
        """
        # read all first; nothing is changed yet
        await self._chat.drafts.load(session_id)
        bookmark: Bookmark | None = None
        if message_id:
            path = await self._chat.open_sessions.choose_path(session_id, message_id)
            change_session = partial(self._chat.open_sessions.switch_to_path, path)
        else:
            session = await self._chat.open_sessions.find_or_load(session_id)
            bookmark = Bookmark.parse(await self.bookmarks.load(session_id))
            if bookmark is not None and session.messages.find(bookmark.message_id) is None:
                await session.load_older()  # it is among the older messages
            change_session = partial(self._chat.open_sessions.switch_to, session)
        # only now: until here, the user may have typed and scrolled
        typed = self._prompt_text.take_typed() if takes_prompts else ""
        self.leave()

        left = self._chat.active
        change_session()
        if takes_prompts:
            left.queue.move_to(self._chat.active.queue)
        self._prompt_text.show_draft("" if takes_prompts else left.session_id)
        self._prompt_text.put_after_draft(typed)
        self.redraw()
        self._ui.widgets.prompt_input.focus()

        # `redraw` has scrolled to the end
        if bookmark is not None:
            self._log.go_to_bookmark(bookmark)
        self.show_card()
        if message_id:
            self._log.go_to_message(message_id)
        if words:
            self._ui.widgets.find_bar.close()
            self._log.finder.mark_words(message_id, words)

    def keep_draft_and_position(self) -> None:
        """Both are saved soon."""
        self.bookmarks.change(self.active_id, self._log.viewport.bookmark)
        self._prompt_text.keep_draft()
