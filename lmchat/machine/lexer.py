"""Program of the child process that highlights code. It is run by path, without lmchat.

Lexers of Pygments are regular expressions. Some need exponential time, during which `re` holds
Python's lock: only a process of its own can be stopped. A request is a line with limits and
language, and the code; an answer is a line with its state, and the colours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

_STYLES = (
    ("Comment", "comment"),
    ("Keyword", "keyword"),
    ("Operator.Word", "keyword"),
    ("Literal.String", "string"),
    ("Literal.Number", "number"),
    ("Name.Function", "function"),
    ("Name.Builtin", "builtin"),
    ("Name.Decorator", "function"),
    ("Name.Tag", "keyword"),
    ("Generic.Inserted", "string"),
    ("Generic.Deleted", "number"),
    ("Generic.Subheading", "keyword"),
    ("Generic.Heading", "comment"),
    ("Generic.Prompt", "comment"),
)
"""Six quiet colours by kind of token; names and operators stay plain."""
NAMES = ("", *dict.fromkeys(name for _, name in _STYLES))
"""Names of the colours; a byte of an answer is a place in this list."""
FOUND = "found"
UNKNOWN = "unknown"
FAILED = "failed"
_LENGTH_BYTES = 8  # before each frame, as `machine.process` sends and reads them


def main() -> None:
    """Answer requests until the parent ends."""
    import faulthandler  # noqa: PLC0415 - the parent imports this module, too
    import signal  # noqa: PLC0415 - see above

    has_timer = hasattr(signal, "setitimer")  # not on Windows
    _send(b"ready")
    with Path(os.devnull).open("w", encoding="ascii") as nowhere:
        while request := _next_request():
            header, _, code = request.decode().partition("\n")
            cpu_s, wall_s, language = header.split(" ", 2)
            # both also end a process whose lexer holds the lock, and one without a parent
            faulthandler.dump_traceback_later(float(wall_s), exit=True, file=nowhere)
            if has_timer:
                signal.setitimer(signal.ITIMER_VIRTUAL, float(cpu_s))
            state, colours = colours_of(language, code)
            if has_timer:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            faulthandler.cancel_dump_traceback_later()
            _send(f"{state}\n".encode() + colours)


def _next_request() -> bytes:
    """Return the next frame; empty at the end of the parent."""
    size = sys.stdin.buffer.read(_LENGTH_BYTES)
    return sys.stdin.buffer.read(int.from_bytes(size, "big"))


def _send(frame: bytes) -> None:
    sys.stdout.buffer.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)
    sys.stdout.buffer.flush()


def colours_of(language: str, code: str) -> tuple[str, bytes]:
    """Return whether the colours of a code were found, and a byte for each of its characters."""
    lexer = _lexer(language)
    if lexer is None:
        return UNKNOWN, b""
    try:
        return FOUND, _painted(lexer.get_tokens(code + "\n"), code)
    except Exception:  # noqa: BLE001 - of any lexer; it costs the colours only
        return FAILED, b""


def _painted(tokens: Iterable[tuple[Any, str]], code: str) -> bytes:
    """Return the colours of tokens that are all of a code.

    Lexers for consoles drop a last line without an end, others add one: they are given one, which
    goes.
    """
    colours = bytearray()
    for kind, part in tokens:
        known = part[: len(code) - len(colours)]
        if not code.startswith(known, len(colours)):
            raise ValueError("a lexer changed its text")
        colours += bytes((_place_of(kind),)) * len(known)
    if len(colours) < len(code):
        raise ValueError("a lexer lost text")
    return bytes(colours)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name  # noqa: PLC0415 - see above

    name = language.lower()
    # for an unknown name, Pygments would look into all installed packages, which takes a second
    return get_lexer_by_name(name, stripnl=False, ensurenl=False) if name in _names() else None


@cache
def _names() -> frozenset[str]:
    from pygments.lexers import get_all_lexers  # noqa: PLC0415 - see above

    names: set[str] = set()
    for _, aliases, _, _ in get_all_lexers(plugins=False):
        names.update(aliases)
    return frozenset(names)


@lru_cache(maxsize=256)
def _place_of(kind: Any) -> int:
    words = str(kind).removeprefix("Token.")
    name = next((name for prefix, name in _STYLES if words.startswith(prefix)), "")
    return NAMES.index(name)


if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # the folder of Pygments
    main()
