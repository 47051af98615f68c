"""Acts on single messages, on the tree of the session, and on links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import PurePath

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, FilePart, Role
from lmchat.errors import WrongUse
from lmchat.services.compacting import compacted_from
from lmchat.text import safe_line
from lmchat.tui.commands import unavailable_reason
from lmchat.tui.message_needs import NOTHING_YET, words_of
from lmchat.tui.screens.chat.sessions import PromptText, ShownSession
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.view import ChatView, Work
from lmchat.tui.widgets.line import cut_middle

_OF_LOG = ("copy_code", "fold", "source")
"""Acts of the log; they also focus the message: the user wants to see it, or to press its key again."""
_SUFFIXES = {f"image/{form}": f".{form}" for form in ("png", "jpeg", "webp", "gif")}
"""Suffixes by which a viewer is chosen: that in the name may be another one."""
_MOST_ASKED = 600  # cells of an address that a question shows; its host is shown in full


class MessageActs:
    """Acts on the focused message, else on the last answer; each act leaves every version in the tree."""

    def __init__(
        self, view: ChatView, sessions: ShownSession, prompt_text: PromptText, turns: Turns
    ) -> None:
        self._workspace = view.workspace
        self._open_sessions = view.workspace.open_sessions
        self._view = view
        self._sessions = sessions
        self._prompt_text = prompt_text
        self._turns = turns
        self._acts: dict[str, Callable[[ChatMessage], object]] = {
            "copy": lambda message: view.copy(words_of(message)),
            "edit": self._edit,
            "regenerate": turns.regenerate,
            "another_model": lambda one: view.screen.run_action(
                f"app.ask_another({one.message_id!r})"
            ),
            "resume": turns.resume,
            "fork": self._fork,
            "delete": lambda message: self._prune(message.message_id),
            "previous_version": lambda message: self._choose_version(message, -1),
            "next_version": lambda message: self._choose_version(message, 1),
            "compare": self._compare_versions,
            "tree": lambda _: self._show_tree(),
            "pager": self._page,
            "files": self._show_files,
            "stop": lambda _: turns.stop(),
            "links": lambda message: self._list_links(message.text),
        }

    def _as_now(self, message: ChatMessage) -> ChatMessage:
        """Return a message with what has come of it, if it is the answer that is or was on its way."""
        if message.state is not AnswerState.STREAMING:
            return message
        conversation = self._open_sessions.shown.conversation
        newest = conversation.newest_answer
        if newest is not None and newest.message_id == message.message_id:
            return newest
        return conversation.find(message.message_id) or message

    def _aimed_at(self) -> ChatMessage | None:
        focused = self._view.log.focused_message if self._view.has_log_focus else None
        return focused or self._open_sessions.shown.last_answer

    def unavailable_reason(self, name: str) -> str:
        """Return why an act makes no sense now; empty where it does."""
        message = self._aimed_at()
        if name == "undo":
            return ""
        return self._why_not(name, self._as_now(message)) if message is not None else NOTHING_YET

    def _why_not(self, name: str, message: ChatMessage) -> str:
        return unavailable_reason(name, message, is_busy=self._open_sessions.shown.is_busy)

    def act(self, name: str) -> None:
        """Act on the focused message, else on the last answer; show why where it makes no sense."""
        message, reason = self._aimed_at(), self.unavailable_reason(name)
        is_of_log = name in _OF_LOG or (name == "copy" and self._view.has_log_focus)
        if name == "undo":
            self._view.attempt(self.undo_deletion, group="message")
        elif message is None or reason:
            self._view.notify(reason)
        elif is_of_log:
            self._view.log.show_message(message.message_id)
            self._view.log.action_message(name)
        else:
            self._perform(name, self._as_now(message))

    def act_on(self, name: str, message: ChatMessage, text: str = "", note: str = "") -> None:
        """Act as a key or a click in the log asks for; `text` is to be copied, or is a link."""
        message = self._as_now(message)
        if text and name == "links":
            self._view.attempt(lambda: self._offer_links({text: ""}), group="message")
        elif text:
            self._view.copy(text, note)
        elif reason := self._why_not(name, message):
            self._view.notify(reason)
        elif name in self._acts:
            self._perform(name, message)
        else:
            self._view.notify("This message has no code block.")

    async def _page(self, message: ChatMessage) -> None:
        """Open a prompt's files in the system's viewer, other messages in the pager."""
        for part in message.files:
            await self._open_file(part)
        if not message.files:
            self._view.lend_terminal_to(lambda: self._workspace.platform.page(words_of(message)))

    async def _open_file(self, part: FilePart) -> None:
        name = PurePath(safe_line(part.name)).stem + _SUFFIXES.get(part.media_type, ".txt")
        data = await self._open_sessions.save_queue.read_file(part.digest)
        if not await self._workspace.platform.open_file(name, data):
            self._view.notify("No viewer is available on this machine.")

    async def _show_files(self, message: ChatMessage) -> None:
        """Show a prompt's images one after the other; without any, its texts."""
        from lmchat.tui.screens.image_dialog import ImageDialog, decoded
        from lmchat.tui.screens.text_dialog import TextDialog

        read_file, files = self._open_sessions.save_queue.read_file, list(message.files)
        images = [part for part in files if part.is_image]
        while images:
            part = images.pop(0)
            image = await decoded(self._view.screen.app, part, await read_file(part.digest))
            open_file = partial(self._view.attempt, partial(self._open_file, part), "message")
            if not await self._view.ask(ImageDialog(part, image, len(images), open_file)):
                return
        if not any(part.is_image for part in files):
            texts = [
                (await read_file(part.digest)).decode("utf-8-sig", "replace") for part in files
            ]
            names = ", ".join(part.name for part in files)
            self._view.screen.app.push_screen(TextDialog(names, "\n\n".join(texts)))

    def _perform(self, name: str, message: ChatMessage) -> None:
        """Act; what takes time does so in a worker."""
        done = self._acts[name](message)
        if isinstance(done, Coroutine):
            self._view.attempt(lambda: done, group="message")

    def copy_part(self, part: str) -> None:
        if part == "code":
            self.act("copy_code")
        elif part:
            raise WrongUse(
                f"Unknown argument: {safe_line(part, limit=40)}.", hint="Use /copy or /copy code."
            )
        elif last := self._open_sessions.shown.last_answer:
            self.act_on("copy", last)
        else:
            self._view.notify(NOTHING_YET)

    async def _edit(self, message: ChatMessage) -> None:
        """Edit a prompt, or the prompt of an answer; the answer may be the first message that was read."""
        conversation = self._open_sessions.shown.conversation
        await conversation.fill()
        prompt: ChatMessage | None = message
        while prompt is not None and prompt.role in (Role.ASSISTANT, Role.TOOL):
            prompt = conversation.find(prompt.parent_id or "")
        if prompt is not None and prompt.role is Role.USER:
            self._prompt_text.begin_edit(prompt)
        else:
            self._view.notify("There is no prompt before this answer.")

    async def _fork(self, message: ChatMessage) -> None:
        session_id = self._sessions.shown_id
        self._sessions.show_path(await self._workspace.store.fork(session_id, message.message_id))
        self._view.show_action("forked")
        self._view.notify("This is a new session; the old one is unchanged.")
        self._view.prompt_input.focus()

    async def _choose_version(self, message: ChatMessage, step: int) -> None:
        """Show the previous or next version of a message; after the last comes the first."""
        if versions := await self._versions(message):
            ids = [one.message_id for one in versions]
            place = ids.index(message.message_id) + step
            await self._show_version(message, ids[place % len(ids)])

    async def _versions(self, message: ChatMessage) -> list[ChatMessage]:
        """Return all versions of a message; if it is the only one, say so and return nothing."""
        siblings = (message.parent_id, message.role)
        tree = await self._workspace.store.tree(self._sessions.shown_id)
        found = [one for one in tree if (one.parent_id, one.role) == siblings]
        if len(found) > 1 and any(one.message_id == message.message_id for one in found):
            return found
        self._view.notify(
            unavailable_reason("next_version", replace(message, versions=1), is_busy=False)
        )
        return []

    async def _compare_versions(self, message: ChatMessage) -> None:
        """Show two versions of a message, and make the one that is kept the current one."""
        from lmchat.tui.screens.versions_dialog import VersionsDialog

        if versions := [self._as_now(one) for one in await self._versions(message)]:
            highlighter = self._view.highlighter
            dialog = VersionsDialog(versions, message.message_id, self._as_now, highlighter)
            chosen = await self._view.ask(dialog)
            if chosen and chosen != message.message_id:
                await self._show_version(message, chosen)

    async def _show_version(self, message: ChatMessage, chosen: str) -> None:
        path = await self._workspace.store.set_leaf(self._sessions.shown_id, chosen)
        row = self._view.log.viewport.row_of(message.message_id)
        self._sessions.show_path(path)
        self._view.log.show_message(chosen, row=row)

    async def _prune(self, message_id: str) -> None:
        """Hide a message with what follows it; `undo_deletion` brings it back."""
        session_id = self._sessions.shown_id
        await self._turns.stop_and_hold(self._open_sessions.shown)
        self._sessions.show_path(await self._workspace.store.delete_message(session_id, message_id))
        self._view.show_action("deleted")
        key = "u or /undo" if self._view.has_log_focus else "/undo"
        self._view.notify(f"Deleted, with everything after it. {key} restores it.")

    async def undo_deletion(self) -> None:
        store, session_id = self._workspace.store, self._sessions.shown_id
        conversation = self._open_sessions.shown.conversation
        await conversation.fill()
        leaf_id, since = compacted_from(conversation.messages, await store.tree(session_id)) or (
            "",
            None,
        )
        last = await store.last_deleted_message(session_id, since=since)
        if last is not None:
            self._sessions.show_path(await store.restore_message(session_id, last))
            self._view.show_action("restored")
            self._view.notify("Restored.")
        elif leaf_id:
            self._sessions.show_path(await store.set_leaf(session_id, leaf_id))
            self._view.show_action("uncompacted")
            self._view.notify(
                "Back to the messages before the summary. /tree also lists its branch."
            )
        else:
            self._view.notify("Nothing to undo.")

    def _show_tree(self) -> None:
        """Show all branches of the session; what is pruned there is hidden, not lost."""
        from lmchat.tui.screens.message_tree import MessageTree, TreeShown

        session_id, store = self._sessions.shown_id, self._workspace.store

        async def show() -> None:
            conversation = self._open_sessions.shown.conversation
            messages = await store.tree(session_id)
            names = await store.branch_names(session_id)
            await conversation.fill()
            path = {one.message_id for one in conversation.messages}
            dialog.show(TreeShown(messages=messages, path=path, names=names))

        def act(name: str, branch_id: str) -> None:
            acts: dict[str, Work] = {
                "name": lambda: self._name_branch(session_id, branch_id, dialog.name_of(branch_id)),
                "undo": self.undo_deletion,
            }

            async def change() -> None:
                try:
                    await acts.get(name, lambda: self._prune(branch_id))()
                finally:
                    await show()

            self._view.attempt(change, group="tree")

        dialog = MessageTree(act)
        self._view.screen.app.push_screen(dialog, self._go_to_branch)
        self._view.attempt(show, group="tree")

    def _go_to_branch(self, message_id: str | None) -> None:
        """Show a branch; one that is on the path is only scrolled to, and no other is chosen."""
        if message_id and self._open_sessions.shown.conversation.find(message_id) is None:
            self._sessions.switch_to(self._sessions.shown_id, message_id=message_id)
        elif message_id:
            self._view.log.show_message(message_id)

    async def _name_branch(self, session_id: str, branch_id: str, value: str) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        text = "If you leave it empty, the tree shows its first words."
        dialog = AskDialog("Branch name", text=text, value=value, verb="save", check=lambda _: "")
        name = await self._view.ask(dialog)
        if name is not None:
            await self._workspace.store.name_branch(session_id, branch_id, " ".join(name.split()))

    async def _list_links(self, text: str) -> None:
        from lmchat.tui.widgets.chat_log.markdown.parser import links

        await self._offer_links(await asyncio.to_thread(links, text))

    async def _offer_links(self, found: Mapping[str, str]) -> None:
        """List addresses with their words, those that can be opened; a single one is asked for at once."""
        from lmchat.tui.screens.text_dialog import LinksDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import can_be_opened

        pages = {address: words for address, words in found.items() if can_be_opened(address)}
        if not pages:
            self._view.notify("This message has no links.")
            return
        address = next(iter(pages)) if len(pages) == 1 else await self._view.ask(LinksDialog(pages))
        if address:
            await self._open_page(address)

    async def _open_page(self, address: str) -> None:
        """Ask before a page is opened, and show its host: an address may pretend to be another."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import page_host

        shown = cut_middle(safe_line(address), _MOST_ASKED)
        text = f"{shown}\n\nThis page is at {safe_line(page_host(address))}"
        platform = self._workspace.platform
        if not await self._view.ask(ConfirmDialog("Open this link?", text=text, verb="open it")):
            return
        if not await platform.open_page(address):
            way = safe_line(await platform.copy(address))
            self._view.notify(f"No browser is available. Address: {way[:1].lower()}{way[1:]}")
