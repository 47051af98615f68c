"""Commands on single messages: which message is meant, and what is done with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial

from lmchat.commands.conditions import NOTHING_YET, unavailable_reason, words_of
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ChatMessage, Role
from lmchat.tui.chat_log.copying import failure_text
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.message_contents import MessageContents
from lmchat.tui.controllers.message_file import MessageFile
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.sending import Turns
from lmchat.tui.controllers.shown_session import ShownSession

_Action = Callable[[ChatMessage], Coroutine[object, object, None] | None]
"""Acts on a message: at once, or in a worker, which awaits the coroutine."""

_OF_LOG = ("copy_code", "fold", "source")
"""Commands that the log runs. It also focuses the message, to show the user what changes."""


class MessageActions:
    """Runs the commands on messages: on the focused message, or else on the last answer."""

    def __init__(
        self,
        chat: Chat,
        sessions: ShownSession,
        prompt_text: PromptText,
        turns: Turns,
        branches: Branches,
        contents: MessageContents,
        message_file: MessageFile,
        models: ModelSwitch,
    ) -> None:
        self._chat = chat
        self._sessions = sessions
        self._prompt_text = prompt_text
        self._turns = turns
        self._branches = branches
        self._models = models
        self._actions: Mapping[str, _Action] = {
            "copy": self._copy,
            "save": message_file.save,
            "edit": self._edit,
            "rewrite": prompt_text.begin_edit,
            "regenerate": turns.regenerate,
            "another_model": self._ask_another_model,
            "resume": turns.resume,
            "fork": branches.fork,
            "delete": branches.delete,
            "previous_version": branches.show_previous_version,
            "next_version": branches.show_next_version,
            "compare": branches.compare_versions,
            "probabilities": branches.show_choices,
            "tree": branches.show_tree,
            "pager": contents.page,
            "files": contents.show_files,
            "stop": self._stop,
            "links": contents.list_links,
            "details": contents.show_details,
        }
        """By name, which is the id of the command without `message.`."""

    def unavailable_reason(self, name: str) -> str:
        """Return why a command on the focused message, or the last answer, can do nothing now.

        The reason is empty if the command can do something. For `undo`, which needs no message, it
        is always empty.
        """
        if name == "undo":
            return ""
        message = self._message_to_act_on()
        return NOTHING_YET if message is None else self._reason(name, message)

    def act(self, name: str) -> None:
        """Run a command on the focused message, or else on the last answer.

        If it can do nothing, show why. Commands of the log, and copying while the log has the
        focus, are run by the log, which copies the selection if there is one. `undo` needs no
        message.
        """
        if name == "undo":
            self._chat.begin(self._branches.undo, "message")
            return
        message = self._message_to_act_on()
        if message is None:
            self._chat.notify(NOTHING_YET)
            return
        is_copy_in_log = name == "copy" and self._chat.widgets.has_log_focus
        is_of_log = name in _OF_LOG or is_copy_in_log
        if is_of_log and not self._reason(name, message):
            self._chat.widgets.log.show_message(message.message_id)
            self._chat.widgets.log.action_message(name)
        else:
            self.act_on(name, message)

    def act_on(self, name: str, message: ChatMessage) -> None:
        """Run a command on a message as it is now, or show why it can do nothing."""
        message = self._sessions.conversation.current(message)
        reason = self._reason(name, message)
        action = self._actions.get(name)
        if reason:
            self._chat.notify(reason)
        elif action is None:  # `copy_code`: there seemed to be code, but the log has found none
            self._chat.notify("This message has no code block.")
        else:
            coroutine = action(message)
            if coroutine is not None:
                self._chat.begin(lambda: coroutine, "message")

    def save_rewritten(self, text: str) -> None:
        """Save a text as another version of the answer that is being rewritten.

        If that is not possible, the text returns to the prompt, and the rewriting continues.
        """
        rewrite = partial(self._branches.rewrite, self._prompt_text, text)
        self._chat.begin(rewrite, "message", typed=text)

    def copy_part(self, part: str = "") -> None:
        """Copy the last answer; with the part `code`, copy a code block.

        The block is one of the focused message, or else of the last answer. Raises `WrongUse` for
        another part.
        """
        last = self._sessions.opened.last_answer_or_prompt
        if part == "code":
            self.act("copy_code")
        elif part:
            words = f"Unknown argument: {safe_line(part, limit=40)}."
            raise WrongUse(words, hint="Use /copy or /copy code.")
        elif last is None:
            self._chat.notify(NOTHING_YET)
        else:
            self.act_on("copy", last)

    def _message_to_act_on(self) -> ChatMessage | None:
        """Return the focused message, or else the last answer; None in an empty session."""
        focused = (
            self._chat.widgets.log.focused_message if self._chat.widgets.has_log_focus else None
        )
        return focused or self._sessions.opened.last_answer_or_prompt

    def _reason(self, name: str, message: ChatMessage) -> str:
        """Return why a command can do nothing with a message of the shown session; else ""."""
        shown = self._sessions.opened
        message = shown.conversation.current(message)
        return unavailable_reason(name, message, is_busy=shown.is_busy)

    def _copy(self, message: ChatMessage) -> None:
        words = words_of(message)
        if not words and message.failure is not None:  # as `y` in the log does
            words = failure_text(message.failure)
        self._chat.copy(words)

    def _stop(self, _: ChatMessage) -> None:
        self._turns.stop()

    def _ask_another_model(self, message: ChatMessage) -> None:
        self._models.open_picker(then=lambda model: self._turns.regenerate(message, model))

    async def _edit(self, message: ChatMessage) -> None:
        """Edit a prompt; for an answer or a tool message, the prompt before it on the path.

        If there is no such prompt, notify the user.
        """
        conversation = self._sessions.conversation
        await conversation.fill()  # the prompt may be among the messages that were not read yet
        prompt: ChatMessage | None = message
        while prompt is not None and prompt.role in (Role.ASSISTANT, Role.TOOL):
            prompt = conversation.find(prompt.parent_id or "")
        if prompt is not None and prompt.role is Role.USER:
            self._prompt_text.begin_edit(prompt)
        else:
            self._chat.notify("There is no prompt before this answer.")
