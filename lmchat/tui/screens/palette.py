"""Command palette: the rows of `COMMANDS` with their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from lmchat.tui.commands import COMMANDS, Command, Scope, keys_of
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import written

_OF_THE_LAST = ("message.copy", "message.regenerate", "message.fork")
_OF_ALL = ("message.tree", "message.undo")


class CommandRows(Provider):
    """Provider of the commands that apply now, also to the focused message or the last answer."""

    async def discover(self) -> Hits:
        for command, title in self._offered():
            yield DiscoveryHit(title, self._run(command), help=self._help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command, title in self._offered():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), self._run(command), help=self._help(command))

    def _offered(self) -> Iterator[tuple[Command, str]]:
        """Yield the commands that apply now, those of a focused message first."""
        has_focus = isinstance(self.focused, ChatLog) and self.focused.focused_message is not None
        whose = "This message" if has_focus else "Last answer"
        others = [
            (command, command.title)
            for scope in (Scope.CHAT, Scope.APP)
            for command in COMMANDS
            if command.scope is scope
            and command.is_offered
            and not (has_focus and command.command_id == "copy")
        ]
        acts = [
            (command, command.title if command.command_id in _OF_ALL else f"{whose}: {command.title}")
            for command in COMMANDS
            if self._makes_sense(command)
        ]
        if not has_focus:  # the rows of the chat have these three under their own names
            acts = [(command, title) for command, title in acts if command.command_id not in _OF_THE_LAST]
        yield from (*acts, *others) if has_focus else (*others, *acts)

    def _makes_sense(self, command: Command) -> bool:
        chat = self.screen
        if not (command.scope is Scope.MESSAGE and command.is_offered and isinstance(chat, ChatScreen)):
            return False
        kind, _, name = command.command_id.partition(".")
        is_act = command.action == f"{kind}({name!r})"
        return not chat.messages.why_not(name) if is_act else isinstance(self.focused, ChatLog)

    def _run(self, command: Command) -> Callable[[], object]:
        is_of_log = command.scope is Scope.MESSAGE and not command.action.startswith("message(")
        namespace = self.focused if is_of_log else self.screen
        if command.scope is Scope.APP:
            namespace = None
        return partial(self.app.run_action, command.action, default_namespace=namespace or self.app)

    def _help(self, command: Command) -> str:
        chat = self.app.screen_stack[0]  # it lies below everything
        overrides = chat.workspace.settings.keys if isinstance(chat, ChatScreen) else {}
        parts = (written(keys_of(command, overrides)), command.slash)
        text = "   ".join(part for part in parts if part)
        return text.replace("[", r"\[")  # Textual reads it as markup, and its own `escape` leaves `[N]` alone
