"""Editing an earlier prompt, and asking once more: what makes another version."""

from __future__ import annotations

from lmchat.domain.message import ChatMessage, Role
from lmchat.errors import LMChatError
from lmchat.tui.screens.chat_links import ChatLinks
from lmchat.tui.widgets.message_acts import has_words


class ChatEditing(ChatLinks):
    """Makes other versions of prompts and answers; each leaves every version in the tree."""

    _edited_id: str = ""
    """The prompt that is being edited in place of a new one; empty where none is."""
    _set_aside: str = ""
    """What was typed before the edit began."""

    def edit_message(self, message: ChatMessage) -> None:
        """Put the prompt of a message into the prompt; Enter sends it as another version."""
        prompt = message if message.role is Role.USER else self._prompt_of(message)
        if prompt is None:
            self._edit_once_read(message)
            return
        self._set_aside = self._set_aside if self._edited_id else self.prompt_input.full_text
        self._edited_id = prompt.message_id
        self.prompt_input.put(prompt.text)
        self.prompt_input.focus()
        self.show_action("editing; Enter sends, Esc leaves")

    def _edit_once_read(self, answer: ChatMessage) -> None:
        """Edit the prompt of an answer that is the first of those that were read."""
        conversation = self.open_sessions.shown.conversation

        async def work() -> None:
            await conversation.fill()
            self.edit_message(answer)

        if conversation.is_whole:
            self.app.notify("There is no prompt before this answer.", markup=False)
        else:
            self.attempt(work, group="edit")

    def say(self, text: str) -> None:
        """Send what was typed: as another version where an earlier prompt was edited, else as a new one."""
        edited_id = self._edited_id
        if not edited_id:
            super().say(text)
            return
        try:
            self.open_sessions.shown.require_rest()
            self.open_sessions.how_to_ask()
        except LMChatError as error:
            self.prompt_input.put(text)
            self.tell(error)
        else:
            self.leave_edit()
            self.run_turn(lambda one, how: one.edit(edited_id, text, how), text=text)

    def leave_edit(self) -> bool:
        """Give up editing and bring back what was typed before; tell whether one was editing."""
        was_editing, self._edited_id = bool(self._edited_id), ""
        if was_editing:
            self.prompt_input.put(self._set_aside)
            self._set_aside = ""
            self.show_action("edit left")
        return was_editing

    def regenerate(self, message: ChatMessage) -> None:
        """Answer once more."""
        answer = message if message.role is Role.ASSISTANT else self._answer_to(message) or message
        self.run_turn(lambda one, how: one.regenerate(answer.message_id, how))

    def resume(self, message: ChatMessage) -> None:
        """Go on with an unfinished answer; where there is nothing to go on with, answer once more."""
        if has_words(message):
            self.run_turn(lambda one, how: one.resume(message.message_id, how))
        else:
            self.regenerate(message)

    def go_on_with_model(self, *, is_loaded: bool) -> None:
        """Ask once more what failed for want of a model, then what waited; without one, hold what waited."""
        if not is_loaded:
            self.open_sessions.hold_waiting()
            self.show_queue()
            return
        last = self.open_sessions.last_answer()
        if last is not None and last.failure is not None and last.failure.kind == "model_not_loaded":
            self.regenerate(last)
        self.send_waiting()

    def _prompt_of(self, answer: ChatMessage) -> ChatMessage | None:
        found = self.open_sessions.shown.conversation.find(answer.parent_id or "")
        return found if found is not None and found.role is Role.USER else None

    def _answer_to(self, prompt: ChatMessage) -> ChatMessage | None:
        path = self.open_sessions.shown.conversation.messages
        place = path.place(prompt.message_id)
        following = () if place is None else path[place + 1 : place + 2]
        return next((one for one in following if one.role is Role.ASSISTANT), None)
