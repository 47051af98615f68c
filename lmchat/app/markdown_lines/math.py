"""Formulas in TeX as Unicode."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

_MOST_CHARS = 400  # of a formula; a longer one does not fit on a line
_OUTER_MARKS = r"(?s)(?:\$\$?|\\\(|\\\[)((?:\\.|[^\\])+?)(?:\$\$?|\\\)|\\\])([.,;:]?)$"
_GROUP = r"\{([^{}\\^_]+)\}"  # without commands and scripts: an innermost group
_FRACTION = rf"\\[dt]?frac\s*{_GROUP}\s*{_GROUP}"
_FACTOR_BEHIND = r"\s*[^-\s+=,.)<>≤≥≠≈}]"  # all but a sign, a stop or a closing bracket
# of one letter or number, with no factor behind it
_ROOT_OF_ONE = rf"\\sqrt\s*\{{(\w|\d+)\}}(?!{_FACTOR_BEHIND})"
_ROOT = rf"\\sqrt\s*{_GROUP}"
_WORDS = rf"\\(?:text|textrm|mathrm|mathit|operatorname|boxed)\s*{_GROUP}"
_ACCENTS = {
    "hat": "\u0302",
    "bar": "\u0304",
    "vec": "\u20d7",
    "tilde": "\u0303",
    "dot": "\u0307",
    "ddot": "\u0308",
}
"""Combining marks, which follow their letter."""
_ACCENT = (
    rf"\\({'|'.join(_ACCENTS)})(?:\s*\{{\s*(\w)\s*\}}|\s+(\w)|([^\x00-\x7f]))"  # of one letter
)
_MODULUS = rf"\\pmod\s*{_GROUP}"
_ALONE = rf"(?<![^\s\d(=+,-]){_GROUP}"  # a group of no command, as in `3{{,}}5`
_SCRIPT = rf"([\^_])(?:{_GROUP}|([^\s\\{{}}^_]))"
# without a base, or two of one kind in a row: not certain
_ODD_SCRIPT = r"^\s*[\^_]|([\^_])(?:\{[^{}]*\}|[^\s\\{}])\1"
_FUNCTION = (
    r"\\(arccos|arcsin|arctan|arg|cosh?|cot|csc|deg|det|dim|exp|gcd|inf|ker|lim|ln|log|max|min|sec"
    r"|sinh?|sup|tanh?|Pr)(?![A-Za-z])"
)
_ONE_FACTOR = r"\w|\d+|[d∂] ?\w"  # `x`, `12`, `dx`
_SIZE = r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits)(?![A-Za-z])"
_COMMAND = r"\\(?:math(?:bb|bf|cal|frak|scr)\{[A-Za-z]\}|[A-Za-z]+|.)"
_BRACE, _END_BRACE = "\x02", "\x03"  # while groups are converted
_OWN = {rf"\{sign}": sign for sign in "%$#& "} | {
    r"\{": _BRACE,
    r"\}": _END_BRACE,
    r"\,": " ",
    r"\;": " ",
    r"\:": " ",
    r"\!": "",
    r"\quad": " ",
    r"\cdot": "·",
    r"\dots": "…",
    r"\ldots": "…",
    r"\phi": "φ",
    r"\bmod": "mod",
    r"\implies": "⟹",
    r"\iff": "⟺",
    r"\colon": ":",
    r"\langle": "⟨",
    r"\rangle": "⟩",
    r"\sqrt": r"\sqrt",  # for the patterns of roots: a bare sign would not show what it covers
}
"""Commands that unicodeit does not know, or shows in another way than people expect."""


@lru_cache(maxsize=1024)
def unicode_formula(source: str) -> str:
    r"""Convert a formula with its marks, as `$x^2$` or `\[x^2\]`, to one line of Unicode.

    Commands such as `\frac` stay until their groups are converted, from the innermost outwards.
    Return "" if a sign of TeX is left then: the source is easier to read than half a formula.
    """
    match = re.match(_OUTER_MARKS, source.strip())
    if match is None or len(source) > _MOST_CHARS:
        return ""
    tex, stop = match.groups()  # between the marks, and a stop behind them
    if re.search(_ODD_SCRIPT, tex):
        return ""
    text = re.sub(_SIZE, "", tex).replace("'", "′")
    # names of functions are words: a blank divides them from factors and commands
    text = re.sub(rf"(?<=[\w)}}]){_FUNCTION}", r" \1", text)
    text = re.sub(rf"{_FUNCTION}(?=\\)", r"\1 ", text)
    text = re.sub(_FUNCTION, r"\1", text)
    text = re.sub(_COMMAND, lambda command: _sign(command[0]), text)
    before = ""
    while text != before:  # a pass converts the innermost groups left
        before = text
        text = re.sub(_WORDS, r"\1", text)
        text = re.sub(_ACCENT, _accented, text)
        text = re.sub(_MODULUS, r"(mod \1)", text)
        text = re.sub(_SCRIPT, _raised_or_lowered, text)
        text = re.sub(_FRACTION, _fraction, text)
        text = re.sub(_ROOT_OF_ONE, r"√\1", text)
        text = re.sub(_ROOT, r"√(\1)", text)
        text = re.sub(_ALONE, r"\1", text)
    if re.search(r"[\\{}^_&#]", text):  # no rule has converted it
        return ""
    text = " ".join(text.replace(_BRACE, "{").replace(_END_BRACE, "}").split()) + stop
    return text if text.isprintable() else ""


def _fraction(match: re.Match[str]) -> str:
    """Write `a/b`, with brackets wherever it could be read in another way.

    Above the line, a product needs none, as in `ab/c`; below it does: `a/(bc)`.
    """
    above, below = match.groups()
    has_sign = re.search(r"[-+±∓=/ ]", re.sub(r"\([^()]*\)", "", above))  # outside of brackets
    if has_sign and not re.fullmatch(_ONE_FACTOR, above):  # the blank of `d x` is no sign
        above = f"({above})"
    if not re.fullmatch(_ONE_FACTOR, below):
        below = f"({below})"
    text = match.string
    # a factor beside it could be read as a part of it, hence `x(a/b)` and `(a/b)x`
    has_left = re.search(r"[\w/)]\s*$", text[: match.start()])
    has_right = re.match(_FACTOR_BEHIND, text[match.end() :])
    return f"({above}/{below})" if has_left or has_right else f"{above}/{below}"


def _accented(match: re.Match[str]) -> str:
    command, *letters = match.groups()  # only one group for the letter has matched
    return unicodedata.normalize("NFC", "".join(filter(None, letters)) + _ACCENTS[command])


def _sign(command: str) -> str:
    signs, _ = _tables()
    return _OWN.get(command) or signs.get(command, command)


def _raised_or_lowered(script: re.Match[str]) -> str:
    """Raise or lower a script, as `^2` or `_{10}`, if all of its signs have such a form."""
    _, scripts = _tables()
    forms = [scripts.get(script[1] + sign, "") for sign in (script[2] or script[3])]
    return script[0] if "" in forms else "".join(forms)


@cache
def _tables() -> tuple[dict[str, str], dict[str, str]]:
    """Return signs by command, and raised or lowered ones by `^` or `_` and the sign."""
    from unicodeit.data import REPLACEMENTS, SUBSUPERSCRIPTS  # only if there is a formula

    return dict(REPLACEMENTS), {**dict(SUBSUPERSCRIPTS), "^∘": "°", "^′": "′", "^*": "*"}
