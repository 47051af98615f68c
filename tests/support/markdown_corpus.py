"""Markdown as models write it, and as nobody should."""

from __future__ import annotations

import re
from collections.abc import Callable

from lmchat.base.safe_text import safe_text

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
LONG_TABLE = (
    "| n | word |\n|---|---|\n" + "".join(f"| {n} | row **{n}** |\n" for n in range(60)) + "\nafter"
)
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
> [half]: http://half.example 'a title'

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
$x^q + \\frac{a}{b}$ and \\(y_q\\)

$$
\\int_0^q x_1 \\, dx
$$

\\[ z_q \\]

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
MODELS = """**씨앗(seed)**을 *(심어)*요. See [1], [3](http://c.example) and www.example.org/a_b_c?d=1.
5*x*2 = 10*x, __init__.py, $\\$4.20$ and ~~~~four~~~~ ~~two~~ 3~5

![ripe *pea* `pod`](http://p.example/p.png) one <br> two

| a <br> b | www.b.example |
|---|---|
| 3*4*5 | __a__.b |

[1]: http://a.example "A"
[2]: http://b.example
[3]: http://c.example
Behind [2].
"""
MODEL_FENCES = """1. Do:
   ```sh
   ls
```
2. Then **이것(this)**을:

   ```md
   # A
   ```py
   x = 1
   ```
   end
   ```
3. > ~~~ markdown
   > ~~~sh
   > ls
   > ~~~
   > b
   > ~~~

```markdown
# Use
```sh
make
```
And:
~~~
```

```md
open
```py
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
    "models": MODELS,
    "fences of models": MODEL_FENCES,
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
    "blanks in the second line": _growing(" ", "\n"),
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


def _of_runs(sign: str) -> Callable[[int], str]:
    """Make a text of runs, each one longer than the one before."""

    def text(chars: int) -> str:
        runs = "".join(sign * length + "a" for length in range(1, int((2 * chars) ** 0.5) + 2))
        return runs[:chars]

    return text


def _numbered(line: str) -> Callable[[int], str]:
    return lambda chars: "".join(line.format(number) for number in range(chars // len(line) + 1))[
        :chars
    ]


ENDLESS: dict[str, Callable[[int], str]] = {
    **{f"run of {sign}": _of(sign) for sign in "[*_`>|<!\\&~$#- \t\r\n1"},
    **{f"lines of {sign}": _of(sign + "\n") for sign in "a[_`>|<~-1"},
    **{f"growing runs of {sign}": _of_runs(sign) for sign in "`~*$["},
    **{
        f"item of {sign}": _of(sign, "- ")
        for sign in ("[", "![", "[[a]", "*a", "<!--", "<a b", "`a``b")
    },
    "short code": _of("`a` "),
    "links without an end": _of("[a]("),
    "brackets with a definition": _of("[", "[a]: /b\n\n"),
    "definitions": _numbered("[a{}]: /x\n"),
    "sources": _numbered("[{}]: /x 'and their titles'\n"),
    "addresses without a scheme": _of("(www.a"),
    "hosts without an end": _of(" www.a."),
    "dollars in a formula": _of("\\$", "$"),
    "fences in Markdown": _of("```a\nb\n", "```md\n"),
    "ends outside of an item": _of("- a\n  ```\n  b\n```\n"),
    "quotes in quotes": _of("> "),
    "lazy lines in quotes": _of("a\n", "> " * 30),
    "lists in lists": _of("- "),
    "paragraphs": _of("a\n\n"),
    "fences": _of("```py\nx\n```\n"),
    "fence of backticks": _of("`", "```\n"),
    "lines of code": _of("x\n", "```\n"),
    "table of code": _of("|`", "|a|b|\n|-|-|\n"),
    "details": _of("<details>\n\na\n\n"),
    "comments": _of("<!-- a -"),
    "tags": _of("<a href='"),
    "entities": _of("&#1;"),
    "addresses": _of("http://"),
    "brackets behind an address": _of(").", "http://a"),
    "mail": _of("a@a@"),
    "hosts as words of a link": _of("a.1.", "["),
    "mathematics": _of("$a "),
    "line of words": _of("a "),
    "word": _of("a"),
    "combining marks": _of("\u0301", "e"),
    "joiners": _of("\u200d", "a"),
    "joined emoji": _of("\U0001f469\u200d"),
    "right to left": _of("\u05d0\u202e"),
    "ideographs and brackets": _of("(", "\u6f22"),
    "controls": _of("\x1b"),
    "emoji": _of("\U0001f642"),
}
"""What makes a careless parser, pattern or layout take more than linear time."""


_UNSEEN = re.compile(
    r"^[ \t>-]*\[[^\]^][^\]\n]*\]:.*"  # a link definition
    r"|^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t]|$)))+"  # quotes and items, which may get other numbers
    r"|^.*\|.*\n(?=[ \t>*+-]*\|?[ \t]*:?-+[-:| \t]*$)"  # the head of a table, which may go with each row
    r"|\]\((?:<[^<>\n]*>|(?:[^\s()]|\([^\s()]*\))*)"  # the target of a link, and its title
    r"(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
    r"|\]\[[^\[\]]*\]|&(?:#\w+|\w+);|<br[ \t]*/?>",
    re.MULTILINE,
)


def must_be_seen(source: str) -> str:
    """Return the letters and digits that have to be on the screen, in order."""
    return solid(_UNSEEN.sub("", safe_text(source)))


def solid(text: str) -> str:
    return "".join(char for char in text if char.isalnum())
