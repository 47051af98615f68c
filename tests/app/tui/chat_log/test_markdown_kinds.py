from __future__ import annotations

import re

import pytest
from rich.style import Style

from lmchat.app.markdown_lines.lexer_child import colours_of
from lmchat.base.markdown.commonmark import links
from lmchat.base.markdown.links import is_honest_link
from tests.support.chat_log_app import laid_out, picture, plain_page, shown, tail_of

RULE = "─"


def rows(text, width=60):
    """What is to be seen, without the blank at the left edge; half a row is one sign."""
    lines = laid_out(tail_of(text), plain_page(width))
    return [re.sub("▀+", "▀", shown(line)[1:]) for line in lines]


def styled(text):
    """Pieces of text with the names of their styles."""
    page = plain_page(look=lambda name: Style(meta={"named": (name,)}))
    laid_out(tail_of(text), page)
    while wanted := page.colours.newest_request:
        page.colours.put(wanted, colours_of(*wanted))
    return [
        (segment.text, segment.style.meta.get("named", ("",))[0])
        for line in laid_out(tail_of(text), page)
        for segment in line.segments
        if segment.text.strip()
    ]


KINDS = {
    "lines of a paragraph": (
        "Roses are red\nViolets are blue  \nand\\\nso on",
        ["Roses are red", "Violets are blue", "and", "so on"],
    ),
    "numbers begin where the text says and keep their sign": (
        "7. a\n8. b\n\n1) c\n2) d\n\ntext\n\n0. z",
        ["7. a", "8. b", "", "1) c", "2) d", "", "text", "", "0. z"],
    ),
    "lists that are nested by too few blanks": (
        "1. one\n  - a\n  - b\n2. two\n  * c\n\n3. three",
        ["1. one", "  • a", "  • b", "2. two", "  • c", "", "3. three"],
    ),
    "a number that is too long is text": ("1234567890. a", ["1234567890. a"]),
    "a list in a list, apart in the source": (
        "- a\n\n  - b\n\n  - c\n",
        ["• a", "", "  • b", "", "  • c"],
    ),
    "a table as an item": (
        "- | a | b |\n  |---|---|\n  | c | d |",
        ["• a    b", "  " + RULE * 6, "  c    d"],
    ),
    "tasks": (
        "- [ ] open\n- [x] done\n  - [X] inner\n1. [ ] first\n2. [no] box\n- [x]none\n- [ ]",
        ["[ ] open", "[x] done", "    [x] inner", "1. [ ] first", "2. [no] box", "• [x]none", "[ ]"],
    ),
    "quotes": (
        "> a\n> b\n>\n> > c\n> - d\n> - e\n>\n> ```\n> f\n> ```\nlazy",
        ["│ a", "│ b", "│", "│ │ c", "│", "│ • d", "│ • e", "│", "│   code", "│   f", "│ ▀", "lazy"],
    ),
    "a bar in a cell": (
        "| a | b |\n|---|---|\n| x \\| y | `p\\|q` |",
        ["a        b", RULE * 12, "x | y    p|q"],
    ),
    "more cells than columns": (
        "| a | b |\n|---|---|\n| 1 | 2 | 3 | 4 |\n| 5 |\n6 | 7 | 8\n| 9 \\| 9 | 9",
        ["a        b", RULE * 18, "1        2 | 3 | 4", "5", "6        7 | 8", "9 | 9    9"],
    ),
    "lines above dashes that are no heads of tables": (
        "~~~|a\n-|-\n~~~\n- b|c\n-|-\n\n> d|e\n\n-1 | **f**\n-|-\n2 | 3",
        ["  |a", "  -|-", "▀", "• b|c", "  -|-", "", "│ d|e", "", "-1    f", RULE * 7, "2     3"],
    ),
    "wide letters in columns": (
        "| 漢字 | b |\n|---|---|\n| \U0001f642 | 1 |\n| e\u0301 | 2 |\n| | 3 |",
        ["漢字    b", RULE * 9, "\U0001f642      1", "e\u0301       2", "        3"],
    ),
    "HTML": (
        "a <b>b</b> <!-- c --> List<int><br>d\n\n<details>\n<summary>e</summary>\n\nf\n\n</details>",
        [
            "a <b>b</b> <!-- c --> List<int>", "d", "", "<details>", "<summary>e</summary>", "", "f", "",
            "</details>",
        ],
    ),
    "mathematics in a line": (
        r"$a_1 b_1$, \(x*y*z\), \[ x \\ y \] and $$p_q$$ cost $5 and $6 for two",
        [r"a₁ b₁, x*y*z, \[ x \\ y \] and $$p_q$$ cost $5 and $6 for", "two"],
    ),
    "mathematics of its own": (
        "So:\n\\[\na_1\n+ b \\\\\n- c\n\\]\nand\n\n$$\n# x\n$$\n\n\\begin{align*}\n* y\n\\end{align*}",
        [
            "So:", "", "  \\[", "  a_1", "  + b \\\\", "  - c", "  \\]", "", "and", "", "  $$", "  # x",
            "  $$", "", "  \\begin{align*}", "  * y", "  \\end{align*}",
        ],
    ),
    "mathematics without an end ends with a blank line": (
        "$$\nx_1\n\n*y*",
        ["  $$", "  x_1", "", "y"],
    ),
    "what a chat template left": ("</think>\nsaid\n<|im_end|>", ["</think>", "said", "<|im_end|>"]),
    "operators": ("2 * 3 * 4, x**2, a_b_c", ["2 * 3 * 4, x**2, a_b_c"]),
    "escapes and entities": (r"\*a\* \# &amp; &lt;b&gt; &copy; &no; 1\. c", ["*a* # & <b> © &no; 1. c"]),
    "marks without an end": ("[ a\n\n![ b\n\n`c\n\n**d", ["[ a", "", "![ b", "", "`c", "", "**d"]),
    "definitions": (
        "See [1] and [x][two].\n\n[1]: https://a.example\n[two]: https://b.example 'T'\n\n> [q]: /c",
        ["See [1] and x.", "", "[1]: https://a.example", "", "│"],
    ),
    "numbers of sources": (
        "Cool [1], [2][two], [a](https://c.example).\n\n[1]: /cool\n[2]: /b 'x'\n[two]: /d\n[3]: /c\nBehind [3].",
        [
            "Cool [1] (/cool), [2] (/d), a.", "", "[1]: /cool", "[2]: /b 'x'", "", "[3]: /c", "",
            "Behind [3] (/c).",
        ],
    ),
    "numbers of sources side by side": (
        "Cool [1][2], [2][3][4] ![a][1][2].\n\n[1]: http://a.example\n[2]: http://b.example\n[3]: http://c.example",
        [
            "Cool [1][2], [2][3][4] image: a[2].", "", "[1]: http://a.example", "[2]: http://b.example",
            "[3]: http://c.example",
        ],
    ),
    "sources in a list": (
        "- a [1]\n\n  [1]: /b\n  [2]: /c\n- d",
        ["• a [1] (/b)", "", "  [1]: /b", "  [2]: /c", "• d"],
    ),
    "more than two tildes": (
        "This is ~~~~gone~~~~, ~~~so~~~ and ~~this~~; 3~5 and ~6",
        ["This is ~~~~gone~~~~, ~~~so~~~ and this; 3~5 and ~6"],
    ),
    "words of an image": (
        "![ripe *pea* `pod` &amp; [tip](/t) ![leaf](l.png)\nor $x$](p.png)",
        ["image: ripe pea pod & tip leaf or $x$ (p.png)"],
    ),
    "a break in a cell": (
        "| a | b |\n|---|---|\n| one <br> two<br>\tthree | c |\n\nx <br/>  y",
        ["a        b", RULE * 10, "one      c", "two", "three", "", "x", "y"],
    ),
    "signs of arithmetic and names": (
        "5*x*2 = 10*x, 3*4*5 = 60, 2**3**2, __pycache__/, lib/__a__, **1**st\n\na __init__.py, a.__class__.__name__ and `x`, __call__() __new__",
        [
            "5*x*2 = 10*x, 3*4*5 = 60, 2**3**2, __pycache__/,", "lib/__a__, 1st", "",
            "a __init__.py, a.__class__.__name__ and x, __call__() new",
        ],
    ),
    "a sum of money as a formula": (
        r"$\$4.20$, $\$5$ or \(\$6\), $a \$ \frac{b}{c$, \$7 and \$8, $9 and $10, $$\text{\$3}$$",
        [r"$4.20, $5 or $6, $a \$ \frac{b}{c$, $7 and $8, $9 and", "$10, $3"],
    ),
    "fences in Markdown": (
        "```markdown\n# Use\n```sh\nls\n```\nThen\n~~~\n```\nAnd *so on*.\n\n```md\nplain\n```\nEnd",
        [
            "  markdown", "  # Use", "  ```sh", "  ls", "  ```", "  Then", "  ~~~", "▀", "And so on.", "",
            "  md", "  plain", "▀", "End",
        ],
    ),
    "the end of a fence outside of its item": (
        "1. Do:\n   ```sh\n   ls\n```\n2. Then\n   - ````\n     a\n   ````\n3. text",
        ["1. Do:", "", "     sh", "     ls", "   ▀", "2. Then", "   •   code", "       a", "     ▀", "3. text"],
    ),
    "what a fence says": (
        "```python:main.py\nx\n```\n\n1. ~~~{.js #a} b c\n   y\n   ~~~",
        [
            f"  python{'main.py':>49}", "  x", "▀", "1.   {.js #a} b c", "     y", "   ▀",
        ],
    ),
    "a title has a rule in place of the blank row, but not in a quote": (
        "# a\n\nb\n\n## c\n\n> # d\n>\n> e",
        ["a", RULE * 57, "b", "", "c", "", "│ d", "│", "│ e"],
    ),
    "below code, half a row is the blank row, also in an item": (
        "1. a\n   ```\n   b\n   ```\n\n2. c\n\n```\nd\n```\ne",
        ["1. a", "", "     code", "     b", "   ▀", "2. c", "", "  code", "  d", "▀", "e"],
    ),
    "the mark of an alert is its word, whether its text follows or a blank line does": (
        "> [!WARNING]\n> a\n> b\n\nc\n\n> [!tip]\n>\n> d\n\n---\n\n> [!NOTE]\n\n> [!NOTE] e\n\n[!NOTE]",
        ["│ Warning", "│ a", "│ b", "", "c", "", "│ Tip", "│ d", "", RULE * 57, "", "│ Note", "",
         "│ [!NOTE] e", "", "[!NOTE]"],
    ),
    "right to left": ("العربية **نص** עברית", ["العربية نص עברית"]),
}  # fmt: skip


def test_each_kind_stands_on_the_page_as_expected():
    for text, expected in KINDS.values():
        assert rows(text) == expected


def test_emphasis_is_told_by_its_style():
    for text, expected in [
        ("*a* **b** ~~c~~ `d`", [("a", "em"), ("b", "strong"), ("c", "s"), ("d", "code")]),
        ("***a***", [("a", "strong")]),
        ("**a *b* c**", [("a ", "strong"), ("b", "em"), (" c", "strong")]),
        ("__a__ _b_", [("a", "strong"), ("b", "em")]),
        ("**S**ituation", [("S", "strong")]),
        ("**a*b**", [("a*b", "strong")]),
        ("$a*b*c$", [("a*b*c", "builtin")]),
        # ideographs need no blanks around emphasis, whatever stop stands at its end
        ("**「重点」**的", [("「重点」", "strong")]),
        ("**注意:**请", [("注意:", "strong")]),
        ("这是**重点**内容", [("重点", "strong")]),
        ("**씨앗(seed)**을 심어요.", [("씨앗(seed)", "strong")]),
        ("씨앗은*(seed)*이다", [("(seed)", "em")]),
        ("~~씨앗(seed)~~을", [("씨앗(seed)", "s")]),
        ("**ｶﾀｶﾅ(kana)**ﾉ ㈱**(株)**式", [("ｶﾀｶﾅ(kana)", "strong"), ("(株)", "strong")]),
        ("葛\U000e0100**(a)** b", [("(a)", "strong")]),
        ("**(a)**\u200b을 을\u2060**(b)**\ufeff을", [("(a)", "strong"), ("(b)", "strong")]),
        ("**เมล็ด (seed)**ใน", [("เมล็ด (seed)", "strong")]),
        ("> [!CAUTION]", [("│ ", "mark"), ("Caution", "error")]),
        ("**Note:**text __a(b)__을 **a(b)**c", []),
    ]:
        assert [piece for piece in styled(text) if piece[1] not in ("base", "")] == expected


def test_the_language_of_a_fence_is_known_however_it_is_written():
    for info in ["python", "python:main.py", "{.python .numbered}", "python title=x", "Python"]:
        assert ("def", "keyword") in styled(f"```{info}\ndef f(): pass\n```")


DEFINITION = "[ref]: http://example.org"


REFERENCES = [
    f"{DEFINITION}\n\n[there][ref]",
    f"[there][ref]\n\n{DEFINITION}",
    f"> [there][ref]\n\n- item\n\n  {DEFINITION}",
    f"| [there][ref] | b |\n|---|---|\n| c | d |\n\n{DEFINITION}",
    f"[there][REF]\n\n```\ncode\n```\n{DEFINITION}\n```\nmore\n```",
    f"[there][ref]\n\n{DEFINITION}\n[ref]: http://another.example",
]


def test_a_reference_is_a_link_wherever_its_definition_stands():
    for text in REFERENCES:
        for size in (1, 9, 1_000):
            tail = tail_of(*[text[start : start + size] for start in range(0, len(text), size)])
            found = [
                segment.style.meta.get("link")
                for line in laid_out(tail, plain_page())
                for segment in line.segments
                if segment.text == "there"
            ]
            assert found == ["http://example.org"], text


def test_a_link_says_where_it_leads_and_only_pages_of_the_web_are_links():
    for text, seen, target in [
        ("[a](http://b.example)", "a", "http://b.example"),
        ("(http://b.example/c_(d)).", "(http://b.example/c_(d)).", "http://b.example/c_(d)"),
        (
            "\u770bhttp://b.example/c\u3002\u597d",
            "\u770bhttp://b.example/c\u3002\u597d",
            "http://b.example/c",
        ),
        ("![a](http://b.example/c.png)", "image: a", "http://b.example/c.png"),
        ("![](http://b.example/c.png)", "image: http://b.example/c.png", "http://b.example/c.png"),
        ("[![a](http://b.example/c.png)](http://d.example)", "image: a", "http://d.example"),
        ("[b.example](http://www.b.example/)", "b.example", "http://www.b.example/"),
        ("[b.example](http://e.example/)", "b.example (http://e.example/)", "http://e.example/"),
        ("[http://b.example](http://b.example@e.example/)", None, "http://b.example@e.example/"),
        (
            "[read 10.0.0.1](http://e.example)",
            "read 10.0.0.1 (http://e.example)",
            "http://e.example",
        ),
        ("[a](mailto:b@c.example)", "a (mailto:b@c.example)", None),
        ("<b@c.example>", "b@c.example", None),
        ("[a](/b) [c](#d)", "a (/b) c (#d)", None),
        ("[a](javascript:alert(1))", "[a](javascript:alert(1))", None),
        ("[a](file:///b)", "[a](file:///b)", None),
        ("[a](JaVaScRiPt:b)", "[a](JaVaScRiPt:b)", None),
        ("[a](vscode://b)", "a (vscode://b)", None),
        ("http:// https://) ://", "http:// https://) ://", None),
        ("(www.b.example/c_(d)).", "(www.b.example/c_(d)).", "http://www.b.example/c_(d)"),
        ("**www.b.example**", "www.b.example", "http://www.b.example"),
        (
            "*see* www.b.example/x*y*z_ or",
            "see www.b.example/x*y*z_ or",
            "http://www.b.example/x*y*z",
        ),
        ("看www.例え.jp/x。好", "看www.例え.jp/x。好", "http://www.xn--r8jz45g.jp/x"),
        ("http://例え.jp/x", "http://例え.jp/x", "http://xn--r8jz45g.jp/x"),
        ("<http://例え.jp/x>", "http://例え.jp/x", "http://xn--r8jz45g.jp/x"),
        ("[例え.jp](http://例え.jp)", "例え.jp (http://xn--r8jz45g.jp)", "http://xn--r8jz45g.jp"),
        ("[a www.c.example](http://b.example)", None, "http://b.example"),
        ("| a | b |\n|-|-|\n| www.b.example | |", None, "http://www.b.example"),
        ("www.b.example/?c&copy;", "www.b.example/?c©", "http://www.b.example/?c"),
        ("www.b.example…", "www.b.example…", "http://www.b.example"),
        ("www..example www.-b.example", None, None),
        ("www.b www.b_c.example `www.b.example` xwww.b.example www.", None, None),
        ("me@www.b.example /www.b.example", None, None),
        ('<p title="http://b.example/c">', '<p title="http://b.example/c">', "http://b.example/c"),
    ]:
        lines = laid_out(tail_of(text), plain_page(90))
        if seen is not None:
            assert [shown(line).strip() for line in lines] == [seen]
        elif target:
            assert target.removeprefix("http://") in "".join(map(shown, lines))
        targets = {
            segment.style.meta.get("link")
            for line in lines
            for segment in line.segments
            if segment.style
        } - {None}
        assert targets == ({target} if target else set())
    row, *_ = laid_out(tail_of(f"[b.example](http://e.example/{'c' * 300})"), plain_page(400))
    assert shown(row).strip() == f"b.example (http://e.example/{'c' * 183}…)"


def test_links_are_found_in_order_each_once_with_their_words():
    text = (
        "[a](http://a.example) and http://b.example\n\n- [again](http://a.example) ![p](http://p.example)\n"
        "> [r][ref] <http://c.example>\n\n`http://no.example`\n\n[ref]: http://d.example\n"
    )
    assert links(text) == {
        "http://a.example": "a",
        "http://b.example": "http://b.example",
        "http://p.example": "p",
        "http://d.example": "r",
        "http://c.example": "http://c.example",
    }


def test_the_words_of_links_have_no_marks_and_addresses_need_no_scheme():
    assert links(
        "![a *b* `c`](http://p.example) www.q.example [![d **e**](/f)](http://g.example)"
    ) == {
        "http://p.example": "a b c",
        "http://www.q.example": "www.q.example",
        "http://g.example": "d e",
        "/f": "d e",
    }


def test_no_link_is_handed_to_the_terminal_which_would_open_it_unasked():
    lines = laid_out(tail_of("[a](http://b.example) http://c.example"), plain_page())
    assert all(segment.style.link is None for line in lines for segment in line.segments)


@pytest.mark.parametrize(
    "words", ["bank\u3002example", "bank\uff0eexample", "bank\u2060.example", "\uff42ank.example"]
)
def test_words_that_a_browser_would_take_for_another_host_do_not_tell_where_a_link_leads(words):
    assert not is_honest_link("https://evil.example", words)
    assert is_honest_link("https://bank.example", words)


def test_long_code_goes_on_indented_with_a_sign_in_the_padding():
    assert rows("```\n" + "x" * 60 + "\n```", 40) == [
        "  code",
        "  " + "x" * 34,
        " …" + "  " + "x" * 26,
        "▀",
    ]


def test_the_rest_of_an_indented_line_is_indented_two_more():
    made = rows("```\n    " + "x" * 40 + "\n```", 40)
    assert made[1:] == ["  " + "    " + "x" * 30, " …" + "      " + "x" * 10, "▀"]


@pytest.mark.parametrize(
    ("info", "language", "file"),
    [
        ("python", "python", ""),
        ("", "code", ""),
        ("python garden.py", "python", "garden.py"),
        ("python:beds/garden.py", "python", "beds/garden.py"),
        ('js title="a/b.js"', "js", "a/b.js"),
        ("{.c file='a.c'}", "c", "a.c"),
        ("rust,no_run", "rust,no_run", ""),
        ("python {1,3-4}", "python {1,3-4}", ""),
        ('bash title="two words.sh"', 'bash title="two words.sh"', ""),
        ("c++ " + "x/" * 40 + "end.cc", "c++", "x/" * 12 + "x…" + "x/" * 9 + "end.cc"),
    ],
)
def test_the_first_row_of_code_has_the_language_and_the_name_of_the_file(info, language, file):
    [head, *_] = rows(f"```{info}\nx\n```")
    assert head.startswith(f"  {language}")
    assert head.split(language, 1)[1].strip() == file
    assert not file or len(head) == 57


def test_code_has_its_half_row_once_its_fence_has_ended():
    page = plain_page()
    for lines in (1, 63, 64, 65, 128):
        text = "```c\n" + "x;\n" * lines
        for end, rows_below in (("", 0), ("``", 0), ("```", 0), ("```\n", 1)):
            tail = tail_of(text + end, is_final=False)
            assert picture(tail, page).count("x;") == lines
            shown_rows = picture(tail, page).split("\n")
            assert sum("▀" in row for row in shown_rows) == rows_below
        assert ("▀" in shown(laid_out(tail_of(text), page)[-1])) is True
    for text, is_ended in (
        ("- ```\n  x", False),
        ("- ```\n  x\n  ```\n", True),
        ("- ```\n  x\n- y", True),  # the item has ended, and its code with it
    ):
        tail = tail_of(text, is_final=False)
        assert ("▀" in picture(tail, page)) is is_ended
    for text in ("- ```\n  x\n  ``", "> ```\n> x\n> ``"):  # marks that may become its end
        assert "`" not in picture(tail_of(text, is_final=False), page)
