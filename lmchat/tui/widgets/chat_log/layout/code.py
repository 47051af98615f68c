"""Fenced code: its tint, its colours, its long lines."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from time import sleep, thread_time
from typing import Any

from rich.style import Style

from lmchat.text import safe_line
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, Block, Code, Line, Span
from lmchat.tui.widgets.chat_log.layout.page import MIN_WIDTH, Page, fold, harmless, width_of

_log = logging.getLogger(__name__)
Kinds = Iterable[tuple[str, str]]
MOST_PIECE_S = 0.05  # CPU time limit of PIECE_CHARS; a language that exceeds it repeatedly stays plain
_MOST_STRIKES = 3  # once may be the machine, not the lexer
MOST_WHOLE_CHARS = 1_000_000
MOST_WHOLE_S = 5.0
_WORK_S = 0.001
_REST_S = 0.002  # the interpreter is left to the screen twice as long as it was taken
_LOOK_EVERY = 32
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
_NAMES = ("", *dict.fromkeys(name for _, name in _STYLES))
_strikes: Counter[str] = Counter()


def piece_kinds(code: str, language: str) -> Kinds:
    """Return a piece of code in the colours that the piece alone tells."""
    code = harmless(code)
    lexer = _lexer(language) if language and _strikes[language] < _MOST_STRIKES else None
    most_s = MOST_PIECE_S * max(len(code) / PIECE_CHARS, 1)
    return (_lexed(lexer, code, language, most_s) if lexer else None) or [("", code)]


def _lexed(
    lexer: Any, text: str, language: str, most_s: float, is_over: Callable[[], bool] | None = None
) -> list[tuple[str, str]] | None:
    """Return a text in its colours; None where the lexer takes too long, fails, or `is_over`."""
    try:
        return list(_named(_timed(_exact(lexer, text), most_s, is_over)))
    except _TooLongError:
        if is_over is None:
            _log.warning("no colours: the lexer for %s is too slow", language)
            _strikes[language] += 1
    except Exception:  # noqa: BLE001 - one of Pygments' hundreds of lexers; it costs the colours only
        _log.warning("no colours: the lexer for %s failed", language, exc_info=True)
    return None


class _TooLongError(Exception):
    """The colours would take too long, or are not wanted any more."""


def _exact(lexer: Any, text: str) -> Iterator[tuple[Any, str]]:
    """Yield the tokens of a text, which are all of it.

    Lexers for consoles drop a last line without an end, others add one: they are given one, which goes.
    """
    place = 0
    for kind, part in lexer.get_tokens(text + "\n"):
        known = part[: len(text) - place]
        if not text.startswith(known, place):
            raise ValueError("a lexer changed its text")
        yield kind, known
        place += len(known)
    if place < len(text):
        raise ValueError("a lexer lost text")


def _timed(
    tokens: Iterable[tuple[Any, str]], most_s: float, is_over: Callable[[], bool] | None = None
) -> Iterator[tuple[Any, str]]:
    """Yield tokens within a CPU time limit; with `is_over`, pause for other threads."""
    begun_s = turn_s = thread_time()
    for number, token in enumerate(tokens, 1):
        yield token
        if number % _LOOK_EVERY:
            continue
        now_s = thread_time()
        if now_s - begun_s > most_s or (is_over is not None and is_over()):
            raise _TooLongError
        if is_over is not None and now_s - turn_s > _WORK_S:
            sleep(_REST_S)
            turn_s = thread_time()


def _named(tokens: Iterable[tuple[Any, str]]) -> Iterator[tuple[str, str]]:
    for name, run in groupby(tokens, key=lambda token: _style_of(token[0])):
        yield name, "".join(text for _, text in run)


def read_whole(code: Code, language: str, is_over: Callable[[], bool]) -> list[bytes] | None:
    """Return the colours of all pieces of a fence, lexed as one text, or None.

    It runs on a thread of its own; `is_over` ends it.
    """
    pieces = [harmless(piece) for piece in code.pieces]
    text = pieces[0] + "".join(
        ("" if number in code.inner else "\n") + piece for number, piece in enumerate(pieces[1:], 1)
    )
    lexer = _new_lexer(language) if len(text) <= MOST_WHOLE_CHARS else None
    named = _lexed(lexer, text, language, MOST_WHOLE_S, is_over) if lexer else None
    if named is None:
        return None
    colours = b"".join(bytes((_NAMES.index(name),)) * len(part) for name, part in named)
    found, place = [], 0
    for number, piece in enumerate(pieces):
        place += number > 0 and number not in code.inner
        found.append(colours[place : place + len(piece)])
        place += len(piece)
    return found


def known_kinds(code: str, colours: bytes) -> Iterator[tuple[str, str]]:
    """Yield a piece of code in the colours that were found, a byte for each character."""
    code = harmless(code)
    for run in re.finditer(rb"(?s)(.)\1*", colours):
        yield _NAMES[run[1][0]], code[run.start() : run.end()]
    if not code:
        yield "", ""


@lru_cache(maxsize=32)
def _lexer(language: str) -> Any:
    return _new_lexer(language)


def _new_lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=256)
def _style_of(kind: Any) -> str:
    words = str(kind).removeprefix("Token.")
    return next((name for prefix, name in _STYLES if words.startswith(prefix)), "")


_MORE = 2  # cells by which the rest of a long line is indented more than the line
_NULL = Style.null()


def code_lines(
    page: Page,
    code: str,
    info: str,
    prefixes: tuple[Sequence[Span], Sequence[Span]] = ((), ()),
    *,
    kinds: Kinds | None = None,
    is_first: bool = True,
    is_inner: bool = False,
) -> Iterator[Line]:
    """Yield the lines of a piece of code, those that are too long folded.

    `kinds` is the code in its colours where they are known. `is_first` asks for a head with the language,
    and `is_inner` says that the piece begins in the middle of a line.
    """
    first, rest = prefixes
    if is_first:
        yield head_line(page, safe_line(info, limit=1_000) or "code", first)
        first = rest
        if not code:
            return
    width = max(page.text_width - 3 - width_of(rest), MIN_WIDTH)
    for spans in _split(page, kinds or piece_kinds(code, language_of(info))):
        text = "".join(part for part, _ in spans)
        indent = min(len(text) - len(text.lstrip(" ")), width // 2) + _MORE
        rest_width = max(width - indent, MIN_WIDTH // 2)
        parts = list(fold(spans, rest_width if is_inner else width, rest_width))
        for index, part in enumerate(parts):
            line = _code_line(page, part, first, indent=indent if index or is_inner else 0)
            line.is_wrapped = index < len(parts) - 1
            yield line
            first = rest
        is_inner = False


def piece_lines(page: Page, block: Block, prefix: Sequence[Span]) -> list[Line]:
    """Return the lines of a piece of a fence that is a block of its own."""
    colours = block.code.colours if block.code else ()
    kinds = known_kinds(block.source, colours[block.piece]) if colours else None
    ends = {"is_first": block.is_first, "is_inner": bool(block.head)}
    lines = list(code_lines(page, block.source, block.info, (prefix, prefix), kinds=kinds, **ends))
    if lines and block.goes_on:
        lines[-1].is_wrapped = True
    return lines


def language_of(info: str) -> str:
    """Return the language out of `python`, `python:main.py` or `{.python .numbered}`."""
    found = re.match(r"[{.\s]*([\w#+.-]{1,40})", info)
    return found[1] if found else ""


def head_line(page: Page, words: str, prefix: Sequence[Span] = (), *, has_key: bool = True) -> Line:
    """Return the row above code; its `hint` also shows the key that copies the code."""
    muted, strong = page.styles["muted"], page.styles["strong"]
    room = max(page.text_width - 3 - width_of(prefix), MIN_WIDTH)
    line = page.line([*_pad(page), *page.fit([(words, muted)], room)], prefix=prefix, tint="panel")
    if has_key:
        act = Style(meta={"act": "copy_code"})
        keys: list[Span] = [("  ", _NULL), ("c", muted + strong + act), (" copy", muted + act)]
        left = page.fit([(words, muted)], max(room - width_of(keys), 1))
        line.hint = page.line([*_pad(page), *left, *keys], prefix=prefix, tint="panel").segments
    return line


def _code_line(page: Page, spans: list[Span], prefix: Sequence[Span], *, indent: int) -> Line:
    pad = [*_pad(page, page.icons.cut[0] if indent else " "), (" " * indent, _NULL)]
    line = page.line([*pad, *spans], prefix=prefix, tint="panel")
    line.text = "".join(text for text, _ in spans)
    line.start += sum(len(text) for text, _ in pad)
    return line


def _pad(page: Page, sign: str = " ") -> list[Span]:
    """Return the two cells between the edge of the block and its code."""
    if page.has_tints:
        return [(" " + sign, page.styles["muted"])]
    return [(page.icons.column, page.styles["faint"]), (sign, page.styles["muted"])]


def _split(page: Page, kinds: Kinds) -> Iterator[list[Span]]:
    spans: list[Span] = []
    for kind, text in kinds:
        style = page.styles[kind] if kind else _NULL
        for index, part in enumerate(text.split("\n")):
            if index:
                yield spans
                spans = []
            if part:
                spans.append((part, style))
    yield spans
