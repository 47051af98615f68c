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
from lmchat.cli.plain_turns import PlainTurns
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.tools import make_toolbox
from lmchat.cli.wiring import open_runtime
from lmchat.commands.table import is_shell_command
from lmchat.errors import LMChatError, NoServerFound, WrongUse
from lmchat.processes.system import interrupt_at_end
from lmchat.safe_text import safe_text
from lmchat.sessions.attached_files import split_draft

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
    turns: PlainTurns | None = None

    def leave_answers() -> None:  # the terminal is gone: servers may continue answers
        if turns is not None:
            turns.sessions.leave_answers()

    signals = interrupt_at_end(leave_answers)  # the numbers of signals that arrive are added
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            turns = runner.run(_open(context, stack, reader, is_inline=is_inline))
            return _chat_until_end(runner, turns, reader, signals)
        except KeyboardInterrupt:
            if not signals:
                raise
            return 128 + signals[0]
        finally:
            reader.close()
            runner.run(stack.aclose())


async def _open(
    context: Context, stack: AsyncExitStack, reader: LineReader, *, is_inline: bool
) -> PlainTurns:
    """Open store, servers and tools, and show the session; return the sender of its prompts.

    The session is a new one, or the one that `-r` names. What closes these objects is pushed on
    `stack`. Raises `LMChatError` if one of them cannot be opened.
    """
    output = context.output
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
    inline = None
    if is_inline:
        inline = InlineText(output.print_exactly, context.environ)
        output.before_notes = inline.end_line
        stack.push_async_callback(inline.aclose)
    stack.push_async_callback(sessions.close)  # the last one is called first
    if context.options.resume is not None:
        session_id = await runtime.store.find(context.options.resume)
        sessions.show(await sessions.load(session_id))
    turns = PlainTurns(context, runtime, sessions, inline, is_terminal=reader.is_terminal)
    if not turns.is_terminal:  # at a terminal, `_begin` does it once it has shown the session
        await turns.catch_up()
    return turns


def _chat_until_end(
    runner: asyncio.Runner, turns: PlainTurns, reader: LineReader, signals: Sequence[int]
) -> int:
    """Read and handle one line after the other until the chat ends; return the exit code.

    At a terminal, Ctrl+C clears the line or stops what runs, and errors are only printed. On a
    pipe, Ctrl+C raises `KeyboardInterrupt`, errors set the exit code, and the chat ends if no
    server is found. `signals` has the numbers of other signals that have arrived; after one of
    them, `KeyboardInterrupt` is raised.
    """
    commands = PlainCommands(turns)
    has_begun = not turns.is_terminal  # on a pipe, there is nothing to show at first
    exit_code = 0
    while not commands.is_leaving:
        is_reading = False
        try:
            if not has_begun:
                has_begun = True  # set before: after Ctrl+C or an error, a line is read
                runner.run(_begin(turns, commands, reader))
                continue
            is_reading = True
            line = _read_line(turns, commands, reader)
            if line is None:
                turns.print_label("")  # ends the line on which Ctrl+D was pressed
                break
            is_for_shell = turns.is_terminal and is_shell_command(line.strip("\n"))
            if line.startswith(QUOTES):
                line = _read_block(line.removeprefix(QUOTES), turns, reader)
            is_reading = False
            if is_for_shell and not reader.has_paste_marks:  # a pasted line must not run
                raise WrongUse(
                    "This terminal does not mark pastes, so no command runs here.",
                    hint="Run it in a shell, and attach what it prints with /file.",
                )
            reader.remember(line)
            runner.run(
                commands.run_in_shell(line.strip("\n")) if is_for_shell else commands.run(line)
            )
        except KeyboardInterrupt:
            if signals or not turns.is_terminal:
                raise
            # the empty text ends the typed line
            turns.output.note(*(("", "Ctrl+D quits.") if is_reading else (turns.stopped_words,)))
        except LMChatError as error:
            error.hint = _HINTS.get(error.kind, error.hint)
            turns.output.print_error(error)
            if not turns.is_terminal:
                exit_code = exit_code or error.exit_code
                if isinstance(error, NoServerFound):
                    break
    return exit_code


async def _begin(turns: PlainTurns, commands: PlainCommands, reader: LineReader) -> None:
    """Begin the chat at a terminal.

    Open the store, load the history of prompts, print the end of the session, and connect to a
    server. Notes say what the store had to replace, and how to list the commands.
    """
    store, note = turns.runtime.store, turns.output.note
    if notice := await store.open():
        note(f"lmchat: {notice}")
    # safe: a prompt of an imported chat may hold what readline cannot take, or prints as it is
    history = [safe_text(split_draft(draft)[0]) for draft in await store.prompt_history()]
    # ↑ and Enter must not run a prompt that was sent as a text, perhaps by another program;
    # the line ends around a typed command do not count either
    reader.begin(
        prompt for prompt in history if prompt and not is_shell_command(prompt.strip("\n"))
    )
    await commands.show_session()
    await turns.connect()
    await turns.catch_up()
    if turns.context.options.temporary:
        note("Temporary: this chat is in memory only.")
    note("/help lists the commands.")


def _read_line(turns: PlainTurns, commands: PlainCommands, reader: LineReader) -> str | None:
    """Wait for the next line or paste and return its text; None at the end of the input."""
    initial_text = safe_text(commands.next_text)  # as in the history
    commands.next_text = ""
    if initial_text and not reader.can_edit:  # it can only be read, and typed again
        turns.output.note(*initial_text.split("\n"))
    try:
        return reader.read("You:\n" if turns.is_terminal else "", initial_text=initial_text)
    except (EOFError, RuntimeError):  # `input` raises `RuntimeError` if stdin is closed
        return None


def _read_block(text: str, turns: PlainTurns, reader: LineReader) -> str:
    """Read lines until one ends with three quotes, or to the end of the input.

    Return all lines as one text, without the quotes and without empty lines at its ends. `text`
    is the rest of the first line, after its quotes; quotes may end it, too.
    """
    with suppress(EOFError):
        while not text.rstrip().endswith(QUOTES):
            text += "\n" + reader.read("... " if turns.is_terminal else "")
    return text.rstrip().removesuffix(QUOTES).strip("\n")
