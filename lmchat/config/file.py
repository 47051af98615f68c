"""What is wrong in `config.toml`: all problems at once, each with its key and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert

from lmchat.config.settings import Settings, declared
from lmchat.config.toml import plain_words
from lmchat.matching import did_you_mean

# Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.
# `("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
KeyPath = tuple[str | int, ...]
Values = dict[str, Any]  # values of a table by their keys, as TOML gives them
# names in the files of other programs, and what to write here
_FOREIGN = {
    "base_url": "endpoint",
    "api_base": "endpoint",
    "host": "endpoint",
    "url": "endpoint",
    "default_model": "model",
    "provider": "[[endpoints]]",
    "providers": "[[endpoints]]",
    "model_providers": "[[endpoints]]",
    "server": "[[endpoints]]",
    "servers": "[[endpoints]]",
    "timeout": "[timeouts]",
    "mcp_servers": "[[mcp]]",
    "mcpServers": "[[mcp]]",
    "keybindings": "[keys]",
    "keymap": "[keys]",
    "presets": "[prompts.NAME]",
    "templates": "[prompts.NAME]",
}
MISSING = "missing"
_DOTTED = 'a name with a dot needs quotes, as in "qwen2.5"'
_MOST_FAULTS = 100  # whose lines are looked for, each in the whole file
_PARTS = 3  # of the name of a value that is checked alone, such as `profiles.short.top_p`


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration, or a note on a setting without effect."""

    source: str  # file, environment variable or flag, in words for the user
    reason: str  # what is wrong, without a full stop; in a sentence, it follows the key
    key: str = ""  # full name of the key; empty if the problem is not about one key
    line: int | None = None  # counted from 1

    @property
    def sentence(self) -> str:
        """Such as `config.toml, line 3: limits.retries: expected int <= 20 (…)`."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return ": ".join(filter(None, (place, self.key, self.reason)))


def faults_in(tables: Values) -> dict[KeyPath, str]:
    """Return why values are wrong, by their places, of at most `_MOST_FAULTS`.

    Each is converted alone, so all are found; of a list of tables, the first.
    """
    faults: dict[KeyPath, str] = {}
    for key_path, value in (*_leaves(tables, ()), ((), tables)):
        # checks between keys need keys that are right
        if len(faults) == _MOST_FAULTS or (not key_path and faults):
            break
        part = value
        for name in reversed(key_path):
            part = {name: part}
        try:
            convert(part, Settings)
        except ValidationError as error:
            place, reason = fault_of(error, key_path, value)
            faults.setdefault(place, reason)
    return faults


def _leaves(table: Values, above: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in table.items():
        key_path = (*above, name)
        if isinstance(value, dict) and value and len(key_path) < _PARTS:
            yield from _leaves(value, key_path)
        else:
            yield key_path, value


def fault_of(error: ValidationError, part: KeyPath, value: Any) -> tuple[KeyPath, str]:
    """Return place and reason of an error in a value that was converted alone, at `part`."""
    _, _, place = str(error).partition(" - at `$")
    found: list[str | int] = []
    for index, (name, number) in enumerate(re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place)):
        if number == "..." and index >= len(part):  # a name in a list: msgspec does not tell it
            break
        found.append(name or (part[index] if number == "..." else int(number)))
    key_path = tuple(found)
    words = plain_words(error)
    if match := re.fullmatch("object missing required field (.*)", words):
        return (*key_path, match[1]), MISSING
    if match := re.fullmatch("object contains unknown field (.*)", words, re.DOTALL):
        return (*key_path, match[1]), _unknown(key_path, match[1], value)
    if error.__cause__ is not None:  # of `__post_init__`, which knows its whole table alone
        return max(key_path, part, key=len), words
    kind, meta = _declared_at(key_path)
    if "regex" in words and meta.extra:
        words = f"expected {meta.extra['expected']}"
    elif len(part) > len(key_path) and get_origin(_declared_at(key_path[:-1])[0]) is Mapping:
        words = _DOTTED
    elif get_origin(kind) is tuple:
        words = words.replace("array", 'array as in ["a", "b"]', 1)
    elif part and re.fullmatch("expected (int|float|bool), got str", words):
        words += ": write it without quotes"
    heading = _heading(key_of(key_path), kind)
    hint = f"write {heading}" if heading else meta.description
    return key_path, f"{words} ({hint})"


def _unknown(above: KeyPath, name: str, value: Any) -> str:
    """Return what to write in place of an unknown name below `above`."""
    top_level = declared(Settings)
    if len(above) == _PARTS - 1 and isinstance(value, dict):  # `[profiles.short.v2]`
        return f"unknown; {_DOTTED}"
    if name in _FOREIGN and not above:
        return f"unknown; write {_FOREIGN[name]}"
    if name in top_level:
        heading = _heading(name, top_level[name][0])
        return f"unknown here; write {heading or f'{name} above all sections'}"
    for home, (kind, _) in top_level.items():
        tables = filter(_is_table, (kind, *get_args(kind)))
        if any(name in declared(table) for table in tables):
            return f"unknown here; it belongs below {_heading(home, kind)}"
    known = tuple(declared(_declared_at(above)[0]))
    meant = did_you_mean(name, known)
    return f"unknown{meant}" if meant != "." else f"unknown; possible here: {', '.join(known)}"


def _declared_at(key_path: KeyPath) -> tuple[Any, Meta]:
    """Return type and `Meta` of the value at a place."""
    kind: Any = Settings
    meta = Meta()
    for step in key_path:
        if _is_table(kind):
            kind, meta = declared(kind)[str(step)]
        else:  # of `Mapping[str, ITEM]` or `tuple[ITEM, ...]`
            kind = get_args(kind)[1 if get_origin(kind) is Mapping else 0]
    return kind, meta


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _heading(key: str, kind: Any) -> str:
    """Return the heading of a table; empty for another value, and in an array of tables."""
    if "[" in key:
        return ""
    if get_origin(kind) is Mapping:
        return f"[{key}.NAME]" if _is_table(get_args(kind)[1]) else f"[{key}]"
    if get_origin(kind) is tuple and _is_table(get_args(kind)[0]):
        return f"[[{key}]]"
    return f"[{key}]" if _is_table(kind) else ""


def key_of(key_path: KeyPath) -> str:
    """Return the full name of a key for people, such as `endpoints[1].url`, counted from 1."""
    full_name = ""
    for step in key_path:
        full_name += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return full_name.removeprefix(".")


def line_of(text: str, key_path: KeyPath) -> int | None:
    """Return the line of a key, counted from 1.

    This is a plain search. Each name of the path is looked for before the `=` of a line, from the
    line of the previous name on. A key within an inline table has the line of that table. Return
    None if no name is found.
    """
    lines = text.split("\n")
    found: int | None = None  # index of the line of the step before
    name, before = "", r"\s*\[*\s*[\"']?"  # nothing is before the first name
    for step in key_path:
        if isinstance(step, int):  # the index of a table among those with the heading `[[NAME]]`
            pattern, hit_index = rf"\s*\[\[\s*{re.escape(name)}", step
        else:
            name = step
            pattern, hit_index = rf"{before}{re.escape(name)}(?![\w-])", 0
        hits = (index for index in range(found or 0, len(lines)) if re.match(pattern, lines[index]))
        found = next(islice(hits, hit_index, None), found)
        before = r"[^=#]*(?<![\w-])"
    return None if found is None else found + 1
