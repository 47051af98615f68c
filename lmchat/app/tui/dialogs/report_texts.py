"""Texts of `/details`, all that is known of an answer, and of `/stats`, what is known of many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len
from textual.content import Content

from lmchat.app.commands.stats_table import stats_table
from lmchat.app.tui.widgets.line import FAINT, METER, MUTED, STRONG, content, styled
from lmchat.base import units
from lmchat.base.metrics import Metrics, RateLimit
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.sessions.message import AnswerState, AnswerStats, ChatMessage, value_text
from lmchat.core.sessions.model_stats import ModelStats

_VALUE_CHARS = 2000  # of a value, such as a name or a grammar
_COLUMN_WIDTH = 28  # of label and value of `/details`, in cells
_LEAST_WIDTH = 20  # of a column that is beside others
_GAP = 2  # least cells between two texts
_WIDE = 93  # cells from which on columns are side by side: a dialog of 100 with a frame
_SECOND_MS = 1000.0
_EMPTY = Content("")
_SLOW_MS = 3000.0  # to the first word; from there on, the causes are named
_LEAST_SHARE = 0.2  # of the wait; a cause that took less is not named
STATS_DAYS = 90  # period of the stats of models; `lmchat stats` shows those of all answers
_NAME_WIDTH = 28  # of `/stats`, in cells; with the value, it fits into 40 columns
_VALUE_WIDTH = 8


def details(answer: ChatMessage, width: int) -> Content:
    """If the answer was slow, the first line says why."""
    stats = answer.stats or AnswerStats()
    sampling = [
        (safe_line(name, limit=_VALUE_CHARS), safe_line(value_text(value), limit=_VALUE_CHARS))
        for name, value in sorted(stats.sampling.items())
    ]
    short = [row for row in sampling if sum(map(cell_len, row)) <= _COLUMN_WIDTH - _GAP]
    is_wide = width >= _WIDE
    figures: dict[str, Sequence[tuple[str, str]]] = {
        "Speed": _speeds(stats),
        "Tokens": _tokens(stats),
        "Sampling": short,
    }
    sections = [
        [styled(head, STRONG), *_figures(known, is_tight=is_wide)]
        for head, rows in figures.items()
        if (known := [row for row in rows if row[1] != units.UNKNOWN])
    ]
    blocks = [_time_rows(stats, width)]
    if is_wide:
        blocks.append([_beside(rows) for rows in zip_longest(*sections, fillvalue=_EMPTY)])
    else:
        blocks += sections
    if causes := _causes(stats):
        blocks.insert(
            0, [content((("!", "$warning"), (f" Slow because {'; '.join(causes)}.", "")))]
        )
    long_values = [row for row in sampling if row not in short]
    blocks.append([content(((name, MUTED), (f"  {value}", ""))) for name, value in long_values])
    circumstances: list[str] = []  # lines of whole pieces
    for piece in _circumstances(answer, stats):
        line = f"{circumstances[-1]} {SIGNS.dot} {piece}" if circumstances else piece
        if cell_len(line) <= width:
            circumstances[-1:] = [line]
        else:
            circumstances.append(piece)
    blocks.append([styled(line, MUTED) for line in circumstances])
    return Content("\n\n").join(Content("\n").join(block) for block in blocks if block)


def _circumstances(answer: ChatMessage, stats: AnswerStats) -> list[str]:
    """Return how the answer came about and ended, in pieces of a few words."""
    reason = stats.ending or stats.finish_reason  # `ending` is empty after a normal end
    if answer.state is not AnswerState.COMPLETE:
        reason = answer.failure.message if answer.failure else ""
    elif reason == "stop":
        reason = ""
    retries = f"{stats.retries} {'retry' if stats.retries == 1 else 'retries'}"
    pieces = [
        answer.endpoint.removeprefix("http://"),
        f"asked for {stats.asked}" if stats.asked else "",  # if another model has answered
        f"served as {stats.served}" if stats.served else "",
        # a server that was built without its version says so
        f"build {stats.build}" if stats.build and "unknown" not in stats.build else "",
        units.counted(stats.steps, "step") if stats.steps else "",
        retries if stats.retries else "",
        ", ".join(filter(None, (answer.state.value, reason))),
        "edited" if stats.is_edited else "",
        f"begun {answer.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
    ]
    return [safe_line(piece, limit=_VALUE_CHARS) for piece in pieces if piece]


def _time_rows(stats: AnswerStats, width: int) -> list[Content]:
    """Return the parts of the time, each with a bar that shows when it was."""
    all_ms = stats.elapsed_ms
    if not all_ms:
        return []
    thought_ms = stats.reasoning_ms or 0.0
    rows = [_figure("Time", _short_time(all_ms), STRONG)]
    wait_ms = stats.wait_ms
    if wait_ms is None:  # of an answer without a word, or of an early version
        if stats.ttft_ms is None:
            return rows
        wait_ms = stats.queue_ms + stats.ttft_ms + thought_ms
    wait_ms = min(wait_ms, all_ms)
    thought_ms = min(thought_ms, wait_ms)
    queue_ms = min(stats.queue_ms, wait_ms - thought_ms)
    load_ms = min(stats.load_ms or 0.0, wait_ms - thought_ms - queue_ms)
    # without its own time, loading is a part of the wait for the first token, and retries are, too
    is_mixed = stats.retries or (stats.was_loaded and stats.load_ms is None)
    parts = [
        ("waiting its turn", queue_ms),
        ("waking the model" if stats.was_asleep else "loading the model", load_ms),
        (
            "waiting" if is_mixed else "reading the prompt",
            wait_ms - thought_ms - queue_ms - load_ms,
        ),
        ("thinking", thought_ms),
        ("answering", all_ms - wait_ms),
    ]
    cells = max(width - _COLUMN_WIDTH - _GAP, 0)
    before_ms = 0.0
    for label, part_ms in parts:
        start = min(round(before_ms / all_ms * cells), max(cells - 1, 0))
        before_ms += part_ms
        end = max(round(before_ms / all_ms * cells), start + 1)
        if part_ms:
            figure = _figure(label, _short_time(part_ms))
            bar = ("─" * start, FAINT), ("━" * (end - start), METER), ("─" * (cells - end), FAINT)
            rows.append(figure + content((("  ", ""), *bar)) if cells else figure)
    return rows


def _short_time(time_ms: float) -> str:
    """Return a time as `0.21 s`, `4.1 s`, `11.7 s`, or from 100 s on as `1 m 40 s`."""
    has_tenths = _SECOND_MS <= time_ms < 10 * _SECOND_MS or time_ms >= 100 * _SECOND_MS
    return units.elapsed(time_ms / 1e3) if has_tenths else units.exact_time(time_ms)


def _speeds(stats: AnswerStats) -> list[tuple[str, str]]:
    rows = [
        ("reading", units.rate(stats.prompt_tokens_per_second)),
        ("writing", units.rate(stats.tokens_per_second)),
        ("first token", units.exact_time(stats.ttft_ms)),
    ]
    if stats.draft_tokens is not None:
        # a small model drafts the next tokens, of which the model accepts those that fit
        drafts = f"{units.whole_number(stats.accepted_tokens)} of {stats.draft_tokens}"
        rows.append(("drafts accepted", drafts))
    return rows


def _tokens(stats: AnswerStats) -> list[tuple[str, str]]:
    number = units.whole_number
    thought = stats.thought_tokens
    answer = stats.completion_tokens
    is_estimated = stats.is_estimated
    if thought and answer is not None:
        answer = max(answer - thought, 0)
        is_estimated = True
    return [
        ("prompt", number(stats.prompt_tokens)),
        ("from the cache", number(stats.cached_tokens)),
        ("thought", number(thought or None, is_estimated=True)),
        ("answer", number(answer, is_estimated=is_estimated)),
        ("window", number(stats.context or None)),
    ]


def _figures(rows: Sequence[tuple[str, str]], *, is_tight: bool) -> list[Content]:
    """Values are flush right, in a column that is as wide as it needs if tight."""
    widths = [max(map(cell_len, texts)) for texts in zip(*rows, strict=True)]
    width = max(sum(widths) + _GAP, _LEAST_WIDTH) if is_tight else _COLUMN_WIDTH
    return [_figure(*row, width=width) for row in rows]


def _figure(label: str, value: str, style: str = MUTED, *, width: int = _COLUMN_WIDTH) -> Content:
    """The value is flush right; that of a head is bold, too."""
    gap = " " * max(width - cell_len(label) - cell_len(value), 1)
    return content(((label, style), (gap, ""), (value, STRONG if style == STRONG else "")))


def _beside(rows: Sequence[Content]) -> Content:
    padded = [row + " " * (_COLUMN_WIDTH + _GAP - row.cell_length) for row in rows]
    return Content("").join(padded).rstrip()


def _causes(stats: AnswerStats) -> list[str]:
    """Return what has taken long before the first word; empty if the first word came soon."""
    wait_ms = stats.wait_ms or 0.0
    if wait_ms < _SLOW_MS:
        return []
    causes: list[tuple[str, float | None]] = []  # a cause without a time is always named
    if stats.was_loaded:
        text = "the server was asleep" if stats.was_asleep else "the model was loaded first"
        causes.append((text, stats.load_ms))
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
        text if time_ms is None else f"{text} ({units.elapsed(time_ms / 1e3)})"
        for text, time_ms in causes
        if time_ms is None or time_ms >= _LEAST_SHARE * wait_ms
    ]


def stats_text(
    metrics: Metrics, rate_limit: RateLimit, models: Sequence[ModelStats], width: int
) -> str:
    list_requests = metrics.cache_hits + metrics.cache_misses
    rows = (
        ("requests", str(metrics.total_requests)),
        ("answered", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("rejected by lmchat", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("average time", units.elapsed(metrics.average_response_ms / 1000)),
        ("model lists from the cache", f"{metrics.cache_hits} of {list_requests}"),
        ("requests left", f"{rate_limit.left} of {rate_limit.limit}"),
    )
    lines = [f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}" for name, value in rows]
    run_text = "\n".join(["This run", *lines])
    if not models:
        return run_text
    return "\n".join([f"{run_text}\n\nLast {STATS_DAYS} days", *stats_table(models, width=width)])
