"""The check of the configuration: each problem with its line and what may have been meant."""

from __future__ import annotations

from lmchat.cli.keymap import keymap_problems
from lmchat.cli.parts import Parts
from lmchat.config.problems import Problem
from lmchat.domain.candidate import Finding, Grade, Group, Rows

_row = Rows(Group.FILES)
_NAME = "Configuration"


def config_findings(parts: Parts) -> list[Finding]:
    """Return a row a problem, else one that says that there is none; blocks on the disk."""
    loaded = parts.loaded
    try:
        problems = (*loaded.problems, *keymap_problems(loaded.settings.keys, loaded.file))
    except (OSError, ValueError):  # the file changed since it was read
        problems = loaded.problems
    if problems:
        return [_problem(one) for one in problems]
    if not loaded.has_file:
        cause, step = f"{loaded.file} is not there; the defaults hold.", "lmchat config init"
        return [_row("config", _NAME, Grade.OK, cause, step, path=str(loaded.file), line=None)]
    cause = f"{loaded.file} has no problems."
    return [_row("config", _NAME, Grade.OK, cause, path=str(loaded.file), line=None)]


def _problem(one: Problem) -> Finding:
    step = "lmchat config check"
    if one.suggestion:
        step = f"Write {one.suggestion} there, then lmchat config check"
    end = "" if one.sentence.endswith("?") else "."
    facts: dict[str, object] = {"path": one.source, "line": one.line, "key": one.key or None}
    return _row("config", _NAME, Grade.FAULT, f"{one.sentence}{end}", step, **facts)
