"""The hints in the row of keys, the note above the prompt, and the placeholder of an empty prompt.

A hint is a key and a word for what it does. The key has Textual's name, such as `ctrl+b`, or is the
id of a command that has no key here.
"""

from __future__ import annotations

from typing import Any

from textual.content import Content

from lmchat.app.commands.conditions import unavailable_reason
from lmchat.app.commands.table import (
    BY_ID,
    MESSAGE_HINTS,
    PROMPT_HINTS,
    PROMPT_HINTS_WITHOUT_SERVER,
    SESSION_HINTS,
    TOOL_HINTS,
    keys_of,
)
from lmchat.app.tui.chat_log.entry import CARD_STATES
from lmchat.app.tui.controllers.branches import Branches
from lmchat.app.tui.controllers.prompt_files import PromptFiles
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.saved_sessions import SavedSessions
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.key_bar import Hint, command_hint
from lmchat.app.tui.widgets.line import cut
from lmchat.app.tui.workspace import LACKS_SERVER
from lmchat.base.units import SIGNS
from lmchat.core.servers.discovery.status import ServerState
from lmchat.core.servers.model import has_other_name, name_to_show
from lmchat.core.sessions.message import Role, has_text_to_continue, was_prompt_too_long

# words for commands on a message with files, in place of `Command.label`
_FILE_LABELS = {"fold": "show file", "pager": "open file"}
_FIND_HINTS = [("enter", "next"), ("up", "previous"), ("tab", "go to hit"), ("escape", "close")]
_MOST_KEYS = 4  # of the prompt: the others are in the palette
_FENCES = ("```", "~~~")  # an indented text may be code, too, but mostly it belongs to a list


class _OneRow(Content):
    """Placeholder that is cut, as an empty prompt has one row; Textual would wrap it."""

    def wrap(self, width: int, *_more: Any, **_options: Any) -> list[Content]:
        return [cut(self, width)]


class KeyHints:
    """Shows what the keys do now, and what can be done in an empty prompt."""

    def __init__(
        self,
        ui: ScreenServices,
        prompt_text: PromptText,
        prompt_files: PromptFiles,
        branches: Branches,
        saved_sessions: SavedSessions,
    ) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._prompt_text = prompt_text
        self._prompt_files = prompt_files
        self._branches = branches
        self._saved_sessions = saved_sessions

    def show(self) -> None:
        widgets = self._ui.widgets
        last_hints = [self._hint("commands"), self._hint("help")]
        if widgets.has_log_focus:
            # The help lists the keys that have no room here. Its own last key is `?`, which is
            # shorter than F1; in the prompt, `?` would be a letter.
            help_keys = keys_of(BY_ID["help"], self._ui.workspace.settings.keys)
            last_hints = [(help_keys.rpartition(",")[2], "more")]
        widgets.key_bar.show(self._hints(), last_hints)
        widgets.prompt_area.show_note(*self._note())
        widgets.prompt_input.placeholder = self._placeholder()

    def _note(self) -> tuple[str, str]:
        """Return the note above the prompt, and at the right what the keys do."""
        if awaited_text := self._prompt_files.awaited_text:
            return (
                f"Sent once {awaited_text} is there",
                f"{self._ui.key_name('stop')} gives it back",
            )
        if running_text := self._prompt_files.running_text:
            return running_text, f"{self._ui.key_name('stop')} stops it"
        if self._prompt_text.is_rewriting:
            return "Rewriting an answer", f"Enter saves · {self._ui.key_name('stop')} cancels"
        prefill_text = self._chat.active.prefill_text
        if not prefill_text:
            return "", ""
        return f"Next answer: {prefill_text}", "/start takes it back"

    def _placeholder(self) -> Content:
        if self._prompt_text.is_rewriting:
            key = self._ui.key_name("stop")
            return _OneRow(
                f"An answer cannot be empty. Type a text, or press {key} to keep the old one."
            )
        target = self._chat.turn_options.target
        name = target.model_id if target is not None else ""
        last = self._chat.active.messages.last_answer_or_prompt
        before = ""
        if last is not None and last.stats is not None:
            before = last.stats.asked or last.model
        if not name:
            return _OneRow(f"Ask{SIGNS.cut}")
        until_now = ""
        if before and has_other_name(name, before):  # as after `-r`
            until_now = f" (until now {name_to_show(before)})"
        return _OneRow(f"Ask {name_to_show(name)}{until_now}{SIGNS.cut}")

    def _hint(self, command_id: str) -> Hint:
        return command_hint(command_id, self._ui.workspace.settings.keys)

    def _hints(self) -> list[Hint]:
        """Return the hints for the selection in the log, else for what has the focus.

        While a turn runs, the key of `stop` stops it, and neither clears a selection nor cancels an
        edit. In the find bar and the filter, it does not stop the turn.
        """
        widgets = self._ui.widgets
        stop_key, stop_word = self._hint("stop")
        stop_hint = [(stop_key, stop_word)] if self._chat.active.is_running else []
        # without a turn, the key of `stop` ends an edit, or else a selection, and its hint says so
        if widgets.log.selection.selected is not None:
            copy_hint = self._hint("copy_or_stop")
            if stop_hint:
                return [*stop_hint, copy_hint]
            return [
                copy_hint,
                (stop_key, "cancel edit" if self._prompt_text.edited_id else "clear selection"),
            ]
        if widgets.find_bar.has_focus_within:
            _, count = widgets.log.finder.number_and_count
            return _FIND_HINTS if count > 1 else _FIND_HINTS[-2 if count else -1 :]
        leave_hint = stop_hint or [(stop_key, "prompt")]
        if widgets.has_log_focus:
            return [*leave_hint, *self._message_hints()]
        if widgets.session_list.has_focus:
            return [*leave_hint, *self._session_hints()]
        if widgets.session_list.has_focus_within:
            enter = "open" if widgets.session_list.chosen_id else "search"
            return [("enter", enter), ("escape", "clear filter")]
        if widgets.log.is_marked:
            previous_key, _ = self._hint("previous")
            return [*stop_hint, (previous_key, "keys"), *self._message_hints()]
        if self._prompt_text.edited_id:
            enter = "save" if self._prompt_text.is_rewriting else "send again"
            return stop_hint or [(stop_key, "cancel edit"), ("enter", enter)]
        return self._prompt_hints(stop_hint)

    def _prompt_hints(self, stop_hint: list[Hint]) -> list[Hint]:
        """First comes what stops or takes back, then what the user needs to do next."""
        session = self._chat.active
        stop_key, _ = self._hint("stop")
        hints = [(stop_key, "cancel")] if session.is_waiting else [*stop_hint]
        model_key, _ = self._hint("model")
        state = self._ui.workspace.chat_state
        if state in LACKS_SERVER:
            hints.append((model_key, "find a server"))
        elif state is ServerState.NO_MODEL:
            hints.append((model_key, "choose a model"))
        elif self._prompt_text.has_unseen_image:
            hints.append((model_key, "model with vision"))
        if choice := self._ui.widgets.log.calls.choice:  # of an answer to the tool call that asks
            label = BY_ID[CARD_STATES[choice]].label
            return [*hints, ("enter", label), ("left right", "choose")]
        if session.question is not None:
            hints += map(self._hint, TOOL_HINTS)
        is_down = self._ui.workspace.monitor.health.is_down
        commands = PROMPT_HINTS_WITHOUT_SERVER if is_down else PROMPT_HINTS
        last = session.messages.last_answer_or_prompt
        if last is not None and last.role is Role.USER and not session.is_running:
            hints.append(self._hint("retry"))  # its answer was deleted, or stopped at its beginning
        hints += [self._hint(name) for name in commands]
        word_of_key: dict[str, str] = {}
        for key, word in hints:
            # the key of a step may be that of a general command, too: then the step stays
            word_of_key.setdefault(key, word)
        return list(word_of_key.items())[:_MOST_KEYS]

    def _session_hints(self) -> list[Hint]:
        chosen_id = self._ui.widgets.session_list.chosen_id
        session = self._chat.open_sessions.find(chosen_id)
        names = ["undo"] if self._saved_sessions.can_undo else []
        if session is not None and not session.has_had_messages:
            names = ["open", *names]
        elif chosen_id:
            names = [*SESSION_HINTS, *names]
        return [*(self._hint(f"session.{name}") for name in names), ("slash", "filter")]

    def _message_hints(self) -> list[Hint]:
        """Return what can be done with the chosen message, and with a tool call that asks.

        At a marked message, a command has no key, but its word can be clicked.
        """
        message = self._ui.widgets.log.focused_message
        has_keys = self._ui.widgets.has_log_focus
        hints = [*map(self._hint, TOOL_HINTS if self._chat.active.question is not None else ())]
        if self._branches.can_undo:
            hints.append(self._hint("message.undo") if has_keys else ("message.undo", "undo"))
        if message is None:  # in an empty session
            return hints
        session = self._chat.active
        current = session.current(message)  # the log may have it without its text
        index = session.messages.index_of(message.message_id) or 0
        # the message is the answer that was refused, or its prompt
        is_too_long = any(map(was_prompt_too_long, session.messages[index : index + 2]))
        for name in MESSAGE_HINTS:
            if unavailable_reason(name, current, is_busy=session.is_running):
                continue
            if name == "resume" and not has_text_to_continue(current):
                continue  # it would regenerate the answer, as the hint of `regenerate` says
            if name == "regenerate" and is_too_long:
                continue
            if name == "copy_code" and not any(fence in current.text for fence in _FENCES):
                continue
            key, label = self._hint(f"message.{name}")
            if name == "regenerate" and message.role is Role.TOOL:
                label = "run again"  # as the row of the call says
            if name == "next_version":  # one hint for two keys
                key = f"{self._hint('message.previous_version')[0]} {key}"
            if not has_keys:
                key = f"message.{name}"
            # on a message with files, some commands act on these
            hints.append((key, _FILE_LABELS.get(name, label) if message.files else label))
        return hints
