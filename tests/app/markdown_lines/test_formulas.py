"""Formulas in answers as Unicode: each says the same as its source, or stays as its source."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.markdown_lines.layout import Layout
from lmchat.app.markdown_lines.math import unicode_formula
from tests.support.chat_log_app import laid_out, plain_page, tail_of

SAME = {
    r"x^2 \le \sqrt{2}": "x² ≤ √2",
    r"\frac{a}{b}": "a/b",
    r"\frac{a+b}{c}": "(a+b)/c",
    r"\frac{a}{bc}": "a/(bc)",
    r"\frac{n(n+1)}{2}": "n(n+1)/2",
    r"\frac{a}{b}x": "(a/b)x",
    r"\frac{a}{b}^2": "(a/b)²",
    r"\left(\frac{a}{b}\right)^2": "(a/b)²",
    r"a/\frac{b}{c}": "a/(b/c)",
    r"\frac{1}{1+\frac{1}{x}}": "1/(1+1/x)",
    r"\sin\frac{x}{2}": "sin (x/2)",
    r"\sqrt{2}x": "√(2)x",
    r"x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}": "x = (-b ± √(b² - 4ac))/(2a)",
    r"\sum_{i=1}^{n} i": "∑ᵢ₌₁ⁿ i",
    r"\int_0^1 x^2 \, dx": "∫₀¹ x² dx",
    r"x_{n+1} = x_n + 1": "xₙ₊₁ = xₙ + 1",
    r"10^{-3}": "10⁻³",
    r"A^{-1} A^T": "A⁻¹ Aᵀ",
    r"\forall x \in \mathbb{N}": "∀ x ∈ ℕ",
    r"\{x \mid x > 0\}": "{x ∣ x > 0}",
    r"f''(x) = -f(x)": "f′′(x) = -f(x)",
    r"|\psi\rangle": "|ψ⟩",
    r"\log_2 n": "log₂ n",
    r"a \equiv b \pmod{n}": "a ≡ b (mod n)",
    r"\nabla f = \frac{\partial f}{\partial x}": "∇ f = ∂ f/∂ x",
    r"\bar{x} = \frac{1}{n}\sum_{i=1}^n x_i": "x̄ = (1/n)∑ᵢ₌₁ⁿ xᵢ",
    r"\vec{v} \cdot \hat n": "v⃗ · n̂",
    r"\hat\beta_0, \dot{x}^2": "β̂₀, ẋ²",
    r"\text{area} = \pi r^2": "area = π r²",
    r"\mathrm{H_2O}": "H₂O",
    r"\boxed{42}": "42",
    r"3{,}5": "3,5",
    r"50\%": "50%",
}
SOURCE = [
    r"\sqrt[3]{8} = 2",
    r"\widehat{xy} = \bar{xy}",
    r"\int_{-\infty}^{\infty} e^{-x^2} dx",  # there is no raised ∞
    r"\lim_{x \to 0} \frac{\sin x}{x}",
    r"x^y^z",
    r"\binom{n}{k}",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
    r"\underbrace{a+b}_{2}",
    r"\sqrt[n]{x}",
    r"\frac{a}",
    r"{a",
    r"^2",
    r"\unknown",
    r"\left",
    "{" * 500 + "}" * 500,
    "x" * 2000,
    "a\x1b[31m",
]


def test_a_formula_is_shown_on_one_line():
    for source, shown in SAME.items():
        assert unicode_formula(f"${source}$") == shown
        assert unicode_formula(f"$$\n{source}\n$$") == shown
        assert unicode_formula(f"\\[{source}\\].") == f"{shown}."


def test_what_has_no_certain_form_stays_as_its_source():
    for source in SOURCE:
        assert unicode_formula(f"${source}$") == "", source


@given(st.lists(st.sampled_from([*"{}^_$\\ ax1-/'[]()", r"\frac", r"\sqrt", r"\left", r"\text"])))
def test_no_formula_breaks_the_reader_or_leaves_commands(parts):
    shown = unicode_formula("$" + "".join(parts) + "$")
    assert "\\" not in shown


def rows_of(text: str, **page_fields) -> list[str]:
    page = plain_page()
    for name, value in page_fields.items():
        setattr(page, name, value)
    return [line.text.strip() for line in laid_out(tail_of(text), page) if line.text.strip()]


def test_in_an_answer_formulas_are_converted_each_for_itself():
    rows = rows_of("Let $x^2 \\le 4$ and $e^{i\\pi}$.\n\n$$\n\\frac{a}{b}\n$$\n")
    assert rows == ["Let x² ≤ 4 and $e^{i\\pi}$.", "a/b"]


def test_money_and_code_are_no_formulas():
    rows = rows_of("It costs $5 or $10, see `$x^2$`.\n")
    assert "$5 or $10" in rows[0]
    assert "$x^2$" in rows[0]


def test_a_terminal_of_ascii_shows_the_source():
    assert rows_of("$x^2$", is_ascii=True) == ["$x^2$"]


def test_while_it_streams_a_formula_changes_its_form_once():
    for text, source in (
        ("So $x_{n+1} = 2$ holds.", "$x_{n+1} = 2$"),
        ("So\n\n$$\\frac{a}{b}$$\n\nholds.", "$$\\frac{a}{b}$$"),
        ("So\n\n\\[x^2 + 1\\]\n\nholds.", "\\[x^2 + 1\\]"),
        ("So \\(a_1\\) holds.", "\\(a_1\\)"),
    ):
        shown = unicode_formula(source)
        assert shown
        page = plain_page()
        tail = IncrementalMarkdown()
        forms = []
        for letter in text:
            tail.feed(letter)
            layout = Layout(page)
            blocks = tail.closed + tail.open
            row = "\n".join(line.text for block in blocks for line in layout.lay_out(block, {}))
            forms.append(shown in row)
        changes = sum(before != after for before, after in pairwise(forms))
        assert (forms[0], forms[-1], changes) == (False, True, 1), source
