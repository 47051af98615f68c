"""Palette and help: one list of commands and keys, to be filtered, read, and run with Enter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from lmchat.app.commands.table import BY_ID, COMMANDS, FIRST_COMMANDS, Command, Scope, keys_of
from lmchat.app.markdown_lines.wrap import width_of
from lmchat.app.tui.dialogs.dialog import ListDialog
from lmchat.app.tui.widgets.key_bar import Hint, written
from lmchat.app.tui.widgets.line import MUTED, StyledTexts, highlighted, parted
from lmchat.app.tui.widgets.row_list import ASIDE, NAME, Column, ListRow, aligned, edge_row
from lmchat.base.matching import folded, fuzzy_match
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import Settings

_WIDE = 70  # columns from which a row has both the key and the slash command
_GAP = 3  # cells
_BESIDE_TITLE = 3  # cells: the bar of the row, and two before the columns


class CommandItem(Struct, frozen=True):
    """Item of the list: a command, or a key that is only explained."""

    title: str
    keys: str = ""  # as people write them; several are divided by commas
    slash: str = ""  # the slash command with the form of its argument
    command: Command | None = None  # what Enter runs; None for a key that is only explained
    argument: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the slash command, without the slash."""
        aliases = self.command.aliases if self.command else ()
        return [name.removeprefix("/") for name in (self.slash.partition(" ")[0], *aliases)]

    @property
    def words(self) -> list[str]:
        words = self.command.words if self.command else ""
        return re.findall(r"\w+", folded(f"{self.title} {self.slash} {words}"))


class CommandsDialog(ListDialog):
    """List of items below headings; returns the chosen one.

    Typed text filters the items: the best match comes first, and there are no headings.
    """

    HINTS = (("Enter", "run"), ("↑ ↓", "choose"))
    PLACEHOLDER = "Type part of a name, or a key"

    def __init__(self, heading: str, groups: Mapping[str, Sequence[CommandItem]]) -> None:
        """`groups` are items by the heading above them."""
        super().__init__(heading)
        self._groups = groups

    def draw(self) -> None:
        """The first row is chosen."""
        items = [*chain.from_iterable(self._groups.values())]
        # laid out for all items, so that nothing moves while the user types
        heads, *shortcuts = self._columns(items)
        shortcuts_of = dict(zip(map(id, items), shortcuts, strict=True))
        rows: list[ListRow] = []
        figures = f"{len(items)}"
        if self.typed:
            matches = [(*found, item) for item in items if (found := _match(self.typed, item))]
            matches.sort(key=itemgetter(0))
            for _, offsets, item in matches:
                rows += self._rows_of(item, shortcuts_of[id(item)], offsets)
            figures = f"{len(matches)} of {figures}"
        else:
            for heading, group in self._groups.items():
                if rows:
                    rows.append(ListRow())  # a blank one between two groups
                rows.append(edge_row(f" {heading}", f"bold {MUTED}"))
                for item in group:
                    rows += self._rows_of(item, shortcuts_of[id(item)])
        if self.typed and rows:
            rows.insert(0, edge_row(""))
        if rows:
            rows[0] = replace(rows[0], right=heads)
        first = next((row.key for row in rows if row.key is not None), None)
        self.show_rows(
            rows,
            figures,
            choose=first,
            nothing=f"No command matches “{safe_line(self.typed, limit=30)}”. Backspace shows all.",
        )

    def hints_now(self) -> Sequence[Hint]:
        item = self.list.key
        is_explained = isinstance(item, CommandItem) and item.command is None
        return self.HINTS[1:] if is_explained else super().hints_now()

    def _columns(self, items: Sequence[CommandItem]) -> list[StyledTexts]:
        """Return the heads of the columns, then for each item its key and its slash command.

        On a narrow screen, one column has the key, or else the slash command.
        """
        heads = [Column("Key"), Column("Command")]
        cells = [[(item.keys, ASIDE), (item.slash, ASIDE)] for item in items]
        if self.list.text_width < _WIDE:
            del heads[1]
            cells = [[(item.keys or item.slash, ASIDE)] for item in items]
        return aligned(heads, cells, self.list.text_width, _GAP)

    def _rows_of(
        self, item: CommandItem, shortcuts: StyledTexts, offsets: Sequence[int] = ()
    ) -> list[ListRow]:
        """A title without room continues in a second row."""
        room = self.list.text_width - width_of(shortcuts) - _BESIDE_TITLE
        title, rest = parted(item.title, room)
        texts = highlighted(title, offsets, NAME)
        rows = [ListRow(pieces=(texts,), right=shortcuts, key=item)]
        if rest:
            offsets_in_rest = [offset - len(title) - 1 for offset in offsets]
            texts = (("  ", ""), *highlighted(rest, offsets_in_rest, NAME))
            rows.append(ListRow(pieces=(texts,), key=item))
        return rows


def _match(typed: str, item: CommandItem) -> tuple[tuple[int, int, int], list[int]] | None:
    """Each typed word has to be one of the item, start one, or be a part of one, or of its keys.

    Return how well it fits, the best least, and what is highlighted in the title. The name of its
    slash command fits best. Then the worst word counts, then the place in the title.
    """
    kinds: list[int] = []
    offsets: list[int] = []
    title = folded(item.title)
    keys = folded(item.keys)
    for word in folded(typed).split():
        name = word.removeprefix("/")
        fits = (
            name in item.names,
            word in item.words,
            any(known.startswith(name) for known in item.words),
            word in title or word in keys or any(name in known for known in item.words),
        )
        if True not in fits:
            return None
        kinds.append(fits.index(True))
        found = fuzzy_match(word, item.title) if word in title else None
        offsets += found.offsets if found else ()
    return (max(kinds, default=0), not offsets, min(offsets, default=0)), offsets


def item_of(command: Command, overrides: Mapping[str, str]) -> CommandItem:
    """`overrides` are the keys of the configuration, by command id.

    Enter runs the command, unless it only works within a log, list or dialog that has the focus.
    """
    return CommandItem(
        title=command.title,
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
    """Return all commands and keys, by heading: those of the first week, the others by place.

    `overrides` are the keys of the configuration, by command id. The nine commands `model_…`, for
    the recent models, have one row.
    """
    first = [item_of(BY_ID[name], overrides) for name in FIRST_COMMANDS]
    groups = {"First": [_SEND, *first], "The prompt": _PROMPT, "Reading": _READING}
    for scope in Scope:  # each is a text: the heading of its commands
        note = " (/: the last answer)" if scope is Scope.MESSAGE else ""
        groups[f"{scope}{note}"] = [
            item_of(command, overrides)
            for command in COMMANDS
            if command.scope is scope
            and command.command_id not in FIRST_COMMANDS
            and not command.command_id.startswith("model_")
        ]
    groups[Scope.CHAT].append(
        CommandItem("Switch to a recent model by its number", "Alt+1 … Alt+9")
    )
    return groups | {"Find in this session": _FIND, "The mouse in the chat": _MOUSE}


# only explained: these are no commands of the table

_SEND = CommandItem("Send; queue it while an answer streams", "Enter")
_PROMPT = [
    CommandItem("New line; also Shift+Enter if the terminal supports it", "^J, Alt+Enter"),
    CommandItem("In an empty prompt: earlier prompts", "↑"),
    CommandItem("At the start of a line: commands; Tab completes them", "/"),
    CommandItem("A file by a part of its name", "@"),
    CommandItem("At the start of a line: a command of your shell", "!"),
    CommandItem("Undo; redo", "^Z, ^Y"),
    CommandItem("In an empty prompt: the answers to a tool", "Tab, ← →, Enter"),
]
_READING = [
    CommandItem("Scroll, also from the prompt", "PgUp, PgDn"),
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
    CommandItem("Mark a message; the words shown then act on it", "Click"),
    CommandItem("The terminal's own selection, in most terminals", "Shift+drag"),
]
