"""Parse, find the command, run it, and turn whatever happens into text and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence

from lmchat.cli.options import Options
from lmchat.cli.output import Output
from lmchat.cli.parts import Parts
from lmchat.errors import LMChatError, WrongUse

_SIGNALLED = 128
"""Exit codes above it tell the number of a signal."""
Handler = Callable[[Parts], int | Coroutine[None, None, int]]
"""Runs a command and returns the exit code."""


def run(argv: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    options = Options() if not argv else _parse(argv)
    if not isinstance(options, Options):
        return options
    output = Output(is_json=options.json or options.is_json_always, is_lines=options.stream_json)
    parts = Parts(options, os.environ, output)
    try:
        return _handle(parts)
    except LMChatError as error:
        return _failed(output, error)
    except KeyboardInterrupt:
        return _failed(output, _InterruptedError("Interrupted."))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - no traceback reaches a person; the log file has it under an id
        return _failed(output, parts.unexpected(error))


def _parse(argv: Sequence[str]) -> Options | int:
    """Return what was typed, or the exit code where that was wrong or asked for help only."""
    from lmchat.cli.parser import WrongArguments, parse

    try:
        return parse(argv)
    except WrongArguments as error:
        hint = f"`{error.prog} --help` shows what is right."
        output = Output(is_json="--json" in argv, is_lines="--stream-json" in argv)
        return _failed(output, WrongUse(error.sentence, hint=hint))
    except SystemExit as end:  # argparse has printed --help or --version
        return int(end.code or 0)


class _InterruptedError(LMChatError):
    """Ctrl-C came."""

    kind = "interrupted"
    exit_code = 130


def _failed(output: Output, error: LMChatError) -> int:
    output.failure(error)
    return error.exit_code


def _handle(parts: Parts) -> int:
    if not parts.options.handler:
        return _chat(parts)
    module, _, function = parts.options.handler.partition(":")
    handler: Handler = getattr(importlib.import_module(f"lmchat.cli.{module}"), function)
    parts.start_log()
    result = handler(parts)
    if isinstance(result, int):
        return result
    from lmchat.cli.signals import run_until_signal

    code = run_until_signal(result)
    if code > _SIGNALLED and not parts.output.has_document:
        parts.output.failure(_InterruptedError("Interrupted."))
    return code


def _chat(parts: Parts) -> int:
    # Textual reads from stdin and draws on stderr
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise WrongUse(
            "The chat screen needs a terminal.", hint='For one answer without a screen: lmchat ask "PROMPT".'
        )
    from lmchat.cli.chat import run_chat

    parts.start_log()
    return run_chat(parts.settings, parts)
