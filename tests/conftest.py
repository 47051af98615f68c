"""What holds for all tests: which run, nothing leaves this machine, time zone, the real server."""

from __future__ import annotations

import gc
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lmchat.base.leaf import has_leaf

os.environ.pop("TMUX", None)  # there other keys are shown
os.environ["COLORTERM"] = "truecolor"  # else the screen may have the theme of 16 colours
os.environ["TZ"] = "UTC"  # pictures hold times of day
if hasattr(time, "tzset"):  # Windows reads the variable itself
    time.tzset()
# Each message that a test saves would wait for a disk. Containers have little memory, and run nothing there.
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes its own folder in it
if os.access(MEMORY, os.W_OK):
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize > 4 << 30 and not there.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Files that need a terminal, a fork or limits of POSIX already where they are imported.
collect_ignore_glob = (
    [
        *(
            "architecture",
            "benchmarks",
            "e2e",
            "app/leaves/*/e2e",
            "core/imports/e2e",
            "app/cli/test_questions.py",
        ),
        *("core/storage/test_store_disk.py", "core/storage/test_store_kills.py"),
        "core/chat/test_kills_of_prompts.py",
        *("app/terminal/test_terminal_output.py", "app/tui/test_quirks_[acdw]*.py"),
    ]
    if os.name == "nt"
    else []
)

pytest_plugins = [
    *(["tests.support.e2e"] if os.name != "nt" and find_spec("lmchat.app") else []),
    "tests.support.fixtures",
    "tests.support.network_guard",
    "tests.support.hanging",
    "tests.support.real_server.fixtures",
]

settings.register_profile(
    "no limits of time", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no limits of time")

_ASKED_FOR = ("slow", "router")
_LONGEST_NAME = 200  # of a case of a test, in characters


def pytest_configure():
    """Let programs of the tests hear Ctrl-C and a hang-up.

    In the background of a shell the one would be ignored, below `nohup` the other.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_auto_num_workers(config):
    """Run four workers for two cores, since tests also wait; none if tests are named, for debuggers."""
    return 0 if _is_named(config) else 2 * (os.cpu_count() or 1)


def pytest_make_parametrize_id(val, argname):
    """Name a case with bytes, or with a long text, by its number instead of by what it holds.

    All workers must find the same names, and `gzip.compress` writes the time into its bytes.
    """
    is_content = isinstance(val, bytes) or (isinstance(val, str) and len(val) > _LONGEST_NAME)
    return argname if is_content else None


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run the tests marked slow and router too")


def pytest_collection_modifyitems(config, items):
    """Leave out long tests unless they are asked for: by `--all`, by `-m`, or by a path or name.

    Those marked posix or windows need a system of that kind, those marked leaf these leaves.
    """
    other = "posix" if os.name == "nt" else "windows"
    for item in items:
        if item.get_closest_marker(other):
            item.add_marker(pytest.mark.skip(f"needs {other}"))
        for marker in item.iter_markers("leaf"):
            if missing := [name for name in marker.args if not has_leaf(name)]:
                item.add_marker(pytest.mark.skip(f"this build has no {', '.join(missing)}"))
    if config.option.all or config.option.markexpr or config.args != config.getini("testpaths"):
        return
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in _ASKED_FOR)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish():
    """Pass over what was imported, and look for garbage seldom: a tenth of the work of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _is_named(config):
    return any("::" in argument for argument in config.args)
