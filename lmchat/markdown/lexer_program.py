"""Program of the child process that highlights code. It is run by path, without lmchat.

Lexers of Pygments are regular expressions. Some need exponential time, during which `re` holds
Python's lock, so only a separate process can be stopped. Requests and answers are frames: a length
and bytes. A request is a line with two limits and a language, then the code. An answer is the
colours; it is empty if there are none.
"""

from __future__ import annotations

import os
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

_COLOURS = (
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
"""Beginning of a token type of Pygments, and its colour. Names and operators stay plain."""
COLOUR_NAMES = ("", *dict.fromkeys(name for _, name in _COLOURS))
"""Names of the colours; a byte of an answer is an index of this list. The first is no colour."""
_LENGTH_BYTES = 8  # before each frame, as `machine.process` sends and reads them


def main() -> None:
    """Answer requests until the parent ends."""
    import faulthandler
    import signal

    has_timer = hasattr(signal, "setitimer")  # not on Windows
    _send(b"ready")
    with Path(os.devnull).open("w", encoding="ascii") as null_file:
        while request := _next_request():
            header, _, code = request.decode().partition("\n")
            cpu_s, wall_s, language = header.split(" ", 2)
            # Two limits end this process, even while a lexer holds Python's lock or the parent has
            # ended. At the limit by the clock, a thread in C writes a traceback to `null_file`, and
            # exits. At the limit of CPU time, SIGVTALRM comes, for which there is no handler.
            faulthandler.dump_traceback_later(float(wall_s), exit=True, file=null_file)
            if has_timer:
                signal.setitimer(signal.ITIMER_VIRTUAL, float(cpu_s))
            colours = colours_of(language, code)
            if has_timer:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            faulthandler.cancel_dump_traceback_later()
            _send(colours)


def _next_request() -> bytes:
    """Return the next request; empty if the parent has ended."""
    size = sys.stdin.buffer.read(_LENGTH_BYTES)
    return sys.stdin.buffer.read(int.from_bytes(size, "big"))


def _send(frame: bytes) -> None:
    """Send a frame to the parent."""
    sys.stdout.buffer.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)
    sys.stdout.buffer.flush()


def colours_of(language: str, code: str) -> bytes:
    """Return the colours of a code: for each character a byte, an index of `COLOUR_NAMES`.

    Return nothing for an unknown language, and if the lexer fails or changes the code.
    """
    colours = bytearray()
    text = ""
    try:
        lexer = _lexer(language)
        if lexer is None:
            return b""
        # Lexers for consoles drop a last line without a line end, others add the line end. After
        # one more line end, both kinds return all of the code.
        for token_type, token_text in lexer.get_tokens(code + "\n"):
            text += token_text
            colours += bytes([_colour_index(token_type)]) * len(token_text)
    except Exception:  # noqa: BLE001 - of any lexer; it costs the colours only
        return b""
    return bytes(colours[: len(code)]) if text.startswith(code) else b""


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    """Return the lexer of Pygments for a language; None for an unknown language."""
    from pygments.lexers import get_lexer_by_name

    name = language.lower()
    if name not in _names_of_languages():
        # Pygments would search all installed packages for it, which takes a second
        return None
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


@cache
def _names_of_languages() -> frozenset[str]:
    """Return the names of all languages that Pygments knows without plugins, in small letters."""
    from pygments.lexers import get_all_lexers

    names: set[str] = set()
    for _, aliases, _, _ in get_all_lexers(plugins=False):
        names.update(aliases)
    return frozenset(names)


@lru_cache(maxsize=256)
def _colour_index(token_type: Any) -> int:
    """Return the colour of a token type, such as `Token.Comment.Single`.

    It is an index of `COLOUR_NAMES`; 0 means no colour.
    """
    type_name = str(token_type).removeprefix("Token.")
    for beginning, colour_name in _COLOURS:
        if type_name.startswith(beginning):
            return COLOUR_NAMES.index(colour_name)
    return 0


if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # the folder of Pygments
    main()
