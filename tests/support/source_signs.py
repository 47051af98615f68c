"""What of a Markdown text has to be seen, told from its source alone: all that is no sign of Markdown.

What may be missing on the screen, and nothing else:

- the marks of a block: `#`, `>`, the mark of an item, a fence, the line below a heading, a rule;
- the row of a table below its head, and the bars of that table;
- a run of `*` or `_` or `~~` that has a counterpart in its paragraph and does not stand between blanks
  (nor `_` within a word), and the backticks around code;
- the backslash before a sign and at the end of a line, `&name;` where its character is seen instead,
  `<br>`, and the angles around an address;
- of a link its brackets, its address, its title and its label, where that is defined somewhere.

Blanks do not count: they are where the lines of the screen end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from lmchat.text import safe_text

_QUOTE = r"(?:[ \t]*>)*[ \t]*"
_ITEM = r"(?:[-*+]|\d{1,9}[.)])(?=[ \t]|$)"
_LEAD = re.compile(rf"(?:[ \t]*(?:>|{_ITEM}))*[ \t]*")
_FENCE = re.compile(rf"(?P<lead>{_LEAD.pattern})(?P<run>`{{3,}}(?=[^`]*$)|~{{3,}})(?P<info>.*)$")
_HEADING = re.compile(r"#{1,6}(?:[ \t]+(?P<words>.*?)(?:[ \t]+#+)?)?[ \t]*$")
_RULE = re.compile(r"(?:=+|-+|([-*_])(?:[ \t]*\1){2,})[ \t]*$")
_BELOW_HEAD = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_DEFINITION = re.compile(r"\[(?!\^)((?:[^\[\]\\]|\\.)+)\]:")
_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_INLINE = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<inside>.+?)(?<!`)(?P=ticks)(?!`))"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])|(?P<hard>\\\n)"
    r"|<(?P<address>[a-zA-Z][a-zA-Z0-9+.-]+:[^\s<>]*)>"
    r"|(?P<tag></?[a-zA-Z][^<>]*>|<!--.*?-->)"
    r"|(?P<named>&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);)"
    r"|\[(?P<short>(?:[^\[\]\\]|\\.)+)\](?![\[(])"
    r"|(?P<opens>!?\[)"
    r"|(?P<target>\]\((?:<[^<>\n]*>|(?:[^\s()]|\([^\s()]*\))*)(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\))"
    r"|\]\[(?P<label>[^\[\]]*)\]"
    r"|(?P<run>\*+|_+|~~)",
    re.DOTALL,
)
_WORDS_OF_LINK = re.compile(r"(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*+\][(\[]")
_JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
"""They are not seen themselves; a word of thousands of them is cut anywhere."""

Piece = tuple[str, bool]
"""What has to be seen, without blanks; and whether it is the head of a table, which may go with each row."""


def must_be_seen(source: str, *, defined_in: str = "") -> list[Piece]:
    """Return all characters that have to be on the screen, in order; links may be defined in a longer one."""
    labels = {
        label_of(found[1])
        for line in safe_text(defined_in or source).split("\n")
        if (found := _DEFINITION.match(_LEAD.sub("", line, count=1)))
    }
    return _Reader(safe_text(source).split("\n"), labels).read()


class _Reader:
    """Reads a text line by line."""

    def __init__(self, lines: list[str], labels: set[str]) -> None:
        self.lines, self.labels = lines, labels
        self.pieces: list[Piece] = []
        self.paragraph: list[str] = []
        self.fence, self.is_quoted = "", False
        self.is_item = self.is_table = False

    def read(self) -> list[Piece]:
        for number, line in enumerate(self.lines):
            if not self.is_code(line):
                self.take(number, line)
        self.end()
        return self.pieces

    def end(self) -> None:
        """End the paragraph."""
        self.words("\n".join(self.paragraph))
        self.paragraph = []

    def words(self, text: str, *, is_head: bool = False) -> None:
        self.pieces.append((solid(_inline(text, self.labels)), is_head))

    def as_it_is(self, text: str) -> None:
        self.end()
        self.pieces.append((solid(text), False))

    def is_code(self, line: str) -> bool:
        """Whether a line is in a fence, or its end; a fence in a quote ends with it."""
        if not self.fence or (self.is_quoted and not line.lstrip().startswith(">")):
            self.fence = ""
            return False
        body = re.sub(_QUOTE, "", line, count=1) if self.is_quoted else line
        if re.fullmatch(rf"[ \t]*{self.fence[0]}{{{len(self.fence)},}}[ \t]*", body):
            self.fence = ""
        else:
            self.as_it_is(body)
        return True

    def take(self, number: int, line: str) -> None:
        body = line[_LEAD.match(line).end() :]
        self.is_table = self.is_table and bool(body.strip())
        goes_on = self.is_item and (not line.strip() or line[:1] == " ")
        self.is_item = goes_on or bool(re.match(rf"{_QUOTE}{_ITEM}", line))
        if begins := _FENCE.match(line):
            self.fence, self.is_quoted = begins["run"], ">" in begins["lead"]
            self.as_it_is(begins["info"])
        elif self.is_below_head(number) or not body.strip():
            self.end()
            self.is_table = bool(body.strip())
        elif self.is_table or self.is_below_head(number + 1):
            self.end()
            self.words(_without_bars(body), is_head=not self.is_table)
        else:
            self.take_words(line, body)

    def take_words(self, line: str, body: str) -> None:
        is_indented = not self.paragraph and not self.is_item and re.match(r" {4}|\t", line)
        if is_indented or _DEFINITION.match(body):
            self.as_it_is(body)
        elif heading := _HEADING.match(body):
            self.end()
            self.words(heading["words"] or "")
        elif _RULE.match(body):
            self.end()
        else:
            self.paragraph.append(body)

    def is_below_head(self, number: int) -> bool:
        """Whether a line is the row below the head of a table: both have as many cells."""
        if not 0 < number < len(self.lines):
            return False
        row, head = (_LEAD.sub("", self.lines[at], count=1).strip() for at in (number, number - 1))
        is_one = "|" in row and "|" in head and bool(_BELOW_HEAD.match(row))
        return is_one and row.strip("|").count("|") == re.sub(r"\\\|", "", head.strip("|")).count("|")


def _without_bars(row: str) -> str:
    """Return a row of a table without its bars; a bar with a backslash is a character of a cell."""
    return _BREAK.sub(" ", re.sub(r"\\?\|", lambda bar: " " if bar[0] == "|" else "&#124;", row))


def _inline(text: str, labels: set[str]) -> str:
    """Return what of a paragraph has to be seen."""
    runs = [found["run"][0] for found in _INLINE.finditer(text) if found["run"]]
    kept: dict[str, Callable[[re.Match[str]], str]] = {
        "code": lambda found: found["inside"],
        "escaped": lambda found: found["escaped"],
        "hard": lambda _: "",
        "address": lambda found: found["address"],
        "tag": lambda found: found["tag"],
        "named": lambda found: unescape(found["named"]),
        "short": lambda found: _short(found["short"], labels),
        "opens": lambda found: "" if _is_link(text[found.end() :]) else found["opens"],
        "target": lambda _: "",
        "label": lambda found: _label(found["label"], labels),
        "run": lambda found: found["run"] if _is_seen(text, found, runs) else "",
    }
    return _INLINE.sub(
        lambda found: next(keep(found) for name, keep in kept.items() if found[name] is not None), text
    )


def _short(words: str, labels: set[str]) -> str:
    """Return what is seen of words in brackets: without them where they are a link."""
    inside = _inline(words, labels)
    return inside if label_of(words) in labels else f"[{inside}]"


def _label(words: str, labels: set[str]) -> str:
    return "" if label_of(words) in labels | {""} else f"[{words}]"


def _is_link(rest: str) -> bool:
    """Whether what follows a bracket is the text of a link."""
    return bool(_WORDS_OF_LINK.match(rest))


def _is_seen(text: str, found: re.Match[str], runs: list[str]) -> bool:
    """Whether a run of marks cannot be emphasis."""
    before, after = text[: found.start()][-1:], text[found.end() :][:1]
    if not before.strip() and not after.strip():
        return True
    is_within = found["run"][0] == "_" and before.isalnum() and after.isalnum()
    return is_within or runs.count(found["run"][0]) == 1


def label_of(text: str) -> str:
    return " ".join(text.casefold().split())


def solid(text: str) -> str:
    """Return a text without what is not seen."""
    return _JOINERS.sub("", "".join(text.split()))
