"""Sections of the telemetry panel: functions from what is known to rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.app.tui.widgets.line import MODEL, MUTED, SIGN_STYLES, STRONG, StyledText
from lmchat.app.tui.widgets.telemetry_panel import (
    BarRow,
    GivenRow,
    Section,
    TextRow,
    graph,
    meter,
    spark,
)
from lmchat.base import units
from lmchat.base.metrics import Metrics, RateLimit
from lmchat.base.units import SIGNS, UNKNOWN
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.servers.discovery.status import ServerHealth, ServerState, ServerStatus
from lmchat.core.servers.model import LoadState, name_to_show
from lmchat.core.sessions.message import AnswerState

LOOKING = "looking for a server"
"""Words of the first search, in place of model and server."""
_WARN = "$warning"
_BAD = "$error"
_FAILURES = (AnswerState.INTERRUPTED, AnswerState.FAILED)
_LARGE_WINDOW = 100_000  # from here, numbers of tokens are rounded to fit
_FEW_REQUESTS = 10  # below this, what is left says something
_CALM_LATENCY_MS = 8.0  # a full bar below this latency, so that small changes look small


class PanelFacts(Struct, frozen=True, kw_only=True):
    """What the panel shows. Times `…_s` are monotonic seconds; None is unknown."""

    health: ServerHealth
    """The last check, with what a running turn shows (`health_in_turn`)."""
    server_name: str = ""
    search: ServerState | None = None  # how far the search for a server is
    now_s: float = 0.0
    loading: str = ""  # how far the model in use is loaded; empty while it is not loading
    profile: str = ""  # of the profile in use; empty for none
    used: int | None = None  # tokens in the context window
    limit: int | None = None  # its size
    is_estimated: bool = False  # `used` is
    left_out: int = 0  # messages that the next request leaves out
    can_compact: bool = False  # `/compact` would make room
    stats: LiveStats | None = None  # of the answer that started last in the session
    speeds: tuple[float, ...] = ()  # tokens of each of the last seconds, oldest first
    is_asking: bool = False  # a tool call waits for the user
    is_summarising: bool = False  # the answer takes the place of older messages
    read_ahead: float | None = None  # how much of the session is read ahead
    metrics: Metrics = Metrics()
    rate_limit: RateLimit = RateLimit(left=0, limit=0)
    has_tools: bool = False
    last_action: str = ""
    next_check_in_s: float | None = None

    @property
    def is_running(self) -> bool:
        return self.stats is not None and self.stats.is_running

    @property
    def has_failed(self) -> bool:
        return self.stats is not None and self.stats.state in _FAILURES


def panel_sections(facts: PanelFacts) -> Mapping[str, Section]:
    return {
        "server": _server_rows(facts),
        "model": _model_rows(facts),
        "context": _context_rows(facts),
        "turn": _turn_rows(facts),
        "requests": _request_rows(facts),
        "activity": _activity_rows(facts),
    }


def health_in_turn(health: ServerHealth, stats: LiveStats | None) -> ServerHealth:
    """Add what the running turn shows of its model to the health of the server.

    While an answer streams, the server is not checked (R-29). Many servers load a model at the
    first prompt, so the last check may have found none loaded.
    """
    target = health.target
    model = health.model
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
    """None until the server was checked for the first time."""
    if status is None:
        return SIGNS.off, MUTED
    # one that is in use and away is a failure
    sign = SIGNS.failed if status.meaning.sign == SIGNS.off else status.meaning.sign
    return sign, SIGN_STYLES[sign]


def _head(name: str, value: str, style: str = "", *, says_now: bool = True) -> TextRow:
    """Write the first row of a section: its name or state in bold, and a value."""
    return replace(_row(name, value, style, says_now=says_now), label_style=STRONG)


def _row(label: str, value: str, style: str = "", *, says_now: bool = True) -> TextRow:
    """Write a figure; an unknown one is `–`, but blank in a row that says something now."""
    if value == UNKNOWN:
        value = "" if says_now else UNKNOWN
        style = MUTED
    return TextRow(label, value, style, says_now=says_now)


def search_word(state: ServerState | None) -> str:
    """Return `checking` once there is a server to use."""
    words = {
        None: "looking",
        ServerState.AWAY: "not found",
        ServerState.NEEDS_KEY: "needs key",
        ServerState.NO_MODEL: "not chosen",
    }
    return words.get(state, "checking")


def _server_rows(facts: PanelFacts) -> Section:
    """Show state, address and the latencies of the last checks.

    At the right of the address is the reason of the state, or the last latency.
    """
    health = facts.health
    word = search_word(facts.search)
    reason = ""
    if health.status is not None:
        word, reason = health.status.meaning.panel
    sign, style = server_sign(health.status)
    target = health.target
    address = target.endpoint.netloc if target else UNKNOWN
    name = facts.server_name.removesuffix(f" {address}")  # the next row has it
    latency = reason or units.latency(health.latency_ms)
    latencies_ms = health.latencies_ms if len(health.latencies_ms) > 1 else ()  # one compares none
    return [
        TextRow(name or "Server", word, style, STRONG, (f"{sign} ", style)),
        _row(
            "last check" if address == name else address,
            latency,
            says_now=UNKNOWN not in (address, latency),
        ),
        BarRow(
            draw=partial(spark, latencies_ms, at_least=_CALM_LATENCY_MS),
            says_now=bool(health.latencies_ms),
        ),
    ]


def _model_rows(facts: PanelFacts) -> Section:
    """Show state, quantization, window and profile.

    While the server is down, when it was last seen takes the place of the window.
    """
    health = facts.health
    model = health.model
    state, state_style = _model_state(health, facts.loading)
    name = name_to_show(model.model_id) if model else ""
    window = ""
    if not health.is_down:
        window = units.window_of_most(model.context_loaded, model.context_max) if model else ""
    elif health.seen_s is not None:
        window = f"seen {units.rough_time(facts.now_s - health.seen_s)} ago"
    figures = f" {SIGNS.dot} ".join(filter(None, (model.quantization if model else "", window)))
    rows = [
        TextRow(
            name or "Model",
            state,
            state_style or MUTED,
            f"{STRONG} {MODEL}" if name else STRONG,
            (f"{SIGNS.remote} ", _WARN) if model is not None and model.is_remote else ("", ""),
            is_name=True,
            says_now=bool(name),
        ),
        TextRow(figures or UNKNOWN, says_now=bool(name and figures)),
    ]
    return [*rows, _row("profile", facts.profile)] if facts.profile else rows


def _model_state(health: ServerHealth, loading: str) -> StyledText:
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
    if model.state is LoadState.UNKNOWN:
        return "", MUTED
    return model.state_word, "" if model.state is LoadState.LOADED else MUTED


def _context_rows(facts: PanelFacts) -> Section:
    """Show how full the context window is, and warnings about it."""
    used = facts.used
    limit = facts.limit
    if limit and limit >= _LARGE_WINDOW and used is not None:  # rounded, to fit
        text = f"{'~' if facts.is_estimated else ''}{units.window(used)} of {units.window(limit)}"
    else:
        text = units.whole_number(used, is_estimated=facts.is_estimated)
        text += f" of {units.whole_number(limit)}" if limit else ""
    says_now = used is not None
    share = used / limit if used is not None and limit else None
    rows: list[GivenRow] = [
        _head("Context", UNKNOWN if share is None else units.percent(share), says_now=says_now),
        BarRow(draw=partial(meter, share), says_now=share is not None),
        TextRow(f"{text}{units.GAP}tok", says_now=says_now),
    ]
    if facts.left_out:
        left_out = f"! {units.counted(facts.left_out, 'message')} left out"
        rows.append(TextRow(left_out, label_style=_WARN))
    if facts.can_compact:
        rows.append(TextRow("/compact makes room", label_style=_WARN))
    return rows


def _turn_rows(facts: PanelFacts) -> Section:
    """Show the stage of the turn and its speed, with bars.

    While the turn runs, the section keeps its height, so that no figure moves.
    """
    stats = facts.stats
    says_now = facts.is_running or facts.is_asking or facts.read_ahead is not None
    stage, style = stage_text(stats, facts.now_s) if stats is not None else ("Turn", "")
    fraction = stats.fraction if stats is not None and facts.is_running else None
    speed = units.rate(stats.tokens_per_second if stats is not None else None)
    if facts.is_asking:
        stage = "waiting for you"
        style = _WARN
        speed = ""
    elif facts.read_ahead is not None:
        fraction = facts.read_ahead
        stage = f"reading ahead{units.progress_suffix(fraction)}"
        style = ""
        speed = ""
    elif facts.is_summarising and stage == Stage.ANSWERING:
        stage = "summarising"
    elif stats is not None and stats.stage is Stage.STALLED:
        speed = ""  # a long stall leaves no room for it
    head = _head(stage, speed, STRONG if facts.is_running else "", says_now=says_now)
    if style:
        head = replace(head, label_style=f"{STRONG} {style}")
    speeds = facts.speeds if fraction is None else ()
    upper = partial(graph, speeds, is_upper=True)
    return [
        head,
        BarRow(draw=upper if fraction is None else partial(meter, fraction), says_now=says_now),
        BarRow(draw=partial(graph, speeds, is_upper=False), says_now=says_now),
        _row("first token", units.exact_time(stats.ttft_ms if stats else None), says_now=says_now),
        _row(
            "elapsed",
            units.elapsed(stats.elapsed_s(facts.now_s)) if stats else UNKNOWN,
            says_now=says_now,
        ),
    ]


def stage_text(stats: LiveStats, now_s: float) -> StyledText:
    """Return words for the stage of a running turn, or for how it ended."""
    if not stats.is_running:
        return stats.state.value, _BAD if stats.state in _FAILURES else ""
    share = units.progress_suffix(stats.fraction)
    match stats.stage:
        case Stage.LOADING if share:
            return f"loading{share}", _WARN
        case Stage.READING if share:  # `reading prompt 40 %` of its value is too wide
            return f"reading{share}", ""
        case Stage.STALLED:
            return f"stalled {units.elapsed(stats.silent_s)}", _WARN
        case Stage.RETRYING:
            return stats.stage_label(now_s), _WARN
        case _:
            return stats.stage.value, ""


def _request_rows(facts: PanelFacts) -> Section:
    """Show the counters of this run, and how many requests may be sent now.

    Failed requests are red if the last turn failed.
    """
    metrics = facts.metrics
    rate_limit = facts.rate_limit
    is_limited = bool(rate_limit.limit)
    left = rate_limit.left
    rows = [
        _row(
            "failed",
            units.whole_number(metrics.failed_requests),
            _BAD if facts.has_failed else "",
            says_now=facts.has_failed and metrics.failed_requests > 0,
        ),
        _row(
            "retries",
            units.whole_number(metrics.retries),
            says_now=facts.stats is not None and facts.stats.retry is not None,
        ),
        _row("from the cache", units.whole_number(metrics.cache_hits), says_now=False),
        _row(
            "left per min",
            f"{left} of {rate_limit.limit}" if is_limited else "no limit",
            _BAD if is_limited and left <= 0 else "",
            says_now=is_limited and left < _FEW_REQUESTS,
        ),
    ]
    if facts.next_check_in_s is not None:
        rows.append(_row("next check", f"in {units.rough_time(facts.next_check_in_s)}"))
    answered = f"{units.whole_number(metrics.successful_requests)} answered"
    return [_head("Requests", answered, says_now=any(row.says_now for row in rows)), *rows]


def _activity_rows(facts: PanelFacts) -> Section:
    """Show whether tools are used, the steps of the last turn, and what was done last.

    A step is a round of tool calls.
    """
    steps = facts.stats.steps if facts.stats is not None else 0
    kind = "tools" if facts.has_tools else "chat"
    if facts.has_tools and steps:
        kind += f", step {steps}"
    says_now = facts.is_running and facts.has_tools
    last = facts.last_action
    return [
        _head("Activity", kind, says_now=says_now),
        _row("last", last or UNKNOWN, says_now=says_now and bool(last)),
    ]
