"""What is wrong in `config.toml`: all problems at once, each with its key and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert

from lmchat.base.matching import did_you_mean
from lmchat.core.config.settings import Settings, declared
from lmchat.core.config.toml import message_and_place

# Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.
# `("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
KeyPath = tuple[str | int, ...]
Values = dict[str, Any]  # values of a table by their keys, as TOML gives them
_MCP = ("mcp_servers", "mcpServers")  # as other programs call their tables of tool servers
_DOTTED = 'a name with a dot needs quotes, as in "qwen2.5"'
_MOST_FAULTS = 100  # whose lines are looked for, each in the whole file
_DEPTH = 4  # steps to the innermost settings, such as `endpoints[1].timeouts.health_s`
# texts, and comments, which may hold quotes
_TEXTS = r'''(?s)"""(?:\\.|[^\\])*?"""|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*'''


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration, or a note on a setting without effect."""

    source: str  # file, environment variable or flag, in words for the user
    reason: str  # what is wrong, without a full stop; in a sentence, it follows the key
    key: str = ""  # full name of the key; empty if the problem is not about one key
    line: int | None = None  # counted from 1

    @property
    def sentence(self) -> str:
        """Such as `config.toml, line 3: limits.retries: expected a whole number <= 20 (…)`."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return ": ".join(filter(None, (place, self.key, self.reason)))


def faults_in(tables: Values) -> dict[KeyPath, str]:
    """Return at most `_MOST_FAULTS` reasons, by their places.

    Each value is converted alone, so all faults are found.
    """
    faults: dict[KeyPath, str] = {}
    for part, value in _parts((), tables):
        if len(faults) == _MOST_FAULTS:
            break
        try:
            convert(alone(part, value), Settings)
        except ValidationError as error:
            text, found = message_and_place(error)
            depth = len(re.findall(r"\.\w+|\[", found))
            is_unknown = str(error).startswith("Object contains unknown field")
            place = part[: depth + is_unknown]
            if len(place) < depth + is_unknown:  # told of a value within this one
                continue
            if is_unknown:
                inside = part[len(place) :]
                is_table = isinstance(inside[0], str) if inside else value == {}
                faults.setdefault(place, _unknown(place, is_table=is_table))
            elif error.__cause__ is None and not str(error).startswith("Object missing"):
                faults.setdefault(place, reason_of(text, place))
            # what a table lacks, or what does not fit together in it, counts for the whole table
            elif depth in (0, len(part)) and all(part != key[: len(part)] for key in faults):
                faults[part] = text
    return faults


def _parts(place: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Yield inner values first."""
    items: Iterable[tuple[str | int, Any]] = ()
    if len(place) < _DEPTH and isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        yield from _parts((*place, name), item)
    yield place, value


def alone(place: KeyPath, value: Any) -> Any:
    """Return the tables of a file with this value alone."""
    for name in reversed(place):
        value = [value] if isinstance(name, int) else {name: value}
    return value


def reason_of(text: str, place: KeyPath) -> str:
    """Add a cure, and the help of the setting, to what msgspec says of a value."""
    kind, meta = declared_at(place)
    if heading := _heading(place, kind):
        return f"{text} (write {heading})"
    if meta.extra:
        text = f"expected {meta.extra['expected']}"
    elif text.endswith("got a table") and get_origin(declared_at(place[:-1])[0]) is Mapping:
        text = _DOTTED
    elif get_origin(kind) is tuple:
        text = text.replace("a list", 'a list as in ["a", "b"]', 1)
    return f"{text} ({meta.description})"


def _unknown(place: KeyPath, *, is_table: bool) -> str:
    name = str(place[-1])
    top_level = declared(Settings)
    above_above, _ = declared_at(place[:-2])
    if is_table and get_origin(above_above) is Mapping:  # `[profiles.short.v2]`
        return f"unknown; {_DOTTED}"
    if name in _MCP:
        return "unknown; tool servers are in mcp.json"
    if name in top_level:
        heading = _heading((name,), top_level[name][0])
        return f"unknown here; write {heading or f'{name} above all sections'}"
    for home, (kind, _) in top_level.items():
        tables = filter(_is_table, (kind, *get_args(kind)))
        if any(name in declared(table) for table in tables):
            return f"unknown here; it belongs below {_heading((home,), kind)}"
    known = tuple(declared(declared_at(place[:-1])[0]))
    meant = did_you_mean(name, known)
    return f"unknown{meant}" if meant != "." else f"unknown; possible here: {', '.join(known)}"


def declared_at(key_path: KeyPath) -> tuple[Any, Meta]:
    """Return type and `Meta` of a setting or section."""
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


def _heading(place: KeyPath, kind: Any) -> str:
    """Return the heading of a table; empty for another value, and in an array of tables."""
    key = key_of(place)
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


def outline(text: str) -> str:
    """Return a text of TOML in which `line_of` finds keys: long texts have empty lines."""
    return re.sub(_TEXTS, lambda found: "\n" * found[0].count("\n") or found[0], text)


def line_of(text: str, place: KeyPath) -> int | None:
    """Return the line of a key in an `outline`, counted from 1; None if no name is found.

    Each name is looked for before the `=` of a line, from the line of the previous name on. A key
    within an inline table has the line of that table.
    """
    lines = text.split("\n")
    found: int | None = None  # index of the line of the step before
    name, before = "", r"\s*\[*\s*[\"']?"  # nothing is before the first name
    for step in place:
        if isinstance(step, int):  # the index of a table among those with the heading `[[NAME]]`
            pattern = rf"\s*\[\[\s*{re.escape(name)}"
            hit_index = step
        else:
            name = step
            pattern = rf"{before}{re.escape(name)}(?![\w-])"
            hit_index = 0
        hits = (index for index in range(found or 0, len(lines)) if re.match(pattern, lines[index]))
        found = next(islice(hits, hit_index, None), found)
        before = r"[^=#]*(?<![\w-])"
    return None if found is None else found + 1
