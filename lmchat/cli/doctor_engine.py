"""The check of the built-in engine: whether it is installed and what it needs is there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from lmchat.cli.parts import Parts
from lmchat.domain.finding import Finding, Grade, Group


def engine_findings(parts: Parts) -> list[Finding]:
    """Return the rows about the engine; nothing of it is imported."""
    del parts
    if find_spec("xllamacpp") is None:
        cause, step = (
            "It is not installed; lmchat needs it only where there is no server.",
            "pip install 'lmchat[local]'",
        )
        return [_row("installed", "Engine", Grade.ABSENT, cause, step)]
    return [_row("installed", "Engine", Grade.OK, "It is installed: lmchat --local starts it.")]


def _row(check: str, name: str, grade: Grade, cause: str, step: str = "", /, **facts: Any) -> Finding:
    return Finding(
        check=f"engine.{check}",
        group=Group.ENGINE,
        name=name,
        grade=grade,
        cause=cause,
        next_step=step,
        facts=facts,
    )
