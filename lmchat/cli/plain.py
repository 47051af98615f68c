"""`lmchat --plain`: the chat as lines of text, for screen readers, Emacs shells and pipes.

A line is read while no event loop runs, since `readline` needs the main thread; then the loop runs
until the line is done. Ctrl+C is a `KeyboardInterrupt` at the prompt, and cancels what runs.
Answers go to stdout, everything else to stderr.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from msgspec.structs import replace

from lmchat.chat.open_sessions import OpenSessions
from lmchat.cli.context import Context
from lmchat.cli.inline import InlineText
from lmchat.cli.line_reader import LineReader
from lmchat.cli.local import start_engine
from lmchat.cli.plain_commands import QUOTES, PlainCommands
from lmchat.cli.plain_sessions import PlainSessions
from lmchat.cli.plain_shell import run_shell_command
from lmchat.cli.plain_turns import PlainTurns
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.tools import make_toolbox
from lmchat.cli.wiring import open_runtime
from lmchat.commands.table import is_command, is_shell_command
from lmchat.errors import LMChatError, NoServerFound, WrongUse
from lmchat.processes.system import interrupt_at_end
from lmchat.safe_text import safe_text
from lmchat.sessions.attached_files import split_draft
from lmchat.sessions.message import AnswerState

_CHOOSE_MODEL = "/model lists the models; /model N chooses one."
_HINTS = {
    "interrupted": "Type /continue for the rest of the answer, or /retry.",
    "model_missing": _CHOOSE_MODEL,
    "model_not_loaded": _CHOOSE_MODEL,
}
"""Next steps by the kind of the error, where others name keys of the screen."""


def run_plain(context: Context) -> int:
    """Chat until the user quits or the input ends; return the exit code.

    It is 128 + the number of the signal if one such as SIGTERM ended the chat. On a pipe, it is
    that of the first error; otherwise it is 0. Ctrl+C on a pipe raises `KeyboardInterrupt`.
    """
    reader = LineReader()
    is_inline = context.options.inline and reader.can_redraw
    if context.options.inline and reader.is_terminal and not is_inline:
        words = "This terminal cannot draw lines again, so --inline is --plain here."
        context.output.note(f"lmchat: {words}")
    context.output.has_progress = is_inline
    if reader.is_terminal and hasattr(signal, "SIGTSTP"):
        # Ctrl+Z does nothing: the shell would leave the terminal in a mode without marks of pastes
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    if sys.stdin is not None:
        # bytes that are not UTF-8 become `�`, where by default they would raise an error
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    opened: list[PlainTurns] = []  # one, as soon as the session is open

    def leave_answers() -> None:  # the terminal is gone: servers may continue answers
        for turns in opened:
            turns.sessions.leave_answers()

    signals = interrupt_at_end(leave_answers)  # the numbers of signals that arrive are added
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            turns = runner.run(_open(context, stack, reader))
            if is_inline:
                runner.run(_format_answers(turns, stack))
            opened.append(turns)
            chat = PlainChat(turns, reader)
            chat.run_until_end(runner, signals)
        except KeyboardInterrupt:
            if not signals:
                raise
            return 128 + signals[0]
        else:
            return chat.exit_code
        finally:
            reader.close()
            runner.run(stack.aclose())


async def _open(context: Context, stack: AsyncExitStack, reader: LineReader) -> PlainTurns:
    """Open store, servers and tools, and show the session; return the sender of its prompts.

    The session is a new one, or the one that `-r` names. What closes these objects is pushed on
    `stack`. Raises `LMChatError` if one of them cannot be opened.
    """
    runtime = await stack.enter_async_context(open_runtime(context))
    if context.is_local:
        runtime = replace(runtime, settings=await start_engine(context, runtime))
    chat = runtime.settings.chat
    if context.options.temporary:  # no later run would know of an answer that a server has kept
        chat = replace(chat, detach=False)
    sessions = OpenSessions(
        chat=chat,
        server=runtime.backend,
        store=runtime.store,
        profile_name=context.options.profile or "",
        layers=sampling_layers(context),
    )
    if context.has_tools:
        toolbox = make_toolbox(context, runtime.settings, runtime.state)
        sessions.next_turn.toolbox = toolbox
        stack.push_async_callback(toolbox.host.aclose)
    stack.push_async_callback(sessions.close)  # the last one is called first
    if context.options.resume is not None:
        session_id = await runtime.store.find(context.options.resume)
        sessions.show(await sessions.load(session_id))
    turns = PlainTurns(context, runtime, sessions, reader)
    if not turns.is_terminal:  # at a terminal, `_begin` does it once it has shown the session
        await turns.catch_up()
    return turns


async def _format_answers(turns: PlainTurns, stack: AsyncExitStack) -> None:
    """Print answers formatted from now on.

    What closes the printer is pushed on `stack`.
    """
    output = turns.output
    text = InlineText(output.print_exactly, turns.context.environ)
    turns.inline = text
    output.before_notes = text.end_line
    stack.push_async_callback(text.aclose)


class PlainChat:
    """The loop that reads prompts and slash commands."""

    def __init__(self, turns: PlainTurns, reader: LineReader) -> None:
        self.exit_code = 0  # on a pipe, that of the first error
        self._turns = turns
        self._output = turns.output
        self._sessions = PlainSessions(turns)
        self._commands = PlainCommands(turns, self._sessions)
        self._reader = reader
        self._has_begun = not turns.is_terminal  # on a pipe, there is nothing to show at first
        self._is_for_shell = False  # whether the line that was read is a command for the shell
        self._is_reading = False  # still true after Ctrl+C at the prompt

    def run_until_end(self, runner: asyncio.Runner, signals: Sequence[int]) -> None:
        """Read and handle one line after the other until the chat ends.

        At a terminal, Ctrl+C clears the line or stops what runs, and errors are only printed. On a
        pipe, Ctrl+C raises `KeyboardInterrupt`, errors set the exit code, and the chat ends if no
        server is found. `signals` has the numbers of other signals that have arrived; after one of
        them, `KeyboardInterrupt` is raised.
        """
        is_terminal = self._turns.is_terminal
        while not self._commands.is_leaving:
            try:
                self._run_step(runner)
            except KeyboardInterrupt:
                if signals or not is_terminal:
                    raise
                self._note_interrupted()
            except LMChatError as error:
                error.hint = _HINTS.get(error.kind, error.hint)
                self._output.print_error(error)
                if not is_terminal:
                    self.exit_code = self.exit_code or error.exit_code
                    self._commands.is_leaving = isinstance(error, NoServerFound)

    def _run_step(self, runner: asyncio.Runner) -> None:
        """Read a line and handle it; at a terminal, the first call begins the chat instead."""
        if not self._has_begun:
            self._has_begun = True  # set before: after Ctrl+C or an error, the next call reads
            runner.run(self._begin())
            return
        self._is_reading = True
        text = self._read_text()
        # Ctrl+C skips this line: so `_note_interrupted` sees that a line was typed, and resets it
        self._is_reading = False
        runner.run(self._handle(text))

    async def _begin(self) -> None:
        """Begin the chat at a terminal.

        Open the store, load the history of prompts, print the end of the session, and connect to a
        server. Notes say what the store had to replace, and how to list the commands.
        """
        store = self._turns.runtime.store
        if notice := await store.open():
            self._output.note(f"lmchat: {notice}")
        # safe: a prompt of an imported chat may hold what readline cannot take, or prints as it is
        history = [safe_text(split_draft(draft)[0]) for draft in await store.prompt_history()]
        # ↑ and Enter must not run a prompt that was sent as a text, perhaps by another program;
        # the line ends around a typed command do not count either (`_read_text`)
        self._reader.begin(
            prompt for prompt in history if prompt and not is_shell_command(prompt.strip("\n"))
        )
        await self._sessions.show()
        await self._turns.connect()
        await self._turns.catch_up()
        if self._turns.context.options.temporary:
            self._output.note("Temporary: this chat is in memory only.")
        self._output.note("/help lists the commands.")

    def _read_text(self) -> str | None:
        """Wait for the next line or paste and return its text; None at the end of the input.

        After a line that begins with three quotes, lines are read until three quotes end one; all
        of them are the text. The text is added to the history of the reader.
        """
        initial_text = safe_text(self._turns.next_text)  # as in the history
        self._turns.next_text = ""
        self._is_for_shell = False
        if initial_text and not self._reader.can_edit:  # it can only be read, and typed again
            self._output.note(*initial_text.split("\n"))
        prompt = "You:\n" if self._turns.is_terminal else ""
        try:
            text = self._reader.read(prompt, initial_text=initial_text)
            if self._turns.is_terminal and is_shell_command(text.strip("\n")):
                if not self._reader.has_paste_marks:  # a pasted line must not run
                    raise WrongUse(
                        "This terminal does not mark pastes, so no command runs here.",
                        hint="Run it in a shell, and attach what it prints with /file.",
                    )
                self._is_for_shell = True
            elif text.startswith(QUOTES):
                text = self._read_block(text.removeprefix(QUOTES))
        except (EOFError, RuntimeError):  # `input` raises `RuntimeError` if stdin is closed
            return None
        self._reader.remember(text)
        return text

    def _read_block(self, text: str) -> str:
        """Read lines until one ends with three quotes, or to the end of the input.

        Return all lines as one text, without the quotes and without empty lines at its ends. `text`
        is the rest of the first line, after its quotes; quotes may end it, too.
        """
        prompt = "... " if self._turns.is_terminal else ""
        with suppress(EOFError):
            while not text.rstrip().endswith(QUOTES):
                text += "\n" + self._reader.read(prompt)
        return text.rstrip().removesuffix(QUOTES).strip("\n")

    async def _handle(self, text: str | None) -> None:
        """Run a command for lmchat or the shell, or send any other text that is not blank.

        None, which means the end of the input, ends the chat.
        """
        if text is None:
            self._commands.is_leaving = True
            self._turns.print_label("")  # ends the line on which Ctrl+D was pressed
        elif self._is_for_shell:
            await run_shell_command(self._turns, text.strip("\n"))
        # `is_command` takes one line only, but the message to edit may have several
        elif is_command(text) or text.startswith(("/edit ", "/rewrite ")):
            await self._commands.run(text)
        elif text.strip():
            await self._turns.send(text)

    def _note_interrupted(self) -> None:
        """Print what Ctrl+C did.

        While a line is typed, it cleared the line; then say how to quit. At other times, it stopped
        what ran.
        """
        if self._is_reading:
            self._is_reading = False
            self._output.note("", "Ctrl+D quits.")  # the empty text ends the typed line
            return
        note = "Stopped."
        messages = self._turns.opened.messages
        if messages and messages[-1].state is AnswerState.STOPPED:
            # the result of a stopped call says that its function may still run
            note = f"{note} {messages[-1].tool_result}".rstrip()
        self._output.note(note)
