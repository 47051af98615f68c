"""`lmchat --plain`: the chat as lines of text, for screen readers, Emacs shells and pipes.

A line is read while no event loop runs, since `readline` needs the main thread; then the loop runs
until the line is done. Ctrl+C is a `KeyboardInterrupt` at the prompt, and cancels what runs.
Answers go to stdout, all else to stderr.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from msgspec.structs import replace

from lmchat.app.cli.context import Context
from lmchat.app.cli.setup.local_servers import start_engine_if_wanted
from lmchat.app.cli.setup.wiring import make_chat, open_runtime
from lmchat.app.commands.typed_line import is_command, is_shell_command, message_notice
from lmchat.app.leaves.plain.front import PlainFront
from lmchat.app.leaves.plain.line_reader import MOST_LINE_BYTES, QUOTES, LineReader
from lmchat.base.errors import LMChatError, NoServerFound, WrongUse
from lmchat.base.processes.signals import interrupt_on_ending_signals
from lmchat.base.safe_text import safe_text
from lmchat.core.sessions.prompts import Prompt

_CHOOSE_MODEL = "/model lists the models; /model N chooses one."
_HINTS = {
    "model_missing": _CHOOSE_MODEL,
    "model_not_loaded": _CHOOSE_MODEL,
}
"""Next steps by the kind of the error, where the usual one needs the screen."""


def run_plain(context: Context) -> int:
    """Chat until the user quits or the input ends; return the exit code.

    It is 0, on a pipe that of the first error, or 128 + the signal that ended the chat. Ctrl+C on a
    pipe raises `KeyboardInterrupt`.
    """
    reader = LineReader()
    if reader.is_terminal and hasattr(signal, "SIGTSTP"):
        # the shell would switch bracketed paste off at Ctrl+Z, and leave it off
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    # SIGTERM raises KeyboardInterrupt, as Ctrl+C does, which adds no number
    signals = interrupt_on_ending_signals()
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            front = runner.run(_open(context, stack, reader))
            return _run_lines(front, runner, signals)
        except (KeyboardInterrupt, OSError):  # `OSError` of a terminal that has hung up
            if not signals:  # it was Ctrl+C
                raise
            return 128 + signals[0]
        finally:
            reader.close()
            runner.run(stack.aclose())


async def _open(context: Context, stack: AsyncExitStack, reader: LineReader) -> PlainFront:
    """Show a new session, or that of `-r`."""
    # a screen reader would read out each change of a progress
    context.output.has_progress = context.options.inline and reader.can_redraw
    runtime = await stack.enter_async_context(open_runtime(context))
    runtime = replace(runtime, settings=await start_engine_if_wanted(context, runtime))
    chat = make_chat(context, runtime)
    front = PlainFront(context, runtime, chat, reader)
    stack.push_async_callback(front.aclose)
    if context.options.resume is not None:
        header = await runtime.take_session(context.options.resume)
        session = await chat.open_sessions.find_or_load(header.session_id)
        await session.set_system_prompt(context.options.system_prompt)
        chat.open_sessions.switch_to(session)
    return front


def _run_lines(front: PlainFront, runner: asyncio.Runner, signals: Sequence[int]) -> int:
    """Run one line after the other until the chat ends; return the exit code.

    On a pipe, Ctrl+C raises `KeyboardInterrupt`. So does another signal, whose number is then
    in `signals`. This is no coroutine, as reading blocks.
    """
    reader = front.reader
    output = front.output
    exit_code = 0
    work: Coroutine[Any, Any, None] | None = _start(front)
    while work is not None:
        try:
            runner.run(work)
        except KeyboardInterrupt:
            if signals or not reader.is_terminal:
                raise
            output.note("Stopped.")
        except LMChatError as error:
            # the usual next step needs the screen
            error.next_step = _HINTS.get(error.kind, error.next_step)
            output.print_error(error)
            if not reader.is_terminal:
                exit_code = exit_code or error.exit_code  # of the first error
                if isinstance(error, NoServerFound):
                    break
        work = None if front.is_leaving else _next_work(front, signals)
    return exit_code


def _next_work(front: PlainFront, signals: Sequence[int]) -> Coroutine[Any, Any, None] | None:
    """Return the coroutine that runs the next line, or None at the end of the input."""
    reader = front.reader
    while True:
        try:
            reader.has_cut_line = False
            line = reader.read()
            if line is None:
                front.print_label("")  # ends the line of Ctrl+D
                return None
            is_block = line.startswith(QUOTES)  # a prompt, never a command
            if is_block:
                line = reader.read_block(line)
            if reader.has_cut_line:
                return _refuse_cut_line()
            reader.remember(line)
            return front.send(line) if is_block else _handle_line(front, line)
        except KeyboardInterrupt:
            if signals or not reader.is_terminal:
                raise
            front.notify("", "Ctrl+D quits.")  # "" ends the typed line


async def _start(front: PlainFront) -> None:
    """Load the history, print the session, connect to a server, at a terminal only."""
    if not front.reader.is_terminal:
        return
    if notice := await front.runtime.store.open():
        front.notify(f"lmchat: {notice}")
    # an imported prompt may hold what readline refuses or does not filter
    drafts = await front.runtime.store.prompt_history()
    history = [safe_text(Prompt.of(draft).text) for draft in drafts]
    # Prompts that look like a shell command were sent as text, perhaps by another program; ↑
    # and Enter would run them, even with line ends around them.
    front.reader.start(
        prompt for prompt in history if prompt and not is_shell_command(prompt.strip("\n"))
    )
    front.print_session()
    try:
        await front.connect()
    finally:  # also if no server is found
        if front.context.options.temporary:
            front.notify("Temporary: this chat is in memory only.")
        front.notify("/help lists the commands.")


async def _refuse_cut_line() -> None:
    raise WrongUse(
        f"The terminal keeps {MOST_LINE_BYTES} bytes of a line, so its end is missing.",
        next_step="Save the text as a file, and attach it: /file PATH.",
    )


async def _handle_line(front: PlainFront, line: str) -> None:
    shell_line = line.strip("\n")  # a paste of one line may have line ends around it
    # `is_command` refuses several lines, but a prompt after `/edit` may have them
    if is_command(line, is_plain=True) or line.startswith("/edit "):
        await front.run(line)
    elif front.reader.is_terminal and is_shell_command(shell_line):
        await front.run_in_shell(shell_line)
    else:
        if notice := message_notice(line, is_plain=True):
            front.notify(notice)
        await front.send(line)
