"""TOML: bounded reading of a file, with the cure for the usual mistakes, and values as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from lmchat.files.disk import read_plain

_T = TypeVar("_T")
_MAX_BYTES = 1024 * 1024
_MAX_LINE = 1000  # characters of a wrong line that are looked at
# A name of 100 parts: the parser's memory grows with the square of their number.
_ENDLESS_NAME = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){100}""")
_PLACE = re.compile(r" - at `\$((?:\.\w+|\[[\d.]+\])*)`\Z")  # at the end of what msgspec says
_ODD_BLANK = "[\u00a0\u200b\u2060\ufeff\u3000]"
_TEXT = 'write a text in quotes, as in name = "text"'
_LINE = "write lines as in name = value, with text in quotes"
_NAME = 'a name with other signs than a-z, 0-9, _ and - needs quotes, as in [models."qwen3*"]'
_PATH = r"write a path with \ in single quotes, as in 'C:\new'"
_SECTION = "write a section on a line of its own, as in [chat]"
# What the parser says, what the wrong line has, and the cure. The first row counts in which both
# are found. A cure quotes nothing of the file, which may hold API keys.
_CURES = (
    (
        "overwrite|declare|redefine|immutable|Duplicate",
        "",
        "the name exists above already: keep one of them",
    ),
    ("", "^[^\"']*[\u2018-\u201f\u00ab\u00bb`\u00b4]", 'use straight quotes, as in name = "text"'),
    ("", rf"(^|=)\s*{_ODD_BLANK}|{_ODD_BLANK}\s*(=|$)", "type the blanks again: one is not plain"),
    ("'|Unterminated", r"\\[\"']\s*(#.*)?$", _PATH),
    (
        r"'\\n'|'\\r'|Unterminated|Expected (\"|'\")",
        "",
        'close the quotes; put """ around a text of several lines',
    ),
    (
        "Unescaped|hex value|scalar value",
        "",
        _PATH,
    ),
    ("inline table|Invalid initial", r"\{|,\s*(#.*)?$", "write { … } on one line"),
    ("", r"(?a)^\s*\[?\[[^\]=\"']*([^\w\s.\"'\[\]=-]|\w\s+\w)", _NAME),
    ("", r"^\s*\[|^[^=\[]*\]\s*$", _SECTION),
    ("", r"^\s*\"?[\w.-]+\"?\s*:(\s|$)", "write name = value, not name: value"),
    ("statement|newline", r"(^|[\"'\])\w])\s*(//|--|;\s*\S)", "begin a comment with #"),
    ("Expected '='", r"(?a)^[^='\"]*[^\w\s.='\"-]|^\s*[\w-]+\s+[\w-]+\s*=", _NAME),
    ("newline", r"=\s*[+-]?\d+,\d", "write a decimal point, not a comma"),
    ("newline", r"[,;]\s*(#.*)?$", "leave out the sign at the end of the line"),
    (
        "newline",
        r"=\s*[\"']",
        'end the line after the value; put """ around a text with quotes in it',
    ),
    ("Unclosed array", "", "close the list with ], with commas between its values"),
    ("Invalid value", r"=\s*(#.*)?$", "write a value behind ="),
    (
        "Invalid value",
        r"(?i)=\s*(true|false|yes|no|on|off)\b",
        "write true or false, in small letters",
    ),
    ("Invalid value", r"(?i)=\s*(none|null|nil)\b", "leave out the line to set nothing"),
    ("Invalid value|newline|date", r"=\s*[+.\d-]", "write a number as in 0.7, or a text in quotes"),
    ("Invalid value|newline", r"=\s*[^=\s]", _TEXT),
    ("", "", _LINE),
)


class TomlError(ValueError):
    """A file is not what it should be; `line` counts from 1. The message quotes no value."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


def read_toml(
    path: Path, kind: type[_T], *, may_stream: bool = False, max_bytes: int = _MAX_BYTES
) -> tuple[_T, str]:
    """Return the values and the text of a file; raises `OSError` and `TomlError`."""
    data = read_plain(path, max_bytes=max_bytes, may_stream=may_stream)
    if b"\0" in data:
        raise TomlError("is UTF-16 or no text: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TomlError("is not UTF-8 text: save it as UTF-8", line) from None
    if _ENDLESS_NAME.search(text):
        raise TomlError("has a name of more than 100 parts")
    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        return convert(tomllib.loads(text), kind), text
    except tomllib.TOMLDecodeError as error:
        raise _with_cure(text, str(error)) from None
    except ValidationError as error:
        words, place = words_and_place(error)
        raise TomlError(f"{place.strip('.[]')}: {words}") from None
    except RecursionError:
        raise TomlError("is nested too deeply") from None


def _with_cure(text: str, message: str) -> TomlError:
    if re.match(r"\s*(?:\{|\[\s*\{)", text):
        return TomlError(f"is JSON, not TOML: {_LINE}")
    # such as "Invalid value (at line 3, column 7)", or "(at end of document)"
    message, _, position = message.partition(" (at ")
    found = re.search(r"\d+", position)
    line = int(found[0]) if found else text.rstrip().count("\n") + 1
    content = text.split("\n")[line - 1][:_MAX_LINE]
    cure = next(
        cure
        for said, pattern, cure in _CURES
        if re.search(said, message) and re.search(pattern, content)
    )
    return TomlError(f"is not valid TOML: {cure}", line)


def words_and_place(error: ValidationError) -> tuple[str, str]:
    """Return what msgspec says of a value, and the place, such as `.chat.stop[0]`."""
    found = _PLACE.search(str(error))
    words = str(error)[: found.start() if found else None].replace("`", "").replace(" | null", "")
    return words[:1].lower() + words[1:], found[1] if found else ""


def toml_value(value: Any) -> str:
    """Write a value on one line; TOML has the strings and numbers of JSON."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)
