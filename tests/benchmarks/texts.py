"""Texts to stream."""

from __future__ import annotations

PARAGRAPH = (
    "The **quick** brown fox jumps over the `lazy` dog while [the link](https://example.org/x) stays *calm*, and 漢字 "
    "with emoji 🙂 keep their width in a long line that wraps more than once at eighty columns.\n\n"
)


def section(n: int) -> str:
    """About 1 kB of everything that Markdown has; its mark can be found on the screen."""
    return (
        f"## Section #{2 * n + 1:03d}# here\n\n{PARAGRAPH}- first item {n} with **bold**\n- second item\n  - nested item\n\n"
        f'```python\ndef f{n}(x: int) -> str:\n    return f"{{x + {n}}}"  # note\n```\n\n'
        "| name | value |\n|---|---:|\n| alpha | 1 |\n| beta | 22 |\n\n"
        f"1. one\n2. two\n\n> a quote #{2 * n + 2:03d}# that says something\n\n{PARAGRAPH}"
    )


def mixed(length: int) -> str:
    text, n = "", 0
    while len(text) < length:
        text += section(n)
        n += 1
    return text[:length]
