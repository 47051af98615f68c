"""Program of the child process that highlights code.

Some lexers of Pygments need exponential time, during which `re` holds Python's lock, so only a
separate process can be stopped. A request is a line with a limit in seconds and a language, then
the code. An answer is the colours, or empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from lmchat.base.processes.frames import answer_parent

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
    ("Generic.Deleted", "error"),
    ("Generic.Subheading", "keyword"),
    ("Generic.Heading", "comment"),
    ("Generic.Prompt", "comment"),
)
"""Colours by the beginning of a token type of Pygments; all others stay plain."""
COLOUR_NAMES = ("", *dict.fromkeys(name for _, name in _COLOURS))
"""A byte of an answer is an index of this list."""
_DIFFS = ("diff", "udiff")
_FILES_OF_DIFF = re.compile(r"(?m)^--- .*\n\+\+\+ .*")  # Pygments takes them for changed lines


def main() -> None:
    answer_parent(_answer)


def _answer(request: bytes, send: Callable[[bytes], None]) -> None:
    """End the process if the colours take too long."""
    import faulthandler  # only in the child: the chat, too, imports this module

    header, _, code = request.decode().partition("\n")
    limit_s, language = header.split(" ", 1)
    _lexer(language)  # its import ends, however long a busy machine takes
    # While a lexer holds Python's lock, no Python thread can run. This one is in C.
    faulthandler.dump_traceback_later(float(limit_s), exit=True)
    colours = colours_of(language, code)
    faulthandler.cancel_dump_traceback_later()
    send(colours)


def colours_of(language: str, code: str) -> bytes:
    """Return an index of `COLOUR_NAMES` for each character, or none at all."""
    colours = bytearray()
    text = ""
    try:
        lexer = _lexer(language)
        if lexer is None:
            return b""
        # Lexers for consoles drop a last line without a line end, others add one. After one more
        # line end, both return all of the code.
        for token_type, token_text in lexer.get_tokens(code + "\n"):
            text += token_text
            colours += bytes([_colour_index(token_type)]) * len(token_text)
        if language.lower() in _DIFFS:
            for files in _FILES_OF_DIFF.finditer(text):
                colours[files.start() : files.end()] = bytes(len(files[0]))
    except Exception:  # noqa: BLE001 - a lexer may raise anything; only its colours are lost
        return b""
    return bytes(colours[: len(code)]) if text.startswith(code) else b""


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    from pygments.lexers import find_lexer_class_by_name

    try:  # line ends stay: a colour for each character
        return find_lexer_class_by_name(language.lower())(stripnl=False, ensurenl=False)
    except Exception:  # noqa: BLE001 - the language is unknown, or its lexer is broken
        return None


@lru_cache(maxsize=256)
def _colour_index(token_type: Any) -> int:
    type_name = str(token_type).removeprefix("Token.")
    for beginning, colour_name in _COLOURS:
        if type_name.startswith(beginning):
            return COLOUR_NAMES.index(colour_name)
    return 0
