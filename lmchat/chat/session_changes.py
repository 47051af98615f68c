"""Changes of a session without a turn: nothing is sent to a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from msgspec.structs import replace

from lmchat.chat.answer_beginnings import require_prefill
from lmchat.chat.open_session import OpenSession
from lmchat.chat.save_queue import SaveQueue
from lmchat.chat.sessions_in_memory import SessionsInMemory
from lmchat.chat.turn_choices import TurnChoices
from lmchat.chat.turn_starts import messages_together, rewritten
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.sessions.message import ChatMessage, Role, text_message
from lmchat.sessions.session import Session
from lmchat.storage.store import Store


class SessionChanges:
    """Changes of sessions that need no turn; the only instance is `ChatService.changes`.

    Most raise `RequestInvalid` while a turn or another change of the session runs that they would
    disturb. While they wait for the disk, no turn can begin.
    """

    def __init__(
        self,
        store: Store,
        save_queue: SaveQueue,
        in_memory: SessionsInMemory,
        turn_choices: TurnChoices,
    ) -> None:
        self._store = store
        self._save_queue = save_queue
        self._in_memory = in_memory
        self._turn_choices = turn_choices

    async def rewrite(self, opened: OpenSession, answer_id: str, text: str) -> ChatMessage:
        """Add and return another version of an answer, with a text by the user; send nothing.

        The disk may be locked for seconds, so a task saves the version; `wait_until_saved` waits
        for it. Raises `RequestInvalid` while a turn runs, and as `rewritten` does; then nothing has
        changed.
        """
        await opened.load_older(self._store)  # only the end of a long session was read
        opened.require_idle()
        branch = rewritten(opened.messages, answer_id, text)
        opened.begin_branch(branch)
        message = branch[-1]
        opened.keep_save(
            asyncio.create_task(self._save_queue.save(opened.header, message), name="save")
        )
        return message

    async def choose_path(self, session_id: str, message_id: str) -> Session:
        """Choose the newest path through a message of a session, and return it.

        The caller shows the path. Raises `RequestInvalid` while a turn may add messages to the path
        that is chosen now.
        """
        with self._in_memory.changing_path(session_id):
            return await self._store.choose_path_through(session_id, message_id)

    async def delete(self, opened: OpenSession, message_id: str) -> Session:
        """Hide a message of a session and all below it; return the session with the path to show.

        Raises `RequestInvalid` while a turn runs.
        """
        opened.require_idle()
        with opened.changing():
            return await self._store.delete_message(opened.session_id, message_id)

    async def undo_delete(self, session_id: str) -> Session | None:
        """Restore what was deleted last in a session, and return the session with the path to it.

        Return None if nothing was deleted. Raises `RequestInvalid` as `choose_path` does.
        """
        with self._in_memory.changing_path(session_id):
            deleted_id = await self._store.last_deleted_id(session_id)
            if deleted_id is None:
                return None
            return await self._store.restore_message(session_id, deleted_id)

    async def set_system_prompt(self, opened: OpenSession, text: str) -> ChatMessage:
        """Add, save and return a system prompt for the next answers; two quotes `""` remove it.

        Raises `RequestInvalid` while a turn may add messages behind the last one.
        """
        opened.require_free_end()
        content = "" if text == '""' else text
        message = text_message(Role.SYSTEM, content, parent_id=opened.leaf_id)
        opened.add(message)
        await self._save_queue.save(opened.header, message)
        return message

    def use_first_words(self, opened: OpenSession, words: str) -> None:
        """Let the next answer of a session begin with words; blank words take them back.

        Blanks at their end are left out (R-43). Raises `RequestInvalid` if the server in use cannot
        continue them, and `WrongUse` if there are no words to take back.
        """
        words = words.rstrip()
        if not words and not opened.first_words:
            raise WrongUse("Type a text after /start.", hint="The next answer begins with it.")
        target = self._turn_choices.target
        if words and target is not None:  # without a server, the turn checks it
            require_prefill(target)
        opened.first_words = words

    async def toggle_excluded(self, opened: OpenSession, message_id: str) -> list[ChatMessage]:
        """Take a message out of requests, or put it back, on the disk and on the path.

        An answer with tool calls is taken out and put back together with their results. Return the
        changed messages; none if the message is not on the path. If the disk fails, the error is
        raised, and nothing has changed. Raises `RequestInvalid` while a turn runs, which may need
        the messages.
        """
        opened.require_idle()
        with opened.changing():
            await self._save_queue.write_unsaved()  # only messages on the disk can be marked there
            together = messages_together(opened.messages, message_id)
            if together:
                is_excluded = not together[0].is_excluded
                ids = [message.message_id for message in together]
                await self._store.set_excluded(opened.session_id, ids, is_excluded=is_excluded)
                together = [replace(message, is_excluded=is_excluded) for message in together]
                for message in together:
                    opened.replace(message)
        return together

    async def set_sampling(self, opened: OpenSession, options: Mapping[str, object]) -> None:
        """Give a session other sampling options from the next answer on, and save them.

        The options of a new session are saved with its first message. If the disk fails, the error
        is raised, but the session in memory keeps the options.
        """
        opened.change_header(sampling=options)
        await self._save_queue.write_unsaved()  # the first message creates the session
        with suppress(SessionNotFound):  # a new session
            await self._store.update_session(opened.session_id, {"sampling": options})
