"""Sections of the telemetry panel: functions from what is known to rows in a form.

In the short form, a section that says nothing now has no rows, and none has a row with `–`.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from lmchat import units
from lmchat.answers.live_stats import LiveStats, Stage
from lmchat.metrics import Metrics, RateLimit
from lmchat.servers.discovery.status import ServerHealth, ServerState, ServerStatus
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.sessions.message import AnswerState
from lmchat.tui.widgets.line import MODEL, MUTED, SIGN_STYLES, STRONG, StyledText
from lmchat.tui.widgets.telemetry_panel import (
    DrawnRow,
    Form,
    GraphRow,
    MeterRow,
    NameRow,
    Sections,
    SparkRow,
    TextRow,
)
from lmchat.units import SIGNS, UNKNOWN

LOOKING = "looking for a server"
"""Words of the first search, in place of model and server."""
_WARN, _BAD = "$warning", "$error"
_FAILURES = (AnswerState.INTERRUPTED, AnswerState.FAILED)
_LARGE_WINDOW = 100_000  # from here, numbers of tokens are rounded to fit
_FEW_REQUESTS = 10  # the short form says so
_CALM_LATENCY_MS = 8.0  # a full bar below this latency, so that small changes look small


class PanelFacts(Struct, frozen=True, kw_only=True):
    """What the panel shows. Times `…_s` are monotonic seconds; None is unknown."""

    health: ServerHealth
    """The last check, with what a running turn shows (`health_in_turn`)."""
    search: ServerState | None = None  # how far the search for a server is
    now_s: float = 0.0
    loading: str = ""  # how far the model in use is loaded; empty while it is not loading
    profile: str = ""  # of the profile in use; empty for none
    used: int | None = None  # tokens in the context window
    limit: int | None = None  # its size
    is_estimated: bool = False  # `used` is
    left_out: int = 0  # messages that the next request leaves out
    can_compact: bool = False  # `/compact` would make room
    stats: LiveStats | None = None  # of the answer that began last in the session
    speeds: tuple[float, ...] = ()  # tokens of each of the last seconds, oldest first
    is_asking: bool = False  # a tool call waits for the user
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


def panel_sections(facts: PanelFacts, form: Form) -> Sections:
    return {
        "server": _server_rows(facts, form),
        "model": _model_rows(facts, form),
        "context": _context_rows(facts, form),
        "turn": _turn_rows(facts, form),
        "requests": _request_rows(facts, form),
        "activity": _activity_rows(facts, form),
    }


def health_in_turn(health: ServerHealth, stats: LiveStats | None) -> ServerHealth:
    """Add what the running turn shows of its model to the health of the server.

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
    """None until the server was checked for the first time."""
    if status is None:
        return SIGNS.off, MUTED
    # one that is in use and away is a failure
    sign = SIGNS.failed if status.sign == SIGNS.off else status.sign
    return sign, SIGN_STYLES[sign]


def _head(name: str, value: str, style: str = "") -> TextRow:
    """Write the first row of a section: its name or state in bold, and a value."""
    return TextRow(label=name, value=value, style=style, label_style=STRONG)


def _row(label: str, value: str, style: str = "") -> TextRow:
    return TextRow(label=label, value=value, style=MUTED if value == UNKNOWN else style)


def search_word(state: ServerState | None) -> str:
    """Return `checking` once there is a server to use."""
    words = {None: "looking", ServerState.AWAY: "not found", ServerState.NEEDS_KEY: "needs key"}
    return words.get(state, "checking")


def _server_rows(facts: PanelFacts, form: Form) -> list[DrawnRow]:
    """Show state, address and the latencies of the last checks.

    At the right of the address is the reason of the state, or the last latency.
    """
    health = facts.health
    word, reason = search_word(facts.search), ""
    if health.status is not None:
        word, reason = health.status.panel
    sign, style = server_sign(health.status)
    target = health.target
    name = target.server_name if target else ""
    address = target.endpoint.netloc if target else UNKNOWN
    rows: list[DrawnRow] = [
        TextRow(
            label=name or "Server",
            value=word,
            style=style,
            label_style=STRONG,
            sign=(f"{sign} ", style),
        )
    ]
    latency = reason or units.latency(health.latency_ms)
    is_known = UNKNOWN not in (address, latency)
    if is_known or form is not Form.SHORT:
        rows.append(_row("address" if address == name else address, latency))
    if form is not Form.COMPACT and (health.latencies_ms or form is not Form.SHORT):
        rows.append(SparkRow(health.latencies_ms, at_least=_CALM_LATENCY_MS))
    return rows


def _model_rows(facts: PanelFacts, form: Form) -> list[DrawnRow | NameRow]:
    """Show state, quantization, window and profile.

    While the server is down, when it was last seen takes the place of the window.
    """
    health = facts.health
    model = health.model
    state, state_style = _model_state(health, facts.loading)
    name = (model.model_id if model else "") or UNKNOWN
    quantization = model.quantization if model else ""
    if not health.is_down:
        window = context_text(model)
    elif health.seen_s is None:
        window = ""
    else:
        window = f"seen {units.rough_time(facts.now_s - health.seen_s)} ago"
    sign = (f"{SIGNS.remote} ", _WARN) if model is not None and model.is_remote else ("", "")
    profile = [_row("profile", facts.profile)] if facts.profile else []
    if form is Form.SHORT:
        if name == UNKNOWN:
            return [*profile]
        figures = f" {SIGNS.dot} ".join(filter(None, (quantization, window)))
        return [
            NameRow(name, state, state_style or MUTED, f"{STRONG} {MODEL}", sign),
            *([TextRow(figures)] if figures else []),
            *profile,
        ]
    last = _row(quantization or UNKNOWN, window or UNKNOWN)
    if form is Form.COMPACT:
        label = f"{last.label} {SIGNS.dot} {facts.profile}" if facts.profile else last.label
        name_row = TextRow(name, state, state_style, f"{STRONG} {MODEL}", sign)
        return [name_row, replace(last, label=label)]
    name_style = MUTED if name == UNKNOWN else MODEL
    return [
        _head("Model", state, state_style),
        NameRow(name, name_style=name_style, sign=sign),
        last,
        *profile,
    ]


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
    return model.state_word, "" if model.state is LoadState.LOADED else MUTED


def context_text(model: ModelInfo | None) -> str:
    """Return the context window of a model, and its largest one, or ""."""
    return "" if model is None else units.windows(model.context_loaded, model.context_max)


def _context_rows(facts: PanelFacts, form: Form) -> list[DrawnRow]:
    """Show how full the context window is, and warnings about it."""
    used, limit = facts.used, facts.limit
    if used is None and form is Form.SHORT:
        return []
    share = used / limit if used is not None and limit else None
    if limit and limit >= _LARGE_WINDOW and used is not None:  # rounded, to fit
        words = f"{'~' if facts.is_estimated else ''}{units.window(used)} of {units.window(limit)}"
    else:
        words = units.whole_number(used, is_estimated=facts.is_estimated)
        words += f" of {units.whole_number(limit)}" if limit else ""
    warnings: list[DrawnRow] = []
    if facts.left_out:
        left_out = f"! {units.counted(facts.left_out, 'message')} left out"
        warnings.append(TextRow(left_out, label_style=_WARN))
    if facts.can_compact:
        warnings.append(TextRow("/compact makes room", label_style=_WARN))
    if form is Form.SHORT:
        tokens = f"{words}{units.GAP}tok"
        if share is None:
            return [_head("Context", tokens), *warnings]
        return [_head("Context", units.percent(share)), MeterRow(share), TextRow(tokens), *warnings]
    head = _head("Context", UNKNOWN if share is None else units.percent(share))
    if form is Form.COMPACT:
        if not warnings:
            return [head, _row("used", words)]
        label = f"! {facts.left_out} left out" if facts.left_out else "! /compact"
        return [head, TextRow(label, words, label_style=_WARN)]
    return [head, MeterRow(share), _row("used", words), *warnings]


def _turn_rows(facts: PanelFacts, form: Form) -> list[DrawnRow]:
    """Show the stage of the turn and its speed, with bars.

    The short form has it while the turn runs, and then keeps its height, so that no figure moves.
    """
    stats = facts.stats
    stage, style = stage_text(stats, facts.now_s)
    fraction = stats.fraction if stats is not None else None
    if facts.is_asking:
        stage, style = "waiting for you", _WARN
    elif facts.read_ahead is not None:
        fraction = facts.read_ahead
        stage, style = f"reading ahead{units.progress_suffix(fraction)}", ""
    elif not facts.is_running and form is Form.SHORT:
        return []
    label_style = f"{STRONG} {style}" if style not in ("", MUTED) else STRONG
    speed = units.rate(stats.tokens_per_second if stats else None)
    elapsed = units.elapsed(stats.elapsed_s(facts.now_s)) if stats else UNKNOWN
    first_token = units.exact_time(stats.ttft_ms if stats else None)
    graph: list[DrawnRow] = [GraphRow(facts.speeds, is_upper=up) for up in (True, False)]
    if fraction is not None and (facts.is_running or facts.read_ahead is not None):
        graph = [MeterRow(fraction), GraphRow((), is_upper=False)]
    if form is Form.SHORT:
        if facts.is_running and UNKNOWN not in (speed, first_token):
            head = TextRow(stage, speed, STRONG, label_style)
            return [head, *graph, _row("first token", first_token), _row("elapsed", elapsed)]
        head = TextRow(stage, elapsed if facts.is_running else "", STRONG, label_style)
        return [head, *graph, TextRow(""), TextRow("")]
    if stats is None and facts.read_ahead is None:
        stage = "Turn"
    style = STRONG if facts.is_running else ""
    head = TextRow(stage, speed, MUTED if speed == UNKNOWN else style, label_style)
    if form is Form.ALL:
        return [head, *graph, _row("first token", first_token), _row("elapsed", elapsed)]
    joined = _row(f"first token {first_token}", elapsed)
    return [head, joined] if form is Form.COMPACT else [head, *graph, joined]


def stage_text(stats: LiveStats | None, now_s: float) -> StyledText:
    """Return words for the stage of a running turn, or for how it ended."""
    if stats is None:
        return UNKNOWN, MUTED
    if not stats.is_running:
        return stats.state.value, _BAD if stats.state in _FAILURES else ""
    share = units.progress_suffix(stats.fraction)
    match stats.stage:
        case Stage.LOADING if share:
            return f"loading{share}", _WARN
        case Stage.READING if share:  # `reading prompt 40 %` of `stage_word` is too wide
            return f"reading{share}", ""
        case Stage.STALLED:
            return f"stalled {units.elapsed(stats.silent_s)}", _WARN
        case Stage.RETRYING if stats.retry is not None:
            return stats.retry_words(stats.retry, now_s), _WARN
    return stats.stage_word, ""


def _request_rows(facts: PanelFacts, form: Form) -> list[DrawnRow]:
    """Show the counters of this run, and how many requests may be sent now.

    Failed requests are red if the last turn failed.
    """
    metrics, rate_limit = facts.metrics, facts.rate_limit
    answered = units.whole_number(metrics.successful_requests)
    failed = units.whole_number(metrics.failed_requests)
    retries = units.whole_number(metrics.retries)
    cached = units.whole_number(metrics.cache_hits)
    failed_style = _BAD if facts.has_failed else ""
    left_style = _BAD if rate_limit.limit and rate_limit.left <= 0 else ""
    left = f"{rate_limit.left} of {rate_limit.limit}" if rate_limit.limit else "no limit"
    left_words = f"{left} left" if rate_limit.limit else left
    next_check: list[DrawnRow] = []
    if facts.next_check_in_s is not None:
        next_check = [_row("next check", f"in {units.rough_time(facts.next_check_in_s)}")]
    match form:
        case Form.SHORT:
            is_short = bool(rate_limit.limit) and rate_limit.left < _FEW_REQUESTS
            retry = facts.stats.retry if facts.stats is not None else None
            if not (facts.has_failed or next_check or is_short or retry):
                return []
            head = _head("Requests", left_words if is_short else "", left_style)
            if facts.has_failed and metrics.failed_requests:
                head = _head("Requests", f"{failed} failed", _BAD)
            rows = [head]
            if is_short and head.value != left_words:
                rows.append(_row("left per min", left, left_style))
            if retry:
                rows.append(_row("retries", retries))
            return [*rows, *next_check]
        case Form.ALL:
            return [
                _head("Requests", f"{answered} answered"),
                _row("failed", failed, failed_style),
                _row("retries", retries),
                _row("from the cache", cached),
                _row("left per min", left, left_style),
                *next_check,
            ]
        case Form.JOINED:
            return [
                _head("Requests", left_words, left_style),
                _row(f"answered {answered}", f"failed {failed}", failed_style),
                _row(f"from the cache {cached}", f"retries {retries}"),
                *next_check,
            ]
        case Form.COMPACT:
            return [
                _head(f"{answered} answered", left_words, left_style),
                TextRow(
                    f"{failed} failed, {retries} {'retry' if metrics.retries == 1 else 'retries'}",
                    f"{cached} cached",
                    label_style=failed_style or MUTED,
                ),
            ]


def _activity_rows(facts: PanelFacts, form: Form) -> list[DrawnRow]:
    """Show whether tools are used, the steps of the last turn, and what was done last.

    A step is a round of tool calls.
    """
    steps = facts.stats.steps if facts.stats is not None else 0
    kind = "tools" if facts.has_tools else "chat"
    with_step = f"{kind}, step {steps}" if facts.has_tools and steps else kind
    last = _row("last", facts.last_action or UNKNOWN)
    match form:
        case Form.SHORT:
            if not (facts.is_running and facts.has_tools):
                return []
            return [_head("Activity", with_step), *([last] if facts.last_action else [])]
        case Form.ALL:
            step_rows = [_row("steps", str(steps))] if facts.has_tools else []
            return [_head("Activity", kind), *step_rows, last]
        case Form.JOINED:
            return [_head("Activity", with_step), last]
        case Form.COMPACT:
            value = last.value
            if facts.next_check_in_s is not None:
                value = f"next check in {units.rough_time(facts.next_check_in_s)}"
            return [_head(with_step, value)]
