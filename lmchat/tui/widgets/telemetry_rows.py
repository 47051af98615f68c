"""Sections of the telemetry panel: each is a function from stats to rows.

`stats` are those of the answer that began last in the shown session; None before the first one.
`health` is the state of the server in use: that of the last check, and what a running turn shows
of it (`health_in_turn`). `now_s` and all times `…_s` are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lmchat import units
from lmchat.answers.live_stats import LiveStats, Stage
from lmchat.metrics import Metrics, RateLimit
from lmchat.servers.discovery.status import ServerHealth, ServerState, ServerStatus
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.sessions.message import AnswerState
from lmchat.tui.widgets.line import MUTED, SIGN_STYLES, STRONG, StyledText
from lmchat.tui.widgets.telemetry_panel import MeterRow, SparkRow, TelemetryRow, TextRow
from lmchat.units import SIGNS, UNKNOWN

LOOKING = "looking for a server"
"""Words for the first search, in place of model and server."""
_WARN, _BAD = "$warning", "$error"
_FAILURES = (AnswerState.INTERRUPTED, AnswerState.FAILED)
_LARGE_WINDOW = 100_000  # from this on, numbers of tokens are rounded to fit into the panel
_CALM_LATENCY_MS = 8.0  # a full bar below this latency, so that small changes look small


def health_in_turn(health: ServerHealth, stats: LiveStats | None) -> ServerHealth:
    """Return the health of the server with what the running turn shows of its model.

    While an answer streams, the server is not checked (R-29). Many servers load a model at the
    first prompt, so the last check may have found none loaded.
    """
    target, model = health.target, health.model
    if target is None or model is None or stats is None:
        return health
    if not stats.is_running or stats.model != model.model_id:
        return health
    if stats.stage is Stage.LOADING:
        model = replace(model, state=LoadState.LOADING, load_fraction=stats.fraction)
        return replace(health, target=replace(target, model=model))
    if stats.stage is Stage.READING or stats.first_token_s is not None:
        # only a loaded model reads the prompt or answers, or a remote one
        if not model.is_remote:
            model = replace(model, state=LoadState.LOADED)
        status = ServerStatus(endpoint=target.endpoint, product=target.product)  # it is ready
        return replace(health, status=status, target=replace(target, model=model))
    return health


def server_sign(status: ServerStatus | None) -> StyledText:
    """Return the sign of the server in use; None until it was checked for the first time."""
    if status is None:
        return SIGNS.off, MUTED
    # one that is in use and away is a failure
    sign = SIGNS.failed if status.sign == SIGNS.off else status.sign
    return sign, SIGN_STYLES[sign]


def _head(name: str, word: str, style: str = "") -> TextRow:
    """Return the first row of a section: its name in bold, and at the right a word."""
    return TextRow(label=name, value=word, style=style, label_style=STRONG)


def _row(label: str, value: str, style: str = "") -> TextRow:
    return TextRow(label=label, value=value, style=MUTED if value == UNKNOWN else style)


def search_word(state: ServerState | None) -> str:
    """Return the word for how far the search is; `checking` once there is a server to use."""
    words = {None: "looking", ServerState.AWAY: "not found", ServerState.NEEDS_KEY: "needs key"}
    return words.get(state, "checking")


def server_rows(health: ServerHealth, state: ServerState | None) -> list[TelemetryRow]:
    """Return name and state of the server, its address, and the latencies of the last checks.

    At the right of the address is the reason of the state, or the last latency if there is none.
    """
    word, reason = search_word(state), ""
    if health.status is not None:
        word, reason = health.status.panel
    sign, style = server_sign(health.status)
    target = health.target
    address = target.endpoint.netloc if target else UNKNOWN
    return [
        TextRow(
            label=(target.product if target else "") or "Server",
            value=word,
            style=style,
            label_style=STRONG,
            sign=(f"{sign} ", style),
        ),
        TextRow(label=address, value=reason or units.latency(health.latency_ms)),
        SparkRow(health.latencies_ms, at_least=_CALM_LATENCY_MS),
    ]


def model_rows(
    health: ServerHealth, now_s: float, *, loading: str, profile: str
) -> list[TelemetryRow]:
    """Return the state of the model, its name, its context window, and the profile in use, if any.

    While the server is down, the time since it was last seen is in place of the context window.
    `loading` says how far the model in use is loaded; it is empty while it is not loading.
    """
    model = health.model
    name = model.model_id if model else UNKNOWN
    name_style = "" if model and not health.is_down else MUTED
    quantization = model.quantization if model else ""
    rows: list[TelemetryRow] = [
        _head("Model", *_model_state(health, loading)),
        TextRow(label=name, value=quantization, style=MUTED, label_style=name_style),
    ]
    if not health.is_down:
        rows.append(_row("context", context_text(model) or UNKNOWN))
    elif health.seen_s is None:
        rows.append(_row("last seen", UNKNOWN))
    else:
        rows.append(_row("last seen", f"{units.rough_time(now_s - health.seen_s)} ago"))
    if profile:
        rows.append(_row("profile", profile))
    return rows


def _model_state(health: ServerHealth, loading: str) -> StyledText:
    """Return the state of the model as a word in a style.

    `loading` says how far the model in use is loaded; it is empty while it is not loading.
    """
    model = health.model
    if loading and not health.is_down:
        return loading, _WARN
    if model is None or health.is_down:
        return "unknown", MUTED
    if model.state is LoadState.LOADING:
        return f"loading{units.progress_suffix(model.load_fraction)}", _WARN
    if model.is_remote:
        return model.state.value, _WARN
    if model.load_failure:
        return model.state_word, _WARN
    return model.state_word, "" if model.state is LoadState.LOADED else MUTED


def context_text(model: ModelInfo | None) -> str:
    """Return the context window of a model, and its largest one; empty if none is known."""
    return "" if model is None else units.windows(model.context_loaded, model.context_max)


def context_rows(
    used: int | None, limit: int | None, *, is_estimated: bool, left_out: int, can_compact: bool
) -> list[TelemetryRow]:
    """Return how full the context window is: as a percentage, a bar, and numbers of tokens.

    `used` and `limit` are numbers of tokens, None if unknown. Warnings follow if messages are
    `left_out` of the next request, or if `/compact` would make room.
    """
    share = used / limit if used is not None and limit else None
    if limit and limit >= _LARGE_WINDOW and used is not None:  # rounded, to fit into the panel
        words = f"{'~' if is_estimated else ''}{units.window(used)} of {units.window(limit)}"
    else:
        words = units.whole_number(used, is_estimated=is_estimated)
        words += f" of {units.whole_number(limit)}" if limit else ""
    rows: list[TelemetryRow] = [
        _head("Context", UNKNOWN if share is None else units.percent(share)),
        MeterRow(share),
        TextRow("used", words),
    ]
    if left_out:
        rows.append(TextRow(f"! {units.counted(left_out, 'message')} left out", label_style=_WARN))
    if can_compact:
        rows.append(TextRow("/compact makes room", label_style=_WARN))
    return rows


def turn_rows(
    stats: LiveStats | None,
    now_s: float,
    *,
    speeds: Sequence[float],
    is_asking: bool,
    read_ahead: float | None,
) -> list[TelemetryRow]:
    """Return the stage of the last turn, its stats, and the speeds of the last seconds as bars.

    `speeds` are the tokens of each second, oldest first. If `is_asking`, a tool call waits for the
    user. `read_ahead` is how much of the session the server has read ahead, from 0 to 1, None while
    it reads nothing. A turn that has ended without `speeds` has no bars.
    """
    word, style = stage_text(stats, now_s)
    if is_asking:
        word, style = "waiting for you", _WARN
    elif read_ahead is not None:
        word, style = f"reading ahead{units.progress_suffix(read_ahead)}", ""
    rows: list[TelemetryRow] = [
        _head("Turn", word, style),
        _row("elapsed", units.elapsed(stats.elapsed_s(now_s)) if stats else UNKNOWN),
        _row("first token", units.exact_time(stats.ttft_ms if stats else None)),
        _row("speed", units.rate(stats.tokens_per_second if stats else None)),
    ]
    # Before the first turn and while one runs, a row is kept for the bars. It is blank without
    # speeds.
    if speeds or stats is None or stats.is_running:
        rows.append(SparkRow(tuple(speeds)))
    return rows


def stage_text(stats: LiveStats | None, now_s: float) -> StyledText:
    """Return words for the stage of a running turn, or for how the turn ended."""
    if stats is None:
        return UNKNOWN, MUTED
    if not stats.is_running:
        return stats.state.value, _BAD if stats.state in _FAILURES else ""
    share = units.progress_suffix(stats.fraction)
    match stats.stage:
        case Stage.LOADING if share:
            return f"loading{share}", _WARN
        case Stage.READING if share:  # not `stage_word`: `reading prompt 40 %` is too wide
            return f"reading{share}", ""
        case Stage.STALLED:
            return f"stalled {units.elapsed(stats.silent_s)}", _WARN
        case Stage.RETRYING if stats.retry is not None:
            return stats.retry_words(stats.retry, now_s), _WARN
    return stats.stage_word, ""


def request_rows(
    metrics: Metrics, rate_limit: RateLimit, stats: LiveStats | None
) -> list[TelemetryRow]:
    """Return how many requests may be sent now, and the counters of this run.

    The counter of failed requests is red if the last turn failed.
    """
    left = f"{rate_limit.left} of {rate_limit.limit}/min"
    has_failed = stats is not None and stats.state in _FAILURES
    return [
        _head("Requests", left, _BAD if rate_limit.left <= 0 else ""),
        _row("ok", units.whole_number(metrics.successful_requests)),
        _row("failed", units.whole_number(metrics.failed_requests), _BAD if has_failed else ""),
        _row("retries", units.whole_number(metrics.retries)),
        _row("from cache", units.whole_number(metrics.cache_hits)),
    ]


def activity_rows(
    stats: LiveStats | None,
    *,
    has_tools: bool,
    last_action: str,
    next_check_in_s: float | None,
) -> list[TelemetryRow]:
    """Return whether tools are used, and if they are, the steps of the last turn.

    A step is a round of tool calls. The last row is the time until the next check. If none is
    planned, as while the server answers, the row has what was done last.
    """
    rows: list[TelemetryRow] = [_head("Activity", "tools" if has_tools else "chat")]
    if has_tools:
        rows.append(_row("steps", str(stats.steps if stats else 0)))
    if next_check_in_s is None:
        rows.append(_row("last", last_action or UNKNOWN))
    else:
        rows.append(_row("next check", f"in {units.rough_time(next_check_in_s)}"))
    return rows
