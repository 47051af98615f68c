"""Command palette: the rows of `COMMANDS` that apply now, with their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lmchat.text import Match, match, safe_line
from lmchat.tui.commands import COMMANDS, Command, Scope, keys_of
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.screens.model_picker import highlighted
from lmchat.tui.widgets.keys_row import written
from lmchat.tui.widgets.line import MUTED, Parts
from lmchat.tui.widgets.row_list import NAME, ListRow

_OF_THE_LAST = ("message.copy", "message.regenerate", "message.fork")
_OF_ALL = ("message.tree", "message.undo")
_WIDE = 70
_NAME_LENGTH = 40

Offer = tuple[Command, str]  # a command, and what it is called now


class Palette(ListDialog[Command | None]):
    """List of commands with a fuzzy filter; returns the chosen one."""

    HEADING = "Commands"
    HINTS = (("Enter", "run it"), ("↑ ↓", "choose"))
    PLACEHOLDER = "Type part of a name"

    def __init__(self, offers: Sequence[Offer] = (), keys: Mapping[str, str] | None = None) -> None:
        """Create the palette; `keys` are the configuration's overrides by command id."""
        super().__init__()
        self._offers = offers
        self._keys = keys or {}

    def draw(self) -> None:
        if not self.can_show:
            return
        typed = self.typed
        matches = [(found, *offer) for offer in self._offers if (found := _match(typed, *offer))]
        matches.sort(key=lambda row: -row[0].score)
        rows = [
            ListRow(
                (((" ", ""), *highlighted(title, found.offsets, NAME)),),
                self._help(command),
                command,
            )
            for found, command, title in matches
        ]
        nothing = f"No command matches “{safe_line(typed, limit=30)}”. Backspace shows all."
        self.show_rows(rows, choose=rows[0].key if rows else None, nothing=nothing)

    def _help(self, command: Command) -> Parts:
        words = (written(keys_of(command, self._keys)), command.slash)
        shown = [word for word in words if word][: 2 if self.list.text_width >= _WIDE else 1]
        return ((f"{'   '.join(shown)} ", MUTED),)

    def action_take(self) -> None:
        if isinstance(self.list.key, Command):
            self.dismiss(self.list.key)


def _match(typed: str, command: Command, title: str) -> Match | None:
    """Match the title, else the slash command, which is not highlighted."""
    by_name = match(typed, command.name)
    return match(typed, title) or (by_name and Match(score=by_name.score, offsets=()))


def offers(chat: ChatScreen | None) -> list[Offer]:
    """Return the commands that apply now, those of a focused message first; None: the chat is not shown."""
    has_focus = (
        chat is not None
        and chat.widgets.has_log_focus
        and chat.widgets.log.focused_message is not None
    )
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
        if command.scope is Scope.MESSAGE
        and command.is_offered
        # without the focus, the rows of the chat have these three under their own names
        and (has_focus or command.command_id not in _OF_THE_LAST)
        and chat is not None
        and not chat.messages.unavailable_reason(command.command_id.partition(".")[2])
    ]
    named = [(command, command.title) for command in _configured(chat)] if chat is not None else []
    return [*acts, *others, *named] if has_focus else [*others, *named, *acts]


def _configured(chat: ChatScreen) -> Iterator[Command]:
    """Yield a command for each preset and profile of the configuration."""
    settings = chat.workspace.settings
    for name in settings.prompts:
        yield _row("preset", name, f"/p {name}", f"slash({f'/p {name} '!r})")
    for name in settings.profiles:
        yield _row("profile", name, f"/profile {name}", f"use_profile({name!r})")


def _row(kind: str, name: str, slash: str, action: str) -> Command:
    title = f"{kind.capitalize()}: {safe_line(name, limit=_NAME_LENGTH)}"
    return Command(
        command_id=f"{kind}.{name}",
        keys="",
        label=kind,
        title=title,
        scope=Scope.CHAT,
        action=action,
        slash=safe_line(slash, limit=_NAME_LENGTH),
    )
