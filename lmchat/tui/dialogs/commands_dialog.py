"""Palette and help: one list of commands and keys, to be filtered, read, and run with Enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from msgspec import Struct

from lmchat.commands.table import BY_ID, COMMANDS, Command, Scope, keys_of
from lmchat.config.settings import Settings
from lmchat.matching import FuzzyMatch, fuzzy_match
from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.key_bar import written
from lmchat.tui.widgets.line import MUTED, STRONG, highlighted
from lmchat.tui.widgets.row_list import NAME, ListRow, edge_row

_WIDE = 70  # columns from which a row has both the key and the slash command


class CommandItem(Struct, frozen=True):
    """Item of the list: a command, or a key that is only explained."""

    title: str
    keys: str = ""  # as people write them; several are divided by commas
    slash: str = ""  # the slash command with the form of its argument
    command: Command | None = None  # what Enter runs; None for a key that is only explained
    argument: str = ""


class CommandsDialog(ListDialog):
    """List of items below headings; returns the chosen one.

    Typed text filters the items: the best match comes first, and there are no headings.
    """

    HINTS = (("Enter", "run it"), ("↑ ↓", "choose"))
    PLACEHOLDER = "Type part of a name, or a key"

    def __init__(self, heading: str, groups: Mapping[str, Sequence[CommandItem]]) -> None:
        """Create the dialog.

        `groups` are items by the heading above them; an empty heading is not shown.
        """
        super().__init__(heading)
        self._groups = groups

    def draw(self) -> None:
        """Draw the groups, or what matches the typed text; the first row is chosen."""
        rows: list[ListRow] = []
        if self.typed:
            all_items = chain.from_iterable(self._groups.values())
            matches = [
                (item, found)
                for item in all_items
                if (found := _match(self.typed, item)) is not None
            ]
            matches.sort(key=lambda match: match[1].score, reverse=True)
            rows += [self._row(item, found.offsets) for item, found in matches]
        else:
            for heading, items in self._groups.items():
                if rows:
                    rows.append(ListRow())  # a blank one between two groups
                if heading:  # an empty one is not shown
                    rows.append(edge_row(heading, STRONG))
                rows += [self._row(item) for item in items]
        first = next((row.key for row in rows if row.key is not None), None)
        nothing = f"No command matches “{safe_line(self.typed, limit=30)}”. Backspace shows all."
        self.show_rows(rows, choose=first, nothing=nothing)

    def _row(self, item: CommandItem, offsets: Sequence[int] = ()) -> ListRow:
        """Return the row of an item: its title, and its keys and slash command at the right.

        On a narrow screen, only the first of these two is shown.
        """
        shortcuts = [*filter(None, (item.keys, item.slash))]
        if self.list.text_width < _WIDE:
            shortcuts = shortcuts[:1]
        title = highlighted(item.title, offsets, NAME)
        indented_title = ((" ", ""), *title)
        return ListRow(
            pieces=(indented_title,),
            right=((f"{'   '.join(shortcuts)} ", MUTED),),
            key=item,
        )


def _match(typed: str, item: CommandItem) -> FuzzyMatch | None:
    """Match the typed text with the title, slash command and keys of an item; the best counts.

    Offsets are the indices of the typed characters in the title. If these are found only in the
    slash command or the keys, there are none, since nothing else than the title is highlighted.
    """
    name = item.slash.partition(" ")[0]  # without the form of its argument
    in_title = fuzzy_match(typed, item.title)
    others = (fuzzy_match(typed, name), fuzzy_match(typed, item.keys))
    scores = [match.score for match in (in_title, *others) if match is not None]
    offsets = () if in_title is None else in_title.offsets
    return FuzzyMatch(score=max(scores), offsets=offsets) if scores else None


def item_of(command: Command, overrides: Mapping[str, str], subject: str = "") -> CommandItem:
    """Return the item of a command; the title begins with the subject, as `Last answer`.

    `overrides` are the keys of the configuration, by command id. Enter runs the command, unless it
    only works within a log, list or dialog that has the focus.
    """
    title = f"{subject}: {command.title}" if subject else command.title
    return CommandItem(
        title=title,
        keys=written(keys_of(command, overrides)),
        slash=command.slash,
        command=None if command.action else command,
    )


def named_items(settings: Settings) -> list[CommandItem]:
    """Return an item for each preset and profile of the configuration."""
    names = (("preset", settings.prompts), ("profile", settings.profiles))
    return [
        CommandItem(
            title=safe_line(f"{command_id.title()}: {name}"),
            slash=safe_line(f"{BY_ID[command_id].name} {name}"),
            command=BY_ID[command_id],
            argument=name,
        )
        for command_id, configured in names
        for name in configured
    ]


def help_groups(overrides: Mapping[str, str]) -> dict[str, list[CommandItem]]:
    """Return all commands and keys, by heading, in the order of the help.

    `overrides` are the keys of the configuration, by command id. The nine commands `model_…`, for
    the recent models, have one row.
    """
    groups = {"The prompt": _PROMPT, "Reading": _READING}
    for scope in Scope:  # each is a text: the heading of its commands
        note = "; slash commands act on the last answer" if scope is Scope.MESSAGE else ""
        groups[f"{scope}{note}"] = [
            item_of(command, overrides)
            for command in COMMANDS
            if command.scope is scope and not command.command_id.startswith("model_")
        ]
    groups[Scope.CHAT].append(
        CommandItem("Switch to a recent model by its number", "Alt+1 … Alt+9")
    )
    return groups | {"Find in this session": _FIND, "The mouse in the chat": _MOUSE}


# keys and clicks that are no commands of the table, and are only explained

_PROMPT = [
    CommandItem("Send; queue it while an answer streams", "Enter"),
    CommandItem("New line; also Shift+Enter if the terminal supports it", "^J, Alt+Enter"),
    CommandItem("In an empty prompt: earlier prompts", "↑"),
    CommandItem("At the start of a line: commands; Tab completes them", "/"),
    CommandItem("A file by a part of its name", "@"),
    CommandItem("At the start of a line: a command of your shell", "!"),
    CommandItem("Undo", "^Z"),
]
_READING = [
    CommandItem("Scroll, also from the prompt", "PageUp, PageDown"),
    CommandItem("To the start or end; also from an empty prompt", "Home, End"),
    CommandItem("With a message focused: scroll by a line", "↑ ↓"),
    CommandItem("Scroll; at the end, follow the answer again", "Wheel"),
]
_FIND = [
    CommandItem("Next hit", "Enter, ↓"),
    CommandItem("Previous hit", "↑, Shift+Enter"),
    CommandItem("Go to the hit; there use n and N", "Tab"),
    CommandItem("Close; the words are kept for next time", "Esc"),
]
_MOUSE = [
    CommandItem("Select; drag past the edge to scroll", "Drag"),
    CommandItem("Select a word, a paragraph", "2 or 3 clicks"),
    CommandItem("The terminal's own selection, in most terminals", "Shift+drag"),
]
