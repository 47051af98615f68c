"""TOML: bounded reading of a file, and values as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from lmchat.base.files.disk import read_plain
from lmchat.base.safe_text import safe_line

_T = TypeVar("_T")
_MAX_BYTES = 1024 * 1024
# A name of 100 parts: the parser's memory grows with the square of their number.
_ENDLESS_NAME = r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){100}"""
_PLACE = r" - at (?:`key` in )?`\$((?:\.\w+|\[[\d.]+\])*)`\Z"  # at the end of what msgspec says
_MOST_CHARS = 200  # of what the parser says
_TYPES = r"`([^`]*)`"  # or the name of a field
_SENTENCES = {  # of msgspec, as people say them
    "object missing required field": "needs",
    "object contains unknown field": "has an unknown name:",
    "of length >= 1": "that is not empty",
}
_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "text",
}


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
    if re.search(_ENDLESS_NAME, text):
        raise TomlError("has a name of more than 100 parts")
    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        return convert(tomllib.loads(text), kind), text
    except tomllib.TOMLDecodeError as error:
        raise _wrong_text(text, error) from None
    except ValidationError as error:
        reason, place = message_and_place(error)
        raise TomlError(f"{place.strip('.[]')}: {reason}") from None
    except RecursionError:
        raise TomlError("is nested too deeply") from None


def _wrong_text(text: str, error: ValueError) -> TomlError:
    """Return what the parser says; it quotes a sign, or a name that is there twice."""
    # such as "Invalid value (at line 3, column 7)", or "(at end of document)"
    words, _, position = str(error).rpartition(" (at ")
    found = re.search(r"\d+", position)
    line = int(found[0]) if found else text.rstrip().count("\n") + 1
    words = safe_line(words[:1].lower() + words[1:], limit=_MOST_CHARS)
    next_step = "write lines as in name = value, with text in quotes, and each name once"
    return TomlError(f"is not valid TOML: {words}; {next_step}", line)


def message_and_place(error: Exception) -> tuple[str, str]:
    """Return what msgspec says of a value, and the place, such as `.chat.stop[0]`."""
    found = re.search(_PLACE, str(error))
    text = re.sub(_TYPES, _plain_words, str(error)[: found.start() if found else None])
    text = text[:1].lower() + text[1:]
    for sentence, plain in _SENTENCES.items():
        text = text.replace(sentence, plain, 1)
    return text, found[1] if found else ""


def fault_of(error: Exception) -> str:
    text, place = message_and_place(error)
    return f"{place}: {text}".lstrip(".: ")


def _plain_words(types: re.Match[str]) -> str:
    names = [_WORDS.get(name, name) for name in types[1].split(" | ") if name != "null"]
    return " or ".join(names) or "nothing"


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
