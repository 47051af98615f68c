"""The tree of the session that is shown: going to a branch, naming it, pruning it and bringing it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lmchat.tui.screens.chat_list import ChatList


class ChatTree(ChatList):
    """Shows all branches; what is pruned is hidden, not lost."""

    def show_tree(self) -> None:
        """Show all branches of the session."""
        from lmchat.tui.screens.message_tree import MessageTree, TreeShown

        session_id = self.conversation_id

        async def show() -> None:
            conversation = self.open_sessions.shown.conversation
            messages = await self.workspace.store.tree(session_id)
            names = await self.workspace.store.branch_names(session_id)
            await conversation.fill()
            path = {one.message_id for one in conversation.messages}
            dialog.show(TreeShown(messages=messages, path=path, names=names))

        def act(name: str, branch_id: str) -> None:
            if name == "name":
                self._ask_name(branch_id, dialog.name_of(branch_id), show)
            else:
                change = self.bring_back_last if name == "undo" else lambda: self.prune(branch_id)
                self.attempt(lambda: _both(change, show), group="tree")

        dialog = MessageTree(act)
        self.app.push_screen(dialog, self._go_to_branch)
        self.attempt(show, group="tree")

    def _go_to_branch(self, message_id: str | None) -> None:
        """Show a branch; one that is on the path is only scrolled to, and no other is chosen."""
        if not message_id:
            return
        if self.open_sessions.shown.conversation.find(message_id) is None:
            self.open_session(self.conversation_id, message_id=message_id)
        else:
            self.log_view.show_message(message_id)

    def _ask_name(self, branch_id: str, value: str, then: Callable[[], Awaitable[None]]) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        session_id = self.conversation_id

        def name(new: str | None) -> None:
            async def change() -> None:
                words = " ".join((new or "").split())
                await self.workspace.store.name_branch(session_id, branch_id, words)

            if new is not None:
                self.attempt(lambda: _both(change, then), group="tree")

        asked = AskDialog(
            "Name of the branch",
            text="Without a name it is told by its first words.",
            value=value,
            verb="name it",
            check=lambda _: "",
        )
        self.app.push_screen(asked, name)

    async def prune(self, message_id: str) -> None:
        """Hide a message with what follows it; `bring_back_last` undoes that."""
        opened, session_id = self.open_sessions.shown, self.conversation_id
        await self.stop_and_hold(opened)
        self.show_path(await self.workspace.store.delete_message(session_id, message_id))
        self.show_action("deleted")
        key = "u" if self.focused is self.log_view else "/undo"
        self.app.notify(f"Deleted, with what follows. {key} brings it back.", markup=False)

    async def bring_back_last(self) -> None:
        """Bring back what was deleted last in this session."""
        last = await self.workspace.store.last_deleted_message(self.conversation_id)
        if last is None:
            self.app.notify("Nothing was deleted in this session.", markup=False)
            return
        self.show_path(await self.workspace.store.restore_message(self.conversation_id, last))
        self.show_action("brought back")
        self.app.notify("Brought back.", markup=False)


async def _both(change: Callable[[], Awaitable[None]], then: Callable[[], Awaitable[None]]) -> None:
    """Do one after the other, the second also where the first fails."""
    try:
        await change()
    finally:
        await then()
