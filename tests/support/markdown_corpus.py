"""Markdown as models write it, and as nobody should."""

from __future__ import annotations

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
    "[a](http://\x1b[31m) \x85 \u2028 \ud800 \r alone\r\n\x0c"
)
CORPUS = {
    "mixed": MIXED,
    "long table": LONG_TABLE,
    "long fence": LONG_FENCE,
    "long list": LONG_LIST,
    "giant paragraph": GIANT,
    "hostile": HOSTILE,
    "open fence": "text\n```python\nx = '",
    "crlf": MIXED[:400].replace("\n", "\r\n"),
    "only references": "[a]: http://b\n",
    "blank": "\n\n \n",
    "empty": "",
}
