"""Report of `lmchat eval`: a table of the models, and the answers that have failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from lmchat.chat.once import SingleAnswer
from lmchat.cli.jobs import rounded_median
from lmchat.safe_text import safe_line
from lmchat.terminal.output import failure_detail, table

_MAX_REPLY = 200  # characters of the reply of a failed case that are printed
_MS_TO_S = 1e-3


class CaseAnswer(Struct, frozen=True, kw_only=True):
    """An answer to a case, and the checks that it fails."""

    model: str
    case_name: str
    run: int  # from 1
    answer: SingleAnswer
    failures: Mapping[str, str]  # reasons in words, by the name of the check

    @property
    def row(self) -> dict[str, Any]:
        """Its form in JSON."""
        row: dict[str, Any] = {
            "name": self.case_name,
            "model": self.model,
            "run": self.run,
            "passed": not self.failures,
            "failed": list(self.failures),
            "reply": self.answer.reply,
        }
        error = self.answer.error
        return row | ({"detail": failure_detail(error)} if error else {})


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
    stats_of_answers = [answer.answer.stats for answer in own]
    return EvaluatedModel(
        model=model,
        passed=sum(not answer.failures for answer in own),
        cases=len(own),
        ttft_ms=rounded_median([stats.ttft_ms for stats in stats_of_answers]),
        tokens_per_second=rounded_median([stats.tokens_per_second for stats in stats_of_answers]),
        tokens=rounded_median([stats.completion_tokens for stats in stats_of_answers]),
        elapsed_ms=rounded_median([stats.elapsed_ms for stats in stats_of_answers]),
    )


def _shown(figure: float | None, template: str, factor: float = 1.0) -> str:
    return "" if figure is None else template.format(figure * factor)


def text_report(figures: Sequence[EvaluatedModel], answers: Sequence[CaseAnswer]) -> list[str]:
    """Return the lines for a terminal; of a failed answer, only its beginning is shown."""
    rows = [
        (
            row.model,
            f"{row.passed} of {row.cases}",
            _shown(row.ttft_ms, "{:.2f} s", _MS_TO_S),
            _shown(row.tokens_per_second, "{:.1f} tok/s"),
            _shown(row.tokens, "{:.0f}"),
            _shown(row.elapsed_ms, "{:.1f} s", _MS_TO_S),
        )
        for row in figures
    ]
    lines = table(("MODEL", "PASSED", "FIRST TOKEN", "SPEED", "TOKENS", "TIME"), rows)
    for answer in answers:
        if answer.failures:
            title = f"{answer.case_name} · {answer.model} · run {answer.run}"
            reply = safe_line(answer.answer.reply, limit=_MAX_REPLY)
            lines += ["", f"{title}: {'; '.join(answer.failures.values())}"]
            if reply:
                lines.append(f"  {reply}")
    return lines
