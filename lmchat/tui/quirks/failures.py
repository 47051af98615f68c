"""Errors that nobody caught: no traceback is drawn, and work behind the screen that fails ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.worker import WorkerFailed


def keep_tracebacks_off(app: App[Any], tell: Callable[[BaseException], None]) -> None:
    """Hand errors of workers to `tell`, and go on; any other one ends the app, and `failure_of` returns it.

    Textual would print a traceback with the values of all local variables, a key or a chat among them.
    """
    end = app._handle_exception

    def handle(error: Exception) -> None:
        if isinstance(error, WorkerFailed):
            tell(error.error)
        else:
            end(error)

    changed: Any = app
    changed._handle_exception = handle
    changed._fatal_error = app._close_messages_no_wait
    changed._print_error_renderables = app._exit_renderables.clear


def failure_of(app: App[Any]) -> Exception | None:
    """Return the error that ended the app, None where it ended in order."""
    return app._exception
