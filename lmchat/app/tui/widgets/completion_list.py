"""List of commands or files above the prompt, over the end of the log.

`PromptInput` handles the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from lmchat.app.commands.table import SLASH_COMMANDS, Command, Scope
from lmchat.app.tui.widgets.key_bar import written
from lmchat.app.tui.widgets.line import MUTED, cut_middle
from lmchat.app.tui.widgets.row_list import NAME, ListRow, RowList, text_row


class Completion(Struct, frozen=True):
    """Rows that match the typed word, best first, and the chosen one.

    A row is a command, or a text: a path, or a command with a name, such as `/profile fast`.
    """

    rows: tuple[Command | str, ...] = ()
    chosen: int = 0
    is_choice: bool = False  # the user has moved to the row
    text: str = ""  # shown without rows

    @property
    def row(self) -> Command | str:
        """Return the chosen row; there must be one."""
        return self.rows[self.chosen]


CLOSED = Completion()
_MOST_ROWS = 8


def complete(text: str, argument_names: Mapping[str, Iterable[str]]) -> Completion:
    """Return the commands that start with `text`, as `/mod`.

    If there are none, return those that `mod` starts a word of, or is a part of; first comes one
    that has this name in other programs.

    `argument_names` has the names that may follow some commands: for `/profile co`, each row is the
    command with a name that starts so.
    """
    word, space, typed = text.partition(" ")
    if space and word in argument_names:
        fitting_names = [name for name in argument_names[word] if name.startswith(typed)]
        return Completion(tuple(f"{word} {name}" for name in fitting_names))
    if not text.startswith("/") or any(char.isspace() for char in text):
        return CLOSED
    matching = [command for command in SLASH_COMMANDS if command.name.startswith(text)]
    if not matching:
        matching = [
            command
            for command in SLASH_COMMANDS
            if text[1:] in command.name
            or any(word.lstrip("/").startswith(text[1:]) for word in command.words.split())
        ]
        matching.sort(key=lambda command: text not in command.aliases)
    return Completion(tuple(matching))


class CompletionList(RowList):
    """Rows of slash commands or files.

    It lies over what is above the prompt, as high as its rows, so that nothing moves.
    """

    def __init__(self, user_keys: Mapping[str, str]) -> None:
        super().__init__()
        self._user_keys = user_keys

    def show_completion(self, completion: Completion) -> None:
        """Show commands with title and key, and files or names; without anything, hide the list.

        A long file or name is cut in its middle, to half of the screen.
        """
        self.display = bool(completion.rows or completion.text)
        if not self.display:
            return
        commands = [row for row in completion.rows if isinstance(row, Command)]
        width = max((len(command.name) for command in commands), default=0)
        rows = [] if completion.rows else [text_row(f" {completion.text}", MUTED)]
        for row in completion.rows:
            if isinstance(row, Command):
                parts = ((f" {row.name:<{width}}", NAME), (f"   {row.title}", MUTED))
                key = ""
                if row.scope is not Scope.MESSAGE:  # the keys of these are letters in the prompt
                    key = self._user_keys.get(row.command_id) or written(row.keys.partition(",")[0])
                right = ((key, MUTED),) if key else ()
                rows.append(ListRow(pieces=(parts,), right=right, key=row))
            else:
                name = cut_middle(row, self.screen.size.width // 2)
                # Enter sends the words as typed, until the user has moved to a row
                is_for_tab = row == completion.row and not completion.is_choice
                rows.append(text_row(f" {name}", right="Tab" if is_for_tab else "", key=row))
        height = min(len(rows), _MOST_ROWS, max(self.screen.size.height // 3, 1))
        self.styles.height = height
        self.styles.offset = (0, -height)
        self.show(rows, choose=completion.row if completion.rows else None)
