"""Telemetry as rows of values, independent of drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from lmchat.domain.server import LoadState, ModelInfo, Verdict
from lmchat.domain.telemetry import Budget, Health, Metrics
from lmchat.domain.turn import Stage, Turn
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.formatting import UNKNOWN
from lmchat.tui.icons import Icons
from lmchat.tui.widgets.line import MUTED, STRONG, Part, Parts


class TelemetrySnapshot(Struct, frozen=True, kw_only=True):
    """All values that the panel shows."""

    health: Health = field(default_factory=Health)
    lacks_server: bool = False
    turn: Turn | None = None
    context_tokens: int | None = None
    context_limit: int | None = None
    is_context_estimated: bool = True
    left_out: int = 0  # messages that do not fit into the context window
    can_compact: bool = False  # whether a summary of the older messages would make room
    metrics: Metrics = field(default_factory=Metrics)
    budget: Budget | None = None
    last_action: str = ""
    profile: str = ""
    has_tools: bool = False
    is_asking: bool = False  # whether a tool call waits for the user
    speeds: tuple[float, ...] = ()  # tokens per second of the last seconds, newest last
    loading_since_s: float | None = None
    """Monotonic time when loading of the model began; None where it is not loading."""
    loading_fraction: float | None = None
    next_check_s: float | None = None  # monotonic time of the next check
    warning: str = ""  # lasting problem, as "nothing is saved: disk full"


class TextRow(Struct, frozen=True, kw_only=True):
    """A label and a value."""

    left: Parts  # shortened where room is short
    right: Parts = ()  # never cut unless `is_words`
    is_words: bool = False  # whether `right` is shortened rather than `left`
    short: Parts = ()  # replacement of `right` where that has no room
    sign: str = ""  # name of the field of `Icons` drawn before `left`
    sign_style: str = ""
    loses_middle: bool = (
        False  # whether `left` is cut in its middle: addresses and names differ at both ends
    )
    is_detail: bool = False  # whether the row is dropped first on a short screen


class MeterRow(Struct, frozen=True, kw_only=True):
    """Bar."""

    fraction: float | None


class SparkRow(Struct, frozen=True, kw_only=True):
    """Bars of the last values."""

    values: tuple[float | None, ...]  # newest last; None for a failure
    at_least: float = 0.0  # minimum value of a full bar, so that small values look small


Row = TextRow | MeterRow | SparkRow
Section = tuple[Row, ...]

_OK, _WARN, _BAD = "$success", "$warning", "$error"
_SIGNS: Mapping[str, str] = {_OK: "ready", _WARN: "degraded", _BAD: "down"}
_VERDICTS: Mapping[Verdict, tuple[str, str, str]] = {
    Verdict.READY: (_OK, "ready", ""),
    Verdict.LOADING: (_WARN, "loading", ""),
    Verdict.NO_MODEL: (_WARN, "no model", ""),
    Verdict.NEEDS_KEY: (_WARN, "needs key", ""),
    Verdict.KEY_REJECTED: (_BAD, "key", "rejected"),
    Verdict.HOST_BLOCKED: (_BAD, "blocked", "host"),
    Verdict.SERVER_OFF: (_BAD, "down", "server off"),
    Verdict.SERVER_ERROR: (_BAD, "down", "error"),
    Verdict.NOT_AN_LLM: (_BAD, "down", "not an LLM"),
    Verdict.REFUSED: (_BAD, "down", "refused"),
    Verdict.TIMED_OUT: (_BAD, "down", "timed out"),
}
_FAILURES = (AnswerState.INTERRUPTED, AnswerState.FAILED)
_CALM_LATENCY_MS = 8.0


def server_sign(verdict: Verdict | None, icons: Icons) -> Part:
    """Return the sign of a server's state with its style."""
    style = _VERDICTS[verdict][0] if verdict else MUTED
    return getattr(icons, _SIGNS.get(style, "off")), style


def _head(name: str, word: str, style: str = "", **more: Any) -> TextRow:
    return TextRow(left=((name, STRONG),), right=((word, style),), **more)


def _figure(
    label: str, value: str, *, style: str = "", is_detail: bool = False, **more: Any
) -> TextRow:
    right: Part = (value, MUTED if value == UNKNOWN else style)
    return TextRow(left=((label, MUTED),), right=(right,), is_detail=is_detail, **more)


def _server_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[Row]:
    health = snapshot.health
    name = safe_line(health.product.value) if health.product else "Server"
    unknown = (MUTED, "not found" if snapshot.lacks_server else "checking", "")
    style, word, reason = _VERDICTS[health.verdict] if health.verdict else unknown
    yield _head(name, word, style, sign=_SIGNS.get(style, "off"), sign_style=style)
    address = safe_line(health.endpoint.netloc) if health.endpoint else UNKNOWN
    told = reason or formatting.latency(health.latency_ms)
    yield TextRow(left=((address, MUTED),), right=((told, ""),), loses_middle=True)
    yield SparkRow(values=health.latencies_ms, at_least=_CALM_LATENCY_MS)


def _model_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[Row]:
    health, model = snapshot.health, _current_model(snapshot)
    word, style = "unknown", MUTED
    if health.is_down:
        pass
    elif snapshot.loading_since_s is not None:
        elapsed = f" {formatting.ago(now_s - snapshot.loading_since_s)}"
        word, style = f"loading{formatting.so_far(snapshot.loading_fraction) or elapsed}", _WARN
    elif model is not None and model.state is LoadState.LOADING:
        word, style = f"loading{formatting.so_far(model.load_fraction)}", _WARN
    elif model is not None and model.state is not LoadState.UNKNOWN:
        word, style = model.state.value, "" if model.state is LoadState.LOADED else MUTED
    yield _head("Model", word, style)
    name, quantization = (
        (safe_line(model.model_id), safe_line(model.quantization)) if model else (UNKNOWN, "")
    )
    style = MUTED if health.is_down or not model else ""
    yield TextRow(left=((name, style),), right=((quantization, MUTED),), loses_middle=True)
    if health.is_down:
        seen = UNKNOWN if health.seen_s is None else f"{formatting.ago(now_s - health.seen_s)} ago"
        yield TextRow(left=(("last seen", MUTED),), right=((seen, ""),), is_detail=True)
    else:
        window = context_text(model) or UNKNOWN
        yield TextRow(left=(("context", MUTED),), right=((window, ""),), is_detail=True)
    if snapshot.profile:
        yield _figure("profile", safe_line(snapshot.profile), is_words=True)


def _current_model(snapshot: TelemetrySnapshot) -> ModelInfo | None:
    """Return the model as it is now: while it answers, the server is not asked for its state."""
    model, turn = snapshot.health.model, snapshot.turn
    is_cold = model is not None and model.state in (LoadState.ASLEEP, LoadState.NOT_LOADED)
    if model is None or turn is None or not is_cold:
        return model
    if not turn.is_running or turn.model != model.model_id:
        return model
    if turn.stage is Stage.LOADING:
        return replace(model, state=LoadState.LOADING, load_fraction=turn.fraction)
    if turn.stage is Stage.READING or turn.first_token_s is not None:
        return replace(model, state=LoadState.LOADED)
    return model


def context_text(model: ModelInfo | None) -> str:
    """Return `8k of 32k`, the one that is known, or nothing."""
    if model is None:
        return ""
    loaded, most = formatting.window(model.context_loaded), formatting.window(model.context_max)
    return f"{loaded} of {most}" if loaded and most and loaded != most else loaded or most


def _context_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[Row]:
    used, limit = snapshot.context_tokens, snapshot.context_limit
    share = used / limit if used is not None and limit else None
    yield _head("Context", UNKNOWN if share is None else formatting.percent(share))
    yield MeterRow(fraction=share)
    full = short = formatting.tokens(used, is_estimated=snapshot.is_context_estimated)
    if limit:
        full = f"{full} of {formatting.tokens(limit)}"
    if share is not None:
        approx = "~" if snapshot.is_context_estimated else ""
        short = f"{approx}{formatting.window(used)} of {formatting.window(limit)}"
    yield TextRow(left=(("used", MUTED),), right=((full, ""),), short=((short, ""),))
    if snapshot.left_out:
        yield TextRow(
            left=((f"! {formatting.counted(snapshot.left_out, 'message')} left out", _WARN),)
        )
    if snapshot.can_compact:
        yield TextRow(left=(("/compact makes room", _WARN),))


def _turn_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[Row]:
    turn = snapshot.turn
    word, style, short = stage_words(turn)
    if snapshot.is_asking:
        word, style, short = "waiting for you", _WARN, "waiting for you"
    yield _head("Turn", word, style, short=((short, style),))
    yield _figure("elapsed", UNKNOWN if turn is None else formatting.elapsed(turn.elapsed_s(now_s)))
    yield _figure("first token", formatting.first_token(turn.ttft_s if turn else None))
    yield _figure("speed", formatting.rate(turn.tokens_per_second if turn else None))
    if snapshot.speeds or turn is None or turn.is_running:
        yield SparkRow(values=() if turn is None else snapshot.speeds)


def stage_words(turn: Turn | None) -> tuple[str, str, str]:
    """Return the word for the stage of a turn, its style, and a shorter word."""
    if turn is None:
        return UNKNOWN, MUTED, UNKNOWN
    if not turn.is_running:
        return turn.state.value, _BAD if turn.state in _FAILURES else "", turn.state.value
    word, stage = turn.stage_word, turn.stage
    if stage in (Stage.LOADING, Stage.READING):
        share = formatting.so_far(turn.fraction)
        style = _WARN if share and stage is Stage.LOADING else ""
        return f"{word}{share}", style, f"{word.split()[0]}{share}"
    if stage is Stage.STALLED:
        word = f"stalled {formatting.elapsed(turn.silent_s)}"
        return word, _WARN, word
    if stage is Stage.RETRYING and turn.retry is not None:
        short = f"retry {turn.retry.attempt}/{turn.retry.attempts}"
        return f"{short} in {formatting.elapsed(turn.retry.wait_s)}", _WARN, short
    return word, "", word


def _request_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[Row]:
    metrics, budget, turn = snapshot.metrics, snapshot.budget, snapshot.turn
    left = UNKNOWN if budget is None else f"{budget.left} of {budget.limit}/min"
    yield _head("Requests", left, _BAD if budget is not None and budget.left <= 0 else "")
    yield _figure("ok", formatting.tokens(metrics.successful_requests))
    has_failed = turn is not None and turn.state in _FAILURES
    yield _figure(
        "failed", formatting.tokens(metrics.failed_requests), style=_BAD if has_failed else ""
    )
    yield _figure("retries", formatting.tokens(metrics.retries), is_detail=True)
    yield _figure("from cache", formatting.tokens(metrics.cache_hits), is_detail=True)


def _activity_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[Row]:
    yield _head("Activity", "tools" if snapshot.has_tools else "chat", is_detail=True)
    if snapshot.has_tools:
        yield _figure("steps", str(snapshot.turn.steps if snapshot.turn else 0), is_detail=True)
    if snapshot.health.is_down and snapshot.next_check_s is not None:
        wait = formatting.ago(snapshot.next_check_s - now_s)
        yield _figure("next check", f"in {wait}", is_detail=True)
    else:
        yield _figure(
            "last", safe_line(snapshot.last_action) or UNKNOWN, is_words=True, is_detail=True
        )


_SECTIONS: Mapping[str, Callable[[TelemetrySnapshot, float], Iterator[Row]]] = {
    "server": _server_rows,
    "model": _model_rows,
    "context": _context_rows,
    "turn": _turn_rows,
    "requests": _request_rows,
    "activity": _activity_rows,
}
SECTIONS = tuple(_SECTIONS)  # names for `ui.sections`, in their default order


def telemetry_rows(
    snapshot: TelemetrySnapshot, now_s: float, *, sections: Sequence[str], height: int
) -> tuple[Row | None, ...]:
    """Return the rows that fit a height, None for blank ones; details go first, then the last sections."""
    every = [tuple(_SECTIONS[name](snapshot, now_s)) for name in sections if name in _SECTIONS]
    if _height(every) > height:
        main = [tuple(row for row in section if not _is_detail(row)) for section in every]
        every = [section for section in main if section]
    while len(every) > 1 and _height(every) > height:
        every.pop()
    rows: list[Row | None] = []
    for section in every:
        rows += [None, *section] if rows else section
    return tuple(rows[: max(height, 0)])


def _is_detail(row: Row) -> bool:
    return isinstance(row, TextRow) and row.is_detail


def _height(sections: Sequence[Section]) -> int:
    return sum(len(section) + 1 for section in sections) - 1
