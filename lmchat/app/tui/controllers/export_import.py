"""Export of the active session to a file; import of chats from files and other programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from lmchat.app.commands.import_lines import loss_lines, result_lines
from lmchat.app.tui.controllers.session_view import SessionView
from lmchat.app.tui.dialogs.ask_dialog import AskDialog, confirmed
from lmchat.app.tui.dialogs.export_dialog import ExportDialog
from lmchat.app.tui.dialogs.progress_dialog import with_progress
from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.base import units
from lmchat.base.errors import FileExists, FileRefused, WrongUse
from lmchat.base.files.disk import current_folder, expanded_path
from lmchat.base.files.paths import home_folder
from lmchat.base.safe_text import safe_line, safe_text
from lmchat.core.formats.exports.render import short_name
from lmchat.core.formats.programs import AUTO
from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.library.library import ExportAs
from lmchat.core.sessions.session import Session

_OPTIONS = {"--reasoning", "--branches"}


class ExportImport:
    """Writes sessions into files and reads them; asks before a file is overwritten."""

    def __init__(self, ui: ScreenServices, session_view: SessionView) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._session_view = session_view

    # Export

    async def export(self, typed: str = "") -> None:
        """Export to the file in `typed`; if it names none, ask in a dialog."""
        words = typed.split()
        name = " ".join(word for word in words if word not in _OPTIONS)
        contents = ExportAs(
            with_reasoning="--reasoning" in words, with_branches="--branches" in words
        )
        if not self._chat.active.messages:
            self._ui.notify("There is nothing to export yet.")
        elif name:
            await self._write(name, contents)
        else:
            session = self._session_to_export()
            messages = units.counted(len(session.messages), "message")
            folder = ""
            with suppress(WrongUse):  # it was removed; a name with a folder can still be typed
                folder = _with_tilde(current_folder())
            dialog = ExportDialog(
                f"{short_name(session)}.md",
                self._write,
                contents,
                folder=folder,
                figure=messages if self._chat.active.has_all_messages else "",
            )
            self._ui.open_dialog(dialog)

    async def _write(self, name: str, contents: ExportAs) -> None:
        """Raises `FileRefused` as `write_asking` does."""
        await self._chat.active.load_older()
        write = partial(
            self._ui.workspace.library.export_file,
            self._session_to_export(),
            expanded_path(name),
            contents,
        )
        await write_asking(self._ui, write, "Exported")
        self._ui.show_action("exported")

    def _session_to_export(self) -> Session:
        session = self._chat.active
        return Session(header=session.header, messages=session.messages_so_far)

    # Import

    async def import_(self, name: str = "") -> None:
        """Import the chats of a file, or with the name `all` those of all other programs."""
        importer = self._ui.workspace.importer
        if importer is None:
            raise WrongUse(
                "A temporary chat saves nothing, so it cannot import.",
                next_step="Start lmchat without --temporary, or import in a shell: "
                "lmchat import FILE",
            )

        if name:
            self._show_outcome(await self._import(importer, name))
        else:
            text = "A file, zip or folder; `all` for the chats of other programs."
            attempt = partial(self._import, importer)
            dialog = AskDialog("Import which file?", text=text, verb="import", attempt=attempt)
            self._ui.open_dialog(dialog, self._show_outcome)

    async def _import(self, importer: Importer, name: str) -> ImportOutcome:
        """Raises the error of the first refused file if no chat was imported."""
        # AUTO: the content tells from which program it is
        sources = [(AUTO, name)]
        if name == "all":
            sources = await self._confirmed_places(importer)
        outcome = ImportOutcome()

        async def run(report: Callable[[str], None]) -> bool:
            """If Esc stops it, `with_progress` returns None."""
            for source, path in sources:
                await importer.import_files(
                    [path],
                    outcome,
                    source=source,
                    report_progress=lambda text: report(f"{text} so far. Esc keeps what came."),
                )
            return True

        outcome.is_stopped = not await with_progress(self._ui, "Importing", run)
        if outcome.refused and not outcome.chats:
            _, first_error = outcome.refused[0]
            raise first_error
        return outcome

    async def _confirmed_places(self, importer: Importer) -> list[tuple[str, str]]:
        """Return format and path of the chats of other programs, if the user agrees."""
        places = await importer.places()
        if not places:
            self._ui.notify("No chats of other programs were found.")
            return []
        text = "\n".join(f"{place.program.name}: {safe_line(str(place.path))}" for place in places)
        if not await confirmed(self._ui, "Import these chats?", text, verb="import"):
            return []
        return [(place.program.source, str(place.path)) for place in places]

    def _show_outcome(self, outcome: ImportOutcome) -> None:
        """Open a single chat that is not in the trash."""
        self._ui.show_action("imported")
        headers = [chat.header for chat in outcome.chats]
        if len(headers) == 1 and headers[0].deleted_at is None:
            self._session_view.switch_to(headers[0].session_id)
        lines = ["Stopped. Start the import again for the rest."] if outcome.is_stopped else []
        # first: a row for each chat may fill the screen
        lines += [error.message_with_next_step for _, error in outcome.refused]
        lines += [*result_lines(outcome), *loss_lines(outcome)]
        if len(lines) == 1:
            self._ui.notify(lines[0])
        elif lines:
            self._ui.open_dialog(TextDialog("Import", safe_text("\n".join(lines))))


async def write_asking(
    ui: ScreenServices, write: Callable[..., Awaitable[Path]], done: str
) -> None:
    """Write a file; if it exists, ask whether to overwrite it.

    `write` raises `FileExists` unless it gets `is_forced`. `done` is the first word of the
    notification, such as `Exported`. Raises `FileRefused`, also after a no: the dialog that asked
    for the name then stays open for another one.
    """
    try:
        file = await write(is_forced=False)
    except FileExists as error:
        if not await confirmed(ui, "Overwrite this file?", error.message, verb="overwrite"):
            # not the error itself: its next step names an option of the command line
            raise FileRefused(error.message, next_step="Choose another name.") from None
        file = await write(is_forced=True)
    ui.notify(f"{done} to {safe_line(str(file.absolute()))}")


def _with_tilde(folder: Path) -> str:
    home = home_folder()
    return str("~" / folder.relative_to(home)) if folder.is_relative_to(home) else str(folder)
