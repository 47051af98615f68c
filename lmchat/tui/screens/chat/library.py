"""Saved sessions as a whole: the keys of the list, the trash, export and import."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from textual.worker import Worker, WorkerCancelled, WorkerFailed

from lmchat.domain.session import SearchHit, Session, SessionHeader, Skipped, tags_from
from lmchat.errors import FileExists, LMChatError, WrongUse
from lmchat.files import path_of
from lmchat.formats.writing import export_name
from lmchat.services.exporting import ExportAs
from lmchat.services.importing import ImportedChat, Importer, ImportOutcome, sentence, summary
from lmchat.text import plural, safe_line
from lmchat.tui.message_needs import NOTHING_YET
from lmchat.tui.screens.chat.sessions import ShownSession
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.view import ChatView

_MOST_NAMED = 3  # files of one folder that are named as refused; the others are counted


class SavedSessions:
    """Changes sessions as a whole, and moves them into files and back; nothing is lost without a question."""

    def __init__(self, view: ChatView, sessions: ShownSession, turns: Turns) -> None:
        self._workspace = view.workspace
        self._open_sessions = view.workspace.open_sessions
        self._library = view.workspace.library
        self._view = view
        self._sessions = sessions
        self._turns = turns
        self._acts: Mapping[str, Callable[[str, str], Awaitable[str | None]]] = {
            "rename": self._rename,
            "tag": self._tag,
            "pin": self._toggle_pinned,
            "archive": self._toggle_archived,
            "delete": self._delete,
            "undo": self._undo_delete,
            "trash": self._show_trash,
            "export": self._export,
            "import": self._import,
        }
        """Each returns what is done, for the user; None where that is shown already."""

    async def act(self, name: str, session_id: str = "", typed: str = "") -> None:
        """Do what a key of the list or a command asks for; ask for what was not typed."""
        is_new = (
            session_id == self._sessions.shown_id
            and not self._open_sessions.shown.conversation.messages
        )
        if is_new and name in ("rename", "tag"):
            self._view.notify(NOTHING_YET)
        elif words := await self._acts[name](session_id, typed):
            await self._sessions.fetch_list()
            self._view.show_action(words.partition(";")[0].lower())
            self._view.notify(f"{words}.")

    async def _header(self, session_id: str) -> SessionHeader:
        return (await self._workspace.store.open_session(session_id, count=1)).header

    async def _toggle_pinned(self, session_id: str, _: str) -> str:
        was_pinned = (await self._header(session_id)).is_pinned
        await self._library.pin(session_id, is_pinned=not was_pinned)
        return "Unpinned" if was_pinned else "Pinned"

    async def _toggle_archived(self, session_id: str, _: str) -> str:
        was_archived = (await self._header(session_id)).is_archived
        await self._library.archive(session_id, is_archived=not was_archived)
        return "Restored from the archive" if was_archived else "Archived; a restores it"

    async def _undo_delete(self, _id: str, _: str) -> str:
        return "Restored" if await self._library.undo_delete() else "Nothing to undo"

    async def _delete(self, session_id: str, _: str) -> str:
        shown = self._open_sessions.shown
        if session_id == self._sessions.shown_id:
            await self._turns.stop_and_hold(shown)
        await self._library.delete(session_id)
        if shown is self._open_sessions.shown and session_id == self._sessions.shown_id:
            self._sessions.save()
            self._sessions.show_new()
        return "In the trash; u restores it"

    async def _rename(self, session_id: str, typed: str) -> str:
        from lmchat.tui.screens.ask_dialog import AskDialog

        if not typed:
            value = safe_line((await self._header(session_id)).title)
            typed = await self._view.ask(AskDialog("Rename session", value=value, verb="rename"))
        if typed is None:
            return ""
        header = await self._library.rename(session_id, typed)
        if session_id == self._sessions.shown_id:
            self._open_sessions.shown.conversation.rename(header.title)
            self._sessions.show_title()
        return "Renamed"

    async def _tag(self, session_id: str, typed: str) -> str:
        from lmchat.tui.screens.ask_dialog import AskDialog

        if typed:
            header = await self._library.toggle_tags(session_id, typed)
        else:
            text = "Separate tags with spaces. To find them, type #tag in the filter of the list."
            value = safe_line(" ".join((await self._header(session_id)).tags))
            dialog = AskDialog(
                "Session tags", text=text, value=value, verb="save", check=lambda _: ""
            )
            wanted = await self._view.ask(dialog)
            if wanted is None:
                return ""
            header = await self._library.tag(session_id, tags_from(wanted))
        words = " ".join(f"#{tag}" for tag in header.tags)
        return safe_line(f"Tagged {words}") if words else "Tags removed"

    async def _show_trash(self, _id: str, _: str) -> None:
        from lmchat.tui.screens.trash_dialog import TrashDialog

        def act(name: str, session_ids: Sequence[str]) -> None:
            async def work() -> None:
                try:
                    if name == "restore":
                        for session_id in session_ids:
                            await self._library.restore(session_id)
                    else:
                        await self._library.purge(*session_ids)
                finally:
                    dialog.show(await self._library.trash())
                    await self._sessions.fetch_list()
                self._view.notify("Restored." if name == "restore" else "Deleted permanently.")

            self._view.attempt(work, group="trash")

        dialog = TrashDialog(act)
        self._view.screen.app.push_screen(dialog)
        dialog.show(await self._library.trash())

    async def _export(self, _id: str = "", words: str = "") -> None:
        from lmchat.tui.screens.ask_dialog import ExportDialog, parse_export

        if not self._open_sessions.shown.conversation.messages:
            self._view.notify("There is nothing to export yet.")
            return
        wish = parse_export(words)
        if wish.name:
            await self._write(wish)
        else:
            await self._view.ask(
                ExportDialog(wish, self._try_write, proposed=export_name(self._shown()))
            )

    def open_hit(self, hit: SearchHit, *, is_exported: bool) -> None:
        """Show the session of a hit, and then ask for the file to export it to."""

        async def go() -> None:
            await self._sessions.go_to(hit.session_id, message_id=hit.message_id, words=hit.words)
            if is_exported:
                await self._export()

        self._view.attempt(go, group="open")

    async def _try_write(self, wish: Any) -> bool | str:
        """Export; return why a dialog has to ask again, without words where the file shall stay as it is."""
        try:
            return await self._write(wish) or ""
        except LMChatError as error:
            return error.words

    async def _write(self, wish: Any, *, is_forced: bool = False) -> bool:
        """Export; return whether the file was written."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        how = ExportAs(with_reasoning=wish.with_reasoning, with_branches=wish.with_branches)
        await self._open_sessions.shown.conversation.fill()
        try:
            written = await self._library.exporter.export_file(
                self._shown(), path_of(wish.name), how, is_forced=is_forced
            )
        except FileExists as error:
            dialog = ConfirmDialog("Overwrite this file?", text=error.message, verb="overwrite")
            return bool(await self._view.ask(dialog)) and await self._write(wish, is_forced=True)
        self._view.show_action("exported")
        self._view.notify(f"Exported to {safe_line(str(written.absolute()))}")
        return True

    def _shown(self) -> Session:
        conversation = self._open_sessions.shown.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    async def _import(self, _id: str, name: str) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        if self._workspace.is_temporary:
            hint = "Start lmchat without --temporary, or import in a shell: lmchat import FILE"
            raise WrongUse("A temporary chat saves nothing, so it cannot import.", hint=hint)
        if (importer := self._workspace.importer) is None:
            return
        outcome = ImportOutcome()

        async def import_file(name: str) -> ImportOutcome | str:
            nonlocal outcome
            outcome = ImportOutcome()
            await self._show_progress(
                importer, "Importing", lambda: importer.import_files([name], into=outcome)
            )
            if outcome.chats:
                return outcome
            return outcome.refused[0][1].words if outcome.refused else "Stopped."

        if name == "all":
            await self._import_all(importer, outcome)
        elif name:
            await import_file(name)
        else:
            text = (
                "A file, zip or folder. Or Esc, then /import all for the chats of other programs."
            )
            dialog = AskDialog("Import which file?", text=text, verb="import", attempt=import_file)
            if await self._view.ask(dialog) is None and not outcome.chats:
                return
        if not outcome.chats:
            if outcome.refused:
                raise outcome.refused[0][1]
            return
        await self._sessions.fetch_list()
        self._view.show_action("imported")
        self._show_imported(outcome.chats, is_stopped=outcome.is_stopped)
        for _, error in outcome.refused[:_MOST_NAMED]:
            self._view.tell(error)
        if len(outcome.refused) > _MOST_NAMED:
            more = plural(len(outcome.refused) - _MOST_NAMED, "more file")
            self._view.notify(f"{more} rejected. In a shell, `lmchat import` names them all.")

    async def _import_all(self, importer: Importer, outcome: ImportOutcome) -> None:
        """Ask for and do an import of all that is found."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        programs = await self._show_progress(importer, "Looking for chats", importer.survey)
        if programs is None:
            self._view.notify("Stopped: nothing was imported.")
            return
        if not programs:
            self._view.notify("No chats of other programs were found.")
            return
        if all(program.is_known for program in programs):
            self._view.notify("All chats of other programs were imported before.")
            return

        async def import_programs() -> None:
            for program in programs:
                await importer.import_files(program.paths, source=program.source, into=outcome)

        text = "\n".join(program.words for program in programs)
        if await self._view.ask(ConfirmDialog("Import these chats?", text=text, verb="import")):
            await self._show_progress(importer, "Importing", import_programs)

    async def _show_progress(
        self, importer: Importer, title: str, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Do long work of the importer; its dialog appears after a while, and Esc there stops the work.

        Returns its result; None if it was stopped.
        """
        from lmchat.tui.screens.ask_dialog import WorkDialog

        screen, dialog = self._view.screen, WorkDialog(title)
        worker: Worker[Any] = screen.run_worker(work(), group="import", exit_on_error=False)

        def report(words: str) -> None:
            if not dialog.is_attached:
                screen.app.push_screen(dialog, lambda _: worker.cancel())
            dialog.show_progress(f"{words} so far. Esc keeps what came.")

        importer.report_progress = report
        with suppress(WorkerCancelled):
            try:
                return await worker.wait()
            except WorkerFailed as failed:
                raise failed.error from failed
            finally:
                if dialog.is_attached:
                    dialog.dismiss()

    def _show_imported(self, found: Sequence[ImportedChat], *, is_stopped: bool) -> None:
        if is_stopped:
            self._view.notify(f"Stopped: {summary(found)}. Start the import again for the rest.")
        elif len(found) == 1:
            self._view.notify(f"{sentence(found[0])}.")
            if found[0].header.deleted_at is None:
                self._sessions.switch_to(found[0].header.session_id)
        else:
            self._view.notify(f"{summary(found)}.")
        skipped: list[Skipped] = []
        for chat in found:
            skipped += chat.skipped
        if skipped:
            first = safe_line(f"{skipped[0].where}: {skipped[0].reason}")
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self._view.notify(f"Skipped or incomplete: {first}{more}.")
