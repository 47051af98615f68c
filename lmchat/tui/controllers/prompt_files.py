"""Files of a draft: attached ones, output of shell commands, pages of the web."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from textual.worker import Worker, get_current_worker

from lmchat.attachments.attachment import Attachment
from lmchat.attachments.dropped_files import named_files
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import is_page_address
from lmchat.chat.prompt_queue import Queued
from lmchat.chat.session import OpenSession
from lmchat.commands.shared import Question, ReadFiles, read_files
from lmchat.commands.typed_line import SlashCommand
from lmchat.files.disk import expanded_path
from lmchat.processes.background import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.sessions.attached_files import file_line, with_files
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.widgets.line import cut_middle

_LINE_CELLS = 200  # to which a path or an address in a question is cut


class Reading(Struct, eq=False):
    """Files on their way into the prompt in which they were named."""

    session: OpenSession
    edited_id: str  # of the message that was edited; empty for a new prompt
    words: str  # what is read, for the note above the prompt
    number: int  # of the prompt that was sent before it was named, as `PromptInput` counts
    typed: str = ""
    shown_name: str = ""
    worker: Worker[Any] | None = None  # that `stop` cancels
    is_page: bool = False  # `stop` cancels a page also for a typed prompt
    command: ShellCommand | None = None  # whose output is read, once it runs
    queued: Queued | None = None  # the prompt that waits for the files
    lines: Sequence[str] | None = None  # the files, once they are read


class PromptFiles:
    """Attaches files, web pages and the output of shell commands to the prompt.

    A file belongs to the prompt in which it was named: Enter queues a prompt until its files are
    read. If one cannot be read, the prompt returns.
    """

    def __init__(self, ui: ScreenServices, prompt_text: PromptText) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._prompt_text = prompt_text
        self._readings: list[Reading] = []  # that have not ended
        self._ended: list[Reading] = []  # for a prompt on its way from the input to `hold`
        self._expected: list[Reading] = []  # of commands that have not begun to read
        self._held_number = 0  # of the last prompt that `hold` got
        self._open_questions = 0

    @property
    def running_words(self) -> str:
        if commands := self._commands:
            return f"Running: {', '.join(safe_line(run.command) for run in commands)}"
        pages = ", ".join(reading.words for reading in self._readings if reading.is_page)
        # not before the user has agreed
        return f"Downloading: {pages}" if pages and not self._open_questions else ""

    @property
    def _commands(self) -> list[ShellCommand]:
        return [reading.command for reading in self._readings if reading.command is not None]

    @property
    def awaited_words(self) -> str:
        """What queued prompts of the shown session wait for."""
        prompts = self._chat.shown.queue.prompts
        return ", ".join(reading.words for reading in self._readings if reading.queued in prompts)

    def stop(self) -> bool:
        """Begin to stop the running commands, else the downloads; return whether there were any.

        Prompts that wait for files return, and these files are not read on. Without such a prompt,
        a file is read on: the next prompt must not be sent without it.
        """
        shown = self._chat.shown
        has_returned = shown.queue.return_from_reading()
        for reading in self._readings:
            if has_returned and reading.session is shown and reading.worker is not None:
                reading.worker.cancel()
        stoppable = [command for command in self._commands if not command.stopped_words]
        for command in stoppable:
            command.stop()
        pages = [] if stoppable else [reading for reading in self._readings if reading.is_page]
        for page in pages:
            if page.worker is not None:
                page.worker.cancel()
        return bool(stoppable or pages) or has_returned

    # Enter

    def hold(self, text: str, number: int) -> str:
        """Return a prompt with its files if it can be sent; "" if it is queued until they are read.

        "" also if it has returned to the prompt field: a file could not be read, or an earlier
        message is edited, whose new version cannot be queued.
        """
        self._held_number = number
        ended = [reading for reading in self._ended if reading.number < number]
        pending = [reading for reading in self._readings if self._is_of(reading, number)]
        for reading in ended:
            self._ended.remove(reading)
            text = self._with_files(text, reading)
        has_failed = any(reading.lines is None for reading in ended)
        if has_failed or (pending and self._prompt_text.edited_id):
            self._ui.widgets.prompt_input.put_before_typed(text)
            if not has_failed:
                names = ", ".join(reading.words for reading in pending)
                self._ui.notify(f"{names} is still being read. Press Enter again once it is there.")
            return ""
        if not pending:
            return text
        queued = self._chat.shown.queue.add(text, needs_files=True)
        for reading in pending:
            reading.queued = queued
        self._prompt_text.remember(text)
        self._ui.show_action("queued")
        return ""

    def _is_of(self, reading: Reading, number: int) -> bool:
        """`number` is that of a prompt that is shown or sent."""
        queued = reading.queued
        if queued is not None and (
            queued.is_dropped or self._chat.open_sessions.with_queued(queued)
        ):
            return False
        is_shown = reading.session.session_id == self._chat.shown.session_id
        is_in_edit = reading.edited_id == self._prompt_text.edited_id
        return is_shown and is_in_edit and reading.number < number

    def _with_files(self, text: str, reading: Reading) -> str:
        if not reading.lines:  # nothing was named, or it could not be read
            return text
        return with_files(text, reading.lines, reading.typed, reading.shown_name)

    # Readings

    def _begin_reading(
        self, words: str, number: int | None = None, typed: str = "", shown_name: str = ""
    ) -> Reading:
        """Without `number`, the files were named in the prompt that is typed now."""
        if number is None:
            number = self._ui.widgets.prompt_input.sent_count
        reading = Reading(
            session=self._chat.shown,
            edited_id=self._prompt_text.edited_id,
            words=safe_line(words),
            number=number,
            typed=typed,
            shown_name=shown_name,
        )
        self._readings.append(reading)
        return reading

    def expect(self, slash: SlashCommand, number: int | None) -> None:
        """Let a prompt wait for a command that is run now and will read files for it."""
        command_id, name = slash.command.command_id, slash.argument
        if (command_id == "file" and name) or command_id == "paste":
            self._expected.append(self._begin_reading(name or "the clipboard", number))

    async def _read(self, reading: Reading, read: ReadFiles) -> Sequence[Attachment]:
        """Put files into their prompt, and return them.

        After an error, a prompt that waits for them returns to the prompt field.
        """
        files: Sequence[Attachment] = ()
        try:
            files = await read()
            for file in files:
                await self._ui.workspace.store.save_file(file.data)
            reading.lines = [file_line(file.part) for file in files]
        finally:
            self._readings.remove(reading)
            self._end(reading)
        return files

    def _end(self, reading: Reading) -> None:
        """Put files into their prompt: the one that is typed, a queued one, or a draft."""
        queued = reading.queued
        if self._chat.is_closing or (queued is not None and queued.is_dropped):
            return  # when lmchat ends, the saved draft has the prompt, also a queued one
        sent_count = self._ui.widgets.prompt_input.sent_count
        session = self._chat.open_sessions.with_queued(queued) if queued is not None else None
        if queued is not None and session is not None:
            if reading.lines is None:
                session.queue.return_from_reading()
                return
            session.queue.change_draft(queued, self._with_files(queued.draft, reading))
            if all(other.queued is not queued for other in self._readings):
                self._chat.end_reading(session, queued)
        elif sent_count > self._held_number and self._is_of(reading, sent_count):
            self._ended.append(reading)  # its prompt has left the input
        elif reading.lines:
            self._prompt_text.add_files(
                reading.session,
                reading.edited_id,
                reading.lines,
                reading.typed,
                reading.shown_name,
            )

    # Shell commands and pages

    def begin_shell(self, line: str, number: int) -> None:
        """Run the line `!COMMAND`, and attach its output to the prompt of the session shown now.

        Several commands may run at the same time. The output of a stopped one is attached, too.
        """
        command = line.removeprefix("!").strip()
        reading = self._begin_reading(f"!{command}", number)
        run = partial(self._read, reading, partial(self._run_command, reading, command))
        self._ui.begin(run, "shell")

    async def _run_command(self, reading: Reading, text: str) -> Sequence[Attachment]:
        reading.command = command = self._ui.workspace.platform.shell_command(text)
        self._ui.show_action("running a command")
        try:
            await command.run()
        finally:
            reading.command = None
            self._ui.show_action(command.ending)
        return [output_attachment(command)]

    async def _fetch_page(self, reading: Reading, read: ReadFiles) -> None:
        reading.is_page = True
        self._ui.show_action("downloading a page")
        try:
            await self._read_files(reading, read)
        finally:
            self._ui.show_action("page attached" if reading.lines else "no page attached")

    # Files

    async def confirm(self, question: Question) -> bool:
        text = "\n".join(cut_middle(line, _LINE_CELLS) for line in question.text.split("\n"))
        dialog = ConfirmDialog(question.title, text=text, verb=question.verb, key=self._ui.yes_key)
        self._open_questions += 1
        try:
            return bool(await self._ui.ask(dialog))
        finally:
            self._open_questions -= 1
            self._ui.show_changes()

    async def attach_expected(self, name: str, read: ReadFiles) -> None:
        """Attach what the next command of `expect` reads."""
        reading = self._expected.pop(0) if self._expected else self._begin_reading(name)
        if is_page_address(name):
            # in a worker of its own, which holds no keys
            fetch = partial(self._fetch_page, reading, read)
            self._ui.begin(fetch, "page")
        else:
            await self._read_files(reading, read)

    def attach(self, path: str, text: str, number: int) -> None:
        """Attach the file with which `@` was completed; without a path, the files that were pasted.

        `text` is `@` with the typed letters, or the pasted text.
        """
        if path:
            shown_name = safe_line(Path(path).name)
            reading = self._begin_reading(path, number, text, shown_name)
            read = partial(read_files, [expanded_path(path)], self.confirm)
        else:
            # `shown_name` is empty: a pasted path is no word of a sentence
            reading = self._begin_reading(text, number, text)
            read = partial(self._read_pasted, text)
        work = partial(self._read_files, reading, read)
        self._ui.begin(work, "attach")

    async def _read_pasted(self, text: str) -> Sequence[Attachment]:
        """If the text names no file, it stays."""
        return await read_files(await run_abandonable(partial(named_files, text)), self.confirm)

    async def _read_files(self, reading: Reading, read: ReadFiles) -> None:
        reading.worker = get_current_worker()
        files = await self._read(reading, read)
        has_image = any(file.part.is_image for file in files)
        if has_image and self._prompt_text.has_unseen_image:
            key = self._ui.key_name("model")
            self._ui.notify(f"This model cannot see images. {key} lists the models that can.")
