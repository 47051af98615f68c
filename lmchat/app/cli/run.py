"""Command dispatch: from the command line to a handler, and from its result to an exit code.

A handler gets the `Context` and returns the exit code, or a coroutine that does.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType

from lmchat.app.cli.context import Context
from lmchat.app.cli.options import ParsedOptions
from lmchat.app.terminal.output import Output, is_terminal, pipe_utf8
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.files.left_files import left_files
from lmchat.base.leaf import import_function, leaf
from lmchat.base.processes.signals import (
    end_at_once_on_interrupt,
    interrupt_on_ending_signals,
    raise_interrupts,
)

CommandHandler = Callable[[Context], int | Coroutine[None, None, int]]

_SIGNAL_BASE = 128  # plus the number of the signal: the exit code
_INTERRUPTION = LMChatError("Interrupted.", kind="interrupted")
_INTERRUPTION.exit_code = _SIGNAL_BASE + signal.SIGINT


def run(argv: Sequence[str]) -> int:
    """Parse the command line, run its command, print its error, and return the exit code.

    An unexpected error is printed with its id in the log. Raises `BrokenPipeError` if the reader of
    stdout is gone.
    """
    pipe_utf8((sys.stdout, sys.stderr), os.environ)
    # errors of the parser come before the options are known
    output = Output(is_json="--json" in argv, is_json_lines="--stream-json" in argv)
    options = ParsedOptions()
    try:
        if argv:
            # the parser takes 20 ms, which a start without arguments saves
            options = import_function("lmchat.app.cli.parser:parse")(argv)
    except LMChatError as error:
        return output.print_error(error)
    except SystemExit as end:  # argparse has printed --help or --version
        return int(end.code or 0)
    output = Output(is_json=options.json, is_json_lines=options.stream_json)
    context = Context(options, os.environ, output)
    try:
        return _run_command(context)
    except LMChatError as error:
        return output.print_error(error)
    except KeyboardInterrupt:
        return output.print_error(_INTERRUPTION)
    except BrokenPipeError:  # no bug: the reader has read enough
        raise
    except Exception as error:  # noqa: BLE001 - the log has the traceback, under the printed id
        return output.print_error(context.log_unexpected(error))


def _run_command(context: Context) -> int:
    """Print an error if a signal ends a command that has not printed JSON yet."""
    options = context.options
    output = context.output
    context.start_log()
    is_plain = options.plain or options.inline or context.environ.get("TERM") == "dumb"
    if "." in options.handler:
        handler: CommandHandler = leaf(options.handler)
    elif options.handler:
        handler = import_function(f"lmchat.app.cli.handlers.{options.handler}")
    elif is_plain:
        handler = leaf("plain.chat:run_plain")
    else:
        handler = _run_screen
    raise_interrupts()
    if handler is not _run_screen:
        gc.enable()  # the app does so after the first paint
        if options.config:  # a pipe may have no end; in an event loop, one signal would not end it
            _ = context.loaded
        if options.names_left_files:  # the screen shows them as notices
            for sentence in left_files(context.paths):
                context.note(sentence)
    result = handler(context)
    if isinstance(result, int):
        return result
    end_at_once_on_interrupt()  # an interrupted import or half an event loop ends with a traceback
    import asyncio  # noqa: PLC0415 - 30 ms, which `--help` and `config` do without

    with asyncio.Runner() as runner:
        runner.get_loop()
        raise_interrupts()
        # SIGTERM raises KeyboardInterrupt, as Ctrl+C does, which adds no number here
        signals = interrupt_on_ending_signals()
        try:
            return runner.run(_until_interrupt(result))
        except (KeyboardInterrupt, asyncio.CancelledError):
            if not output.has_printed_json:
                output.print_error(_INTERRUPTION)
            return _SIGNAL_BASE + (signals[0] if signals else signal.SIGINT)


async def _until_interrupt(work: Coroutine[None, None, int]) -> int:
    """Await a coroutine, which SIGINT cancels; a second SIGINT ends the process at once.

    asyncio would raise `KeyboardInterrupt` in whatever runs then. At the end of the event loop,
    Python would wait for its threads for ever.
    """
    cancel = signal.getsignal(signal.SIGINT)  # of asyncio, unless SIGINT is ignored

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if callable(cancel):
            cancel(number, frame)

    if callable(cancel):
        signal.signal(signal.SIGINT, interrupt)
    return await work


def _run_screen(context: Context) -> int:
    """Raises `WrongUse` unless stdin, for keys, and the stream of Textual are terminals."""
    drawn = (sys.stdout, "stdout") if sys.platform == "win32" else (sys.stderr, "stderr")
    for stream, name in ((sys.stdin, "stdin"), drawn):
        if not is_terminal(stream):
            raise WrongUse(
                f"The chat screen needs a terminal, but {name} is not one.",
                next_step='For one answer without the screen: lmchat ask "PROMPT".',
            )
    import asyncio  # noqa: PLC0415 - see `_run_command`

    run_chat = import_function("lmchat.app.cli.run_screen:run_chat")
    context.tells_notes = False  # the screen shows them as notices
    code: int = asyncio.run(run_chat(context.settings, context))
    return code
