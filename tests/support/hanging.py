"""A pytest plugin: for a test that takes too long, report what each task of its event loop waits for."""

from __future__ import annotations

import asyncio
import inspect
import signal

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item):
    is_set = yield
    fail = signal.getsignal(signal.SIGALRM)

    def report_and_fail(*signalled):
        item.add_report_section("call", "tasks that wait", "\n".join(_waiting_tasks()))
        fail(*signalled)

    if callable(fail):
        signal.signal(signal.SIGALRM, report_and_fail)
    return is_set


def _waiting_tasks():
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no event loop runs
        return
    for task in tasks:
        yield f"{task.get_name()}: {' > '.join(_places(task.get_coro()))}"


def _places(waiting):
    """Name the functions that wait for each other, the outermost first."""
    while inspect.iscoroutine(waiting) and waiting.cr_frame is not None:
        yield f"{waiting.cr_code.co_qualname}:{waiting.cr_frame.f_lineno}"
        waiting = waiting.cr_await
    if waiting is not None:
        yield repr(waiting)
