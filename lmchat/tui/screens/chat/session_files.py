"""Sessions in files: export of the shown one, import from files and other programs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from textual.screen import Screen
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from lmchat.domain.session import Session, Skipped
from lmchat.errors import FileExists, LMChatError, WrongUse
from lmchat.files import expanded_path
from lmchat.formats.writing import export_name
from lmchat.services.exporting import ExportAs
from lmchat.services.importing import (
    ImportedChat,
    Importer,
    ImportOutcome,
    chat_sentence,
    chats_summary,
)
from lmchat.services.workspace import Workspace
from lmchat.text import plural, safe_line
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay

_MAX_REFUSED = 3  # files of one folder that are named as refused; the others are counted


class SessionFiles:
    """Moves sessions into files and back; no file is replaced without a question."""

    def __init__(
        self,
        screen: Screen[None],
        workspace: Workspace,
        notices: Notices,
        status: StatusDisplay,
        sessions: ShownSession,
    ) -> None:
        self._screen = screen
        self._workspace = workspace
        self._notices = notices
        self._status = status
        self._sessions = sessions

    # Export

    async def export(self, typed: str = "") -> None:
        """Export the shown session to the file that was typed, or ask for one."""
        from lmchat.tui.screens.export_dialog import ExportDialog, parse_export

        if not self._sessions.conversation.messages:
            self._notices.notify("There is nothing to export yet.")
            return
        request = parse_export(typed)
        if request.name:
            await self._write(request)
        else:
            proposed = export_name(self._shown())
            await self._notices.ask(ExportDialog(request, self._try_write, proposed=proposed))

    async def _try_write(self, request: Any) -> bool | str:
        """Export; return why a dialog asks again, empty where the file shall stay as it is."""
        try:
            return await self._write(request) or ""
        except LMChatError as error:
            return error.message_with_hint

    async def _write(self, request: Any, *, is_forced: bool = False) -> bool:
        """Export; return whether the file was written."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        await self._sessions.conversation.fill()
        contents = ExportAs(
            with_reasoning=request.with_reasoning, with_branches=request.with_branches
        )
        try:
            file = await self._workspace.library.exporter.export_file(
                self._shown(), expanded_path(request.name), contents, is_forced=is_forced
            )
        except FileExists as error:
            dialog = ConfirmDialog("Overwrite this file?", text=error.message, verb="overwrite")
            if not await self._notices.ask(dialog):
                return False
            return await self._write(request, is_forced=True)
        self._status.show_action("exported")
        self._notices.notify(f"Exported to {safe_line(str(file.absolute()))}")
        return True

    def _shown(self) -> Session:
        conversation = self._sessions.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    # Import

    async def import_(self, name: str) -> None:
        """Import a file, the chats of `all` other programs, or ask for a file."""
        if self._workspace.is_temporary:
            hint = "Start lmchat without --temporary, or import in a shell: lmchat import FILE"
            raise WrongUse("A temporary chat saves nothing, so it cannot import.", hint=hint)
        importer = self._workspace.importer
        if importer is None:
            return
        if name == "all":
            outcome = await self._import_all(importer)
        elif name:
            outcome = await self._import_file(importer, name)
        else:
            outcome = await self._ask_for_file(importer)
        if outcome.chats:
            await self._show_outcome(outcome)
        elif outcome.refused:
            raise outcome.refused[0][1]

    async def _ask_for_file(self, importer: Importer) -> ImportOutcome:
        """Ask until a file has chats; without one, nothing is left to say."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        last = ImportOutcome()

        async def attempt(name: str) -> ImportOutcome | str:
            nonlocal last
            last = await self._import_file(importer, name)
            if last.chats:
                return last
            return last.refused[0][1].message_with_hint if last.refused else "Stopped."

        text = "A file, zip or folder. Or Esc, then /import all for the chats of other programs."
        dialog = AskDialog("Import which file?", text=text, verb="import", attempt=attempt)
        taken = await self._notices.ask(dialog)
        return last if taken is not None or last.chats else ImportOutcome()

    async def _import_file(self, importer: Importer, name: str) -> ImportOutcome:
        outcome = ImportOutcome()
        work = partial(importer.import_files, [name], into=outcome)
        await self._show_progress(importer, "Importing", work)
        return outcome

    async def _import_all(self, importer: Importer) -> ImportOutcome:
        """Ask for and do an import of all that other programs have."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        outcome = ImportOutcome()
        programs = await self._show_progress(importer, "Looking for chats", importer.survey)
        if programs is None:
            self._notices.notify("Stopped: nothing was imported.")
            return outcome
        if not programs:
            self._notices.notify("No chats of other programs were found.")
            return outcome
        if all(program.is_known for program in programs):
            self._notices.notify("All chats of other programs were imported before.")
            return outcome

        async def import_programs() -> None:
            for program in programs:
                await importer.import_files(program.paths, source=program.source, into=outcome)

        text = "\n".join(program.words for program in programs)
        dialog = ConfirmDialog("Import these chats?", text=text, verb="import")
        if await self._notices.ask(dialog):
            await self._show_progress(importer, "Importing", import_programs)
        return outcome

    async def _show_progress(
        self, importer: Importer, title: str, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Do long work of the importer; its dialog appears after a while, and Esc stops the work.

        Returns its result; None if it was stopped.
        """
        from lmchat.tui.screens.ask_dialog import WorkDialog

        screen = self._screen
        dialog = WorkDialog(title)
        worker: Worker[Any] = screen.run_worker(work(), group="import", exit_on_error=False)

        def report(words: str) -> None:
            if not dialog.is_attached:
                screen.app.push_screen(dialog, lambda _: worker.cancel())
            dialog.show_progress(f"{words} so far. Esc keeps what came.")

        importer.report_progress = report
        with suppress(WorkerCancelled):  # by Esc
            try:
                return await worker.wait()
            except WorkerFailed as failed:
                raise failed.error from failed
            finally:
                if dialog.is_attached:
                    dialog.dismiss()

    async def _show_outcome(self, outcome: ImportOutcome) -> None:
        await self._sessions.fetch_list()
        self._status.show_action("imported")
        self._show_imported(outcome.chats, is_stopped=outcome.is_stopped)
        for _, error in outcome.refused[:_MAX_REFUSED]:
            self._notices.show_error(error)
        if len(outcome.refused) > _MAX_REFUSED:
            more = plural(len(outcome.refused) - _MAX_REFUSED, "more file")
            self._notices.notify(f"{more} rejected. In a shell, `lmchat import` names them all.")

    def _show_imported(self, chats: Sequence[ImportedChat], *, is_stopped: bool) -> None:
        if is_stopped:
            self._notices.notify(
                f"Stopped: {chats_summary(chats)}. Start the import again for the rest."
            )
        elif len(chats) == 1:
            self._notices.notify(f"{chat_sentence(chats[0])}.")
            if chats[0].header.deleted_at is None:
                self._sessions.switch_to(chats[0].header.session_id)
        else:
            self._notices.notify(f"{chats_summary(chats)}.")
        skipped: list[Skipped] = []
        for chat in chats:
            skipped += chat.skipped
        if skipped:
            first = safe_line(f"{skipped[0].where}: {skipped[0].reason}")
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self._notices.notify(f"Skipped or incomplete: {first}{more}.")
