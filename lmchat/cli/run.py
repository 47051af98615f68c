"""Command dispatch: output and exit code for every result."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence

from lmchat.cli.commands import ParsedOptions
from lmchat.cli.context import Context
from lmchat.cli.output import Output
from lmchat.errors import LMChatError, WrongUse
from lmchat.machine.system import interrupt_at_end

Handler = Callable[[Context], int | Coroutine[None, None, int]]
_LOCAL = ("", "ask:ask", "models:list_models")  # commands that can use the built-in engine
_CHANGES_SAVED = ("sessions:delete", "sessions:purge", "sessions:rename", "sessions:restore")
"""Commands that change saved sessions, which nothing does with `--temporary`."""
_SIGNALLED = 128  # exit codes above it are 128 + signal number


def run(argv: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    output = Output(is_json="--json" in argv, is_lines="--stream-json" in argv)
    options = ParsedOptions()
    try:
        if argv:
            from lmchat.cli.parser import parse  # 20 ms that the chat screen does without

            options = parse(argv)
    except LMChatError as error:
        return output.failure(error)
    except SystemExit as end:  # argparse has printed --help or --version
        return int(end.code or 0)
    output = Output(is_json=options.json or options.is_json_always, is_lines=options.stream_json)
    context = Context(options, os.environ, output)
    try:
        return _handle(context)
    except LMChatError as error:
        return output.failure(error)
    except KeyboardInterrupt:
        return output.failure(_interrupted())
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - no traceback reaches a person; the log file has it under an id
        return output.failure(context.unexpected(error))


def _interrupted() -> LMChatError:
    error = LMChatError("Interrupted.", kind="interrupted")
    error.exit_code = 130
    return error


def _handle(context: Context) -> int:
    options = context.options
    pairs = (("--local", "--endpoint", options.endpoint), ("--temporary", "--save", options.save))
    for one, other, is_used in pairs:
        if is_used and getattr(options, one[2:]):
            raise WrongUse(
                f"{one} and {other} cannot be used together.", hint="Use only one of them."
            )
    if options.local and options.handler not in _LOCAL:
        hint = "Use it with the chat screen, `ask` or `models`."
        raise WrongUse("--local cannot be used here.", hint=hint)
    if options.temporary and options.handler in _CHANGES_SAVED:
        words = "--temporary changes no saved session, so it cannot be used here."
        raise WrongUse(words, hint="Leave out --temporary.")
    if options.plain and options.handler:
        raise WrongUse("--plain cannot be used here.", hint="Use it without a command.")
    is_plain = options.plain or context.environ.get("TERM") == "dumb"
    name = options.handler or ("plain:run_plain" if is_plain else "")
    if not name:
        return _chat(context)
    module, _, function = name.partition(":")
    handler: Handler = getattr(importlib.import_module(f"lmchat.cli.{module}"), function)
    context.start_log()
    result = handler(context)
    if isinstance(result, int):
        return result
    code = _run_until_signal(result)
    if code > _SIGNALLED and not context.output.has_document:
        context.output.failure(_interrupted())
    return code


def _chat(context: Context) -> int:
    for stream, name in ((sys.stdin, "stdin"), (sys.stderr, "stderr")):
        if stream is None or not stream.isatty():
            raise WrongUse(
                f"The chat screen needs a terminal, but {name} is not one.",
                hint='For one answer without the screen: lmchat ask "PROMPT".',
            )
    gc.disable()  # going through 150 000 objects that all stay costs 20 ms before the first paint
    import asyncio

    from lmchat.cli.chat import run_chat

    context.start_log()
    return asyncio.run(run_chat(context.settings, context))


def _run_until_signal(work: Coroutine[None, None, int]) -> int:
    """Run the coroutine until a signal interrupts it; return the exit code or 128 + signal."""
    import asyncio  # 30 ms, which `--help` and `config` do without

    ended = interrupt_at_end()
    try:
        return asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _SIGNALLED + (ended or [signal.SIGINT])[0]
