"""The row of keys, and in an empty prompt what can be done next."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.tool import CHOICES
from lmchat.services.workspace import Workspace
from lmchat.tui.commands import BY_ID, keys_of, unavailable_reason
from lmchat.tui.message_needs import has_words, is_resumable
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.widgets import ChatWidgets
from lmchat.tui.widgets.keys_row import Hint, is_taken_by_tmux, written

_CHAT_NAMES = ("model", "new", "find", "export", "sessions", "telemetry")
_DOWN_NAMES = ("check", "retry", "model", "new", "export")  # while the server is down
_MESSAGE_NAMES = (
    *("copy", "resume", "edit", "regenerate", "fold", "fork", "copy_code", "next_version"),
    *("links", "delete", "tree", "source", "pager", "another_model", "compare", "select", "undo"),
)
_SESSION_NAMES = ("open", "rename", "pin", "archive", "delete", "undo", "trash", "tag")
_FILE_LABELS = {"fold": "show file", "pager": "open file"}  # for a message with files
_CLEAR_HINT: Hint = ("Esc", "clear selection")
_TAKE_BACK_HINT: Hint = ("Esc", "cancel")
_CANCEL_EDIT_HINT: Hint = ("Esc", "cancel edit")
_SEND_EDIT_HINT: Hint = ("Enter", "send again")
_FIND_HINTS: Sequence[Hint] = (
    ("Enter", "next"),
    ("↑", "previous"),
    ("Tab", "go to hit"),
    ("Esc", "close"),
)


class KeyHints:
    """Shows what the keys do now, and in an empty prompt how to continue."""

    def __init__(
        self,
        workspace: Workspace,
        widgets: ChatWidgets,
        status: StatusDisplay,
        prompt_text: PromptText,
    ) -> None:
        self._keys = workspace.settings.keys
        self._workspace = workspace
        self._open_sessions = workspace.open_sessions
        self._widgets = widgets
        self._status = status
        self._prompt_text = prompt_text

    def show(self) -> None:
        """Show the keys; a message has more of them than there is room for."""
        self._widgets.keys_row.show(self._hints(), self._last_hints())
        self._widgets.prompt_input.placeholder = Content(self._placeholder())

    def _last_hints(self) -> list[Hint]:
        if not self._widgets.has_log_focus:
            return [self._hint("commands"), self._hint("help")]
        last_help_key = keys_of(BY_ID["help"], self._keys).rpartition(",")[2]
        return [(written(last_help_key), "more")]

    def _placeholder(self) -> str:
        next_steps = [" ".join(hint).rstrip() for hint in self._next_steps()]
        if next_steps:
            return ", ".join(next_steps)
        if self._open_sessions.shown.conversation.messages:
            return ""
        search_key, _ = self._hint("search")
        return f"/ commands, @ files, {search_key} search"

    def _hint(self, command_id: str) -> Hint:
        command = BY_ID[command_id]
        keys = keys_of(command, self._keys).split(",")
        key = keys[-1] if is_taken_by_tmux(keys[0]) else keys[0]
        return written(key), command.label

    def _hints(self) -> list[Hint]:
        """Return the hints for what has the focus."""
        widgets = self._widgets
        running = [self._hint("stop")] if self._open_sessions.shown.is_busy else []
        if widgets.log.selection.selected is not None:
            return [*running, ("^C", "copy")] if running else [("^C", "copy"), _CLEAR_HINT]
        if widgets.has_find_bar_focus:
            return [*running, *_FIND_HINTS]
        if widgets.has_log_focus:
            return [*running, *self._message_hints()]
        if widgets.session_list.has_focus_within:
            return [*running, *(self._hint(f"session.{name}") for name in _SESSION_NAMES)]
        if self._prompt_text.edited_id:
            return [*(running or [_CANCEL_EDIT_HINT]), _SEND_EDIT_HINT]  # Esc stops first
        return self._prompt_hints(running)

    def _prompt_hints(self, running: Sequence[Hint]) -> list[Hint]:
        shown = self._open_sessions.shown
        hints = [_TAKE_BACK_HINT] if shown.is_waiting else list(running)
        wanted_model = self._wanted_model()
        if wanted_model:
            hints.append((self._hint("model")[0], wanted_model))
        if shown.asked is not None:
            hints.append((self._hint("previous")[0], "answer the tool"))
        hints += self._next_steps()
        for name in _DOWN_NAMES if self._status.health.is_down else _CHAT_NAMES:
            if name != "model" or not wanted_model:
                hints.append(self._hint(name))
        return list(dict.fromkeys(hints))  # a next step may be a key of a server that is down

    def _wanted_model(self) -> str:
        """Return what the key for models is needed for; empty if for nothing."""
        if self._workspace.target_state.lacks_server:
            return "find a server"
        return "model with vision" if self._prompt_text.has_unseen_image else ""

    def _message_hints(self) -> list[Hint]:
        """Return the keys that would do something with the focused message."""
        message = self._widgets.log.focused_message
        if message is None:
            return [self._hint("message.undo")]
        if self._widgets.log.calls.has_focus:
            return list(CHOICES.items())
        return [
            self._message_hint(name, message)
            for name in _MESSAGE_NAMES
            if self._is_useful(name, message)
        ]

    def _is_useful(self, name: str, message: ChatMessage) -> bool:
        if name == "resume" and not has_words(message):
            return False
        shown = self._open_sessions.shown
        current = shown.conversation.current(message)
        return not unavailable_reason(name, current, is_busy=shown.is_busy)

    def _message_hint(self, name: str, message: ChatMessage) -> Hint:
        key, label = self._hint(f"message.{name}")
        if name == "next_version":
            previous_key, _ = self._hint("message.previous_version")
            key = f"{previous_key} {key}"
        if message.files:
            label = _FILE_LABELS.get(name, label)
        return key, label

    def _next_steps(self) -> list[Hint]:
        """Return what can be done from an empty prompt about an unfinished answer."""
        shown = self._open_sessions.shown
        last = shown.last_answer
        if last is None or shown.is_busy or self._widgets.prompt_input.text:
            return []
        retry = self._hint("retry")
        if last.role is Role.USER:  # its answer was deleted, or stopped before it began
            return [retry]
        if not is_resumable(last):
            return []
        return [("/continue", ""), retry] if has_words(last) else [retry]
