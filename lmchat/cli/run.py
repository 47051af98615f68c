"""Find the command, run it, and turn whatever happens into text and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Coroutine

from lmchat.cli.options import Options
from lmchat.cli.output import Output
from lmchat.cli.parts import Parts
from lmchat.errors import LMChatError, WrongUse

_DOCTOR = "doctor:"
"""Handlers that run whatever is wrong with folders and configuration."""
_SIGNALLED = 128
"""Exit codes above it tell the number of a signal."""
_LOCAL = ("", "ask:ask", "models:list_models")
"""Commands that can use the built-in engine."""
Handler = Callable[[Parts], int | Coroutine[None, None, int]]
"""Runs a command and returns the exit code."""


def run(options: Options) -> int:
    """Run one command and return the exit code."""
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


class _InterruptedError(LMChatError):
    """Ctrl-C came."""

    kind = "interrupted"
    exit_code = 130


def _failed(output: Output, error: LMChatError) -> int:
    output.failure(error)
    return error.exit_code


def _handle(parts: Parts) -> int:
    if parts.options.local:
        _check_local(parts.options)
    if not parts.options.handler:
        return _chat(parts)
    module, _, function = parts.options.handler.partition(":")
    handler: Handler = getattr(importlib.import_module(f"lmchat.cli.{module}"), function)
    try:
        parts.start_log()
    except LMChatError:
        if not parts.options.handler.startswith(_DOCTOR):  # which tells of it
            raise
        import logging

        logging.getLogger().addHandler(logging.NullHandler())  # else what is logged goes to stderr
    result = handler(parts)
    if isinstance(result, int):
        return result
    from lmchat.cli.signals import run_until_signal

    code = run_until_signal(result)
    if code > _SIGNALLED and not parts.output.has_document:
        parts.output.failure(_InterruptedError("Interrupted."))
    return code


def _check_local(options: Options) -> None:
    if options.endpoint:
        raise WrongUse("--local and --endpoint each name a server.", hint="Give one of them.")
    if options.handler not in _LOCAL:
        raise WrongUse(
            "--local has no meaning here.", hint="It goes with the chat screen, `ask` and `models`."
        )


def _chat(parts: Parts) -> int:
    for stream, use in ((sys.stdin, "reads from stdin"), (sys.stderr, "is drawn on stderr")):
        if stream is None or not stream.isatty():
            raise WrongUse(
                f"The chat screen needs a terminal: it {use}, which is not one.",
                hint='For one answer without a screen: lmchat ask "PROMPT".',
            )
    gc.disable()  # going through 150 000 objects that all stay costs 20 ms before the first paint
    from lmchat.tui.quirks.classes import quicken_classes

    quicken_classes()
    from lmchat.cli.chat import run_chat

    parts.start_log()
    return run_chat(parts.settings, parts)
