"""The doctor's checks of the terminal.

A row is a `CheckResult`: one line of the doctor's report, with a grade, a cause and a next step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lmchat.doctor.report import CheckResult, Grade, Group, Subject

_SMALLEST = (40, 12)  # columns and rows that the screen needs
_TERMS_WITHOUT_COLOURS = ("", "dumb", "unknown")  # values of $TERM
_TRUE_COLOURS = ("truecolor", "24bit")  # values of $COLORTERM
_ALL_COLOURS = 256 * 256 * 256
_COLOURS_WORDS = {
    _ALL_COLOURS: "16 million colours",
    256: "256 colours",
    16: "16 colours; /theme ansi suits it",
}


def terminal_findings(
    environ: Mapping[str, str], files: Sequence[int] = (0, 2), *, system: str = os.name
) -> list[CheckResult]:
    """Return the rows about size, colours and locale of the terminal.

    `files` are the descriptors of stdin and stderr. On Windows there are no rows about colours and
    locale: its terminals have no variables that tell them.
    """
    by_variables = [] if system == "nt" else [_check_colours(environ), _check_locale(environ)]
    return [_check_size(files), *by_variables]


def _check_size(files: Sequence[int]) -> CheckResult:
    """Return the row about the size of the terminal.

    It is a warning for a small terminal. Its grade is `NOT_TRIED` if a file is no terminal. `files`
    ends with stderr, on which the screen is drawn.
    """
    subject = Subject(Group.TERMINAL, "terminal.size", "Size")
    columns = lines = 0
    with suppress(OSError):  # it is no terminal
        columns, lines = os.get_terminal_size(files[-1])
    if not all(os.isatty(file) for file in files):
        cause = "stdin or stderr is not a terminal; the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
        return subject.graded(Grade.NOT_TRIED, cause, step)
    least_columns, least_lines = _SMALLEST
    if columns < least_columns or lines < least_lines:
        least = f"{least_columns} × {least_lines}"
        cause = f"{columns} × {lines}: below {least} not everything fits."
        return subject.warning(cause, "Make the window larger, or its font smaller")
    return subject.ok(f"{columns} × {lines}.")


def _check_colours(environ: Mapping[str, str]) -> CheckResult:
    """Return the row about colours, a warning if the terminal seems to have none."""
    subject = Subject(Group.TERMINAL, "terminal.colours", "Colours")
    term = environ.get("TERM", "")
    if term in _TERMS_WITHOUT_COLOURS:
        problem = f"TERM is {term}" if term else "TERM is not set"
        step = "export TERM=xterm-256color, if the terminal draws colours"
        return subject.warning(f"{problem}: no colours, maybe no screen.", step)
    if environ.get("NO_COLOR"):
        return subject.ok("NO_COLOR is set: the command line prints no colours.")
    return subject.ok(f"{_COLOURS_WORDS[_number_of_colours(environ)]}.")


def _number_of_colours(environ: Mapping[str, str]) -> int:
    """Return the number of colours of the terminal, judged by its variables."""
    term = environ.get("TERM", "")
    if environ.get("COLORTERM", "").lower() in _TRUE_COLOURS or "direct" in term:
        return _ALL_COLOURS
    return 256 if "256" in term else 16


def _check_locale(environ: Mapping[str, str]) -> CheckResult:
    """Return the row about the variables of the locale, a warning if they do not name UTF-8.

    Python uses UTF-8 also in the C locale, but other programs may not.
    """
    subject = Subject(Group.TERMINAL, "terminal.locale", "Characters")
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")  # the first one that is set counts
    if "utf8" in locale.lower().replace("-", ""):
        return subject.ok("Unicode.")
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return subject.warning("The locale is not UTF-8: non-ASCII characters may look wrong.", step)
