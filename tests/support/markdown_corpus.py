"""Markdown as models write it, and as nobody should."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from lmchat.text import safe_text

MIXED = """# Title

Some **bold** text with `code`, [link][ref] and *more*, ~~gone~~ and <b>raw</b>.
These three:
1. first
2. second

   with a second paragraph
3. third
   - nested
     1. deeper

## Second

- [ ] open
- [x] done
* another list

+ loose

+ items

```python
def f(x):
    return x + 1


print(f(1))
```

| a | right | centre |
|---|---:|:-:|
| 1 | 2 | three |
| **4** | `5` | [six](http://example.org) |

~~~
plain fence
~~~

> quote
> more
>
> - in it

    indented code

---

![picture](http://example.org/p.png) ends with two blanks\x20\x20
a hard break, and CJK 漢字仮名, emoji 🙂👩‍👩‍👧, combining e\u0301, العربية.

Heading
=======

<div>
html block
</div>

[ref]: https://example.org "title"

Last line without end"""
LONG_TABLE = "| n | word |\n|---|---|\n" + "".join(f"| {n} | row **{n}** |\n" for n in range(60)) + "\nafter"
LONG_FENCE = "```js\n" + "".join(f"let a{n} = {n};\n" for n in range(100)) + "```\nafter"
LONG_LIST = "".join(f"{n}. item *{n}*\n" for n in range(7, 40)) + "\nafter"
GIANT = "word and another " * 2_000 + "\n\nafter"
HOSTILE = (
    "\x1b]0;title\x07 \x1b[2J **\x9b31m** `\x1b[31m`\n\n```\x1b[1m py\n\x07\x07\x08\x07]END\n```\n\n"
    "| \x1b]52;c;aGk=\x07 | b\u202e |\n|---|---|\n| \x00 | \x7f\u200b |\n\n- \x1bP\n> \x1b\\\n\n<b\x1b>\n\n"
    "[a](http://\x1b[31m) \x85 \u2028 \ud800 \r alone\r\n\x0c\n\n"
    "[bold red]x[/] [@click=app.quit]y[/] [/z] \U000e0041\U000e0042 \u2029 a\ufe0f\ufe0f \ufffe\ufdd0\n\n"
    "Z\u0301\u0316\u0332\u0301\u0316\u0332 👩\u200d👩\u200d👩\u200d👩\u200d👩 \u1100\u1161\u11a8 🇦🇧🇨 \u200d\n"
)
NESTED = (
    """1. one

   text of one
   > quoted in one

   ```python
   def f():
       return """
    + '"' * 3
    + """two
   lines"""
    + '"' * 3
    + """

   ```
2. - two
   - > three
     > lazy
   and lazier

     | a | b |
     |---|---|
     | 1 | 2 |
10. ten
    1) deep
       - [ ] deeper
         * deepest

           a paragraph there

> 1. quote
>    ~~~
>    code
> out of the code
>
> > twice
once

>no blank
>- item
>\t- with a tab
"""
)
DEFINITIONS = """[early]: http://early.example "Early"

See [early], [late], [half][half] and [never].

[late]: <http://late.example>
[late]: http://second.example
> [half]: http://half.example
> 'a title
> over lines'

- [in list]: /in
- [in list]

[^1]: no footnote
[foo]: /url "title" ok
[unclosed]: /url "
"""
TABLES = """a | b
- | -
1 | 2

| head | `code | cell` | \\| |
|:--|:-:|--:|
| x |
| 1 | 2 | 3 | 4 |
| **b** | [l](http://a.b) | 漢字 |
no pipe
| not | a table |

> | q | r |
> |---|---|
> | 1 | 2 |

- | l | m |
  |---|---|
  | 3 | 4 |

|only|
|-|
"""
FENCES = """```
plain
```
~~~~ python title="x"
```
~~~
'''
def not_code(): pass
'''
~~~~
  ```diff
  - old
 + new
    deeper
\tx = 1
  ```
````md
```js
let x = `a`;
```
````
```json
{"a": [1, 2.5, null, true], "b": "c\\n"}
```
```console
$ ls -l
total 0
```
``` `not a fence
text
```no-such-language
<x>
```

```py
"""
TEXTS = """Setext
over two lines
===
Other
---
para
***
# ATX #
####### seven
#no
#\ttab

hard\\
break\x20\x20
two blanks and a soft
break *a
b* **c `d
e` f** ~~g~~ \\*h\\* &copy; &#35; &nosuch;
<http://auto.link> http://bare.link. <b>html</b> <!-- c --> ![alt *x*](/i.png "t") [l *m*](</a b> 't')
$x^2 + \\frac{a}{b}$ and \\(y_1\\)

$$
\\int_0^1 x_1 \\, dx
$$

\\[ z \\]

<details>
<summary>more</summary>

inside

</details>
<!-- a

comment -->
<pre>

kept
</pre>

    indented


    twice
\ttab

* * *
+ plus
- minus
-
-\x20

1986\\. A great year
1986. item
"""
SIGNS = (
    "漢字仮名交じり文、句読点。「括弧」" * 12 + "\n\n"
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 e\u0301\u0323 العربية עברית ไทย 한국어 हिन्दी\n\n"
    "line\u2028separator\u2029paragraph\x85next\x0cform\x0bvertical\x1cfile\x1dgroup\n"
    "tab\there\r\ncrlf\rlone cr\n\x00nul \u00a0nbsp \u3000wide blank\n\n"
    "- a\u2028b\n\n```\nc\u2028d\x0ce\n```\n"
)
CORPUS = {
    "mixed": MIXED,
    "nested": NESTED,
    "definitions": DEFINITIONS,
    "tables": TABLES,
    "fences": FENCES,
    "texts": TEXTS,
    "signs": SIGNS,
    "long table": LONG_TABLE,
    "long fence": LONG_FENCE,
    "long list": LONG_LIST,
    "giant paragraph": GIANT,
    "hostile": HOSTILE,
    "open fence": "text\n```python\nx = '",
    "open item": "- a\n  ```\n  b",
    "crlf": MIXED[:400].replace("\n", "\r\n"),
    "only references": "[a]: http://b\n",
    "blank": "\n\n \n",
    "empty": "",
}


def _growing(piece: str, start: str = "") -> Callable[[int], str]:
    return lambda chars: start + piece * (chars // len(piece) + 1)


_WIDE_TABLE = "|" + "h|" * 200 + "\n|" + "-|" * 200 + "\n"
GIANTS: dict[str, Callable[[int], str]] = {
    "paragraph": _growing("word and **another** "),
    "paragraph of lines": _growing("word and another\n"),
    "paragraph of short lines": _growing("a b c d e f g h i j k l m n o p\n12\n"),
    "word": _growing("a"),
    "numbers": _growing("12 34 "),
    "ideographs": _growing("漢字仮名交じり文。"),
    "marks": _growing("\u0301", "e"),
    "joined emoji": _growing("👩\u200d"),
    "heading": _growing("word and another ", "# "),
    "quote": _growing("> word and another\n"),
    "lazy quote": _growing("word and another\n", "> "),
    "quote of paragraphs": _growing("> word and another\n>\n"),
    "quote of one line": _growing("word ", "> > "),
    "item": _growing("word and another ", "- a\n  - b\n    - "),
    "item of lines": _growing("    word and another\n", "- a\n  - b\n"),
    "item of paragraphs": _growing("   word and another\n\n", "1. a\n\n"),
    "nested list": _growing("   1. word and another\n", "7. a\n"),
    "fence in an item": _growing("  x = f(1) # note\n", "- a\n\n  ```python\n"),
    "fence in a quote": _growing("> x = f(1)\n>\n", "> ~~~\n"),
    "line in a fence": _growing('{"a": [1, null]}, ', "```json\n"),
    "table": _growing("| word | **bold** |\n", "| a | b |\n|---|---|\n"),
    "table in a quote": _growing("> | word | **bold** |\n", "> | a | b |\n> |---|---|\n"),
    "row of a table": _growing("word ", "| a | b |\n|---|---|\n| 1 | 2 |\n| "),
    "table of 200 columns": _growing("|" + "x|" * 200 + "\n", _WIDE_TABLE),
    "html": _growing("<b>line</b>\n", "<div>\n"),
    "comment": _growing("a comment\n\n", "- <!--\n"),
    "indented code": _growing("    code x = 1\n\n"),
    "definitions": _growing("[a]: /b\n"),
    "blank lines": _growing("\n", "a\n\n"),
    "blanks": _growing(" "),
    "rules": _growing("***"),
    "brackets": _growing("["),
    "pictures": _growing("!["),
    "half links": _growing("[a](b"),
    "stars": _growing("a**a"),
    "quotes of quotes": _growing("> "),
    "lists of lists": _growing("- "),
    "backticks": _growing("`a ``b "),
    "backslashes": _growing("\\"),
    "tags": _growing("<a href='"),
}


def _of(piece: str, start: str = "") -> Callable[[int], str]:
    return lambda chars: (start + piece * (chars // len(piece) + 1))[:chars]


def _head(columns: int, before: str = "") -> str:
    return f"{before}|{'hd|' * columns}\n{before}|{'-|' * columns}\n"


DEAR: dict[str, Callable[[int], str]] = {
    "names between dunders": _of("__a__b"),
    "emphasis in each word": _of("***a** b* "),
    "struck words": _of("~~a~~ "),
    "references": _of("[a][b]"),
    "defined references": _of("[a][b]", "[b]: /x\n\n"),
    "links": _of("[a](b) "),
    "links in angles": _of("<http://a>"),
    "addresses": _of("http://a.b "),
    "tags": _of("<br>"),
    "CDATA": _of("<![CDATA["),
    "entities": _of("&amp;"),
    "escapes": _of("\\*"),
    "mathematics": _of("\\("),
    "short lines in a quote": _of("> a\n"),
    "short lines in an item": _of("  a\n", "- a\n"),
    "bold cells": _of("|" + "**a**|" * 32 + "\n", _head(32)),
    "short cells": _of("|" + "abc|" * 32 + "\n", _head(32)),
    "short cells in a quote": _of("> |" + "abc|" * 32 + "\n", _head(32, "> ")),
    "rows of no table": _of("a|b\n"),
    "brackets in code": _of("(", "```python\n"),
    "paths in code": _of("a::b<'c>(", "```rust\n"),
    "marks between ideographs": _of("*\u6f22"),
}
"""Each cut to a number of characters."""


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
    return _JOINERS.sub("", "".join(text.split()))
