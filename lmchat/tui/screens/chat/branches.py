"""Branches of the session on the chat screen: versions, forks, the tree, deleting and undoing."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage
from lmchat.services.compacting import compacted_from
from lmchat.services.workspace import Workspace
from lmchat.tui.commands import unavailable_reason
from lmchat.tui.screens.chat.background import Background, Work
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.widgets import ChatWidgets


class Branches:
    """Changes which branch is shown; every version stays in the tree."""

    def __init__(
        self,
        workspace: Workspace,
        widgets: ChatWidgets,
        notices: Notices,
        background: Background,
        status: StatusDisplay,
        sessions: ShownSession,
        turns: Turns,
    ) -> None:
        self._store = workspace.store
        self._widgets = widgets
        self._notices = notices
        self._background = background
        self._status = status
        self._sessions = sessions
        self._turns = turns

    async def fork(self, message: ChatMessage) -> None:
        session_id = self._sessions.shown_id
        self._sessions.show_path(await self._store.fork(session_id, message.message_id))
        self._status.show_action("forked")
        self._notices.notify("This is a new session; the old one is unchanged.")
        self._widgets.prompt_input.focus()

    # Versions

    async def show_previous_version(self, message: ChatMessage) -> None:
        """Show the version before a message; before the first comes the last."""
        await self._show_neighbour(message, -1)

    async def show_next_version(self, message: ChatMessage) -> None:
        """Show the version after a message; after the last comes the first."""
        await self._show_neighbour(message, 1)

    async def _show_neighbour(self, message: ChatMessage, step: int) -> None:
        versions = await self._versions(message)
        if versions:
            ids = [version.message_id for version in versions]
            place = ids.index(message.message_id) + step
            await self._show_version(message, ids[place % len(ids)])

    async def compare_versions(self, message: ChatMessage) -> None:
        """Show two versions of a message, and make the one that is kept the current one."""
        from lmchat.tui.screens.versions_dialog import VersionsDialog

        versions = await self._versions(message)
        if not versions:
            return
        current = self._sessions.conversation.current
        dialog = VersionsDialog(
            list(map(current, versions)), message.message_id, current, self._widgets.highlighter
        )
        chosen = await self._notices.ask(dialog)
        if chosen and chosen != message.message_id:
            await self._show_version(message, chosen)

    async def _versions(self, message: ChatMessage) -> list[ChatMessage]:
        """Return all versions of a message; if it is the only one, say so and return nothing."""
        tree = await self._store.tree(self._sessions.shown_id)
        versions = [
            other
            for other in tree
            if (other.parent_id, other.role) == (message.parent_id, message.role)
        ]
        is_there = any(version.message_id == message.message_id for version in versions)
        if is_there and len(versions) > 1:
            return versions
        only = replace(message, versions=1)
        self._notices.notify(unavailable_reason("next_version", only, is_busy=False))
        return []

    async def _show_version(self, message: ChatMessage, chosen_id: str) -> None:
        path = await self._store.set_leaf(self._sessions.shown_id, chosen_id)
        row = self._widgets.log.viewport.row_of(message.message_id)
        self._sessions.show_path(path)
        self._widgets.log.show_message(chosen_id, row=row)

    # Deleting

    async def delete(self, message: ChatMessage) -> None:
        await self._delete(message.message_id)

    async def _delete(self, message_id: str) -> None:
        """Hide a message with what follows it; `undo` restores it."""
        session_id = self._sessions.shown_id
        await self._turns.stop_and_hold(self._sessions.opened)
        self._sessions.show_path(await self._store.delete_message(session_id, message_id))
        self._status.show_action("deleted")
        key = "u or /undo" if self._widgets.has_log_focus else "/undo"
        self._notices.notify(f"Deleted, with everything after it. {key} restores it.")

    async def undo(self) -> None:
        """Undo the last deletion, or else the last summary."""
        session_id = self._sessions.shown_id
        conversation = self._sessions.conversation
        await conversation.fill()
        tree = await self._store.tree(session_id)
        leaf_id, since = compacted_from(conversation.messages, tree) or ("", None)
        deleted_id = await self._store.last_deleted_message(session_id, since=since)
        if deleted_id is not None:
            self._sessions.show_path(await self._store.restore_message(session_id, deleted_id))
            self._status.show_action("restored")
            self._notices.notify("Restored.")
        elif leaf_id:
            self._sessions.show_path(await self._store.set_leaf(session_id, leaf_id))
            self._status.show_action("uncompacted")
            self._notices.notify(
                "Back to the messages before the summary. /tree also lists its branch."
            )
        else:
            self._notices.notify("Nothing to undo.")

    # The tree

    def show_tree(self, _: ChatMessage) -> None:
        """Show all branches of the session; what is deleted there is hidden, not lost."""
        from lmchat.tui.screens.message_tree import MessageTree, TreeShown

        session_id = self._sessions.shown_id

        async def read() -> None:
            conversation = self._sessions.conversation
            messages = await self._store.tree(session_id)
            names = await self._store.branch_names(session_id)
            await conversation.fill()
            path = {message.message_id for message in conversation.messages}
            dialog.show(TreeShown(messages=messages, path=path, names=names))

        async def act(work: Work) -> None:
            try:
                await work()
            finally:
                await read()

        def begin_act(name: str, branch_id: str) -> None:
            works: dict[str, Work] = {
                "name": lambda: self._name_branch(session_id, branch_id, dialog.name_of(branch_id)),
                "undo": self.undo,
                "prune": lambda: self._delete(branch_id),
            }
            self._background.attempt(partial(act, works[name]), group="tree")

        dialog = MessageTree(begin_act)
        self._notices.show(dialog, self._go_to_branch)
        self._background.attempt(read, group="tree")

    def _go_to_branch(self, message_id: str | None) -> None:
        """Show a branch; one that is on the path is only scrolled to, and no other is chosen."""
        if not message_id:
            return
        if self._sessions.conversation.find(message_id) is None:
            self._sessions.switch_to(self._sessions.shown_id, message_id=message_id)
        else:
            self._widgets.log.show_message(message_id)

    async def _name_branch(self, session_id: str, branch_id: str, name: str) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        text = "If you leave it empty, the tree shows its first words."
        dialog = AskDialog("Branch name", text=text, value=name, verb="save", check=lambda _: "")
        typed = await self._notices.ask(dialog)
        if typed is not None:
            await self._store.name_branch(session_id, branch_id, " ".join(typed.split()))
