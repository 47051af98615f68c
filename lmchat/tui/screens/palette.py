"""The command palette: the rows of `COMMANDS` with their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from lmchat.tui.commands import COMMANDS, Command, Scope, keys_of
from lmchat.tui.screens.chat_parts import ChatParts
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.key_names import written


class CommandRows(Provider):
    """Offers what works now: a message's commands only while a message has the focus."""

    async def discover(self) -> Hits:
        """Offer everything."""
        for command in self._offered():
            yield DiscoveryHit(command.title, self._run(command), help=self._help(command))

    async def search(self, query: str) -> Hits:
        """Offer what matches."""
        matcher = self.matcher(query)
        for command in self._offered():
            score = matcher.match(command.title)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(command.title), self._run(command), help=self._help(command)
                )

    def _offered(self) -> Iterator[Command]:
        scopes = [Scope.CHAT, Scope.APP]
        if isinstance(self.focused, ChatLog) and self.focused.focused_message is not None:
            scopes.insert(0, Scope.MESSAGE)
        for scope in scopes:
            yield from (command for command in COMMANDS if command.scope is scope and command.is_offered)

    def _run(self, command: Command) -> Callable[[], object]:
        namespace = self.focused if command.scope is Scope.MESSAGE else self.screen
        if command.scope is Scope.APP:
            namespace = None
        return partial(self.app.run_action, command.action, default_namespace=namespace or self.app)

    def _help(self, command: Command) -> str:
        chat = self.app.screen_stack[0]  # it lies below everything
        overrides = chat.workspace.settings.keys if isinstance(chat, ChatParts) else {}
        parts = (written(keys_of(command, overrides)), command.slash)
        text = "   ".join(part for part in parts if part)
        return text.replace("[", r"\[")  # Textual reads it as markup, and its own `escape` leaves `[N]` alone
