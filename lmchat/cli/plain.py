"""`lmchat --plain`: the chat as lines of text, for screen readers, Emacs shells and pipes.

A line is read while no event loop runs, since `readline` needs the main thread; then the loop runs
until the line is done. Ctrl+C is a `KeyboardInterrupt` at the prompt, and cancels what runs.
Answers go to stdout, everything else to stderr. `--inline` differs in how answers are printed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.line_reader import QUOTES, LineReader
from lmchat.cli.local import start_engine
from lmchat.cli.plain_chat import PlainChat
from lmchat.cli.wiring import make_sessions, open_runtime
from lmchat.errors import LMChatError, NoServerFound
from lmchat.processes.system import interrupt_at_end

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

    signals = interrupt_at_end(leave_answers)  # the numbers of signals that arrive are added
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            chat = runner.run(_open(context, stack, reader))
            return _chat_until_end(context, runner, chat, reader, signals)
        except KeyboardInterrupt:
            if not signals:
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
    sessions = make_sessions(context, runtime)
    chat = PlainChat(context, runtime, sessions, reader)
    stack.push_async_callback(chat.aclose)
    if context.options.resume is not None:
        session_id = await runtime.store.find(context.options.resume)
        sessions.show(await sessions.load(session_id))
    return chat


def _chat_until_end(
    context: Context,
    runner: asyncio.Runner,
    chat: PlainChat,
    reader: LineReader,
    signals: Sequence[int],
) -> int:
    """Read and handle one line after the other until the chat ends; return the exit code.

    At a terminal, Ctrl+C clears the line or stops what runs, and errors are only printed. On a
    pipe, Ctrl+C raises `KeyboardInterrupt`, errors set the exit code, and the chat ends if no
    server is found. `signals` has the numbers of other signals that have arrived; after one of
    them, `KeyboardInterrupt` is raised.
    """
    output = context.output
    has_begun = is_reading = False
    exit_code = 0
    while not chat.is_leaving:
        try:
            if not has_begun:
                has_begun = True  # set before: after Ctrl+C or an error, a line is read
                runner.run(chat.begin())
            is_reading = True
            line = reader.read()
            if line is None:
                chat.print_label("")  # ends the line on which Ctrl+D was pressed
                break
            is_block = line.startswith(QUOTES)
            if is_block:
                line = reader.read_block(line)
            is_reading = False
            reader.remember(line)
            runner.run(chat.send(line) if is_block else chat.run(line))
        except KeyboardInterrupt:
            if signals or not reader.is_terminal:
                raise
            # the empty text ends the typed line
            output.note(*(("", "Ctrl+D quits.") if is_reading else ("Stopped.",)))
        except LMChatError as error:
            error.hint = _HINTS.get(error.kind, error.hint)
            output.print_error(error)
            if not reader.is_terminal:
                exit_code = exit_code or error.exit_code
                if isinstance(error, NoServerFound):
                    break
    return exit_code
