"""Files of a draft: attached ones, output of shell commands, pages of the web.

In the prompt, a file is one line. It replaces `typed`, the words of the prompt that have named the
file, such as `@gar`; `typed` is empty if none have. In a sentence, as `Explain @gar`, `shown_name`
takes the place of these words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lmchat.attachments.attachment import (
    Attachment,
    files_outside,
    read_attachment,
    read_clipboard,
)
from lmchat.attachments.dropped_files import named_files
from lmchat.attachments.file_sets import SetName, parse_set_name, read_set
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import PageAddress, is_page_address
from lmchat.chat.open_session import OpenSession
from lmchat.files.disk import expanded_path
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.sessions.attached_files import file_line
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog, outside_question, page_question
from lmchat.tui.screen_services import ScreenServices

_PAGES = "pages"  # group of the workers that fetch pages


class PromptFiles:
    """Attaches files, web pages and the output of shell commands to the prompt."""

    def __init__(self, ui: ScreenServices, prompt_text: PromptText) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._prompt_text = prompt_text
        self._running: list[ShellCommand] = []
        self._pages: list[str] = []  # addresses of pages that are being fetched

    @property
    def running_words(self) -> str:
        """Words for the commands that are running, else for the pages that are fetched; or ""."""
        if self._running:
            return f"Running: {', '.join(safe_line(run.command) for run in self._running)}"
        return f"Downloading: {safe_line(', '.join(self._pages))}" if self._pages else ""

    def stop(self) -> bool:
        """Begin to stop the running commands, else the downloads; return whether there were any."""
        stoppable = [command for command in self._running if not command.stopped_words]
        for command in stoppable:
            command.stop()
        return bool(stoppable) or self._ui.stop(_PAGES)

    def begin_shell(self, line: str) -> None:
        """Run the line `!COMMAND`, and attach its output to the prompt of the session shown now.

        Several commands may run at the same time. The output of a stopped one is attached, too.
        """
        command = line.removeprefix("!").strip()
        self._ui.begin(partial(self._run_command, command, self._chat.shown), "shell", typed=line)

    async def _run_command(self, text: str, opened: OpenSession) -> None:
        """Run a shell command to its end, and put its output into the prompt of a session."""
        command = self._ui.workspace.platform.shell_command(text)
        self._running.append(command)  # `stop` finds it there, and `running_words` names it
        self._ui.show_action("running a command")
        try:
            await command.run()
        finally:
            self._running.remove(command)
            self._ui.show_action(command.ending)
        self._prompt_text.add_file(opened, await self._stored(output_attachment(command)))

    async def _stored(self, file: Attachment) -> str:
        """Store a file, and return its line for the prompt."""
        await self._ui.workspace.store.save_file(file.data)
        return file_line(file.part)

    async def _attach_page(self, address: str, opened: OpenSession) -> None:
        """Fetch a page from hosts that the user allows, and put it into the prompt of a session."""
        self._pages.append(address)  # `running_words` names it
        self._ui.show_action("downloading a page")
        ending = "no page attached"
        try:
            # for each session, the user is asked once about a host
            page = await self._ui.workspace.pages.attachment(
                address, opened.session_id, self._may_fetch
            )
            ending = "page attached"
        finally:
            self._pages.remove(address)
            self._ui.show_action(ending)
        self._prompt_text.add_file(opened, await self._stored(page))

    async def _may_fetch(self, address: PageAddress) -> bool:
        """Ask whether a request may go to this address: that of the page, or of a redirect."""
        return bool(await self._ui.ask(page_question(address)))

    # Files

    async def add(self, name: str) -> None:
        """Attach what was typed behind `/file`: a page of the web, or what `attach_named` takes."""
        if is_page_address(name):
            # in a worker of its own, which `stop` ends without ending other work
            work = partial(self._attach_page, name, self._chat.shown)
            self._ui.begin(work, _PAGES, typed=f"/file {name}")
        else:
            await self.attach_named(name)

    def attach(self, path: str, text: str) -> None:
        """Attach the file with which `@` was completed; without a path, the files that were pasted.

        `text` becomes `typed`: it is `@` with the typed letters, or the pasted text.
        """
        if path:
            work = partial(self.attach_named, path, typed=text)
        else:
            work = partial(self._attach_pasted, self._chat.shown, text)
        self._ui.begin(work, "attach")

    async def _attach_pasted(self, opened: OpenSession, text: str) -> None:
        """Attach the files that a pasted text names; if it names none, the text stays."""
        paths = await run_abandonable(partial(named_files, text))
        if paths:
            # `shown_name` is empty: a pasted path is no word of a sentence
            await self._attach_files(opened, paths, text, shown_name="")

    async def attach_named(self, name: str, *, typed: str = "") -> None:
        """Attach what the user has named with `/file` or `@`, if it may be read.

        `name` is a path, several paths as a terminal pastes them, a folder, or a pattern. Raises
        `FileRefused`.
        """
        opened = self._chat.shown  # the user may change to another session during the reading
        paths = list(await run_abandonable(partial(named_files, name)))
        if not paths:
            # the files of a folder or a pattern; None if the name is neither
            set_name = await parse_set_name(name, Path.cwd())
            if set_name is not None:
                await self._attach_set(opened, typed, set_name)
                return
            paths = [expanded_path(name)]  # if there is no such file, the error says so
        await self._attach_files(opened, paths, typed, safe_line(Path(name).name))

    async def _attach_files(
        self, opened: OpenSession, paths: Sequence[Path], typed: str, shown_name: str
    ) -> None:
        """Attach files in place of `typed`, if the user lets them be read."""
        if await self._may_read(paths):
            files = [await read_attachment(path) for path in paths]
            await self._put(opened, files, typed, shown_name)

    async def attach_copied(self) -> None:
        """Attach the image in the clipboard, or else its text."""
        opened = self._chat.shown
        await self._put(opened, [await read_clipboard(self._ui.workspace.platform)])

    async def _put(
        self,
        opened: OpenSession,
        files: Sequence[Attachment],
        typed: str = "",
        shown_name: str = "",
    ) -> None:
        """Store files, and put them into the prompt of the session for which they were named.

        They are put above the line with `typed`, or if that is empty above the line of the cursor.
        If the session is not shown any more, its draft gets the files. If the model cannot see a
        new image, the user is told.
        """
        lines = [await self._stored(file) for file in files]
        if opened.session_id != self._chat.shown.session_id:
            self._prompt_text.add_file(opened, "".join(lines))
            return
        self._ui.widgets.prompt_input.attach(typed, lines, shown_name)
        has_image = any(file.part.is_image for file in files)
        if has_image and self._prompt_text.has_unseen_image:
            key = self._ui.key_name("model")
            self._ui.notify(f"This model cannot see images. {key} lists the models that can.")

    async def _attach_set(self, opened: OpenSession, typed: str, name: SetName) -> None:
        """Attach the text files of a folder or a pattern, and tell the user how much that is.

        If there are many files, or if they fill half of the context window, the user is asked
        first.
        """
        if not await self._may_read([name.folder]):
            return
        found = await read_set(name)
        target = self._chat.turn_choices.target
        if found.needs_consent(target.context if target else None):
            title = f"Attach {len(found.files)} files?"
            # `y` and not Enter: the user may be typing when the question opens
            dialog = ConfirmDialog(title, text=found.words, verb="attach them", key="y")
            if not await self._ui.ask(dialog):
                return
        await self._put(opened, found.files, typed, safe_line(name.typed))
        self._ui.notify(f"Attached: {found.words}.")

    async def _may_read(self, paths: Sequence[Path]) -> bool:
        """Return whether files may be read; ask the user if some are outside the working folder.

        A path may be pasted with a text, unnoticed, which must not be enough to send such a file.
        """
        outside = await files_outside(paths, Path.cwd())
        return not outside or bool(await self._ui.ask(outside_question(outside)))
