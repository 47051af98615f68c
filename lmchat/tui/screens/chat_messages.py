"""What is done with single messages: the focused one, else the last answer."""

from __future__ import annotations

from collections.abc import Callable

from textual import on

from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.chat_editing import ChatEditing
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.message_acts import NOTHING_YET, why_not, words_of

_IN_LOG = ("copy", "copy_code", "fold", "source", "links")
"""What the log does, or begins: it knows which block of code comes next, and how a message is shown."""
_LOOKED_AT = ("copy_code", "fold", "source")
"""Of these, what gives the message the focus: one wants to see it, or to press its key again."""


class ChatMessages(ChatEditing):
    """Acts on single messages; each action leaves every version in the tree."""

    def aimed_at(self) -> ChatMessage | None:
        """Return the message that has the focus, else the last answer, as it is now."""
        focused = self.log_view.focused_message if self.focused is self.log_view else None
        message = focused or self.open_sessions.last_answer()
        return self.as_now(message) if message is not None else None

    def as_now(self, message: ChatMessage) -> ChatMessage:
        """Return a message with what has come of it, where it is the answer that is on its way."""
        if message.state is not AnswerState.STREAMING:
            return message
        shown = self.open_sessions.shown.conversation.shown_messages
        return shown[-1] if shown and shown[-1].message_id == message.message_id else message

    def why_not(self, name: str) -> str:
        """Return why an act makes no sense now; empty where it does."""
        message = self.aimed_at()
        if name == "undo":
            return ""
        if message is None:
            return NOTHING_YET
        return why_not(name, message, is_busy=self.open_sessions.shown.is_busy)

    def action_message(self, name: str) -> None:
        """Do something with the focused message, else the last answer; say why where it makes no sense."""
        message, reason = self.aimed_at(), self.why_not(name)
        if name == "undo":
            self.undo_deletion()
        elif message is None or reason:
            self.app.notify(reason, markup=False)
        elif name in _IN_LOG:
            self._act_in_log(name, message)
        else:
            self._act(name, message)

    def _act_in_log(self, name: str, message: ChatMessage) -> None:
        if self.focused is self.log_view or name in _LOOKED_AT:
            self.log_view.show_message(message.message_id)
            self.log_view.action_message(name)
        elif name == "links":
            self.show_links(message.text)
        else:
            self.post_message(CopyText(words_of(message)))

    @on(ChatLog.Wanted)
    def act_on_message(self, event: ChatLog.Wanted) -> None:
        """Do what a key of a message asks for."""
        reason = why_not(event.name, event.message, is_busy=self.open_sessions.shown.is_busy)
        if event.name == "copy_code" and event.text:
            self.post_message(CopyText(event.text, event.note))
        elif event.name == "copy" and event.text:
            self.post_message(CopyText(event.text))
        elif event.name == "links" and event.text:
            self.offer_links({event.text: ""})
        elif reason or event.name == "copy_code":
            self.app.notify(reason or "This message has no code block.", markup=False)
        elif event.name == "copy":
            self.post_message(CopyText(words_of(event.message)))
        else:
            self._act(event.name, self.aimed_at() or event.message)

    def _act(self, name: str, message: ChatMessage) -> None:
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
            "stop": lambda _: self.stop_clicked(),
            "links": lambda message: self.show_links(message.text),
        }
        if name in handlers:
            handlers[name](message)

    def stop_clicked(self) -> None:
        """Stop the answer whose key for that was clicked."""
        if self.stop_turn():
            self.show_action("stopped")

    def fork_at(self, message: ChatMessage) -> None:
        """Copy the path up to a message into a new session and show it."""

        async def work() -> None:
            self.show_path(await self.workspace.store.fork(self.conversation_id, message.message_id))
            self.show_action("forked")
            self.app.notify("This is a new session; the old one is unchanged.", markup=False)
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
        """Show the previous or next version of a message; after the last comes the first."""

        async def work() -> None:
            tree = await self.workspace.store.tree(self.conversation_id)
            siblings = [one for one in tree if (one.parent_id, one.role) == (message.parent_id, message.role)]
            places = [one.message_id for one in siblings]
            if message.message_id not in places or len(places) == 1:
                self.app.notify(why_not("next_version", message, is_busy=False), markup=False)
                return
            chosen = places[(places.index(message.message_id) + step) % len(places)]
            path = await self.workspace.store.set_leaf(self.conversation_id, chosen)
            row = self.log_view.viewport.row_of(message.message_id)
            self.show_path(path)
            self.log_view.show_message(chosen, row=row)

        self.attempt(work, group="version")

    def page(self, message: ChatMessage) -> None:
        """Show a message in the pager."""
        self.lend_to(lambda: self.workspace.outside.page(words_of(message)))
