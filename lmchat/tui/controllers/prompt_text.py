"""Text of the prompt: drafts, earlier prompts, an edit, attached files.

What is typed in a session is its draft, which is saved. An edit of an earlier prompt or answer
replaces the typed text for a while; it comes back after the edit.
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
from lmchat.attachments.folders import SetName, named_files, parse_set_name, read_set
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import PageAddress, is_page_address
from lmchat.chat.drafts import joined_prompts
from lmchat.chat.open_session import OpenSession
from lmchat.config.presets import filled
from lmchat.files.disk import expanded_path
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.sessions.attached_files import draft_of, file_line, without_file_lines
from lmchat.sessions.message import ChatMessage, Role
from lmchat.tui.chat_view import CANNOT_SEE, ChatView
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog, outside_question, page_question
from lmchat.tui.widgets.prompt_input import PromptInput

_PAGES = "pages"  # group of the workers that fetch pages


class PromptText:
    """Changes and saves the text of the prompt, in which an attached file is a line with a mark."""

    def __init__(self, view: ChatView, status: StatusDisplay) -> None:
        self._view = view
        self._open_sessions = view.open_sessions
        self._drafts = view.open_sessions.drafts
        self.edited_id = ""  # the earlier message that is being edited; empty for a new prompt
        self.is_rewriting = False  # whether that message is an answer
        self._status = status
        self._before_edit = ""  # what was typed before the edit began
        self._unedited = ""  # the text with which the edit began

    @property
    def _input(self) -> PromptInput:
        return self._view.widgets.prompt_input

    @property
    def new_prompt(self) -> str:
        """What is typed as the next prompt; empty for a command, and while a prompt is edited."""
        has_no_prompt = bool(self.edited_id or self._input.typed_command)
        return "" if has_no_prompt else self._input.full_text

    @property
    def has_unseen_image(self) -> bool:
        """Whether an image is attached that the current model cannot see."""
        return self._view.next_turn.has_unseen_image(self._input.full_text)

    def load_draft(self) -> None:
        """Put the draft of the shown session into the prompt."""
        self._input.load_draft(self._drafts.text(self._open_sessions.shown.session_id))

    async def load_history(self) -> None:
        """Read what earlier runs have left: prompts, which ↑ brings back, and drafts.

        The drafts of new sessions are shown if the session is new and nothing is typed; otherwise
        ↑ brings them back, too.
        """
        # this text, with which lmchat asks for a summary, was not typed
        compact_prompt = self._view.next_turn.compact_prompt
        earlier = [
            prompt
            for prompt in await self._view.workspace.store.prompt_history()
            if prompt != compact_prompt
        ]
        draft = await self._open_sessions.restore_draft()
        is_new = not (self._open_sessions.shown.messages or self._view.workspace.resume_id)
        if draft and is_new and not self._input.text:
            self._input.load_draft(draft)
        elif draft:
            earlier.insert(0, draft)
        self._input.history_of_prompts = (*self._input.history_of_prompts, *earlier)

    def remember(self, prompt: str) -> None:
        """Let ↑ bring back a prompt that is sent or run."""
        self._input.history_of_prompts = (prompt, *self._input.history_of_prompts)

    def keep_draft(self) -> None:
        """Keep what is typed as the draft of the shown session.

        The draft begins with what was typed before an edit; the text of the edit follows it if it
        was changed.
        """
        draft = joined_prompts(self._before_edit, self._changed_text)
        self._drafts.note(self._open_sessions.shown.session_id, draft)

    @property
    def _changed_text(self) -> str:
        """The text in the input; empty if an edit began with it, as nothing was typed then."""
        text = self._input.full_text
        return "" if text == self._unedited else text

    # Edits

    def begin_edit(self, message: ChatMessage) -> None:
        """Put an earlier prompt with its files, or an answer, into the input.

        Enter sends a prompt as another version, and saves an answer as one. What was typed is kept
        until the edit ends; so is the changed text of another message that was being edited.
        """
        self._before_edit = joined_prompts(self._before_edit, self._changed_text)
        self.edited_id = message.message_id
        self.is_rewriting = message.role is Role.ASSISTANT
        self._input.runs_commands = False
        self._input.put(draft_of(message.text, message.files))
        self._unedited = self._input.full_text
        self._input.focus()
        self._status.show_action("rewriting" if self.is_rewriting else "editing")

    def leave_edit(self) -> bool:
        """Restore what was typed before the edit; return whether there was an edit."""
        if not self.edited_id:
            return False
        self.edited_id = ""
        self.is_rewriting = False
        self._input.runs_commands = True
        self._input.put(self._before_edit)
        self._before_edit = self._unedited = ""
        self._status.show_action("edit cancelled")  # after a sent edit, the caller replaces this
        return True

    def restore_edit(self, text: str) -> None:
        """Put back the text of an edit that could not be sent."""
        self._input.put(text)

    def add_file(self, opened: OpenSession, file_text: str) -> None:
        """Put the text of a file into the prompt of a session, or into its draft if not shown.

        While a message is edited, it is put into what comes back after the edit.
        """
        if opened is not self._open_sessions.shown:
            draft = file_text + self._drafts.text(opened.session_id)
            self._drafts.note(opened.session_id, draft)
        elif self.edited_id:
            self._before_edit = file_text + self._before_edit
        else:
            self._input.attach(typed="", files=[file_text])  # at the cursor

    def give_back(self, opened: OpenSession, *prompts: str) -> None:
        """Put prompts that were not sent before what is typed in their session.

        During an edit, they are put before what comes back after it: Enter must not send them
        together. The prompts of a session that is not shown go into its draft.
        """
        if opened is not self._open_sessions.shown:
            draft = joined_prompts(*prompts, self._drafts.text(opened.session_id))
            self._drafts.note(opened.session_id, draft)
        elif self.edited_id:
            self._before_edit = joined_prompts(*prompts, self._before_edit)
            self.keep_draft()
        else:
            self._input.put(joined_prompts(*prompts, self._input.full_text))

    def edit_in_program(self) -> None:
        """Edit the prompt in the user's editor, which runs on the terminal.

        A line with the mark of an attached file stays one only if it was in the prompt before: the
        editor may have brought it from another text.
        """

        async def edit() -> None:
            before = self._input.full_text
            after = await self._view.workspace.platform.edit(before)
            self._input.put(without_file_lines(after, allowed_lines=before.split("\n")))

        self._view.lend_terminal_to(edit)

    async def fill_preset(self, typed: str) -> str:
        """Return the prompt that a preset makes of `typed`, as `NAME [TEXT]`.

        The preset may also use the text of the clipboard. Raises `WrongUse` if there is no such
        preset, or if it needs a text and none was typed.
        """

        async def paste() -> str:
            return without_file_lines(await self._view.workspace.platform.paste())

        name, _, text = typed.partition(" ")
        return await filled(self._view.workspace.settings.prompts, name, text, paste)


class PromptFiles:
    """Attaches files to the prompt, pages of the web, and the output of commands of the shell."""

    def __init__(self, view: ChatView, status: StatusDisplay, prompt_text: PromptText) -> None:
        self._view = view
        self._status = status
        self._prompt_text = prompt_text
        self._running: list[ShellCommand] = []
        self._pages: list[str] = []  # addresses of pages that are being fetched

    @property
    def running_words(self) -> str:
        """Words for the commands that are running, else for the pages that are fetched; or ""."""
        if self._running:
            return f"Running: {', '.join(safe_line(one.command) for one in self._running)}"
        return f"Downloading: {safe_line(', '.join(self._pages))}" if self._pages else ""

    def stop(self) -> bool:
        """Begin to stop the running commands, else what is fetched; return whether anything was."""
        stoppable = [command for command in self._running if not command.is_stopping]
        for command in stoppable:
            command.stop()
        return bool(stoppable) or self._view.stop(_PAGES)

    def begin_shell(self, line: str) -> None:
        """Run the line `!COMMAND`, and put its output into the prompt of the shown session.

        Several commands may run at the same time.
        """
        opened = self._view.open_sessions.shown

        async def run() -> None:
            text = line.removeprefix("!").strip()
            command = self._view.workspace.platform.shell_command(text)
            self._running.append(command)
            self._status.show_action("running a command")
            try:
                await command.run()
            finally:
                self._running.remove(command)
                self._status.show_action(command.ending)
            self._prompt_text.add_file(opened, await self._stored(output_attachment(command)))

        self._view.begin(run, "shell", typed=line)

    async def _stored(self, file: Attachment) -> str:
        """Store a file, and return its line for the prompt."""
        return file_line(await self._view.open_sessions.add_file(file))

    async def _attach_page(self, address: str, opened: OpenSession) -> None:
        """Fetch a page once the user allows it, and put it into the prompt of a session."""

        async def ask(address: PageAddress) -> bool:
            return bool(await self._view.ask(page_question(address)))

        self._pages.append(address)
        self._status.show_action("downloading a page")
        ending = "no page attached"
        try:
            page = await self._view.workspace.pages.attachment(address, opened.session_id, ask)
            ending = "page attached"
        finally:
            self._pages.remove(address)
            self._status.show_action(ending)
        self._prompt_text.add_file(opened, await self._stored(page))

    # Files

    async def add(self, name: str) -> None:
        """Attach what was typed behind `/file`: a page of the web, or what `attach_named` takes."""
        if is_page_address(name):
            work = partial(self._attach_page, name, self._view.open_sessions.shown)
            self._view.begin(work, _PAGES, typed=f"/file {name}")
        else:
            await self.attach_named(name)

    def attach(self, path: str, text: str) -> None:
        """Attach the file that was chosen after `@`; without a path, those of a pasted text."""

        async def attach_pasted() -> None:  # other text stays as it is
            paths = await run_abandonable(partial(named_files, text))
            if paths:
                await self._attach_files(paths, text, "")

        work = partial(self.attach_named, path, typed=text) if path else attach_pasted
        self._view.begin(work, "attach")

    async def attach_named(self, name: str, *, typed: str = "") -> None:
        """Attach what the user has named with `/file` or `@`, if it may be read.

        `name` is a path, several paths as a terminal pastes them, a folder, or a pattern. `typed`
        is the text in the prompt that the files replace, as `@gar`; if it is empty, they go to the
        cursor. Raises `FileRefused`.
        """
        paths = list(await run_abandonable(partial(named_files, name)))
        if not paths:
            set_name = await parse_set_name(name, Path.cwd())
            if set_name is not None:
                await self._attach_set(typed, set_name)
                return
            paths = [expanded_path(name)]  # if there is no such file, the error says so
        await self._attach_files(paths, typed, safe_line(Path(name).name))

    async def _attach_files(self, paths: Sequence[Path], typed: str, shown_name: str) -> None:
        """Attach files in place of `typed`, if the user allows that they are read.

        If other words are in the line of `typed`, `shown_name` is written there instead of it.
        """
        if await self._may_read(paths):
            files = [await read_attachment(path) for path in paths]
            await self._put(files, typed, shown_name if typed else "")

    async def attach_copied(self) -> None:
        """Attach the image in the clipboard, or else its text."""
        await self._put([await read_clipboard(self._view.workspace.platform)])

    async def _put(self, files: Sequence[Attachment], typed: str = "", name: str = "") -> None:
        """Store files, and put them into the prompt, as `PromptInput.attach` does.

        Without `typed`, they go to the cursor. Say so if the model in use cannot see an image.
        """
        lines = [await self._stored(file) for file in files]
        self._view.widgets.prompt_input.attach(typed, lines, name)
        has_image = any(file.part.is_image for file in files)
        if has_image and self._prompt_text.has_unseen_image:
            self._view.notify(CANNOT_SEE)

    async def _attach_set(self, typed: str, name: SetName) -> None:
        """Attach the text files of a folder or a pattern, and tell how much that is.

        The user is asked first if there are many, or if they fill half of the context window.
        `typed` is the text that they replace, or empty, as in `attach_named`.
        """
        if not await self._may_read([name.folder]):
            return
        found = await read_set(name)
        target = self._view.next_turn.target
        if found.needs_consent(target.context if target else None):
            title = f"Attach {len(found.files)} files?"
            dialog = ConfirmDialog(title, text=found.words, verb="attach them", key="y")
            if not await self._view.ask(dialog):
                return
        await self._put(found.files, typed, safe_line(name.typed) if typed else "")
        self._view.notify(f"Attached: {found.words}.")

    async def _may_read(self, paths: Sequence[Path]) -> bool:
        """Return whether files may be read; ask the user if some are outside the working folder.

        A path that was pasted without a thought must not be enough to send such a file.
        """
        outside = await files_outside(paths, Path.cwd())
        return not outside or bool(await self._view.ask(outside_question(outside)))
