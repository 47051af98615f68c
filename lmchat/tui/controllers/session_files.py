"""Sessions in files: export of the shown one, import from files and other programs.

An import has an outcome: the chats that were imported, and the files that were refused with errors.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from textual.worker import Worker, WorkerCancelled, WorkerFailed

from lmchat.errors import FileExists, LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.formats.writing import export_name
from lmchat.safe_text import safe_line
from lmchat.services.exporting import ExportAs
from lmchat.services.importing import (
    ImportedChat,
    Importer,
    ImportOutcome,
    chat_sentence,
    chats_summary,
)
from lmchat.sessions.session import Session, Skipped
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import (
    AskDialog,
    ConfirmDialog,
    ExportDialog,
    ProgressDialog,
    parse_export,
)
from lmchat.units import plural

_MAX_REFUSED = 3  # refused files of one import whose errors are shown; the others are counted


class SessionFiles:
    """Writes sessions into files and reads them; asks before a file is overwritten."""

    def __init__(self, chat: Chat, status: StatusDisplay, sessions: ShownSession) -> None:
        self._chat = chat
        self._status = status
        self._sessions = sessions

    # Export

    async def export(self, typed: str = "") -> None:
        """Export the shown session to the file that is named in `typed`, the argument of `/export`.

        If no file is named there, ask for one in a dialog. An empty session is not exported.
        """
        if not self._sessions.conversation.messages:
            self._chat.notify("There is nothing to export yet.")
            return
        request = parse_export(typed)
        if request.name:
            await self._write(request)
        else:
            proposed = export_name(self._shown_session())
            await self._chat.ask(ExportDialog(request, self._try_write, proposed=proposed))

    async def _try_write(self, request: Any) -> bool | str:
        """Export as the attempt of `ExportDialog`; return True, with which the dialog is left.

        If the file cannot be written, return why, which the dialog shows. If it exists and the user
        does not want to overwrite it, return an empty text: the dialog stays for another name.
        """
        try:
            is_written = await self._write(request)
        except LMChatError as error:
            return error.message_with_hint
        if is_written:
            return True
        return ""

    async def _write(self, request: Any, *, is_forced: bool = False) -> bool:
        """Write the shown session, with its older messages, into the file of an `ExportRequest`.

        If the file exists, ask whether to overwrite it; with `is_forced`, overwrite it without
        a question. Return False if the user says no, and True after the export.
        """
        await self._sessions.conversation.fill()
        contents = ExportAs(
            with_reasoning=request.with_reasoning, with_branches=request.with_branches
        )
        try:
            file = await self._chat.workspace.library.exporter.export_file(
                self._shown_session(), expanded_path(request.name), contents, is_forced=is_forced
            )
        except FileExists as error:
            dialog = ConfirmDialog("Overwrite this file?", text=error.message, verb="overwrite")
            if not await self._chat.ask(dialog):
                return False
            return await self._write(request, is_forced=True)
        self._status.show_action("exported")
        self._chat.notify(f"Exported to {safe_line(str(file.absolute()))}")
        return True

    def _shown_session(self) -> Session:
        conversation = self._sessions.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    # Import

    async def import_(self, name: str) -> None:
        """Import the chats of a file, or with the name `all` those of all other programs.

        Without a name, ask for a file. Then show what was imported. Raises `WrongUse` in
        a temporary chat, and the first error if files were refused and no chat was imported.
        """
        if self._chat.workspace.is_temporary:
            hint = "Start lmchat without --temporary, or import in a shell: lmchat import FILE"
            raise WrongUse("A temporary chat saves nothing, so it cannot import.", hint=hint)
        importer = self._chat.workspace.importer
        if importer is None:  # for the type checker: only a temporary chat has none
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
        """Ask for a file in a dialog, import it, and return the outcome.

        If a file has no chats, the dialog shows why, and asks for another one. If the user leaves
        it then, return an empty outcome, without the errors, which the dialog has shown.
        """
        last_outcome = ImportOutcome()

        async def attempt(name: str) -> ImportOutcome | str:
            nonlocal last_outcome
            last_outcome = await self._import_file(importer, name)
            if last_outcome.chats:
                return last_outcome
            if not last_outcome.refused:  # no chats, no errors: the user has stopped the import
                return "Stopped."
            _, first_error = last_outcome.refused[0]
            return first_error.message_with_hint

        text = "A file, zip or folder. Or Esc, then /import all for the chats of other programs."
        dialog = AskDialog("Import which file?", text=text, verb="import", attempt=attempt)
        await self._chat.ask(dialog)
        # An import that ran when the dialog was left has ended all the same, and its chats count.
        return last_outcome if last_outcome.chats else ImportOutcome()

    async def _import_file(self, importer: Importer, name: str) -> ImportOutcome:
        """Import a file, zip or folder, and return the outcome.

        If the user stops the import, the outcome has what was imported until then.
        """
        outcome = ImportOutcome()
        work = partial(importer.import_files, [name], into=outcome)
        await self._show_progress(importer, "Importing", work)
        return outcome

    async def _import_all(self, importer: Importer) -> ImportOutcome:
        """Search other programs for chats, ask whether to import them all, and import them.

        Return an empty outcome if the user stops the search or says no. If there is nothing new to
        import, notify the user and return an empty outcome, too.
        """
        outcome = ImportOutcome()
        programs = await self._show_progress(importer, "Looking for chats", importer.survey)
        if programs is None:
            self._chat.notify("Stopped: nothing was imported.")
            return outcome
        if not programs:
            self._chat.notify("No chats of other programs were found.")
            return outcome
        if all(program.is_known for program in programs):
            self._chat.notify("All chats of other programs were imported before.")
            return outcome

        async def import_programs() -> None:
            for program in programs:
                await importer.import_files(program.paths, source=program.source, into=outcome)

        text = "\n".join(program.words for program in programs)
        dialog = ConfirmDialog("Import these chats?", text=text, verb="import")
        if await self._chat.ask(dialog):
            await self._show_progress(importer, "Importing", import_programs)
        return outcome

    async def _show_progress(
        self, importer: Importer, title: str, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Run long work of the importer in a worker, and return its result.

        With the first report of the importer, a dialog opens that shows the progress. If the user
        leaves it with Esc, the work is cancelled, and None is returned. An error of the work is
        raised.
        """
        screen = self._chat.screen
        dialog = ProgressDialog(title)
        worker: Worker[Any] = screen.run_worker(work(), group="import", exit_on_error=False)

        def report(words: str) -> None:
            if not dialog.is_attached:  # short work, which reports nothing, needs no dialog
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
                dialog.dismiss()  # also cancels the worker, which has ended

    async def _show_outcome(self, outcome: ImportOutcome) -> None:
        """Show the list of sessions again, the number of imported chats, and the first errors."""
        await self._sessions.fetch_list()
        self._status.show_action("imported")
        self._show_imported(outcome.chats, is_stopped=outcome.is_stopped)
        for _, error in outcome.refused[:_MAX_REFUSED]:
            self._chat.show_error(error)
        if len(outcome.refused) > _MAX_REFUSED:
            others = plural(len(outcome.refused) - _MAX_REFUSED, "more file")
            self._chat.notify(f"{others} rejected. In a shell, `lmchat import` names them all.")

    def _show_imported(self, chats: Sequence[ImportedChat], *, is_stopped: bool) -> None:
        """Notify the user how many chats were imported, and of the first part that was skipped.

        If the import has ended with a single chat that is not in the trash, open it.
        """
        if is_stopped:
            self._chat.notify(
                f"Stopped: {chats_summary(chats)}. Start the import again for the rest."
            )
        elif len(chats) == 1:
            self._chat.notify(f"{chat_sentence(chats[0])}.")
            if chats[0].header.deleted_at is None:
                self._sessions.switch_to(chats[0].header.session_id)
        else:
            self._chat.notify(f"{chats_summary(chats)}.")
        skipped: list[Skipped] = []
        for chat in chats:
            skipped += chat.skipped
        if skipped:
            first = safe_line(f"{skipped[0].where}: {skipped[0].reason}")
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self._chat.notify(f"Skipped or incomplete: {first}{more}.")
