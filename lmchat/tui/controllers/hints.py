"""The hints in the row of keys, the note above the prompt, and the placeholder of an empty prompt.

The hints depend on what has the focus: prompt, message, list of sessions or find bar. Next steps
are ways to continue an unfinished answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmchat.commands.conditions import has_text_to_continue, is_resumable
from lmchat.commands.table import BY_ID, keys_of, unavailable_reason
from lmchat.sessions.message import ChatMessage, Role
from lmchat.tools.tool import CHOICES
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.prompt_pages import PromptPages
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.shell_commands import ShellCommands
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.widgets.key_bar import PROMPT_COMMANDS, Hint, command_hint, written

# The commands that are hinted at, most important first: there is not room for all.
_COMMANDS_WITHOUT_SERVER = ("check", "retry", "model", "new", "export")
_MESSAGE_COMMANDS = (
    *("copy", "resume", "edit", "regenerate", "fold", "fork", "copy_code", "next_version"),
    *("links", "delete", "tree", "rewrite", "source", "pager", "another_model", "compare"),
    *("select", "undo"),
)
_SESSION_COMMANDS = ("open", "rename", "pin", "archive", "delete", "undo", "tag")
_FILE_LABELS = {"fold": "show file", "pager": "open file"}  # for a message with files
_COPY_HINT: Hint = ("^C", "copy")
_CLEAR_HINT: Hint = ("Esc", "clear selection")
_TAKE_BACK_HINT: Hint = ("Esc", "cancel")
_CANCEL_EDIT_HINT: Hint = ("Esc", "cancel edit")
_SEND_EDIT_HINT: Hint = ("Enter", "send again")
_SAVE_EDIT_HINT: Hint = ("Enter", "save")
_FIND_HINTS: Sequence[Hint] = (
    ("Enter", "next"),
    ("↑", "previous"),
    ("Tab", "go to hit"),
    ("Esc", "close"),
)


class KeyHints:
    """Shows what the keys do now, and what can be done in an empty prompt."""

    def __init__(
        self,
        chat: Chat,
        status: StatusDisplay,
        prompt_text: PromptText,
        shell_commands: ShellCommands,
        prompt_pages: PromptPages,
    ) -> None:
        self._chat = chat
        self._status = status
        self._prompt_text = prompt_text
        self._shell_commands = shell_commands
        self._prompt_pages = prompt_pages

    def show(self) -> None:
        """Show the keys, the note above the prompt, and in an empty prompt a placeholder."""
        self._chat.widgets.key_bar.show(self._hints(), self._last_hints())
        self._chat.widgets.prompt.show_note(*self._note())
        self._chat.widgets.prompt_input.placeholder = Content(self._placeholder())

    def _note(self) -> tuple[str, str]:
        """Return the note above the prompt: its text, and at the right what the keys do.

        It is the first of these that applies: which commands run or which page is fetched; that an
        answer is being rewritten; with which words the next answer begins. Otherwise both are "".
        """
        if running := self._shell_commands.note or self._prompt_pages.note:
            return running, "Esc stops it"
        if self._prompt_text.is_rewriting:
            return "Rewriting an answer", "Enter saves · Esc cancels"
        first_words = self._chat.open_sessions.shown.conversation.first_words
        if not first_words:
            return "", ""
        return f"Next answer: {first_words}", "/start takes it back"

    def _last_hints(self) -> list[Hint]:
        """Return the hints at the end of the row: for the palette and the help.

        While a message has the focus, it is one hint, `more`, for the help, which has the keys that
        there is no room for. The last key of the help is shown, `?`, since nothing is typed here.
        """
        if not self._chat.widgets.has_log_focus:
            return [self._hint("commands"), self._hint("help")]
        help_keys = keys_of(BY_ID["help"], self._chat.workspace.settings.keys).split(",")
        return [(written(help_keys[-1]), "more")]

    def _placeholder(self) -> str:
        """Return the words that an empty prompt shows.

        It is the first of these that applies: that a rewritten answer needs a text; the next steps;
        how to begin, in a new session. Otherwise the words are empty.
        """
        if self._prompt_text.is_rewriting:
            return "An answer cannot be empty. Type a text, or press Esc to keep the old one."
        next_steps = [" ".join(hint).rstrip() for hint in self._next_steps()]
        if next_steps:
            return ", ".join(next_steps)
        if self._chat.open_sessions.shown.conversation.messages:
            return ""
        search_key, _ = self._hint("search")
        return f"/ commands, @ files, {search_key} search"

    def _hint(self, command_id: str) -> Hint:
        return command_hint(command_id, self._chat.workspace.settings.keys)

    def _hints(self) -> list[Hint]:
        """Return the hints for the selection in the log, else for what has the focus.

        While a turn runs, the key that stops it comes first. This is Esc, which then neither clears
        a selection nor cancels an edit.
        """
        widgets = self._chat.widgets
        running = [self._hint("stop")] if self._chat.open_sessions.shown.is_busy else []
        if widgets.log.selection.selected is not None:
            return [*running, _COPY_HINT] if running else [_COPY_HINT, _CLEAR_HINT]
        bar = self._chat.find_bar
        if bar is not None and bar.has_focus_within:
            return [*running, *_FIND_HINTS]
        if widgets.has_log_focus:
            return [*running, *self._message_hints()]
        if widgets.session_list.has_focus_within:
            return [*running, *(self._hint(f"session.{name}") for name in _SESSION_COMMANDS)]
        if self._prompt_text.edited_id:
            enter = _SAVE_EDIT_HINT if self._prompt_text.is_rewriting else _SEND_EDIT_HINT
            return [*(running or [_CANCEL_EDIT_HINT]), enter]
        return self._prompt_hints(running)

    def _prompt_hints(self, running: Sequence[Hint]) -> list[Hint]:
        """Return the hints for the prompt.

        First comes the key that takes back a waiting prompt, or `running`, the hint that stops
        a turn, if there is one. Then come what the user needs to do next, and general commands.
        """
        shown = self._chat.open_sessions.shown
        hints = [_TAKE_BACK_HINT] if shown.is_waiting else list(running)
        reason = self._reason_for_model_key()
        if reason:
            model_key, _ = self._hint("model")
            hints.append((model_key, reason))
        if shown.asked is not None:
            previous_key, _ = self._hint("previous")
            hints.append((previous_key, "answer the tool"))
        hints += self._next_steps()

        is_down = self._status.health.is_down
        for name in _COMMANDS_WITHOUT_SERVER if is_down else PROMPT_COMMANDS:
            if name != "model" or not reason:  # its key is there already, with the reason
                hints.append(self._hint(name))
        return list(dict.fromkeys(hints))  # without doubles: `retry` may also be a next step

    def _reason_for_model_key(self) -> str:
        """Return what the user needs the model picker for now, as a label of its key; or ""."""
        if self._chat.workspace.target_state.lacks_server:
            return "find a server"
        return "model with vision" if self._prompt_text.has_unseen_image else ""

    def _message_hints(self) -> list[Hint]:
        """Return the hints for the focused message: the commands that can do something with it.

        If it is a tool call that waits for the user, the hints are the keys of the decision. In an
        empty session, which has no message, the only hint is to undo a deletion.
        """
        message = self._chat.widgets.log.focused_message
        if message is None:
            return [self._hint("message.undo")]
        if self._chat.widgets.log.calls.has_focus:
            return list(CHOICES.items())
        return [
            self._message_hint(name, message)
            for name in _MESSAGE_COMMANDS
            if self._is_useful(name, message)
        ]

    def _is_useful(self, name: str, message: ChatMessage) -> bool:
        """Return whether a command can do something with a message now."""
        if name == "resume" and not has_text_to_continue(message):  # it would only regenerate
            return False
        shown = self._chat.open_sessions.shown
        current = shown.conversation.current(message)
        return not unavailable_reason(name, current, is_busy=shown.is_busy)

    def _message_hint(self, name: str, message: ChatMessage) -> Hint:
        """Return the key of a command on a message, with the label that fits this message."""
        key, label = self._hint(f"message.{name}")
        if name == "next_version":  # one hint for two keys
            previous_key, _ = self._hint("message.previous_version")
            key = f"{previous_key} {key}"
        if message.files:
            label = _FILE_LABELS.get(name, label)
        return key, label

    def _next_steps(self) -> list[Hint]:
        """Return the ways to continue the last answer if it is unfinished, best first.

        Return an empty list while a turn runs or something is typed.
        """
        shown = self._chat.open_sessions.shown
        last = shown.last_answer_or_prompt
        if last is None or shown.is_busy or self._chat.widgets.prompt_input.text:
            return []
        retry = self._hint("retry")
        if last.role is Role.USER:  # its answer was deleted, or stopped before it began
            return [retry]
        if not is_resumable(last):
            return []
        resume: Hint = ("/continue", "")  # typed, not a key; its name says what it does
        return [resume, retry] if has_text_to_continue(last) else [retry]
