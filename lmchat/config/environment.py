"""Environment variables that set a key, each with its row."""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.config.problems import Problem
from lmchat.config.rows import SECTIONS, Kind, Row, wrong

VARIABLES: tuple[tuple[str, str], ...] = (
    ("LMCHAT_ENDPOINT", "endpoint"),
    ("LLM_BASE_URL", "endpoint"),
    ("LMCHAT_MODEL", "model"),
    ("LLM_MODEL", "model"),
    ("OPENAI_MODEL", "model"),
    ("LMCHAT_API_KEY", "api_key"),
    ("LMCHAT_SYSTEM_PROMPT", "chat.system_prompt"),
    ("SYSTEM_PROMPT", "chat.system_prompt"),
    ("LLM_TIMEOUT", "timeouts.first_token_s"),
    ("LLM_MAX_RETRIES", "limits.retries"),
)
"""Variable and the key it sets; of two for one key the first that is set wins."""


def read_environment(
    environ: Mapping[str, str],
) -> tuple[dict[str, tuple[object, str]], tuple[Problem, ...]]:
    """Return value and variable by key, and what is wrong; an empty variable counts as not set."""
    rows = {section.key(row): row for section in SECTIONS for row in section.rows}
    found: dict[str, tuple[object, str]] = {}
    problems: list[Problem] = []
    for name, key in VARIABLES:
        text = environ.get(name, "")
        if not text.strip() or key in found:
            continue
        value = _parsed(rows[key], text)
        if reason := wrong(rows[key], value):
            problems.append(Problem(source=f"environment variable {name}", reason=f"({key}) {reason}"))
        else:
            found[key] = (value, name)
    return found, tuple(problems)


def _parsed(row: Row, text: str) -> object:
    """Read a number where one is wanted; what is none stays a text, and is refused as such."""
    if row.kind not in (Kind.INTEGER, Kind.NUMBER):
        return text.strip() if row.name != "system_prompt" else text
    try:
        return int(text) if row.kind is Kind.INTEGER else float(text)
    except ValueError:
        return text
