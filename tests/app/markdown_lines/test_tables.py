"""No cell of a table is lost, on the screen or in an HTML export, and a long table stays one."""

from __future__ import annotations

import html
import re
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lmchat.core.formats.exports.markdown_to_html_child import markdown_html
from tests.support.chat_log_app import laid_out, plain_page, shown, tail_of
from tests.support.markdown_corpus import CORPUS, MODEL_FENCES, solid

CELLS = (
    "",
    " ",
    "p",
    "`p | q`",
    "``a ` | b``",
    "p \\| q",
    "`x",
    "**bold**",
    "\\`",
    "`r \\| s`",
    "long words " * 9,
)
ROWS = st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=6), max_size=40)
# pieces of texts without those of which a reference, too, shows something else: `<br>`, entities
PIECES = (
    "word ", "beta\n", "gamma\n\n", "  ", "    ", "- ", "1. ", "> ", "# ", "---\n", "===\n", "*", "**", "_", "~~",
    "`", "``", "```\n", "~~~\n", "$", "\\", "[", "]", "](/url)", "(par)", "![alt](/src)", "[ref]",
    '[ref]: /dst "title"\n', "<b>", "<div>\n", "<!-- com -->", "|", "|---|---|\n", "| a1 | b2 |\n", "http://a.b/c",
    "\r\n", '[x](/u "title")', "<http://auto.link>", "\t",
)  # fmt: skip


def page_of(*pieces, width=90):
    return [shown(line) for line in laid_out(tail_of(*pieces), plain_page(width))]


def letters(shown_text):
    return Counter(solid(shown_text))


def letters_of_html(page):
    page = re.sub(r'<img[^>]*alt="([^"]*)"[^>]*>', r"\1", page)
    return letters(html.unescape(re.sub(r"<[^>]*>", "", page)))


def shown_by_commonmark(source, *, is_html):
    reference = MarkdownIt("commonmark", {"html": is_html}).enable(["table", "strikethrough"])
    return letters_of_html(reference.render(source))


def assert_on_page(wanted, source):
    for width in (90, 30):
        assert not wanted - letters("".join(page_of(source, width=width))), source


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), ROWS)
# two blanks behind a word, where the cell is wrapped at the narrow width
@example(1, [["p", "`p | q`", "`r \\| s`", "`x", "``a ` | b``"]])
def test_each_letter_of_any_table_is_on_the_page_and_in_the_html(columns, rows):
    source = "|" + "head|" * columns + "\n|" + "---|" * columns + "\n"
    source += "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\nAfter.\n"
    assert_on_page(letters(source), source)
    assert not letters(source) - letters_of_html(markdown_html(source))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_each_letter_that_commonmark_shows_is_on_the_page_and_in_the_html(pieces):
    source = "".join(pieces)
    assert_on_page(shown_by_commonmark(source, is_html=True), source)
    wanted = shown_by_commonmark(source, is_html=False)
    assert not wanted - letters_of_html(markdown_html(source)), source


def test_what_ends_a_cell_and_what_is_too_much_for_the_columns():
    rows = (
        "| Sign | Means |\n|---|---|\n| `p | q` | either one |\n| plain | two | three |\n"
        "| a \\| b | `x \\| y` |\n| short |\n| `u | v |\n"
    )
    assert [line.split() for line in page_of(rows)[2:]] == [
        ["p", "|", "q", "either", "one"],
        ["plain", "two", "|", "three"],
        ["a", "|", "b", "x", "|", "y"],
        ["short"],
        ["`u", "v"],
    ]
    assert page_of("| `a | b` | c |\n|---|---|\n| 1 | 2 |\n")[0].split() == ["a", "|", "b", "c"]
    assert "<td>two | three</td>" in markdown_html(rows)
    assert "<td><code>p | q</code></td>" in markdown_html(rows)


def test_a_table_of_long_rows_stays_one_to_its_end_however_it_arrives():
    head = "Before.\n\n| Bean | How |\n|---|---|\n"
    nine = "".join(f"| Bean {n} | {'sow it late ' * 45}end{n} |\n" for n in range(9))
    giant = f"| first | {'sow it late ' * 900} | surplus |\n"
    for rows in (nine, giant, nine + giant + nine, giant + giant, nine * 4):
        source = f"{head}{rows}| last | row |\n\nAfter | it.\n"
        page = page_of(source)
        assert page[-3].split() == ["last", "row"]
        assert sum("|" in line for line in page) == 1  # behind the table
        assert page_of(*source) == page
        assert page_of(*(source[at : at + 700] for at in range(0, len(source), 700))) == page
        assert not letters(source) - letters("".join(page))


def test_html_has_the_emphasis_the_code_blocks_the_sources_and_the_formulas_of_the_page():
    for source, page in (
        (
            "**씨앗(seed)**을 3*4*5 ~~~~a~~~~ ~~b~~",
            "<strong>씨앗(seed)</strong>을 3*4*5 ~~~~a~~~~ <s>b</s>",
        ),
        (
            "```md\n```sh\na\n```\nb\n```\nc",
            '<code class="language-md">```sh\na\n```\nb\n</code></pre>\n<p>c',
        ),
        (
            "See [1], [b][].\n\n[1]: /a '<T>'\n[2]: /x\n[b]: /b",
            '>[1]</a>, <a href="/b">b</a>.</p>\n<p>[1]: /a &#x27;&lt;T&gt;&#x27;<br />[2]: /x</p>',
        ),
        (
            "$\\$4$, $a_b c_d$ and \\(x*y*z\\)\n\n\\[\n<a>_b_\n\\]",
            "<p>$\\$4$, $a_b c_d$ and \\(x*y*z\\)</p>\n<p>\\[<br />&lt;a&gt;_b_<br />\\]</p>",
        ),
        ("1. a\n   ```\n   b\n```\n2. c", "<code>b\n</code></pre>\n</li>\n<li>c</li>"),
    ):
        assert page in markdown_html(source)


def test_each_text_of_the_corpus_is_in_the_html():
    for name, source in CORPUS.items():
        if source == MODEL_FENCES:
            continue  # CommonMark ends them elsewhere
        wanted = shown_by_commonmark(source, is_html=False)
        assert not wanted - letters_of_html(markdown_html(source)), name
