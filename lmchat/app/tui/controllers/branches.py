"""Branches of the session on the chat screen: versions, forks, the tree, and deletions.

What changes the path of a session first waits for the disk. If the user has gone to another session
by then, the change stays, and nothing is shown.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from lmchat.app.tui.chat_log.viewport import Bookmark
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.session_view import SessionView
from lmchat.app.tui.controllers.turn_view import TurnView
from lmchat.app.tui.dialogs.message_tree import message_tree
from lmchat.app.tui.dialogs.probabilities_dialog import ProbabilitiesDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.base.errors import LMChatError, RequestInvalid
from lmchat.core.chat.turn_starts import Prefill
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.prompts import PendingPrompt, Prompt
from lmchat.core.sessions.session import Session
from lmchat.core.sessions.tokens import AnswerTokens


class Branches:
    """Changes which path of the tree is shown; all other versions stay in the tree."""

    def __init__(
        self,
        ui: ScreenServices,
        session_view: SessionView,
        turn_view: TurnView,
        prompt_text: PromptText,
    ) -> None:
        self._ui = ui
        self._log = ui.widgets.log
        self._chat = ui.workspace.chat
        self._store = ui.workspace.store
        self._session_view = session_view
        self._turn_view = turn_view
        self._prompt_text = prompt_text
        self._deletions = Counter[str]()  # of this run that `undo` can restore, by sessions

    @property
    def can_undo(self) -> bool:
        return self._deletions[self._session_view.active_id] > 0

    async def fork(self, message: ChatMessage) -> None:
        """Copy the path up to a message into a new session, and show the same place of that.

        A system prompt that was set after the last answer goes with it.
        """
        session = self._chat.active
        if message == session.messages.last_answer_or_prompt:
            message = session.messages[-1]
        fork = await self._chat.open_sessions.fork(session, message.message_id)
        if session is not self._chat.active:
            return
        read = Bookmark.parse(self._log.viewport.bookmark)
        ids = [entry.message.message_id for entry in self._log.document.entries]
        self._session_view.leave()
        self._session_view.show_path(fork)
        if read is not None:  # the copies have other ids
            ids = ids[: ids.index(message.message_id) + 1]
            copies = dict(zip(reversed(ids), reversed(fork.messages), strict=False))
            if copy := copies.get(read.message_id):
                self._log.go_to_bookmark(read._replace(message_id=copy.message_id))
        self._ui.show_action("forked")
        self._ui.notify("This is a new session; the old one is unchanged.")
        self._ui.widgets.prompt_input.focus()

    # Versions

    async def switch_version(self, step: int, message: ChatMessage) -> None:
        """Show the next version (`step` 1) or the previous one (-1), in a ring, at the same row."""
        session_id = self._session_view.active_id
        ids = [
            other.message_id
            for other in await self._store.tree(session_id)
            if (other.parent_id, other.role) == (message.parent_id, message.role)
        ]
        # the message may not be saved, or another lmchat may have deleted it or its versions
        if message.message_id not in ids or ids == [message.message_id]:
            self._ui.notify("Only one version is left.")
            return
        chosen_id = ids[(ids.index(message.message_id) + step) % len(ids)]
        path = await self._chat.open_sessions.choose_path(session_id, chosen_id)
        row = self._log.viewport.row_of(message.message_id)
        self._show_unless_left(path)
        self._log.go_to_message(chosen_id, row=row)

    async def open_probabilities(self, message: ChatMessage) -> None:
        """Show how sure the model was of each token, and the alternatives to it.

        If the user takes one, another version starts with the answer up to there, and the model
        continues it.
        """
        tokens = await self._store.token_probabilities(message.message_id)
        if not tokens:
            self._ui.notify(
                "This answer has no probabilities. "
                "Type /set logprobs 5, and the next answers have those of each word."
            )
            return
        answer = AnswerTokens(message, tokens)
        taken = await self._ui.ask(ProbabilitiesDialog(answer))
        if taken is not None:
            message_so_far, choices = answer.prefill_with(*taken)
            prefill = Prefill(message=message_so_far, choices=choices, is_exact=True)
            chat = self._chat
            start = partial(chat.continue_answer, chat.active, message, prefill)
            self._turn_view.run_turn(start)

    def _show_unless_left(self, path: Session) -> bool:
        """Return whether the session is still shown."""
        is_shown = path.header.session_id == self._session_view.active_id
        if is_shown:
            self._session_view.show_path(path)
        return is_shown

    async def rewrite(self, prompt: PendingPrompt) -> None:
        """Save a text as another version of the answer that is being rewritten, at the same row.

        If it cannot be saved, it returns to the prompt, and the rewriting continues.
        """
        session = self._chat.active
        old_id = prompt.edited_id
        try:
            words = _without_files(prompt.draft)
            version = await session.rewrite(old_id, words)
        except LMChatError:
            self._prompt_text.put_back(session, prompt)
            raise
        if session is not self._chat.active:  # the user has changed the session
            return
        row = self._log.viewport.row_of(old_id)
        self._prompt_text.leave_edit()
        self._session_view.redraw()
        self._log.go_to_message(version.message_id, row=row)
        self._ui.show_action("rewritten")

    # Taking out of requests

    async def toggle_excluded(self, message_id: str) -> None:
        """Take a message of the path, with its tool calls, out of all requests, or put it back."""
        changed = await self._chat.active.toggle_excluded(message_id)
        for message in changed:
            self._log.replace(message)
        self._session_view.mark_left_out()
        self._ui.show_action("taken out" if changed[0].is_excluded else "put back")

    # Deleting

    async def delete(self, message: ChatMessage) -> None:
        """Stop the running turn, and hide a message with what follows it; `undo` restores it."""
        session = self._chat.active
        await self._chat.stop_and_wait(session)
        path = await self._chat.open_sessions.delete(session, message.message_id)
        self._deletions[session.session_id] += 1
        self._ui.show_action("deleted")
        if not self._show_unless_left(path):  # /undo would restore a message of another session
            self._ui.notify("Deleted, with everything after it.")
            return
        undo = "/undo"
        if self._ui.widgets.has_log_focus:  # elsewhere, the key of the command types a letter
            undo = f"{self._ui.key_name('message.undo')} or /undo"
        self._ui.notify(f"Deleted, with everything after it. {undo} restores it.")

    async def undo(self) -> None:
        session_id = self._session_view.active_id
        path = await self._chat.open_sessions.undo_delete(session_id)
        left = self._deletions[session_id] - 1  # -1 after a deletion of an earlier run
        self._deletions[session_id] = max(left, 0) if path is not None else 0
        if path is None:
            self._ui.notify("Nothing to undo.")
            return
        self._show_unless_left(path)
        self._ui.show_action("restored")
        self._ui.notify("Restored.")

    # The tree

    async def open_tree(self) -> None:
        session = self._chat.active
        messages = await self._store.tree(session.session_id)
        await session.load_older()  # else `session.messages` may be only the newest ones
        path_ids = {message.message_id for message in session.messages}
        if session is self._chat.active:
            self._ui.open_dialog(message_tree(messages, path_ids), self._go_to_branch)

    def _go_to_branch(self, branch_id: str) -> None:
        """Show another path only if the branch is not on the shown one."""
        if not self._log.go_to_message(branch_id):
            self._session_view.switch_to(self._session_view.active_id, message_id=branch_id)


def _without_files(text: str) -> str:
    typed = Prompt.of(text)
    if typed.files:
        raise RequestInvalid(
            "Files go with prompts, not with answers.",
            next_step="Remove their lines, then press Enter.",
        )
    return typed.text
