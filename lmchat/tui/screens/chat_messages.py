"""What the keys of a focused message do; each leaves every version in the tree."""

from __future__ import annotations

from collections.abc import Callable

from textual import on

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.errors import LMChatError
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.chat_links import ChatLinks
from lmchat.tui.widgets.chat_log import ChatLog

_UNFINISHED = (AnswerState.STOPPED, AnswerState.INTERRUPTED)


class ChatMessages(ChatLinks):
    """Acts on single messages; each action leaves every version in the tree."""

    _edited_id: str = ""
    """The prompt that is being edited in place of a new one; empty where none is."""
    _set_aside: str = ""
    """What was typed before the edit began."""

    @on(ChatLog.Wanted)
    def act_on_message(self, event: ChatLog.Wanted) -> None:
        """Do what a key of a message asks for."""
        handlers: dict[str, Callable[[ChatMessage], None]] = {
            "edit": self.edit_message,
            "regenerate": self.regenerate,
            "resume": self.resume,
            "fork": self.fork_at,
            "delete": self.delete_message,
            "previous_version": lambda message: self.choose_version(message, -1),
            "next_version": lambda message: self.choose_version(message, 1),
            "tree": lambda _: self.show_tree(),
            "pager": self.page,
        }
        if event.name == "copy_code" and not event.text:
            self.app.notify("This message has no code block.", markup=False)
        elif event.name in ("copy", "copy_code"):
            self.post_message(CopyText(event.text))
        elif event.name == "links":
            self.show_links(event.text.split(), event.message.text)
        elif event.name in handlers:
            handlers[event.name](event.message)

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
        conversation = self.desk.shown.conversation

        async def work() -> None:
            await conversation.fill()
            self.edit_message(answer)

        if not conversation.is_whole:
            self.attempt(work, group="edit")

    def say(self, text: str) -> None:
        """Send what was typed: as another version where an earlier prompt was edited, else as a new one."""
        edited_id = self._edited_id
        if not edited_id:
            super().say(text)
            return
        try:
            self.desk.shown.require_rest()
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

    def go_on_with_model(self, *, is_loaded: bool) -> None:
        """Ask once more what failed for want of a model, then what waited; without one, hold what waited."""
        if not is_loaded:
            self.desk.hold_waiting()
            self.show_queue()
            return
        last = self.desk.last_answer()
        if last is not None and last.failure is not None and last.failure.kind == "model_not_loaded":
            self.regenerate(last)
        self.send_waiting()

    def resume(self, message: ChatMessage) -> None:
        """Go on with an unfinished answer."""
        if message.role is not Role.ASSISTANT:
            self.app.notify("Only an answer can be continued; this is none.", markup=False)
        elif message.state in _UNFINISHED and message.text:
            self.run_turn(lambda one, how: one.resume(message.message_id, how))
        elif message.state is AnswerState.FAILED or message.state in _UNFINISHED:
            self.regenerate(message)
        else:
            self.app.notify("This answer is complete; r answers once more.", markup=False)

    def fork_at(self, message: ChatMessage) -> None:
        """Copy the path up to a message into a new session and show it."""

        async def work() -> None:
            self.show_path(await self.workspace.store.fork(self.conversation_id, message.message_id))
            self.show_action("forked")
            self.prompt_input.focus()

        self.attempt(work, group="fork")

    def delete_message(self, message: ChatMessage) -> None:
        """Hide a message with what follows it; `u` brings it back."""
        self.attempt(lambda: self.prune(message.message_id), group="delete")

    @on(ChatLog.UndoWanted)
    def undo_deletion(self) -> None:
        """Bring back the message that was deleted last in this session."""
        self.attempt(self.bring_back_last, group="delete")

    def choose_version(self, message: ChatMessage, step: int) -> None:
        """Show the previous or next version of a message."""

        async def work() -> None:
            tree = await self.workspace.store.tree(self.conversation_id)
            siblings = [one for one in tree if (one.parent_id, one.role) == (message.parent_id, message.role)]
            places = [one.message_id for one in siblings]
            if message.message_id not in places:
                return
            place = places.index(message.message_id) + step
            if 0 <= place < len(places):
                self.show_path(await self.workspace.store.set_leaf(self.conversation_id, places[place]))
                self.log_view.show_message(places[place])

        if message.versions > 1:
            self.attempt(work, group="version")

    def page(self, message: ChatMessage) -> None:
        """Show a message in the pager."""
        self.lend_to(lambda: self.workspace.outside.page(message.text))

    def _prompt_of(self, answer: ChatMessage) -> ChatMessage | None:
        found = self.desk.shown.conversation.find(answer.parent_id or "")
        return found if found is not None and found.role is Role.USER else None

    def _answer_to(self, prompt: ChatMessage) -> ChatMessage | None:
        path = self.desk.shown.conversation.messages
        place = path.place(prompt.message_id)
        following = () if place is None else path[place + 1 : place + 2]
        return next((one for one in following if one.role is Role.ASSISTANT), None)
