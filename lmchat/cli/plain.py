"""`lmchat --plain`: the chat as lines of text, for screen readers, Emacs shells and pipes.

A line is read while no event loop runs, since `readline` needs the main thread; then the loop runs
until the line is done. Ctrl+C is a `KeyboardInterrupt` at the prompt, and cancels what runs.
Answers go to stdout, everything else to stderr. `--inline` differs in how answers are printed.

On the screen, a command of `COMMANDS` runs a controller, which needs widgets. So the commands that
need no screen have a `case` of their own in `PlainChat._handle_line`, and `_COMMANDS` names them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from lmchat.attachments.attachment import Attachment, files_outside, read_clipboard
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import PageAddress, refuse_host
from lmchat.chat import changes
from lmchat.chat.events import AnswerBegun, ChatEvent, FrontEnd, TurnEnded
from lmchat.chat.next_turn import LEVELS, NO_PROFILE, NOTHING_SET, value_words
from lmchat.chat.open_session import OpenSession
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.chat.turn_scheduler import TurnScheduler
from lmchat.cli.context import Context
from lmchat.cli.inline import InlineText
from lmchat.cli.line_reader import QUOTES, LineReader
from lmchat.cli.local import start_engine
from lmchat.cli.models import fetch_models, load_if_needed, model_meant
from lmchat.cli.prompt import preset_prompt, read_named, require_consent_to_set
from lmchat.cli.target import find_target
from lmchat.cli.tool_approval import approve
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.cli.wiring import Runtime, make_pages, make_scheduler, open_runtime
from lmchat.commands.conditions import NOTHING_YET, is_resumable
from lmchat.commands.table import COMMANDS, is_command, is_shell_command, parse_slash
from lmchat.config.state import change_state
from lmchat.errors import LMChatError, NoServerFound, WrongUse
from lmchat.processes.system import interrupt_at_end
from lmchat.safe_text import safe_text
from lmchat.servers.events import ReasoningDelta
from lmchat.servers.model import LoadState, ModelInfo, Target, cannot_chat
from lmchat.sessions.attached_files import draft_of, split_draft
from lmchat.sessions.message import Role
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import SHORT_ID, SafeStream, ask_yes_no, can_ask, local_time, table
from lmchat.terminal.tty import drop_typed, echo
from lmchat.tools.tool import Decision

_MAX_SESSIONS = 30  # in a list

# those that /help lists; each has a `case`
_COMMANDS = (
    "/clear",
    "/compact",
    "/continue",
    "/edit",
    "/effort",
    "/file",
    "/help",
    "/model",
    "/new",
    "/p",
    "/paste",
    "/profile",
    "/quit",
    "/retry",
    "/sessions",
    "/set",
    "/system",
)
_CHOOSE_MODEL = "/model lists the models; /model N chooses one."
_HINTS = {
    "interrupted": "Type /continue for the rest of the answer, or /retry.",
    "model_missing": _CHOOSE_MODEL,
    "model_not_loaded": _CHOOSE_MODEL,
}
"""Next steps by the kind of the error, where others name keys of the screen."""
Item = TypeVar("Item")


def run_plain(context: Context) -> int:
    """Chat until the user quits or the input ends; return the exit code.

    It is 128 + the number of the signal if one such as SIGTERM ended the chat. On a pipe, it is
    that of the first error; otherwise it is 0. Ctrl+C on a pipe raises `KeyboardInterrupt`.
    """
    reader = LineReader()
    if reader.is_terminal and hasattr(signal, "SIGTSTP"):
        # Ctrl+Z does nothing: the shell would leave the terminal in a mode without marks of pastes
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    if sys.stdin is not None:
        # bytes that are not UTF-8 become `�`, where by default they would raise an error
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    chat: PlainChat | None = None

    def leave_answers() -> None:  # the terminal is gone: servers may continue answers
        if chat is not None:
            chat.sessions.leave_answers()

    # from now on, a signal such as SIGTERM raises KeyboardInterrupt as Ctrl+C does, but its number
    # is added to this list
    signals = interrupt_at_end(on_hang_up=leave_answers)
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            chat = runner.run(_open(context, stack, reader))
            return chat.read_lines(runner, signals)
        except KeyboardInterrupt:
            if not signals:  # it was Ctrl+C
                raise
            return 128 + signals[0]
        finally:
            reader.close()
            runner.run(stack.aclose())


async def _open(context: Context, stack: AsyncExitStack, reader: LineReader) -> PlainChat:
    """Open store, servers and tools, and show the session: a new one, or the one of `-r`.

    What closes these objects is pushed on `stack`. Raises `LMChatError` if one cannot be opened.
    """
    runtime = await stack.enter_async_context(open_runtime(context))
    if context.is_local:
        runtime = replace(runtime, settings=await start_engine(context, runtime))
    sessions = make_scheduler(context, runtime)
    chat = PlainChat(context, runtime, sessions, reader)
    stack.push_async_callback(chat.aclose)
    if context.options.resume is not None:
        session_id = await runtime.store.find(context.options.resume)
        sessions.in_memory.show(await sessions.in_memory.load(session_id))
    return chat


class PlainChat(FrontEnd):
    """The shown session, the files of its next prompt, and the printer of its answers.

    A label is a line that helps a person at a terminal, and that a pipe does not get.
    """

    def __init__(
        self, context: Context, runtime: Runtime, sessions: TurnScheduler, reader: LineReader
    ) -> None:
        self._is_leaving = False  # whether the chat ends after this line
        self.sessions = sessions
        self._context = context
        self._runtime = runtime
        self._output = context.output
        self._note = context.output.note
        self._next_turn = sessions.next_turn
        self._reader = reader
        self._inline: InlineText | None = None  # what formats answers, if they are formatted
        if context.options.inline and reader.can_redraw:
            self._inline = InlineText(self._output.print_exactly, context.environ)
            self._output.before_notes = self._inline.end_line
        # a screen reader, which may read the plain chat, would repeat a progress again and again
        self._output.has_progress = self._inline is not None
        self._stream = self._inline or SafeStream()
        self._printer = TurnPrinter(self._output, stream=self._stream)  # of the last turn
        self._has_thought = False  # whether its answer has begun with reasoning
        self._has_ended_in_summary = False  # whether the last turn that ended was that of a summary
        self._pages = make_pages(runtime.settings)
        self._files: list[Attachment] = []  # of the next prompt
        self._models: list[ModelInfo] = []  # what the last list showed
        self._headers: Sequence[SessionHeader] = ()  # what the last list showed
        sessions.front_end = self

    def read_lines(self, runner: asyncio.Runner, signals: Sequence[int]) -> int:
        """Read and handle one line after the other until the chat ends; return the exit code.

        At a terminal, Ctrl+C clears the line or stops what runs, and errors are only printed. On a
        pipe, Ctrl+C raises `KeyboardInterrupt`, errors set the exit code, and the chat ends if no
        server is found. `signals` has the numbers of other signals that have arrived; after one of
        them, `KeyboardInterrupt` is raised.
        """
        reader, output = self._reader, self._output
        has_begun = is_reading = False
        exit_code = 0
        while not self._is_leaving:
            try:
                if not has_begun:
                    has_begun = True  # set before: after Ctrl+C or an error, a line is read
                    runner.run(self._begin())
                is_reading = True
                line = reader.read()
                if line is None:
                    self._print_label("")  # ends the line on which Ctrl+D was pressed
                    break
                is_block = line.startswith(QUOTES)  # which is a prompt, and never a command
                if is_block:
                    line = reader.read_block(line)
                is_reading = False
                reader.remember(line)
                runner.run(self._send(line) if is_block else self._handle_line(line))
            except KeyboardInterrupt:
                if signals or not reader.is_terminal:
                    raise
                if is_reading:
                    output.note("", "Ctrl+D quits.")  # the empty text ends the typed line
                else:
                    output.note("Stopped.")
            except LMChatError as error:
                error.hint = _HINTS.get(error.kind, error.hint)
                output.print_error(error)
                if not reader.is_terminal:
                    exit_code = exit_code or error.exit_code  # that of the first error
                    if isinstance(error, NoServerFound):
                        break
        return exit_code

    async def aclose(self) -> None:
        """Save the sessions, and end the programs that the chat has started."""
        await self.sessions.close()
        if self._inline is not None:
            await self._inline.aclose()
        if self._next_turn.toolbox is not None:
            await self._next_turn.toolbox.host.aclose()

    async def _begin(self) -> None:
        """Fetch what a server has continued of the last answer; at a terminal, begin the chat.

        There, load the history of prompts, print the end of the session, and connect to a server.
        Notes say what the store had to replace, and how to list the commands.
        """
        if not self._reader.is_terminal:
            await self._fetch_kept()
            return
        if notice := await self._runtime.store.open():
            self._note(f"lmchat: {notice}")
        # safe: a prompt of an imported chat may hold what readline cannot take, or prints as it is
        drafts = await self._runtime.store.prompt_history()
        history = [safe_text(split_draft(draft)[0]) for draft in drafts]
        # ↑ and Enter must not run a prompt that was sent as a text, perhaps by another program;
        # the line ends around a typed command do not count either
        self._reader.begin(
            prompt for prompt in history if prompt and not is_shell_command(prompt.strip("\n"))
        )
        self._show_session()
        await self._connect()
        await self._fetch_kept()
        if self._context.options.temporary:
            self._note("Temporary: this chat is in memory only.")
        self._note("/help lists the commands.")

    async def _handle_line(self, line: str) -> None:  # noqa: C901 - one case a command
        """Run a command of the chat or of the user's shell, or send any other text.

        Raises `WrongUse` for an unknown command, one that needs the screen, and one whose argument
        is missing.
        """
        # `is_command` takes one line only, but the message to edit may have several
        if not is_command(line) and not line.startswith("/edit "):
            shell_line = line.strip("\n")
            if self._reader.is_terminal and is_shell_command(shell_line):
                await self._run_in_shell(shell_line)
            else:
                await self._send(line)
            return
        slash = parse_slash(line)
        if slash is None:
            hint = "/help lists the commands. Begin with a space to send it as a message."
            raise WrongUse(f"Unknown command: {line.partition(' ')[0]}.", hint=hint)
        name, argument = slash.command.name, slash.argument
        note, print_lines = self._note, self._output.print_lines
        sessions, opened = self.sessions, self.sessions.shown
        settings, next_turn = self._context.settings, self._next_turn
        match name, argument:
            case "/clear" | "/new", _:
                sessions.in_memory.show_new()
                note("New session.")
            case "/compact", _:
                await self._compact()
            case "/continue" | "/retry", _:
                message = opened.last_answer_or_prompt
                if message is None:
                    raise WrongUse(NOTHING_YET)
                if name == "/continue" and not is_resumable(message):
                    words = "The last message is no answer that can be continued."
                    raise WrongUse(words, hint="/retry asks again.")
                await self._connect()
                if name == "/continue":
                    sessions.resume(opened, message)
                else:
                    sessions.regenerate(opened, message)
                await self._print_turn()
            case "/edit", _:
                await opened.fill(sessions.store)  # at first, only its last messages are loaded
                prompts = [message for message in opened.messages if message.role is Role.USER]
                if not prompts:
                    raise WrongUse(NOTHING_YET)
                if argument:
                    await self._send(argument, edited_id=prompts[-1].message_id)
                else:
                    # safe: readline prints it as it is
                    line = safe_text(f"/edit {prompts[-1].text}")
                    note("Change the next line, and press Enter.")
                    if not self._reader.begin_with(line):  # then the user has to type it
                        note(*line.split("\n"))
            case "/effort", "":
                words = next_turn.effort_words(opened.own_sampling)
                print_lines([f"In use: {words}", *LEVELS, "or a number of tokens"])
            case "/effort", _:
                next_turn.use_effort(argument)
                note(f"Reasoning effort: {next_turn.effort_words(opened.own_sampling)}.")
            case "/help", _:
                print_lines(
                    f"{command.slash}: {command.title}"
                    for command in COMMANDS
                    if command.name in _COMMANDS
                )
                note(
                    "/sessions lists the sessions here, and /sessions N opens one.",
                    "!COMMAND runs a command of your shell; its output goes with your next prompt.",
                    f"A prompt of several lines begins and ends with {QUOTES}.",
                    "Ctrl+C stops the answer, or clears the line. Ctrl+D quits.",
                )
            case "/model", "":
                listed = await fetch_models(self._runtime)
                self._models = [model for model in listed if model.can_chat]
                lines = _numbered(
                    f"{_model_words(model)}, {model.state}"
                    if model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP)
                    else _model_words(model)
                    for model in self._models
                )
                print_lines(lines or ["No server has a model. Download one there."])
            case "/model", _:
                await self._use_model(argument)
            case "/p", "":
                presets = list(settings.prompts)
                print_lines(presets or ["No presets: add [prompts.NAME] to config.toml."])
            case "/p", _:
                preset, _, text = argument.partition(" ")
                await self._send(await preset_prompt(self._context, preset, text.strip()))
            case "/paste", _:
                clipboard = Clipboard(self._context.environ_of_programs)
                self._attach(await read_clipboard(clipboard))
            case "/profile", "":
                words = next_turn.profile_name or NO_PROFILE
                print_lines([f"In use: {words}", *settings.profiles, NO_PROFILE])
            case "/profile", _:
                profile = next_turn.use_profile(argument, settings.profiles)
                note(f"Profile: {next_turn.profile_name or NO_PROFILE}.")
                if profile.model:
                    await self._use_model(profile.model)
            case "/quit", _:
                self._is_leaving = True
            case "/sessions", "":
                self._headers = (await self._runtime.store.list_sessions())[:_MAX_SESSIONS]
                lines = _numbered(map(_session_words, self._headers))
                print_lines(lines or ["There are no saved sessions."])
            case "/sessions", _:
                # digits may begin an id, if the list has no such number
                header = _item(self._headers, argument)
                wanted = argument if header is None else header.session_id
                session_id = await self._runtime.store.find(wanted)
                sessions.in_memory.show(await sessions.in_memory.load(session_id))
                self._show_session()
                await self._fetch_kept()
            case "/set", "":
                found = next_turn.options_of(opened)
                rows = [(option.name, value_words(option), option.origin.words) for option in found]
                print_lines(table(("OPTION", "VALUE", "FROM"), rows) if rows else [NOTHING_SET])
            case "/set", _:
                note(await changes.set_option(sessions, opened, argument))
            case "/file" | "/system", "":
                raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")
            case "/file", _:
                await self._attach_file(argument)
            case "/system", _:
                await changes.set_system_prompt(sessions, opened, argument)
                note("System prompt changed.")
            case _:
                hint = "Start lmchat without --plain, or see what the shell can do: lmchat --help."
                raise WrongUse(f"{name} needs the screen.", hint=hint)

    # Sessions and models

    def _show_session(self) -> None:
        """At a terminal, print the title of the shown session and the last two of its messages."""
        opened = self.sessions.shown
        if self._reader.is_terminal and opened.messages:
            self._note(f"Session: {_session_words(opened.header)}")
            for message in opened.messages[-2:]:
                is_prompt = message.role is Role.USER
                self._note("You:" if is_prompt else f"{message.model or message.role}:")
                self._stream.write(message.text)
                self._stream.end()

    async def _fetch_kept(self) -> None:
        """Fetch and print all of the last answer if its server kept on writing it (R-42).

        It is printed from its beginning. On a pipe, the answer is fetched and not printed.
        """
        opened = self.sessions.shown
        if not await self.sessions.fetch_kept(opened):
            return
        if self._reader.is_terminal:
            self._note("This answer was continued while you were away:")
            await self._print_turn()
        else:
            await self.sessions.wait(opened)

    async def _use_model(self, argument: str) -> None:
        """Use a model for the next turn, by its number in the last list, its name or a part of it.

        A number means that list, though another model may have been loaded since. Raises `WrongUse`
        for an unknown model, or one that cannot chat.
        """
        model = _item(self._models, argument) or await model_meant(self._runtime, argument)
        if not model.can_chat:
            raise cannot_chat(model)
        if model.state is LoadState.NOT_LOADED:
            self._note("Loading model…")
            await load_if_needed(self._runtime, model, self._output)
        target = Target.of(model)
        self._next_turn.use_target(target)
        await asyncio.to_thread(  # the next start of lmchat uses it, too
            change_state,
            self._context.paths.state_file,
            lambda state: state.with_model(target.server_id, target.model_id),
        )
        self._note(f"Model: {_model_words(target)}.")

    async def _connect(self) -> None:
        """Choose server and model for the next turn, unless they are chosen already."""
        if self._next_turn.target is None:
            runtime = self._runtime
            target = await find_target(runtime.backend, runtime.settings, runtime.state, self._note)
            self._next_turn.use_target(target)
            self._print_label(f"Model: {_model_words(target)}.")

    # Files of the next prompt

    async def _run_in_shell(self, line: str) -> None:
        """Run the line `!COMMAND`, and attach its output to the next prompt.

        Ctrl+C stops the command; what it has printed until then is attached. Raises `WrongUse`
        where a pasted line could run.
        """
        if not self._reader.has_paste_marks:
            raise WrongUse(
                "This terminal does not mark pastes, so no command runs here.",
                hint="Run it in a shell, and attach what it prints with /file.",
            )
        command = ShellCommand(line.removeprefix("!").strip(), self._context.environ_of_programs)
        self._note("Running. Ctrl+C stops it.")
        try:
            await command.run()
        except asyncio.CancelledError:
            command.stop()
            raise
        finally:
            if command.ending:  # empty if it never ran
                self._attach(output_attachment(command))

    async def _attach_file(self, name: str) -> None:
        """Attach a file to the next prompt, the text files of a folder or a pattern, or a page.

        At a terminal, ask first about a page, and about what is outside the current folder: the
        line may be part of a paste that the user has not read. Raises an error unless the answer
        is yes. On a pipe, nothing is asked: large sets, and pages of hosts that are not allowed,
        are refused.
        """

        async def ask(address: PageAddress) -> bool:
            words = f"Download {address.url} from {address.host}, port {address.port}?"
            return await _user_agrees(words)

        async def require_consent(path: Path) -> None:
            for file in await files_outside([path], Path.cwd()):
                if not await _user_agrees(f"{file} is outside this folder. Attach it?"):
                    raise WrongUse("The file was not attached.", hint="Repeat /file and answer y.")

        found = await read_named(
            self._pages,
            name,
            session_id=self.sessions.shown.session_id,
            ask=ask if can_ask() else refuse_host,
            require_consent=require_consent if self._reader.is_terminal else None,
        )
        if isinstance(found, Attachment):
            self._attach(found)
        else:
            target = self._next_turn.target
            await require_consent_to_set(found, target.context if target else None)
            self._files += found.files
            self._note(f"Your next prompt begins with {found.words}.")

    def _attach(self, file: Attachment) -> None:
        """Attach a file to the next prompt, and say so."""
        self._files.append(file)
        self._note(f"Your next prompt begins with {file.part.words}.")

    # Prompts and answers

    async def _send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt with the files of the next prompt, and print the answer.

        Do nothing for a blank one. With `edited_id`, it is another version of the prompt with this
        id. Otherwise, a summary is made and printed first if the session is too long and the
        settings allow it. Raises the error that the turn ends with.
        """
        if not text.strip():
            return
        await self._connect()
        sessions, opened = self.sessions, self.sessions.shown
        files = [await sessions.add_file(file) for file in self._files]
        attached, self._files = self._files, []  # after an error above, they stay
        self._has_ended_in_summary = False
        if edited_id:
            # None: the new version has the files of the old one
            sessions.edit(opened, edited_id, text, files or None)
        else:
            draft = draft_of(text, files)
            sessions.send_now(opened, text, files, unsent=draft, may_compact=True)
        try:
            await self._print_turn()
        finally:
            if self._has_ended_in_summary:  # it failed or was stopped: the prompt was not sent
                self._files = attached

    async def _compact(self) -> None:
        """Have the model summarise the older messages, and print the summary."""
        await self._connect()
        self.sessions.compact(self.sessions.shown)
        await self._print_turn()

    async def _print_turn(self) -> None:
        """Print the answer of the turn that has just begun, while it arrives.

        Raises the error of the turn, of its answer, or of saving it.
        """
        opened, inline = self.sessions.shown, self._inline
        printer = self._printer = TurnPrinter(self._output, stream=self._stream)
        try:
            # what is typed would get between the words of a paragraph
            with nullcontext() if inline is None else echo(sys.stdin.fileno(), is_on=False):
                await self.sessions.wait(opened)
                if inline is not None:
                    await inline.settle()
        finally:  # also if Ctrl+C stops the answer
            printer.end()
        error = opened.error or self.sessions.save_queue.warning
        if error is not None:
            raise error
        printer.note_unshown(opened.messages[-1])

    def show(self, _: OpenSession, event: ChatEvent) -> None:
        """Print an event of a turn; a turn with tools has several answers.

        A note below a complete summary says where the older messages are.
        """
        if isinstance(event, TurnEnded):
            self._has_ended_in_summary = event.is_summary
            if event.is_summary and event.answer is not None and not event.has_failed:
                self._printer.end()
                self._note(
                    "This summary takes the place of the older messages; "
                    "/tree on the screen lists their branch."
                )
        if isinstance(event, AnswerBegun):
            self._has_thought = False
            self._print_label(f"{event.message.model}:")
        elif isinstance(event, ReasoningDelta) and not self._has_thought:
            self._has_thought = True
            self._note("Thinking…")
        self._printer.show(event)

    def _print_label(self, label: str) -> None:
        """At a terminal, print a line such as the name of the model above its answer, on stderr."""
        if self._reader.is_terminal:
            self._note(label)

    async def ask(self, _: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user about a call of a tool, below the text so far."""
        self._printer.end()
        return await approve(question, self._context)


async def _user_agrees(question: str) -> bool:
    """Ask before a line has its effect, since it may be pasted text that the user has not read.

    Return False without a terminal to ask at.
    """
    drop_typed(sys.stdin.fileno())  # the next lines of a paste do not answer it
    return can_ask() and await ask_yes_no(question)


def _numbered(texts: Iterable[str]) -> list[str]:
    """Return lines with the numbers that `_item` finds them by."""
    return [f"{number}. {text}" for number, text in enumerate(texts, 1)]


def _item(items: Sequence[Item], argument: str) -> Item | None:
    """Return the item that `_numbered` gave this number; None if the argument is no such number."""
    number = int(argument) if argument.isdecimal() else 0
    return items[number - 1] if 0 < number <= len(items) else None


def _session_words(header: SessionHeader) -> str:
    """Return what tells a session from others in a list: title, size, time and short id."""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    return f"“{header.title or 'Untitled'}”, {header.message_count} messages, {changed}, {short_id}"


def _model_words(model: ModelInfo | Target) -> str:
    """Return the name of a model and its server: several servers may have a model of this name."""
    return f"{model.model_id} at {model.product} {model.endpoint.netloc}"
