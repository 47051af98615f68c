"""Files of a draft: attached ones, output of shell commands, pages of the web."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual.worker import Worker, get_current_worker

from lmchat.app.commands.shared import NAMED_ONLY, ReadFiles
from lmchat.app.commands.typed_line import SlashCommand
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.dialogs.ask_dialog import confirmed
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.line import cut_middle
from lmchat.base.errors import FileRefused
from lmchat.base.safe_text import safe_line
from lmchat.core.attachments.attachment import Attachment
from lmchat.core.attachments.dropped_files import mentioned_files
from lmchat.core.attachments.given_files import GivenFiles, Question
from lmchat.core.attachments.shell_command import ShellCommand, output_attachment
from lmchat.core.attachments.web_page import is_page_address
from lmchat.core.sessions.prompts import PendingFiles, PendingPrompt, Prompt, file_line, unread_line

_TITLE_CHARS = 60  # of names in a question
_LINE_CELLS = 200  # to which a path or an address in a question is cut


class PromptFiles:
    """Attaches files, web pages and the output of shell commands to the prompt.

    A file belongs to the prompt in which it was named: Enter queues a prompt until its files are
    read. If one cannot be read, the prompt returns.
    """

    def __init__(self, ui: ScreenServices, prompt_text: PromptText) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._prompt_text = prompt_text
        self.given = GivenFiles(ui.workspace.settings, self.confirm)
        self._expected: list[PendingFiles] = []  # of commands that have not started to read
        self._workers: dict[PendingFiles, Worker[Any]] = {}  # that read them
        self._commands: list[ShellCommand] = []  # that run
        self._open_questions = 0
        self._declined = ""  # a prompt whose names are no files

    @property
    def running_text(self) -> str:
        if self._commands:
            return f"Running: {', '.join(safe_line(run.command) for run in self._commands)}"
        pages = ", ".join(files.label for files in self._workers if files.is_page)
        # not before the user has agreed
        return f"Downloading: {pages}" if pages and not self._open_questions else ""

    @property
    def awaited_text(self) -> str:
        """What queued prompts of the active session wait for."""
        prompts = self._chat.active.queue.prompts
        return ", ".join(files.label for prompt in prompts for files in prompt.files)

    def stop(self) -> bool:
        """Ask the running commands to stop, else the downloads; return whether there were any.

        Prompts that wait for files return, and these files are not read on. Without such a prompt,
        a file is read on: the next prompt must not be sent without it.
        """
        queue = self._chat.active.queue
        unwanted = [files for prompt in queue.prompts for files in prompt.files]
        if unwanted:
            queue.return_from(unwanted[0].prompt)
        stoppable = [command for command in self._commands if not command.stopped_text]
        for command in stoppable:
            command.stop()
        pages = [] if stoppable else [files for files in self._workers if files.is_page]
        for files in {*unwanted, *pages} & self._workers.keys():
            self._workers[files].cancel()
        return bool(stoppable or pages or unwanted)

    # Enter

    def may_name_files(self, prompt: PendingPrompt) -> bool:
        return "@" in prompt.draft and prompt.draft != self._declined

    async def are_names_meant(self, prompt: PendingPrompt) -> bool:
        """Return whether a prompt can be sent as it is: no `@NAME` is a file that it lacks.

        Else it returns to the input, and the user is asked. After a yes, it is sent with the files;
        after a no, the next Enter sends it as it is: the name may stand in a pasted text.
        """
        written = Prompt.of(prompt.draft)
        attached = [*(part.name for part in written.files), *(one.name for one in prompt.files)]
        lacking = await mentioned_files(written.text, attached)
        if not lacking:
            return True
        self._prompt_text.put_back(self._chat.active, prompt)
        title = f"Attach {safe_line(', '.join(lacking.values()), limit=_TITLE_CHARS)}?"
        prompt_input = self._ui.widgets.prompt_input
        if await self.confirm(Question(title=title, text=NAMED_ONLY, verb="attach and send")):
            for place, name in lacking.items():
                self.attach(name, place, prompt_input.prompt, is_in_sentence=True)
            prompt_input.submit()
        else:
            self._declined = prompt.draft
            self._ui.notify("Not sent. Enter again sends the name alone.")
        return False

    def hold(self, prompt: PendingPrompt) -> bool:
        """Queue a prompt until its files are read; return False if it lacks none.

        It returns to the input if a file could not be read, or if an earlier message is edited,
        whose new version cannot be queued.
        """
        unread = [part.label for part in Prompt.of(prompt.draft).files if not part.digest]
        if prompt.has_failed:
            self._prompt_text.put_back(self._chat.active, prompt)
        elif unread:
            self._prompt_text.put_back(self._chat.active, prompt)
            self._ui.warn(f"{unread[0]}. Delete its line, then press Enter again.")
        elif prompt.files and self._prompt_text.edited_id:
            self._prompt_text.put_back(self._chat.active, prompt)
            names = ", ".join(files.label for files in prompt.files)
            self._ui.notify(f"{names} is still being read. Press Enter again once it is there.")
        elif prompt.files:
            self._chat.active.queue.add(prompt)
            self._prompt_text.remember(prompt.draft)
            self._ui.show_action("queued")
        else:
            return False
        return True

    # Reading

    def expect(self, slash: SlashCommand, prompt: PendingPrompt) -> None:
        """Let a prompt wait for a command that is run now and will read files for it."""
        command_id = slash.command.command_id
        name = slash.argument
        if (command_id == "file" and name) or command_id == "paste":
            self._expected.append(prompt.expect(name or "the clipboard"))

    async def _read(self, files: PendingFiles, read: ReadFiles) -> Sequence[Attachment]:
        """Put files into their prompt, and return them.

        For a file that was completed, but cannot be read, a line takes the place of its name.
        """
        attachments: Sequence[Attachment] = ()
        lines: list[str] = []
        is_read = False
        try:
            attachments = await read()
            for attachment in attachments:
                await self._ui.workspace.store.files.save(attachment.data)
            lines = [file_line(attachment.part) for attachment in attachments]
            is_read = True
        except FileRefused:
            lines = [unread_line(files.name)] if files.name else []  # a pasted path is text, too
            raise
        finally:
            self._end(files, lines, is_read=is_read)
        return attachments

    def _end(self, files: PendingFiles, lines: Sequence[str], *, is_read: bool) -> None:
        """After an error, a prompt that waits for them returns to the input."""
        prompt = files.prompt
        prompt.files.remove(files)
        if self._chat.is_closing:
            return  # the saved draft has the prompt, also a queued one
        if prompt.draft:
            prompt.has_failed |= not is_read
            if lines:  # else nothing was named, or it could not be read
                prompt.draft = files.put_into(prompt.draft, lines)
            self._chat.follow(prompt)
        elif lines:
            self._prompt_text.put_files(files, lines)

    # Shell commands and pages

    def start_shell(self, line: str, prompt: PendingPrompt) -> None:
        """Run the line `!COMMAND`, and attach its output to a prompt.

        Several commands may run at the same time. The output of a stopped one is attached, too.
        """
        command = line.removeprefix("!").strip()
        files = prompt.expect(f"!{command}")
        run = partial(self._read, files, partial(self._run_command, command))
        self._ui.start(run, "shell")

    async def _run_command(self, text: str) -> Sequence[Attachment]:
        command = self._ui.workspace.platform.shell_command(text)
        self._commands.append(command)
        self._ui.show_action("running a command")
        try:
            await command.run()
        finally:
            self._commands.remove(command)
            self._ui.show_action(command.ending)
        return [output_attachment(command)]

    async def _fetch_page(self, files: PendingFiles, read: ReadFiles) -> None:
        self._ui.show_action("downloading a page")
        ending = "no page attached"
        try:
            await self._read_files(files, read)
            ending = "page attached"
        finally:
            self._ui.show_action(ending)

    # Files

    async def confirm(self, question: Question) -> bool:
        text = "\n".join(cut_middle(line, _LINE_CELLS) for line in question.text.split("\n"))
        self._open_questions += 1
        try:
            return await confirmed(self._ui, question.title, text, question.verb)
        finally:
            self._open_questions -= 1
            self._ui.show_changes()

    async def attach_expected(self, name: str, read: ReadFiles) -> None:
        """Attach what the next command of `expect` reads."""
        typed = self._ui.widgets.prompt_input.prompt
        files = self._expected.pop(0) if self._expected else typed.expect(name)
        files.is_page = is_page_address(name)
        if files.is_page:
            # in a worker of its own, which holds no keys
            self._ui.start(partial(self._fetch_page, files, read), "page")
        else:
            await self._read_files(files, read)

    def attach(self, path: str, text: str, prompt: PendingPrompt, *, is_in_sentence: bool) -> None:
        """Attach the file with which `@` was completed; without a path, the files that were pasted.

        `text` is `@` with the name, or the pasted text.
        """
        name = safe_line(Path(path).name)
        files = prompt.expect(path or text, text, name if is_in_sentence else "", name)
        # a pasted text stays if it names no file
        read = partial(self.given.read, path) if path else partial(self.given.pasted, text)
        self._ui.start(partial(self._read_files, files, read), "attach")

    async def _read_files(self, files: PendingFiles, read: ReadFiles) -> None:
        self._workers[files] = get_current_worker()
        try:
            attachments = await self._read(files, read)
        finally:
            del self._workers[files]
        has_image = any(attachment.part.is_image for attachment in attachments)
        if has_image and self._prompt_text.has_unseen_image:
            key = self._ui.key_name("model")
            self._ui.notify(f"This model cannot see images. {key} lists the models that can.")
