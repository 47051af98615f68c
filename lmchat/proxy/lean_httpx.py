"""httpx without what it only tries to import: that costs more than what it does for us."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

_COMMAND_LINE = "httpx._main"
_EVENT_LOOPS = "sniffio"


def import_httpx() -> None:
    """Import httpx as where click is missing; to be called before anything else imports it.

    Its command line, which nobody has here, takes 3 MB and 35 ms wherever click, rich and Pygments are
    installed. httpcore asks sniffio, which is seldom installed, a dozen times for each request, and each time
    Python looks for it in all its folders: a fifth of what a request to a closed port takes.
    """
    if _EVENT_LOOPS not in sys.modules and find_spec(_EVENT_LOOPS) is None:
        _deny(_EVENT_LOOPS)
    if "httpx" in sys.modules:
        return
    _deny(_COMMAND_LINE)
    try:
        import_module("httpx")
    finally:
        del sys.modules[_COMMAND_LINE]


def _deny(name: str) -> None:
    """Let Python know that there is no such module."""
    sys.modules[name] = None  # type: ignore[assignment]  # how that is said
