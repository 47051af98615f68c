"""Mathematics: where they end in a text, and TeX as Unicode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from functools import cache, lru_cache

from msgspec import Struct
from rich.cells import cell_len

BRACKETS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}  # start and end of mathematics
_MOST_MATH_CHARS = 2_000  # of mathematics
# `$x$`: no blanks within it beside the dollars, and no letter or digit behind it
_DOLLARS = r"\$(?![\s$])[^$`\n]{1,300}(?<![\s\\])\$(?![A-Za-z0-9_])"


def end_of_math(source: str, start: int, stop: int | None = None) -> int:
    """Return the place after the mathematics that begin at `start`, or 0 if none begin there.

    Between a pair of `BRACKETS`, they must end before `stop`, by default the end of the source.
    Between two single dollars, they must end in the same line.
    """
    closing = BRACKETS.get(source[start : start + 2])
    if closing is not None:
        last = min(start + _MOST_MATH_CHARS, len(source) if stop is None else stop)
        place = source.find(closing, start + 3, last)  # with at least one character between
        is_link = closing == "\\]" and source.startswith("(", place + 2)  # `\[words\](address)`
        return 0 if place < 0 or is_link else place + 2

    if start and source[start - 1].isalnum():  # as in `US$5`
        return 0
    match = re.compile(_DOLLARS).match(source, start)
    # two dollars with a link between them are signs of money
    is_link_between = match is not None and "](" in match[0]
    return 0 if match is None or is_link_between else match.end()


_MOST_CHARS = 400  # of a formula that is converted; a longer one does not fit on a line
_MOST_DEPTH = 12  # of groups within groups
# a command of letters, a backslash with any other sign, a run of blanks, or one character
_TOKEN = r"\\[A-Za-z]+|\\.|\s+|."
_OUTER_MARKS = (
    ("$$", "$$"),
    ("\\[", "\\]"),
    ("\\(", "\\)"),
    ("$", "$"),
    ("\\begin{equation}", "\\end{equation}"),
    ("\\begin{equation*}", "\\end{equation*}"),
)
_STOPS = ".,;:"  # may follow a formula on lines of its own


class _Role(Enum):
    """What a part of a formula is to its neighbours; it decides the blanks around it."""

    ORDINARY = auto()  # letters, digits, fractions: no blanks between them
    OPERATOR = auto()  # names of functions, and big signs such as ∑
    BINARY = auto()  # as `+`: a blank on each side, but none behind a sign such as −1
    RELATION = auto()  # as `=`: a blank on each side
    OPENING = auto()
    CLOSING = auto()
    PUNCTUATION = auto()  # a blank behind it
    BLANK = auto()  # a blank that the author has asked for


_SPACED = (_Role.BINARY, _Role.RELATION, _Role.PUNCTUATION)


class _Atom(Struct):
    """A part of a formula as Unicode."""

    text: str
    role: _Role = _Role.ORDINARY
    is_fraction: bool = False  # `a/b`, which neighbours could be taken into
    is_root: bool = False  # `√2`, at whose end a neighbour could be taken into it
    has_raised: bool = False
    has_lowered: bool = False


class _NoFormError(Exception):
    """A part of the formula has no certain form on one line."""


_FUNCTIONS = frozenset(
    (
        *("arccos", "arcsin", "arctan", "arg", "cos", "cosh", "cot", "coth", "csc", "deg", "det"),
        *("dim", "exp", "gcd", "hom", "inf", "ker", "lg", "lim", "ln", "log", "max", "min", "sec"),
        *("sin", "sinh", "sup", "tan", "tanh", "Pr"),
    )
)
_FONTS = {"mathrm", "mathit", "mathnormal", "operatorname", "mathop", "boxed", "mathsf"}
"""Commands whose argument is shown as it is; for `boxed`, the frame is left out."""
_TEXTS = {"text", "textrm", "textit", "textbf", "mbox"}
_LETTER_FONTS = {"mathbb", "mathbf", "mathcal", "mathfrak", "mathscr", "boldsymbol"}
_SIZES = frozenset(
    (
        *("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr"),
        *("biggl", "biggr", "displaystyle", "textstyle", "limits", "nolimits"),
    )
)
"""Commands that change how large brackets and signs are, which has no meaning on one line."""
_BLANKS = {",", ":", ";", " ", ">", "quad", "qquad", "enspace", "thinspace"}
_LITERALS = {
    **{sign: sign for sign in "%$#&_{}"},
    "bmod": "mod",
    "cdot": "·",
    "degree": "°",
    "dots": "…",
    "iff": "⟺",
    "langle": "⟨",
    "lbrace": "{",
    "lVert": "‖",
    "lvert": "|",
    "phi": "φ",
    "prime": "′",
    "rangle": "⟩",
    "rbrace": "}",
    "rVert": "‖",
    "rvert": "|",
    "square": "□",
    "star": "⋆",
}
"""Commands that the tables lack, or that they have another character for."""
_FRACTIONS = {"1/2": "½", "1/3": "⅓", "2/3": "⅔", "1/4": "¼", "3/4": "¾", "1/5": "⅕", "1/8": "⅛"}
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}

_RELATIONS = frozenset("=<>:≤≥≠≈≡∼≃≅∝∈∉∋⊂⊃⊆⊇⊊⊄∣∥⊥⊢⊨⊧≪≫≺≻≐≔∶")
_BINARIES = frozenset("+-−±∓·⋅×÷∗*∘∙∪∩∧∨⊕⊖⊗⊘⊙∖⋆†⊎⊔⊓")
_OPERATORS = frozenset("∏∐∑∫∬∭∮⋀⋁⋂⋃")
_OPENINGS = frozenset("([{⟨⌊⌈")
_CLOSINGS = frozenset(")]}⟩⌋⌉")
_ARROWS = r"[\u2190-\u21ff\u27f0-\u27ff]"
_ODD_SCRIPTS = frozenset("∫<>.V")  # the tables have signs of other scripts for these
_PLAIN_CHARACTER = r"[A-Za-z0-9+\-=<>/|!?.,:;()\[\]'*\u0370-\u03ff\u2190-\u22ff]"


@lru_cache(maxsize=1024)
def unicode_formula(source: str) -> str:
    """Return a formula, with its marks such as `$` around it, as one line of Unicode.

    Empty if it is not certain that the line says the same.
    """
    formula = source.strip()
    inner = formula.rstrip(_STOPS).rstrip()
    stop = formula[-1:] if formula[-1:] in _STOPS else ""
    for start, end in _OUTER_MARKS:
        if inner.startswith(start) and inner.endswith(end):
            inner = inner[len(start) : -len(end)]
            break
    if len(inner) > _MOST_CHARS:
        return ""
    tokens = re.findall(_TOKEN, inner, re.DOTALL)
    try:
        converted = _joined(_FormulaReader(tokens).read_all()).strip()
    except _NoFormError:
        return ""
    return converted + stop if converted else ""


class _FormulaReader:
    """Reads the tokens of a formula, from the first to the last."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._place = 0  # of the next token
        self._depth = 0  # number of open groups

    def read_all(self) -> list[_Atom]:
        """Return the parts of the whole formula."""
        atoms = self._read_atoms()
        if self._place < len(self._tokens):  # a closing brace without an opening one
            raise _NoFormError
        return atoms

    def _read_atoms(self, end: str = "}") -> list[_Atom]:
        """Read up to the token `end`, which is left unread, or to the end of the formula."""
        atoms: list[_Atom] = []
        while self._place < len(self._tokens) and self._tokens[self._place] != end:
            token = self._next()
            if token in "^_":
                self._add_script(atoms, token)
            elif token == "'":
                self._add_raised(atoms, "′")
            elif not token.isspace():
                atoms += self._read_atom(token)
        return atoms

    def _next(self) -> str:
        """Take the next token; a formula that ends before it has no form on one line."""
        if self._place >= len(self._tokens):
            raise _NoFormError
        self._place += 1
        return self._tokens[self._place - 1]

    def _read_atom(self, token: str) -> list[_Atom]:
        """Return the parts that begin with a token which has been read."""
        if token == "{":
            return self._read_group()
        if token == "~":
            return [_Atom(" ", _Role.BLANK)]
        if token.startswith("\\"):
            return self._read_command(token[1:])
        if re.fullmatch(_PLAIN_CHARACTER, token) is None:
            raise _NoFormError
        return [_atom_of(token.replace("-", "−"))]

    def _read_group(self) -> list[_Atom]:
        """Read a group, whose opening brace has been read, and its closing brace."""
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _NoFormError
        atoms = self._read_atoms()
        self._next()
        self._depth -= 1
        # alone in braces, as the comma in `3{,}5`, a sign is meant to have no blanks around it
        if len(atoms) == 1 and atoms[0].role in _SPACED:
            atoms[0].role = _Role.ORDINARY
        return atoms

    def _read_argument(self) -> list[_Atom]:
        """Read the argument of a command or a script: a group, or one character or command."""
        token = self._next()
        while token.isspace():
            token = self._next()
        if token in "^_}":
            raise _NoFormError
        return self._read_atom(token)

    def _read_command(self, name: str) -> list[_Atom]:
        """Return the parts for a command, whose name has been read, with its arguments."""
        if name in _LITERALS:
            atoms = [_atom_of(_LITERALS[name])]
        elif name in _FUNCTIONS:
            atoms = [_Atom(name, _Role.OPERATOR)]
        elif name in _BLANKS:
            atoms = [_Atom(" ", _Role.BLANK)]
        elif name in _SIZES:
            atoms = []
            self._skip_invisible_delimiter()
        elif name in _FONTS:
            atoms = self._font_atoms(name)
        elif name in _TEXTS:
            atoms = [_Atom(self._read_text())]
        elif name in _LETTER_FONTS:
            atoms = [_Atom(_in_font(name, _joined(self._read_argument())))]
        elif name in ("frac", "dfrac", "tfrac"):
            atoms = [self._read_fraction()]
        elif name == "sqrt":
            atoms = [self._read_root()]
        elif name == "pmod":
            atoms = [_Atom(f" (mod {_joined(self._read_argument())})")]
        elif f"\\{name}" in _combining_marks():
            atoms = [self._read_accent(name)]
        else:
            atoms = [self._symbol(name)]
        return atoms

    def _skip_invisible_delimiter(self) -> None:
        r"""Skip the dot of `\left.` and `\right.`, which means no bracket."""
        if self._tokens[self._place : self._place + 1] == ["."]:
            self._place += 1

    def _font_atoms(self, name: str) -> list[_Atom]:
        """Return the argument of a font without the font, or as the name of a function."""
        atoms = self._read_argument()
        if name in ("operatorname", "mathop"):
            return [_Atom(_joined(atoms), _Role.OPERATOR)]
        return atoms

    def _read_text(self) -> str:
        """Read words in braces, whose blanks are shown."""
        if self._next() != "{":
            raise _NoFormError
        words = ""
        while (token := self._next()) != "}":
            if token.startswith(("\\", "{", "$")):
                raise _NoFormError
            words += token
        return words

    def _read_fraction(self) -> _Atom:
        """Read both arguments of a fraction; return it as `a/b`, or as one character such as ½."""
        upper = self._read_argument()
        lower = self._read_argument()
        text = f"{_factor(upper, is_below=False)}/{_factor(lower, is_below=True)}"
        if text in _FRACTIONS:
            return _Atom(_FRACTIONS[text])
        return _Atom(text, is_fraction=True)

    def _read_root(self) -> _Atom:
        """Read the index of a root, if it has one in square brackets, and its argument.

        More than a number or a letter gets brackets: `√(a+b)`. Unicode has signs for the indexes of
        `_ROOTS` only.
        """
        index = ""
        if self._tokens[self._place : self._place + 1] == ["["]:
            self._place += 1
            index = _joined(self._read_atoms(end="]"))
            self._next()
        if index not in _ROOTS:
            raise _NoFormError
        atoms = self._read_argument()
        text = _joined(atoms)
        if re.fullmatch(r"\d+|\w", text):
            return _Atom(_ROOTS[index] + text, is_root=True)
        return _Atom(f"{_ROOTS[index]}({text})")

    def _read_accent(self, name: str) -> _Atom:
        """Read the letter below an accent; more than one letter has no form on one line."""
        letter = _joined(self._read_argument())
        if len(letter) != 1:
            raise _NoFormError
        return _Atom(letter + _combining_marks()[f"\\{name}"])

    def _symbol(self, name: str) -> _Atom:
        """Return the character for a command without arguments."""
        symbol = _symbols().get(f"\\{name}", "")
        has_argument = self._tokens[self._place : self._place + 1] == ["{"]
        if cell_len(symbol) != 1 or has_argument:
            raise _NoFormError
        return _atom_of(symbol)

    def _add_script(self, atoms: list[_Atom], mark: str) -> None:
        """Add a raised or lowered text to the last part; `mark` is `^` or `_`.

        Each character of it needs a raised or lowered form in Unicode. A raised `∘` becomes the
        sign of degrees, and raised primes stay as they are.
        """
        text = _joined(self._read_argument()).replace(" ", "")
        if mark == "^" and text == "∘":
            self._add_raised(atoms, "°")
            return
        if mark == "^" and text and not text.strip("′"):
            self._add_raised(atoms, text)
            return
        shapes = _scripts()
        signs = [shapes.get(mark + sign, "") for sign in text]
        if not text or "" in signs:
            raise _NoFormError
        if mark == "^":
            self._add_raised(atoms, "".join(signs))
            return
        base = _base_of_script(atoms)
        if base.has_lowered or base.has_raised:  # below `x²`, the order would be another one
            raise _NoFormError
        base.text += "".join(signs)
        base.has_lowered = True

    def _add_raised(self, atoms: list[_Atom], text: str) -> None:
        """Add characters that are raised already to the last part."""
        base = _base_of_script(atoms)
        is_prime_again = text == base.text[-1:] == "′"  # each prime of `f''` is added alone
        if base.has_raised and not is_prime_again:  # TeX takes no second one, either
            raise _NoFormError
        base.text += text
        base.has_raised = True


def _base_of_script(atoms: list[_Atom]) -> _Atom:
    """Return the part to which a script is added; a fraction or a root gets brackets for it."""
    if not atoms or atoms[-1].role in (_Role.BLANK, _Role.BINARY, _Role.RELATION):
        raise _NoFormError
    base = atoms[-1]
    if base.is_fraction or base.is_root or base.text in _FRACTIONS.values():
        base = _Atom(f"({base.text})")
        atoms[-1] = base
    return base


def _atom_of(character: str) -> _Atom:
    """Return a character as a part, with the role that it has in formulas."""
    role = _Role.ORDINARY
    if character in _RELATIONS or re.fullmatch(_ARROWS, character):
        role = _Role.RELATION
    elif character in _BINARIES or character == "mod":
        role = _Role.BINARY
    elif character in _OPERATORS:
        role = _Role.OPERATOR
    elif character in _OPENINGS:
        role = _Role.OPENING
    elif character in _CLOSINGS:
        role = _Role.CLOSING
    elif character in ",;":
        role = _Role.PUNCTUATION
    return _Atom(character, role)


def _factor(atoms: list[_Atom], *, is_below: bool) -> str:
    """Return the upper or the lower part of a fraction, in brackets unless it is one factor.

    Above the line a product needs none: `2ab/c`. Below it only a number, one letter, a differential
    (`dx`) and the value of a function (`f(x)`) need none.
    """
    text = _joined(atoms)
    if not text:
        raise _NoFormError
    raised_or_lowered = re.escape("".join(_scripts().values()) + "′")
    letter = rf"[d∂]?[^\W\d_][{raised_or_lowered}]*"
    if re.fullmatch(rf"\d+(?:\.\d+)?|{letter}|{letter}\([^()]*\)", text):
        return text
    if is_below or not _is_product(atoms):
        return f"({text})"
    return text


def _is_product(atoms: list[_Atom]) -> bool:
    """Return whether parts are letters, numbers and brackets alone, and no fractions.

    What is within brackets does not count. Such parts are multiplied with each other.
    """
    depth = 0
    for atom in atoms:
        if atom.role is _Role.CLOSING:
            depth -= 1
        is_plain = atom.role in (_Role.ORDINARY, _Role.OPENING, _Role.CLOSING)
        if depth == 0 and (not is_plain or atom.is_fraction):
            return False
        if atom.role is _Role.OPENING:
            depth += 1
    return True


def _joined(atoms: list[_Atom]) -> str:
    """Return the parts as a text, with blanks by their roles, as TeX has them."""
    atoms = list(_with_signs(atoms))
    text = ""
    for place, atom in enumerate(atoms):
        before = atoms[place - 1] if place else None
        after = atoms[place + 1] if place + 1 < len(atoms) else None
        if _needs_blank(before, atom) and not text.endswith(" "):
            text += " "
        text += _with_brackets(before, atom, after)
    return re.sub(" +", " ", text)


def _with_signs(atoms: list[_Atom]) -> Iterator[_Atom]:
    """Yield parts; a `+` or `−` that is not between two operands becomes an ordinary part.

    It is the sign of a number, as in `−1`, and has no blanks around it.
    """
    role_before = None  # of the last part that is no blank
    for place, atom in enumerate(atoms):
        is_operand_before = role_before in (_Role.ORDINARY, _Role.CLOSING)
        is_last = place == len(atoms) - 1
        if atom.role is _Role.BINARY and (not is_operand_before or is_last):
            yield _Atom(atom.text)
        else:
            yield atom
        if atom.role is not _Role.BLANK:
            role_before = atom.role


def _needs_blank(before: _Atom | None, atom: _Atom) -> bool:
    """Return whether there is a blank between two parts.

    Blanks are around binary signs and relations, and behind punctuation. An operator has one before
    it, and one behind it unless a bracket follows: `2 sin x`, but `sin(x)`.
    """
    if before is None:
        return False
    if before.role in _SPACED or atom.role in (_Role.BINARY, _Role.RELATION):
        return True
    if atom.role is _Role.OPERATOR:
        return before.role in (_Role.ORDINARY, _Role.CLOSING, _Role.OPERATOR)
    return before.role is _Role.OPERATOR and atom.role is _Role.ORDINARY


def _with_brackets(before: _Atom | None, atom: _Atom, after: _Atom | None) -> str:
    r"""Return the text of a part; a fraction or root in brackets if a neighbour might belong to it.

    So `\frac{a}{b}x` is `(a/b)x`, `\sin\frac{a}{b}` is `sin (a/b)`, and `\sqrt{2}x` is `(√2)x`.
    """
    has_factor_before = False
    if before is not None and before.text not in _BINARIES:  # a sign, as in −a/b, is no factor
        has_factor_before = before.role in (_Role.ORDINARY, _Role.OPERATOR, _Role.CLOSING)
    has_factor_after = False
    if after is not None and after.text != "/":
        has_factor_after = after.role in (_Role.ORDINARY, _Role.OPERATOR, _Role.OPENING)
    if atom.is_fraction and (has_factor_before or has_factor_after):
        return f"({atom.text})"
    if atom.is_root and has_factor_after:
        return f"({atom.text})"
    return atom.text


def _in_font(font: str, letters: str) -> str:
    """Return letters in a font of formulas, such as ℝ."""
    signs = [_symbols().get(f"\\{font}{{{letter}}}", "") for letter in letters]
    if not letters or "" in signs:
        raise _NoFormError
    return "".join(signs)


@cache
def _symbols() -> dict[str, str]:
    """Return the characters for commands, with their backslash."""
    from unicodeit.data import REPLACEMENTS  # 30 ms: only if there is a formula

    return dict(REPLACEMENTS)


@cache
def _combining_marks() -> dict[str, str]:
    from unicodeit.data import COMBININGMARKS  # 30 ms

    return dict(COMBININGMARKS)


@cache
def _scripts() -> dict[str, str]:
    """Return the raised and lowered characters, by `^` or `_` and the character."""
    from unicodeit.data import SUBSUPERSCRIPTS  # 30 ms

    return {key: sign for key, sign in SUBSUPERSCRIPTS if key[1] not in _ODD_SCRIPTS}
