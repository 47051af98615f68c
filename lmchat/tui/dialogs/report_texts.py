"""Texts of `/details`, all that is known of an answer, and of `/stats`, what is known of many."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat import units
from lmchat.answers.stats_table import stats_table
from lmchat.metrics import Metrics, RateLimit
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage, value_text
from lmchat.sessions.model_stats import ModelStats

_VALUE_CHARS = 2000  # of a value, such as a name or a grammar
_LABEL_WIDTH = 14  # of `/details`, in cells
_SLOW_MS = 3000.0  # if the first word took as long or longer, the causes are named
_LEAST_SHARE = 0.2  # of the wait; a cause that took less is not named
STATS_DAYS = 90  # period of the stats of models; `lmchat stats` shows those of all answers
_NAME_WIDTH = 24  # of `/stats`, in cells
_VALUE_WIDTH = 12


def details_text(answer: ChatMessage) -> str:
    """Return the details of an answer, a line each; the first says why it was slow, if it was."""
    stats = answer.stats or AnswerStats()
    number = units.whole_number  # None becomes `UNKNOWN`, whose row is left out
    reason = stats.ending or stats.finish_reason  # `ending` is empty after a normal end
    if answer.state is not AnswerState.COMPLETE:
        reason = answer.failure.message if answer.failure else ""
    marks = ["edited"] if stats.is_edited else []
    rows = [
        ("Model", answer.model),
        ("Asked for", stats.asked),  # if another model has answered
        ("Served as", stats.served),
        ("Server", " at ".join(filter(None, (stats.product, answer.endpoint)))),
        ("Build", stats.build),
        ("Begun", f"{answer.created_at.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("End", ", ".join(filter(None, (answer.state.value, reason, *marks)))),
        ("Steps", number(stats.steps or None)),
        ("Retries", number(stats.retries or None)),
    ]
    if stats.prompt_tokens is not None:
        words = f"{number(stats.prompt_tokens)} tokens"
        if stats.cached_tokens is not None:
            read_tokens = max(stats.prompt_tokens - stats.cached_tokens, 0)
            words += f": {number(stats.cached_tokens)} cached, {number(read_tokens)} read"
        rows.append(("Prompt", words))
    if stats.context:
        rows.append(("Window", f"{number(stats.context)} tokens"))
    rows.append(("Read at", units.rate(stats.prompt_tokens_per_second)))
    if stats.completion_tokens is not None:
        words = f"{number(stats.completion_tokens, is_estimated=stats.is_estimated)} tokens"
        if stats.thought_tokens:
            answer_tokens = max(stats.completion_tokens - stats.thought_tokens, 0)
            words += f": ~{number(stats.thought_tokens)} thought, ~{number(answer_tokens)} answer"
        rows.append(("Answer", words))
    rows.append(("Written at", units.rate(stats.tokens_per_second)))
    if stats.draft_tokens is not None:
        # a small model drafts the next tokens, of which the model accepts those that fit
        words = f"{number(stats.accepted_tokens)} of {number(stats.draft_tokens)} tokens accepted"
        rows.append(("Drafts", words))
    # roughly in the order in which these times begin; two of them are 0 if they were not measured
    for label, time_ms in (
        ("Waited", stats.queue_ms or None),
        ("Loading", stats.load_ms),
        ("First token", stats.ttft_ms),
        ("Thought", stats.reasoning_ms),
        ("First word", stats.wait_ms),
        ("All", stats.elapsed_ms or None),
    ):
        if time_ms is not None:
            rows.append((label, units.exact_time(time_ms)))
    label = "Sampling"
    for name, value in sorted(stats.sampling.items()):
        rows.append((label, f"{name} {value_text(value)}"))
        label = ""  # only the first option has a label
    lines = [
        f"{label:<{_LABEL_WIDTH}}{safe_line(value, limit=_VALUE_CHARS)}"
        for label, value in rows
        if value not in ("", units.UNKNOWN)
    ]
    if causes := _causes(stats):
        lines.insert(0, f"Slow because {'; '.join(causes)}.\n")
    return "\n".join(lines)


def _causes(stats: AnswerStats) -> list[str]:
    """Return what has taken long before the first word; empty if the first word came soon."""
    wait_ms = stats.wait_ms or 0.0
    if wait_ms < _SLOW_MS:
        return []
    causes: list[tuple[str, float | None]] = []  # a cause without a time is always named
    if stats.was_loaded:
        words = "the server was asleep" if stats.was_asleep else "the model was loaded first"
        causes.append((words, stats.load_ms))
    if stats.queue_ms:
        causes.append(("it waited for another answer", stats.queue_ms))
    if stats.retries:
        causes.append((f"it was sent {stats.retries + 1} times", None))
    speed = stats.prompt_tokens_per_second
    if speed and stats.prompt_tokens is not None and stats.cached_tokens is not None:
        tokens = stats.prompt_tokens - stats.cached_tokens
        causes.append(
            (f"{units.whole_number(tokens)} prompt tokens were read", tokens / speed * 1e3)
        )
    if stats.reasoning_ms:
        causes.append(("it was thinking", stats.reasoning_ms))
    return [
        words if time_ms is None else f"{words} ({units.elapsed(time_ms / 1e3)})"
        for words, time_ms in causes
        if time_ms is None or time_ms >= _LEAST_SHARE * wait_ms
    ]


def stats_text(
    metrics: Metrics, rate_limit: RateLimit, models: Sequence[ModelStats], width: int
) -> str:
    """Return the text of `/stats`: the counters of this run, and the table of models."""
    list_requests = metrics.cache_hits + metrics.cache_misses
    run = _lines(
        ("requests", str(metrics.total_requests)),
        ("ok", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("rejected by lmchat", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("average time", units.elapsed(metrics.average_response_ms / 1000)),
        ("model lists from cache", f"{metrics.cache_hits} of {list_requests}"),
        ("requests left", f"{rate_limit.left} of {rate_limit.limit}"),
    )
    run_text = f"This run\n{run}"
    if not models:
        return run_text
    return "\n".join([f"{run_text}\n\nLast {STATS_DAYS} days", *stats_table(models, width=width)])


def _lines(*rows: tuple[str, str]) -> str:
    return "\n".join(f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}" for name, value in rows)
