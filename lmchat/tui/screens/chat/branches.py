"""Branches of the session on the chat screen: versions, forks, the tree, deleting and undoing.

All messages of a session are a tree. The path is the part of it that is shown and sent; the last
message of the path is its leaf. Versions are messages of one role with the same parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, now
from lmchat.errors import RequestInvalid
from lmchat.services.choosing import NO_CHOICES, AnswerChoices
from lmchat.services.compacting import compacted_from
from lmchat.services.excluding import messages_together, set_excluded
from lmchat.services.rewriting import newest_rewriting
from lmchat.tui.commands import unavailable_reason
from lmchat.tui.messages import ChangeBranch
from lmchat.tui.screens.chat.core import ChatCore, open_screens
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.turns import Turns


class _PathChange(Struct, frozen=True):
    """A change after which the session shows another path, and how it is undone."""

    earlier_id: str  # a message of the branch from before the change
    changed_at: datetime
    action: str  # words for the panel once it is undone
    notice: str  # sentence for the user once it is undone


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""Time of an exclusion of an earlier run, as the true one is not known: it is undone last."""


class _Exclusion(Struct, frozen=True, kw_only=True):
    """Messages that were taken out of requests, or put back."""

    message_ids: tuple[str, ...]
    is_excluded: bool  # whether they were taken out; False if they were put back
    changed_at: datetime


class Branches:
    """Changes which path of the tree is shown; all other versions stay in the tree."""

    def __init__(
        self, core: ChatCore, status: StatusDisplay, sessions: ShownSession, turns: Turns
    ) -> None:
        self._screen = core.screen
        self._open_sessions = core.open_sessions
        self._store = core.workspace.store
        self._widgets = core.widgets
        self._notices = core.notices
        self._background = core.background
        self._read_ahead = core.read_ahead
        self._status = status
        self._sessions = sessions
        self._turns = turns
        self._rewritten_ids: dict[str, str] = {}
        """By the id of a version that was written in this run: the answer that it was made of."""
        self._exclusions: list[_Exclusion] = []  # of this run that are not undone, oldest first

    async def fork(self, message: ChatMessage) -> None:
        """Copy the messages of the path up to this one into a new session, and show that."""
        session_id = self._sessions.shown_id
        fork = await self._store.fork(session_id, message.message_id)
        self._sessions.leave()
        self._sessions.show_path(fork)
        self._status.show_action("forked")
        self._notices.notify("This is a new session; the old one is unchanged.")
        self._widgets.prompt_input.focus()

    # Versions

    async def show_previous_version(self, message: ChatMessage) -> None:
        """Show the version before this message in its place; before the first comes the last."""
        await self._show_neighbour(message, -1)

    async def show_next_version(self, message: ChatMessage) -> None:
        """Show the version after this message in its place; after the last comes the first."""
        await self._show_neighbour(message, 1)

    async def _show_neighbour(self, message: ChatMessage, step: int) -> None:
        """Show the version `step` places after a message, in a ring; without others, say so."""
        versions = await self._versions_or_notice(message)
        if versions:
            ids = [version.message_id for version in versions]
            index = (ids.index(message.message_id) + step) % len(ids)
            await self._show_version(message, ids[index])

    async def compare_versions(self, message: ChatMessage) -> None:
        """Show two versions of a message in a dialog; if another one is chosen, show its path."""
        from lmchat.tui.screens.versions_dialog import VersionsDialog

        versions = await self._versions_or_notice(message)
        if not versions:
            return
        conversation = self._sessions.conversation
        dialog = VersionsDialog(
            versions, message.message_id, conversation, self._widgets.highlighter
        )
        chosen_id = await self._notices.ask(dialog)
        if chosen_id and chosen_id != message.message_id:
            await self._show_version(message, chosen_id)

    async def show_choices(self, message: ChatMessage) -> None:
        """Show how sure the model was of each word of an answer.

        If an alternative is taken, it begins another version, which the model continues.
        """
        from lmchat.tui.screens.choices_dialog import ChoicesDialog

        save_queue = self._open_sessions.save_queue
        choices = await save_queue.token_choices(message.message_id)
        if not choices:
            self._notices.notify(NO_CHOICES)
            return
        answer = AnswerChoices(message, choices)
        taken = await self._notices.ask(ChoicesDialog(answer))
        if taken is not None:
            self._turns.resume(message, answer.begun_with(taken.index, taken.token))

    async def _versions_or_notice(self, message: ChatMessage) -> list[ChatMessage]:
        """Return all versions of a message, oldest first.

        If the store has no other version, notify the user how to make one, and return an empty
        list.
        """
        tree = await self._store.tree(self._sessions.shown_id)
        versions = [
            other
            for other in tree
            if (other.parent_id, other.role) == (message.parent_id, message.role)
        ]
        # not if it could not be saved, or if another lmchat has deleted it
        is_in_tree = any(version.message_id == message.message_id for version in versions)
        if is_in_tree and len(versions) > 1:
            return versions
        # `message.versions` may be too high, if a version was deleted since the log was read. With
        # 1, the reason is the sentence for a message that has no other version.
        only_version = replace(message, versions=1)
        reason = unavailable_reason("next_version", only_version, is_busy=False)
        self._notices.notify(reason)
        return []

    async def _show_version(self, message: ChatMessage, chosen_id: str) -> None:
        """Show the path with another version of a message, at the row where the message was."""
        self._open_sessions.require_free_path(self._sessions.shown_id)
        path = await self._store.set_leaf(self._sessions.shown_id, chosen_id)
        row = self._widgets.log.viewport.row_of(message.message_id)
        self._sessions.show_path(path)
        self._widgets.log.show_message(chosen_id, row=row)

    async def rewrite(self, prompt_text: PromptText, text: str) -> None:
        """Save a text as another version of the answer that is being rewritten, and show that.

        The version is at the row where the answer was. Raises `RequestInvalid` if the text has
        files, and as `Conversation.rewrite` does; then nothing has changed.
        """
        words, files = self._open_sessions.files.split(text)
        if files:
            problem = "Files go with prompts, not with answers."
            raise RequestInvalid(problem, hint="Remove their lines, then press Enter.")
        conversation = self._sessions.conversation
        old_id = prompt_text.edited_id
        version = await conversation.rewrite(old_id, words)
        self._rewritten_ids[version.message_id] = old_id
        if not self._open_sessions.is_shown(conversation):  # the user has changed the session
            return
        row = self._widgets.log.viewport.row_of(old_id)
        prompt_text.leave_edit()
        self._sessions.show()
        self._widgets.log.show_message(version.message_id, row=row)
        self._status.show_action("rewritten")

    # Taking out of requests

    async def toggle_excluded(self, message_id: str) -> None:
        """Take a message of the path out of all requests, or put it back; `undo` undoes that.

        An answer with tool calls and the results of these calls go together.
        """
        together = messages_together(self._sessions.conversation.messages, message_id)
        if not together:
            return
        exclusion = _Exclusion(
            message_ids=tuple(message.message_id for message in together),
            is_excluded=not together[0].is_excluded,
            changed_at=now(),
        )
        await self._set_excluded(exclusion, is_excluded=exclusion.is_excluded)
        self._exclusions.append(exclusion)

    async def _set_excluded(self, exclusion: _Exclusion, *, is_excluded: bool) -> None:
        """Save whether messages are taken out, and show that in the log and the figures."""
        changed = await set_excluded(
            self._sessions.conversation,
            self._open_sessions.save_queue,
            exclusion.message_ids,
            is_excluded=is_excluded,
        )
        for message in changed:
            self._widgets.log.replace(message)
        self._read_ahead.cancel()  # what it reads is another prompt now
        self._sessions.mark_left_out()
        self._status.show_action("taken out" if is_excluded else "put back")

    # Deleting

    async def delete(self, message: ChatMessage) -> None:
        await self._delete(message.message_id)

    async def _delete(self, message_id: str) -> None:
        """Stop the running turn, and hide a message with what follows it; `undo` restores it."""
        session_id = self._sessions.shown_id
        await self._turns.stop_and_hold(self._sessions.opened)
        self._sessions.show_path(await self._store.delete_message(session_id, message_id))
        self._status.show_action("deleted")
        key = "u or /undo" if self._widgets.has_log_focus else "/undo"
        self._notices.notify(f"Deleted, with everything after it. {key} restores it.")

    async def undo(self) -> None:
        """Undo the newest of these changes of the shown session that is not undone.

        - Deleted messages are restored.
        - Messages that were taken out of requests are put back, and in this run also the reverse.
        - After a summary or a rewritten answer, the branch from before it is shown; its own branch
          stays in the tree.

        Without any of them, notify the user.
        """
        session_id = self._sessions.shown_id
        await self._sessions.conversation.fill()
        path_change = self._last_change(await self._store.tree(session_id))
        exclusion = self._last_exclusion()
        changes = [change for change in (path_change, exclusion) if change is not None]
        newest_at = max((change.changed_at for change in changes), default=None)
        # None if the last deletion was before `newest_at`
        deleted_id = await self._store.last_deleted_message(session_id, since=newest_at)
        if deleted_id is not None:
            self._open_sessions.require_free_path(session_id)
            self._sessions.show_path(await self._store.restore_message(session_id, deleted_id))
            self._status.show_action("restored")
            self._notices.notify("Restored.")
        elif exclusion is not None and exclusion.changed_at == newest_at:
            await self._set_excluded(exclusion, is_excluded=not exclusion.is_excluded)
            self._exclusions = [other for other in self._exclusions if other is not exclusion]
            notice = "Put back: it is sent again." if exclusion.is_excluded else "Taken out again."
            self._notices.notify(notice)
        elif path_change is not None:
            self._open_sessions.require_free_path(session_id)
            path = await self._store.set_leaf(session_id, path_change.earlier_id)
            self._sessions.show_path(path)
            self._status.show_action(path_change.action)
            self._notices.notify(path_change.notice)
        else:
            self._notices.notify("Nothing to undo.")

    def _last_exclusion(self) -> _Exclusion | None:
        """Return the newest exclusion on the shown path that is not undone; None without any.

        If there is none of this run, it is that of the last message of the path that is excluded:
        the times of exclusions of earlier runs are not known.
        """
        path = self._sessions.conversation.messages
        path_ids = {message.message_id for message in path}
        of_this_run = [
            exclusion
            for exclusion in self._exclusions
            if path_ids.issuperset(exclusion.message_ids)
        ]
        if of_this_run:
            return of_this_run[-1]
        excluded = [message for message in path if message.is_excluded]
        if not excluded:
            return None
        together = messages_together(path, excluded[-1].message_id)
        return _Exclusion(
            message_ids=tuple(message.message_id for message in together),
            is_excluded=True,
            changed_at=_LONG_AGO,
        )

    def _last_change(self, tree: Sequence[ChatMessage]) -> _PathChange | None:
        """Return the last summary or rewritten answer of the shown path; None without any.

        `tree` has the messages of all branches, oldest first.
        """
        path = self._sessions.conversation.messages
        changes: list[_PathChange] = []
        summary = compacted_from(path, tree)
        if summary is not None:
            earlier_id, summarised_at = summary
            notice = "Back to the messages before the summary. /tree also lists its branch."
            changes.append(_PathChange(earlier_id, summarised_at, "uncompacted", notice))
        rewriting = newest_rewriting(path, tree)
        if rewriting is not None:
            answer = rewriting.answer
            # What the user has rewritten is known for this run. For an earlier run, it is taken to
            # be the version that was written last before this one.
            old_id = self._rewritten_ids.get(answer.message_id, rewriting.earlier_id)
            notice = "Back to the version before it. /tree also lists yours."
            changes.append(_PathChange(old_id, answer.created_at, "not rewritten", notice))
        return max(changes, key=lambda change: change.changed_at, default=None)

    # The tree

    def show_tree(self, _: ChatMessage) -> None:
        """Open the dialog with all branches of the session, and read the branches in a worker."""
        from lmchat.tui.screens.message_tree import MessageTree

        self._notices.show(MessageTree(), self._go_to_branch)
        self._background.attempt(self._refresh_tree, group="tree")

    async def _refresh_tree(self) -> None:
        """Read all branches of the session, and show them in the tree dialog, if it is open."""
        from lmchat.tui.screens.message_tree import TreeContent

        session_id = self._sessions.shown_id
        conversation = self._sessions.conversation
        messages = await self._store.tree(session_id)
        names = await self._store.branch_names(session_id)
        await conversation.fill()
        path_ids = {message.message_id for message in conversation.messages}
        content = TreeContent(messages=messages, path_ids=path_ids, names=names)
        for dialog in open_screens(self._screen.app, "MessageTree"):
            dialog.show(content)

    def _go_to_branch(self, branch_id: str | None) -> None:
        """Scroll to the first message of a branch, which was chosen in the tree.

        If it is not on the shown path, show a path with it. `branch_id` is the id of this message;
        it is None if no branch was chosen.
        """
        if not branch_id:
            return
        if self._sessions.conversation.find(branch_id) is None:
            self._sessions.switch_to(self._sessions.shown_id, message_id=branch_id)
        else:
            self._widgets.log.show_message(branch_id)

    def change_branch(self, wanted: ChangeBranch) -> None:
        """Name, delete or undo in a worker, as a key of the tree asks for."""
        self._background.attempt(partial(self._change_branch, wanted), group="tree")

    async def _change_branch(self, wanted: ChangeBranch) -> None:
        """Do what a key of the tree asks for, then show the tree as it is, also after an error."""
        try:
            match wanted.act:
                case "name":
                    await self._name_branch(wanted.branch_id, wanted.name)
                case "delete":
                    await self._delete(wanted.branch_id)
                case "undo":
                    await self.undo()
        finally:
            await self._refresh_tree()

    async def _name_branch(self, branch_id: str, name: str) -> None:
        """Ask for a new name of a branch, and save it; an empty one removes `name`, the old one."""
        from lmchat.tui.screens.ask_dialog import AskDialog, accept_any

        session_id = self._sessions.shown_id
        text = "If you leave it empty, the tree shows its first words."
        dialog = AskDialog("Branch name", text=text, value=name, verb="save", check=accept_any)
        typed = await self._notices.ask(dialog)
        if typed is not None:
            await self._store.name_branch(session_id, branch_id, " ".join(typed.split()))
