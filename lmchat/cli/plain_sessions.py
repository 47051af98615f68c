"""Slash commands of the plain chat for the shown session and the saved ones."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.cli.plain_turns import PlainTurns
from lmchat.sessions.message import Role
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.output import SHORT_ID, local_time

_MAX_SESSIONS = 30  # in a list


class PlainSessions:
    """Handlers of the commands; each gets the argument, which may be empty."""

    def __init__(self, turns: PlainTurns) -> None:
        self._turns = turns
        self._output = turns.output
        self._listed: Sequence[SessionHeader] = ()  # what the last list showed

    async def begin(self, _: str) -> None:
        """Begin a new session, and show it from now on."""
        self._turns.sessions.begin()
        self._output.note("New session.")

    async def open(self, argument: str) -> None:
        """Show a saved session; without an argument, list the newest ones.

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
        """At a terminal, print the title of the shown session and the last two of its messages."""
        if not self._turns.is_terminal:
            return
        opened = self._turns.opened
        if opened.messages:
            self._output.note(f"Session: {_session_words(opened.header)}")
        for message in opened.messages[-2:]:
            is_prompt = message.role is Role.USER
            self._output.note("You:" if is_prompt else f"{message.model or message.role}:")
            self._turns.print_saved(message)


def _session_words(header: SessionHeader) -> str:
    """Return the line of a list that describes a session."""
    fork = " (fork)" if header.parent_id else ""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    title = header.title or "Untitled"
    return f"“{title}”{fork}, {header.message_count} messages, {changed}, {short_id}"
