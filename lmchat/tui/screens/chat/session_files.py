"""Sessions in files: export of the shown one, import from files and other programs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

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
from lmchat.text import plural, safe_line
from lmchat.tui.screens.chat.core import ChatCore
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay

_MAX_REFUSED = 3  # refused files of one import whose errors are shown; the others are counted


class SessionFiles:
    """Moves sessions into files and back; no file is replaced without a question."""

    def __init__(self, core: ChatCore, status: StatusDisplay, sessions: ShownSession) -> None:
        self._screen = core.screen
        self._workspace = core.workspace
        self._notices = core.notices
        self._status = status
        self._sessions = sessions

    # Export

    async def export(self, typed: str = "") -> None:
        """Export the shown session; `typed` is the argument of `/export`. Without it, ask."""
        from lmchat.tui.screens.export_dialog import ExportDialog, parse_export

        if not self._sessions.conversation.messages:
            self._notices.notify("There is nothing to export yet.")
            return
        request = parse_export(typed)
        if request.name:
            await self._write(request)
        else:
            proposed = export_name(self._shown_session())
            await self._notices.ask(ExportDialog(request, self._try_write, proposed=proposed))

    async def _try_write(self, request: Any) -> bool | str:
        """Export for `ExportDialog`, which is left if this returns True.

        Otherwise return the words that the dialog shows: why the file could not be written; nothing
        if the user does not want to overwrite a file, and is asked for another one.
        """
        try:
            is_written = await self._write(request)
        except LMChatError as error:
            return error.message_with_hint
        if is_written:
            return True
        return ""

    async def _write(self, request: Any, *, is_forced: bool = False) -> bool:
        """Export; return False if the user does not want to overwrite the file."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        await self._sessions.conversation.fill()
        contents = ExportAs(
            with_reasoning=request.with_reasoning, with_branches=request.with_branches
        )
        try:
            file = await self._workspace.library.exporter.export_file(
                self._shown_session(), expanded_path(request.name), contents, is_forced=is_forced
            )
        except FileExists as error:
            dialog = ConfirmDialog("Overwrite this file?", text=error.message, verb="overwrite")
            if not await self._notices.ask(dialog):
                return False
            return await self._write(request, is_forced=True)
        self._status.show_action("exported")
        self._notices.notify(f"Exported to {safe_line(str(file.absolute()))}")
        return True

    def _shown_session(self) -> Session:
        conversation = self._sessions.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    # Import

    async def import_(self, name: str) -> None:
        """Import the chats of a file, or with the name `all` those of all other programs.

        Without a name, ask for a file. Raises the first error if nothing could be imported.
        """
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
            _, first_error = outcome.refused[0]
            raise first_error

    async def _ask_for_file(self, importer: Importer) -> ImportOutcome:
        """Ask for a file until one has chats; the dialog shows why a file is refused.

        Return an empty outcome if the user leaves the dialog: all errors have been shown then.
        """
        from lmchat.tui.screens.ask_dialog import AskDialog

        last = ImportOutcome()

        async def attempt(name: str) -> ImportOutcome | str:
            nonlocal last
            last = await self._import_file(importer, name)
            if last.chats:
                return last
            if not last.refused:
                return "Stopped."
            _, first_error = last.refused[0]
            return first_error.message_with_hint

        text = "A file, zip or folder. Or Esc, then /import all for the chats of other programs."
        dialog = AskDialog("Import which file?", text=text, verb="import", attempt=attempt)
        result = await self._notices.ask(dialog)
        if result is None and not last.chats:
            return ImportOutcome()
        return last  # also if the dialog was left while chats were imported

    async def _import_file(self, importer: Importer, name: str) -> ImportOutcome:
        """Import a file, zip or folder; return what came, also if the user stops the import."""
        outcome = ImportOutcome()
        work = partial(importer.import_files, [name], into=outcome)
        await self._show_progress(importer, "Importing", work)
        return outcome

    async def _import_all(self, importer: Importer) -> ImportOutcome:
        """Search other programs for chats, ask which are imported, and import them.

        Return an empty outcome, after a notice, if there is nothing to import.
        """
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
        """Run long work of the importer, and return its result; None if it was stopped.

        A dialog with its progress opens with the first report of the importer. Esc leaves it, and
        so stops the work.
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
        try:
            return await worker.wait()
        except WorkerCancelled:  # by Esc
            return None
        except WorkerFailed as failed:
            raise failed.error from failed
        finally:
            if dialog.is_attached:
                dialog.dismiss()

    async def _show_outcome(self, outcome: ImportOutcome) -> None:
        """Show the imported chats in the list, how many there are, and the errors."""
        await self._sessions.fetch_list()
        self._status.show_action("imported")
        self._show_imported(outcome.chats, is_stopped=outcome.is_stopped)
        for _, error in outcome.refused[:_MAX_REFUSED]:
            self._notices.show_error(error)
        if len(outcome.refused) > _MAX_REFUSED:
            others = plural(len(outcome.refused) - _MAX_REFUSED, "more file")
            self._notices.notify(f"{others} rejected. In a shell, `lmchat import` names them all.")

    def _show_imported(self, chats: Sequence[ImportedChat], *, is_stopped: bool) -> None:
        """Tell which chats were imported, and which parts of them were not; open a single one."""
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
