"""Reports of `lmchat eval`: a table of the models, and the answers that have failed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import median
from typing import Any

from msgspec import Struct

from lmchat.cli.eval_cases import Case
from lmchat.cli.output import rounded, table
from lmchat.text import safe_line, safe_text

_MAX_REPLY = 200  # characters of the reply of a failed case that are printed
_MS_TO_S = 1e-3


class ModelAnswer(Struct, kw_only=True):
    """What a model has answered to a case: the part of a `CaseAnswer` that the cache keeps."""

    reply: str
    reasoning: str
    finish_reason: str
    is_refusal: bool
    ttft_ms: float | None
    tokens_per_second: float | None
    tokens: int | None
    elapsed_ms: float | None


class CaseAnswer(ModelAnswer, kw_only=True):
    """An answer to a case with its figures, and the checks that it fails."""

    model: str
    case: Case
    run: int  # from 1
    detail: dict[str, str] | None = None  # the error that has ended it
    misfits: dict[str, list[str]] = {}
    """The checks that it fails, each with the texts or questions that it fails at.

    An answer that ended with an error fails the check `answer`.
    """

    @property
    def failed(self) -> list[str]:
        """The names of the checks that it fails."""
        return list(self.misfits)

    @property
    def row(self) -> dict[str, Any]:
        """Its form in JSON."""
        row: dict[str, Any] = {
            "name": self.case.name,
            "model": self.model,
            "run": self.run,
            "passed": not self.misfits,
            "failed": self.failed,
            "reply": self.reply,
        }
        return row | ({"detail": self.detail} if self.detail else {})

    @property
    def failure(self) -> str:
        """Why it fails, in words: its error, or the failed checks with what they fail at."""
        if self.detail is not None:
            return self.detail["message"]
        failures: list[str] = []
        for check, texts in self.misfits.items():
            quoted = ", ".join(f"“{text}”" for text in texts)
            failures.append(f"{check} {quoted}".rstrip())
        return "; ".join(failures)


class EvaluatedModel(Struct, frozen=True, kw_only=True):
    """Medians of the answers of one model; `--json` prints these fields."""

    model: str
    passed: int
    cases: int  # answers: each case counts once for each run
    ttft_ms: float | None
    tokens_per_second: float | None
    tokens: float | None
    elapsed_ms: float | None


def figures_of(model: str, answers: Sequence[CaseAnswer]) -> EvaluatedModel:
    """Return the medians of the answers of one model; `answers` has those of all models."""
    own = [answer for answer in answers if answer.model == model]
    return EvaluatedModel(
        model=model,
        passed=sum(not answer.failed for answer in own),
        cases=len(own),
        ttft_ms=_median([answer.ttft_ms for answer in own]),
        tokens_per_second=_median([answer.tokens_per_second for answer in own]),
        tokens=_median([answer.tokens for answer in own]),
        elapsed_ms=_median([answer.elapsed_ms for answer in own]),
    )


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return rounded(median(known)) if known else None


_HEAD = ("MODEL", "PASSED", "FIRST TOKEN", "SPEED", "TOKENS", "TIME")


def _cells(figures: EvaluatedModel) -> tuple[str, ...]:
    """Return the cells of the row of a model; a figure that is unknown is empty."""
    return (
        figures.model,
        f"{figures.passed} of {figures.cases}",
        _shown(figures.ttft_ms, "{:.2f} s", _MS_TO_S),
        _shown(figures.tokens_per_second, "{:.1f} tok/s"),
        _shown(figures.tokens, "{:.0f}"),
        _shown(figures.elapsed_ms, "{:.1f} s", _MS_TO_S),
    )


def _shown(figure: float | None, template: str, factor: float = 1.0) -> str:
    return "" if figure is None else template.format(figure * factor)


def _title_of(answer: CaseAnswer) -> str:
    return f"{answer.case.name} · {answer.model} · run {answer.run}"


def text_report(figures: Sequence[EvaluatedModel], answers: Sequence[CaseAnswer]) -> list[str]:
    """Return the lines for a terminal; of a failed answer, only its beginning is shown."""
    lines = table(_HEAD, [_cells(row) for row in figures])
    for answer in answers:
        if answer.failed:
            reply = safe_line(answer.reply, limit=_MAX_REPLY)
            lines += ["", f"{_title_of(answer)}: {answer.failure}", f"  {reply}"]
    return lines


def markdown_report(figures: Sequence[EvaluatedModel], answers: Sequence[CaseAnswer]) -> str:
    """Return a page of Markdown; texts of models are in fences that they cannot end."""
    from lmchat.domain.attached_files import fence_for

    lines = ["# Evaluation", "", f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    for row in figures:
        cells = [safe_line(cell).replace("|", "\\|") for cell in _cells(row)]
        lines.append(f"| {' | '.join(cells)} |")
    for answer in answers:
        if answer.failed:
            fence = fence_for(answer.reply)
            heading = safe_line(f"{_title_of(answer)}: {answer.failure}")
            lines += ["", f"## {heading}", "", fence, safe_text(answer.reply), fence]
    return "\n".join(lines) + "\n"


def _html_row(figures: EvaluatedModel) -> str:
    cells = "".join(f"<td>{escape(safe_line(cell))}</td>" for cell in _cells(figures))
    return f"<tr>{cells}</tr>\n"


def html_report(figures: Sequence[EvaluatedModel], answers: Sequence[CaseAnswer]) -> str:
    """Return a page without scripts; all texts of models are escaped."""
    rows = "".join(map(_html_row, figures))
    failures = "".join(
        f"<h2>{escape(safe_line(f'{_title_of(answer)}: {answer.failure}'))}</h2>\n"
        f"<pre>{escape(safe_text(answer.reply))}</pre>\n"
        for answer in answers
        if answer.failed
    )
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Evaluation</title>\n'
        f"<style>body{{font-family:sans-serif;margin:2em}}td,th{{padding:.3em 1em;text-align:left}}"
        f"pre{{white-space:pre-wrap}}</style>\n<h1>Evaluation</h1>\n"
        f"<table>\n<tr>{head}</tr>\n{rows}</table>\n{failures}</html>\n"
    )
