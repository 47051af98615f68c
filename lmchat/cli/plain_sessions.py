"""Slash commands of the plain chat for the shown session and the saved ones."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.cli.export import export_session
from lmchat.cli.output import SHORT_ID, local_time
from lmchat.cli.plain_turns import PlainTurns
from lmchat.cli.sessions import rename_session, search_library
from lmchat.domain.message import Role
from lmchat.domain.session import SessionHeader
from lmchat.errors import WrongUse
from lmchat.services.exporting import BY_NAME, MARKDOWN
from lmchat.services.library import Library
from lmchat.tui.message_needs import NOTHING_YET

_MAX_SESSIONS = 30  # in a list
_MAX_HITS = 20


class PlainSessions:
    """Handlers of the commands; each gets the argument, which may be empty."""

    def __init__(self, turns: PlainTurns) -> None:
        self._turns = turns
        self._output = turns.output
        self._library = Library(turns.runtime.store)
        self._listed: Sequence[SessionHeader] = ()  # what the last list showed

    async def begin(self, _: str) -> None:
        """Begin a new session, and show it from now on."""
        self._turns.sessions.begin()
        if self._turns.next_prompt.draft_id:  # an empty id is that of a new session's draft
            self._turns.next_prompt.leave_draft()
        self._output.note("New session.")

    async def open(self, argument: str) -> None:
        """Show a saved session and offer its draft; without an argument, list the newest ones.

        The argument is a number of the last list, or an id, its beginning, or `last`.
        """
        if not argument:
            await self._list_newest()
            return
        id_or_prefix = argument  # also of digits only, if the list has no such number
        if argument.isdecimal() and 0 < int(argument) <= len(self._listed):
            id_or_prefix = self._listed[int(argument) - 1].session_id
        session_id = await self._turns.runtime.store.find(id_or_prefix)
        sessions = self._turns.sessions
        sessions.show(await sessions.load(session_id))
        await self.show()
        await self._turns.catch_up()

    async def _list_newest(self) -> None:
        """Print the newest sessions with a number each, which `open` takes."""
        headers = await self._turns.runtime.store.list_sessions()
        self._listed = headers[:_MAX_SESSIONS]
        lines = [
            f"{number}. {_session_words(header)}" for number, header in enumerate(self._listed, 1)
        ]
        self._output.print_lines(lines or ["There are no saved sessions."])

    async def show(self) -> None:
        """At a terminal, print the title of the shown session and the last two of its messages.

        Then offer the draft of the session. On a pipe, do nothing.
        """
        if not self._turns.is_terminal:
            return
        conversation = self._turns.conversation
        if conversation.messages:
            self._output.note(f"Session: {_session_words(conversation.header)}")
        for message in conversation.messages[-2:]:
            is_prompt = message.role is Role.USER
            self._output.note("You:" if is_prompt else f"{message.model or message.role}:")
            self._turns.print_saved(message)
        # the draft of a session without a message is saved under an empty id
        await self._offer_draft(conversation.header.session_id if conversation.messages else "")

    async def _offer_draft(self, session_id: str) -> None:
        """Load the draft of a session, put its text on the next line, and attach its files.

        The user can edit the text there. A note says so if there is a text.
        """
        sessions = self._turns.sessions
        next_prompt = self._turns.next_prompt
        next_prompt.leave_draft()
        next_prompt.draft_id = session_id
        draft = await sessions.drafts.load(session_id)
        next_prompt.text, files = sessions.files.split(draft)
        next_prompt.draft_files = files
        for file in files:
            self._turns.add_file(file)
        if next_prompt.text:
            words = "edit it, or press Enter to send it."
            self._output.note(f"Your draft is on the next line; {words}")

    async def export(self, file: str) -> None:
        """Write the shown session into a file, whose name gives the format.

        Without a name, print the session as Markdown. Raises `WrongUse` before its first message.
        """
        await export_session(
            self._library,
            self._output,
            self._saved_id(),
            BY_NAME if file else MARKDOWN,
            file=file or None,
        )

    async def rename(self, title: str) -> None:
        """Change the title of the shown session; raises `WrongUse` before its first message."""
        await rename_session(self._library, self._output, self._saved_id(), title)
        self._turns.conversation.rename(title)  # its header in memory, which is saved again later

    async def search(self, query: str) -> None:
        """Search the text of all saved sessions, and print the first hits."""
        await search_library(self._library, self._output, query, limit=_MAX_HITS)

    def _saved_id(self) -> str:
        """Return the id of the shown session; raises `WrongUse` before its first message.

        Before that message, the session is not in the store.
        """
        conversation = self._turns.conversation
        if not conversation.messages:
            raise WrongUse(NOTHING_YET)
        return conversation.header.session_id


def _session_words(header: SessionHeader) -> str:
    """Return the line of a list that describes a session."""
    fork = " (fork)" if header.parent_id else ""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    title = header.title or "Untitled"
    return f"“{title}”{fork}, {header.message_count} messages, {changed}, {short_id}"
