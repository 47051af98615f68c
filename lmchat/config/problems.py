"""What is wrong with a configuration, with the place where it stands."""

from __future__ import annotations

from msgspec import Struct

Path = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, numbers for the places in an array of tables."""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    source: str
    """The file, or the environment variable or flag."""
    reason: str
    """What is wrong."""
    key: str = ""
    """The full name of the key; empty where the file cannot be read at all."""
    line: int | None = None
    """Where in the file, counted from 1."""
    suggestion: str = ""
    """What may have been meant."""

    @property
    def sentence(self) -> str:
        """All of it on one line."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        what = f"{self.key} {self.reason}" if self.key else self.reason
        return f"{place}: {what}" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


class Fault(Struct, frozen=True, kw_only=True):
    """A wrong value in a parsed file, before its line is looked up."""

    path: Path
    """Where it stands."""
    reason: str
    """What is wrong."""
    suggestion: str = ""
    """What may have been meant."""

    @property
    def key(self) -> str:
        """The path as people write it: `endpoints[2].url`."""
        text = ""
        for part in self.path:
            text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def similar(word: str, words: tuple[str, ...]) -> str:
    """Return the word that may have been meant, or nothing."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.6)), "")


def line_of(text: str, path: Path) -> int | None:
    """Return the line of a TOML text, counted from 1, in which a value or the table around it is set.

    The standard library's parser tells no lines of what it accepts; so the text is cut into statements, each
    the fewest lines that it parses, which leaves the grammar to that parser.
    """
    table: Path = ()
    counts: dict[Path, int] = {}
    best: tuple[int, int | None] = (0, None)
    for line, chunk, parsed in _statements(text):
        names = _names(parsed)
        if chunk.lstrip().startswith("[["):
            counts[names] = counts.get(names, -1) + 1
            table = here = (*names, counts[names])
        elif chunk.lstrip().startswith("["):
            table = here = _under_arrays(names, counts)
        else:
            here = (*table, *names)
        differs = any(one != other for one, other in zip(here, path, strict=False))
        depth = 0 if differs else min(len(here), len(path))
        if depth > best[0]:
            best = (depth, line)
    return best[1]


def _statements(text: str) -> list[tuple[int, str, dict[str, object]]]:
    import tomllib  # noqa: PLC0415 - needed for a file with a fault only

    found: list[tuple[int, str, dict[str, object]]] = []
    begun, chunk = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not chunk:
            begun = number
        chunk += line + "\n"
        try:
            parsed = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            found.append((begun, chunk, parsed))
        chunk = ""
    return found


def _names(parsed: dict[str, object]) -> Path:
    """Return the names in a statement, whose first value decides: `a.b = 1` gives (a, b)."""
    names: list[str] = []
    value: object = parsed
    while isinstance(value, dict) and len(value) == 1:
        name, value = next(iter(value.items()))
        names.append(name)
    return tuple(names)


def _under_arrays(names: Path, counts: dict[Path, int]) -> Path:
    """Return the path of `[a.b]` where `a` is an array of tables: it belongs to the last of them."""
    path: Path = ()
    plain: Path = ()
    for name in names:
        plain = (*plain, name)
        path = (*path, name)
        if plain in counts:
            path = (*path, counts[plain])
    return path
