"""Input of the prompt.

Enter sends the text, other forms of Enter break the line, and ↑ recalls earlier prompts. While a
command or the name of a file is typed, a `Completion` holds what it may become: the prompt handles
the keys of the list above it. A folded block is a long text or the mark of a file, shown as one
line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from textual import events, on
from textual.message import Message
from textual.reactive import var
from textual.widgets import TextArea
from textual.worker import Worker

from lmchat.app.commands.table import Command
from lmchat.app.commands.typed_line import is_command, is_shell_command
from lmchat.app.tui.messages import AppMessage
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.widgets.completion_list import CLOSED, Completion, complete
from lmchat.app.tui.widgets.placeholders import Placeholders
from lmchat.app.tui.widgets.prompt_editor import PromptEditor
from lmchat.app.tui.widgets.prompt_history import PromptHistory
from lmchat.base import units
from lmchat.base.matching import fuzzy_match
from lmchat.base.safe_text import without_controls
from lmchat.core.sessions.prompts import PendingPrompt, position_of_files


async def _find_none(_typed: str) -> tuple[str, ...]:
    return ()


FOLDED_FROM = 50_000  # characters; longer pastes are folded, as they make every key slow
_HISTORY_STEPS = {"up": 1, "down": -1}  # 1 is a step to an earlier prompt
_LOG_ACTIONS = {
    "pageup": "page_up",
    "pagedown": "page_down",
    "home": "scroll_home",
    "end": "scroll_end",
}
_CHOICE_KEYS = ("tab", "left", "right", "enter")
_FILE_COMMAND = "/file "
# a file's name starts before the cursor; one with blanks is in quotes
_MENTION = r'(?:^|\s)@("[^"]*"?|\S*)$'
# as terminals paste a dropped file
_LIKE_PATH = r"""\s*['"]?(?:file://|~?/|~\\|[A-Za-z]:[/\\])"""


class PromptInput(PromptEditor):
    """One to ten rows of text, fewer in a low window.

    In the shell mode, Enter runs the line in the user's shell. A `!` typed into an empty prompt
    starts it. For a line with `!` from elsewhere, such as a paste, the first Enter starts it: the
    user sees that it is a command before it runs.

    `text` has folded blocks as lines, `full_text` has the blocks.
    """

    class Submitted(AppMessage):
        """Enter was pressed; what is submitted has left the prompt."""

        prompt: PendingPrompt  # its draft is never blank

    class CommandEntered(AppMessage):
        """Enter was pressed at a command, which has left the prompt."""

        line: str  # `/command argument` or `!COMMAND`
        prompt: PendingPrompt  # the one that stays

    class Drafted(AppMessage):
        """The text has changed; receivers read `full_text`."""

        IS_LATEST_ENOUGH = True

    class FileNamed(AppMessage):
        """A file was chosen after `@`, or a text was pasted that may be paths of files."""

        text: str  # `@` with the name, or the pasted text
        path: str  # "" for a pasted text
        prompt: PendingPrompt
        is_in_sentence: bool = False  # there the name stays, without its `@`

    class ScrollRequested(AppMessage):
        """Request to scroll the log, by a key that has nothing to scroll here."""

        action: str  # of Textual, as `page_up`

    class ChoiceKeyPressed(AppMessage):
        """A key was pressed that can choose the answer to a tool call, as the prompt is empty."""

        key: str  # of `_CHOICE_KEYS`

    class QueuedRequested(AppMessage):
        """Request to take the newest prompt out of the queue."""

        is_edited: bool  # it comes into the prompt field; else it is dropped

    is_shell = var(False)
    completion = var(CLOSED)

    def __init__(self) -> None:
        super().__init__(id="prompt", soft_wrap=True, highlight_cursor_line=False)
        self.earlier = PromptHistory()
        # then ↑ and Del in an empty prompt act on the newest queued one
        self.has_queue = False
        self.find_files: Callable[[str], Awaitable[tuple[str, ...]]] = _find_none
        """Returns matching files, best first; `Dispatcher` sets it."""
        self.argument_names: Mapping[str, Iterable[str]] = {}
        """Names that can follow a slash command, such as presets for `/p`; `Dispatcher` sets it."""
        self.prompt = PendingPrompt()
        """The one that is typed."""
        self._blocks = Placeholders()
        self._is_list_dismissed = False  # it stays closed, as after Esc
        # text and cursor for which the list was made
        self._listed_for: tuple[str, object] = ("", None)
        self._shown_draft = ""  # as `show_draft` has shown it, with its blocks folded

    @property
    def full_text(self) -> str:
        """Return the text with the blocks in place of their lines, as it would be sent."""
        return self._blocks.unfold(self.text)

    @property
    def is_being_written(self) -> bool:
        """Whether the text is not the unchanged draft of the session."""
        return bool(self.text) and self.text != self._shown_draft

    @property
    def is_recalled(self) -> bool:
        """Whether it is an earlier prompt as it was, which is no draft."""
        return self.earlier.is_recalled(self.text)

    @property
    def typed_command(self) -> str:
        """Return `/COMMAND` or `!COMMAND` if only folded blocks are beside it, else ""."""
        line = self._command_words.rstrip()
        return line if is_command(line) or is_shell_command(line) else ""

    @property
    def _command_words(self) -> str:
        """Return the text without folded blocks and line breaks around it.

        Return "" while a message is edited: what it says is no command.
        """
        return "" if self.prompt.edited_id else self._blocks.without_lines(self.text).strip("\n")

    @property
    def _is_file_command(self) -> bool:
        return self._command_words.startswith(_FILE_COMMAND)

    def _end_shell_mode_if_over(self) -> None:
        """End the shell mode unless the text is one line that starts with `!`.

        It is not started here: such a line may be a pasted one.
        """
        if self.is_shell:
            text = self._command_words
            self.is_shell = text.startswith("!") and "\n" not in text

    def action_undo(self) -> None:
        self.is_shell = False  # what comes back may not be typed
        super().action_undo()

    def action_redo(self) -> None:
        self.is_shell = False
        super().action_redo()

    def action_delete_left(self) -> None:
        """Delete the selection; without one, the folded block or the letter before the cursor.

        The line of the block is selected, so that Textual deletes all of it. From the start of the
        next line, the line break is selected, too: deleting that alone would put the cursor behind
        the block.
        """
        row, column = self.cursor_location
        if self.selection.is_empty:
            if not column:
                row, column = self.get_cursor_left_location()
            block_line = self._blocks.line_at_end(self.document[row][:column])
            if block_line:
                self.move_cursor((row, column - len(block_line)), select=True)
        super().action_delete_left()

    def attach(self, typed: str, files: Sequence[str], words: str = "") -> None:
        """Insert files as `position_of_files` says; the cursor stays at the same text.

        `typed` is the text before the cursor that named them; `words` take its place. `files` are
        their texts as a prompt holds them; each is shown folded.
        """
        text = self.text
        cursor = len(self.get_text_range((0, 0), self.cursor_location))
        start, end, following = position_of_files(text, cursor, typed, words)

        self.earlier.leave()  # a changed prompt becomes a draft
        self.history.checkpoint()
        if words:  # the name was not typed, and may change what a command runs
            self.is_shell = False
        file_lines = "".join(self._blocks.fold_files(file).rstrip("\n") + "\n" for file in files)
        self.replace(
            file_lines + following,
            (text.count("\n", 0, start), 0),  # rows and columns of `start`, at a line's, and `end`
            (text.count("\n", 0, end), len(text[:end].rpartition("\n")[2])),
            maintain_selection_offset=True,
        )

    def put(self, text: str) -> None:
        """Replace the text; Ctrl+Z restores the old one."""
        self._leave_history(text)
        self._replace_all(text)

    def _put_beside_blocks(self, command: str) -> None:
        self.put(self._blocks.lines_of(self.text) + command)

    def show_draft(self, text: str) -> None:
        """Show the saved draft of a session, and forget all earlier texts."""
        self._shown_draft = self._folded(text)
        self._start_with(self._shown_draft)

    def _start_with(self, text: str) -> None:
        """Show a folded text, and forget earlier ones with their blocks: undo ends here."""
        self._leave_history(text)
        self.is_shell = False  # not typed
        self._blocks.keep_only(text)
        self.load_text(text)
        self.move_cursor(self.document.end)

    def _leave_history(self, text: str) -> None:
        """End the recall of earlier prompts: what is shown is a draft.

        No list opens for `text`, as it is not typed, unless it is a command whose argument comes
        next and can be listed: files for `/file `, names for `/profile `.
        """
        self.earlier.leave()
        command, space, argument = self._blocks.without_lines(text).partition(" ")
        is_listed = f"{command} " == _FILE_COMMAND or command in self.argument_names
        self._is_list_dismissed = bool(text) and not (is_listed and space and not argument)

    def _folded(self, text: str) -> str:
        """Show files as lines, and control characters visibly."""
        return without_controls(self._blocks.fold_files(text))

    def submit(self) -> None:
        """Post the text with all blocks in full, and empty the prompt; not if it is blank.

        Folded blocks beside a command (`/` or `!`) stay for the next prompt. Outside the shell
        mode, a shell command only starts it.
        """
        command = self.typed_command
        text = self.full_text.strip("\n").rstrip()
        if is_shell_command(command) and not self.is_shell:
            self.is_shell = True
        elif command:
            self._start_with(self._blocks.lines_of(self.text))
            self._post_to_parent(self.CommandEntered(command, self.prompt))
        elif text.strip():
            self._start_with("")
            prompt = self.prompt
            prompt.draft = text
            self.prompt = PendingPrompt(edited_id=prompt.edited_id)
            self._post_to_parent(self.Submitted(prompt))

    def put_before_typed(self, text: str) -> None:
        """Put a text that comes back in front of what is typed; the cursor stays there."""
        if not self.text:
            self.put(text)
            return
        self._leave_history(self.text)
        self.is_shell = False  # not typed
        self.history.checkpoint()
        ending = "" if text.endswith("\n") else "\n\n"
        position = (0, 0)
        self.replace(
            self._folded(text) + ending, position, position, maintain_selection_offset=True
        )

    def _post_to_parent(self, message: Message) -> None:
        """Post a message to the parent.

        In the prompt's own queue, it would arrive after the keys that wait there.
        """
        (self.parent or self).post_message(message)  # `or self` is for mypy

    def on_key(self, event: events.Key) -> None:
        """Handle a key of the list above the prompt, else of the prompt, in place of Textual."""
        key = event.key
        self._end_shell_mode_if_over()  # a key may come before the message of the last change
        if event.character == "!" and not self._command_words.strip():
            self.is_shell = not self.prompt.edited_id
        if self._handle_list_key(key) or self._handle_key(key):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """Insert a pasted text, folded if it is longer than `FOLDED_FROM`.

        If a shorter one starts like a path, also post `FileNamed`, unless a command is typed:
        terminals paste the path of a dropped file.
        """
        event.stop()
        event.prevent_default()
        self._end_shell_mode_if_over()  # it may come before the message of the last change
        self.is_shell &= event.is_whole
        text = without_controls(event.text)
        if len(text) > FOLDED_FROM:
            lines = text.count("\n") + 1
            ending = "s" if lines > 1 else ""
            label = f"pasted, {lines} line{ending}, {units.size_text(len(text), is_exact=True)}"
            _row, column = min(self.selection)  # the start of the selection, which may be backward
            line_end = "\n" if column else ""  # the label gets its own line
            self.insert_at_cursor(f"{line_end}{self._blocks.fold(text, label)}\n")
        else:
            has_command = self._command_words.startswith(("/", "!"))
            self.insert_at_cursor(text)
            if event.is_marked and re.match(_LIKE_PATH, text) and not has_command:
                self._post_to_parent(self.FileNamed(text.strip(), "", self.prompt))

    @on(TextArea.Changed)
    def post_draft(self, event: TextArea.Changed) -> None:
        """Update mode and list, and post that the text has changed."""
        event.stop()
        # Textual has scrolled before it measured the changed text: a new last line would stay
        # hidden
        self.scroll_cursor_visible()
        self._end_shell_mode_if_over()
        self._update_list()
        self.post_message(self.Drafted())

    def choose(self, row: Any) -> None:
        """Insert a row of the list, such as a clicked one, if it is still listed."""
        rows = self.completion.rows
        if row in rows:
            self.completion = Completion(rows, rows.index(row))
            self._insert_chosen()

    def _update_list(self) -> None:
        """Show the commands that match the text, or the files that match the word at the cursor.

        A list that was closed stays so until the text is neither, or another name starts.
        """
        text_and_cursor = (self.text, self.cursor_location)
        if text_and_cursor == self._listed_for:
            return
        self._listed_for = text_and_cursor
        typed = self._typed_file_name()
        text = self._command_words
        if not typed and (typed is not None or not text.startswith("/")):
            self._is_list_dismissed = False
        if self._is_list_dismissed:
            self.completion = CLOSED
        elif typed is None:
            self.completion = complete(text, self.argument_names)
        else:  # until others are found, those of the listed files that match
            files = [row for row in self.completion.rows if isinstance(row, str)]
            name = typed.strip('"')
            self.completion = Completion(tuple(file for file in files if fuzzy_match(name, file)))
            # no coroutine: the next letter may cancel the worker before it awaits one
            show = partial(self._show_found_files, typed)
            _: Worker[None] = self.run_worker(show, name="files", group="files", exclusive=True)

    async def _show_found_files(self, typed: str) -> None:
        """List files unless the user has typed on or closed the list."""
        rows = await self.find_files(typed.strip('"'))
        if typed == self._typed_file_name() and not self._is_list_dismissed:
            before = self.completion
            if before.is_choice and before.row in rows:  # the user has moved there
                self.completion = Completion(rows, rows.index(before.row), is_choice=True)
            else:
                self.completion = Completion(rows, text="No file matches.")

    def _typed_file_name(self) -> str | None:
        """Return what is typed of a file's name between `@` or `/file ` and the cursor.

        It may be "", or in quotes; None if no file is being named.
        """
        if is_shell_command(self.typed_command):  # there `@` is for the shell
            return None
        row, column = self.cursor_location
        before = self.document[row][:column]
        if self._is_file_command and before.startswith(_FILE_COMMAND):
            return before.removeprefix(_FILE_COMMAND)
        mention = re.search(_MENTION, before)
        if mention is None or "://" in mention[1]:  # an address names no file
            return None
        return mention[1]

    def _handle_list_key(self, key: str) -> bool:
        """Return whether the list of commands or files has used the key."""
        self._update_list()  # a key may come before the message of the last change
        if not self.completion.rows:
            # Tab types nothing while files are searched
            return key == "tab" and self._typed_file_name() is not None
        if key == "enter":
            return self._accept_chosen()
        if key in ("up", "down"):
            index = self.completion.chosen + (-1 if key == "up" else 1)
            rows = self.completion.rows  # behind the last comes the first
            self.completion = Completion(rows, index % len(rows), is_choice=True)
        elif key == "escape":
            self._is_list_dismissed = True
            self.completion = CLOSED
        elif key == "tab":
            self._insert_chosen()
        else:
            return False
        return True

    def _accept_chosen(self) -> bool:
        """Act on Enter while the list is open: send the chosen command, or insert the chosen row.

        A command that was found by another word is inserted, too.

        Return False for a typed argument of a command, such as the name of a preset, and for a
        file, unless the user has moved to a row, or has typed a file as it is named: the text may
        be meant as it is, so Enter sends the prompt.
        """
        row = self.completion.row
        if isinstance(row, Command):
            words = self._command_words
            is_named = row.name.startswith(words) or words in row.aliases
            is_meant = is_named or self.completion.is_choice
            if not is_meant or (row.needs_argument and words != row.name):
                self._insert_chosen()
            else:  # a dialog asks for a missing argument
                self._put_beside_blocks("")
                self._post_to_parent(self.CommandEntered(row.name, self.prompt))
            return True
        if not self.completion.is_choice:
            typed = self._typed_file_name()
            if typed is None or self._is_file_command:  # the row is an argument
                _, _, argument = self._command_words.partition(" ")
                if argument.strip():
                    return False
            elif not self._choose_named(typed):
                return False
        self._insert_chosen()
        return True

    def _choose_named(self, typed: str) -> bool:
        """Choose the listed file that is named as typed, with its folder or without."""
        name = typed.strip('"').replace(os.sep, "/")
        rows = self.completion.rows
        for index, row in enumerate(rows):
            path = str(row).replace(os.sep, "/")
            if name in (path, path.rpartition("/")[2]):
                self.completion = Completion(rows, index)
                return bool(name)
        return False

    def _handle_key(self, key: str) -> bool:
        """Send, scroll the log, act on the queue, recall an earlier prompt; else return False."""
        if key in _CHOICE_KEYS and not self.text:
            self.post_message(self.ChoiceKeyPressed(key))
        elif key == "enter":
            self.submit()
        elif key == "tab":
            self.insert_at_cursor("\t")
        elif key in _LOG_ACTIONS and self._scrolls_log(key):
            self.post_message(self.ScrollRequested(_LOG_ACTIONS[key]))
        elif key in ("up", "delete") and self.has_queue and not self.text:
            self.post_message(self.QueuedRequested(key == "up"))
        elif key == "escape" and self.is_shell and not self._command_words[1:].strip():
            before = self.text[: self.text.rindex("!")]
            row = before.count("\n")
            column = len(before) - (before.rfind("\n") + 1)
            self.delete((row, column), self.document.end)
            self.is_shell = False
        else:
            return key in _HISTORY_STEPS and self._recall(_HISTORY_STEPS[key])
        return True

    def _scrolls_log(self, key: str) -> bool:
        """Whether a key of `_LOG_ACTIONS` has no use here and scrolls the log."""
        # In a text, Home at the start of a line does nothing either. But who presses it once too
        # often must not be taken to the beginning of the session.
        if key == "home":
            return not self.text
        if key == "end":
            return self.selection.is_empty and self.cursor_location == self.document.end
        return not self.max_scroll_y  # PageUp and PageDown, while all rows are seen

    def _insert_chosen(self) -> None:
        """Put the chosen row into the prompt; a file that was named with `@` is posted instead."""
        row = self.completion.row
        typed = self._typed_file_name()
        if isinstance(row, Command):
            self._put_beside_blocks(f"{row.name} " if row.takes_argument else row.name)
        elif typed is None:  # a command with a name, which may want a text or a value
            self._put_beside_blocks(f"{row} ")
        elif row.endswith(("/", os.sep)):  # a folder replaces its typed name; its files come next
            line, end = self.cursor_location
            start = end - len(typed)
            has_quote = " " in row and not self._is_file_command
            self.replace(
                f'"{row}' if has_quote else row,
                (line, start),
                (line, end),
                maintain_selection_offset=False,
            )
        elif self._is_file_command:
            self._put_beside_blocks(_FILE_COMMAND + row)
        else:
            self._is_list_dismissed = True
            self.completion = CLOSED
            self._name_file(typed, row)

    def _name_file(self, typed: str, path: str) -> None:
        """Write the whole name behind `@`, and a blank; the file takes its place once it is read.

        Names of other files that are being read are no words of a sentence.
        """
        row, end = self.cursor_location
        start = end - len(typed) - 1
        line = self.document[row]
        behind = line[end:]
        others = line[:start] + behind
        for files in self.prompt.files:
            others = others.replace(files.typed, "", 1)
        named = f'@"{path}"' if " " in path else f"@{path}"
        blank = "" if behind.startswith(" ") else " "
        self.history.checkpoint()
        self.replace(f"{named}{blank}", (row, start), (row, end), maintain_selection_offset=False)
        self._post_to_parent(
            self.FileNamed(named, path, self.prompt, is_in_sentence=bool(others.strip()))
        )

    def _recall(self, step: int) -> bool:
        """Recall an earlier prompt (`step` 1) or a later one (-1).

        The recall starts with ↑ in an empty prompt, and ends when ↓ leads back to it, or the text
        is changed. Return False if the key is left to Textual.
        """
        if not self.is_recalled:
            self.earlier.leave()
            if step < 0 or self.text:
                return False
        row = self.wrapped_document.location_to_offset(self.cursor_location).y
        edge_row = 0 if step > 0 else self.wrapped_document.height - 1
        if row != edge_row:
            return False

        text = self.earlier.recall(step)
        if text is not None:
            self._is_list_dismissed = True  # no list opens for a recalled command
            self._replace_all(text)
            self.earlier.shown = self.text
            if step > 0:  # to the end of the first row: the next ↑ recalls again
                self.move_cursor(self.navigator.get_location_end((0, 0)))
        return True

    def _replace_all(self, text: str) -> None:
        """Replace the text in one step that can be undone; go to its end."""
        self.is_shell = False  # not typed
        self.history.checkpoint()
        self.replace(self._folded(text), (0, 0), self.document.end, maintain_selection_offset=False)
