"""A pytest plugin: for a test that takes too long, report what each task of its event loop waits for.

It also limits the teardown of a test that has failed: pytest-timeout stops its timer at the failure.
"""

from __future__ import annotations

import asyncio
import inspect
import signal

import pytest

_LIMIT_S = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item, settings):
    is_set = yield
    if not hasattr(signal, "SIGALRM"):  # Windows, where pytest-timeout ends the whole run
        return is_set
    fail = signal.getsignal(signal.SIGALRM)
    item.stash[_LIMIT_S] = settings.timeout

    def report_and_fail(*signalled):
        item.add_report_section("call", "tasks that wait", "\n".join(_waiting_tasks()))
        fail(*signalled)

    if callable(fail):
        signal.signal(signal.SIGALRM, report_and_fail)
    return is_set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    has_alarm = hasattr(signal, "SIGALRM") and not callable(signal.getsignal(signal.SIGALRM))
    if not has_alarm or _LIMIT_S not in item.stash:
        return (yield)

    def fail(*_):
        waiting = "\n".join(_waiting_tasks())
        pytest.fail(f"The teardown of a failed test took too long. Tasks that wait:\n{waiting}")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, item.stash[_LIMIT_S])
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


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
