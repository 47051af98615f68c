"""Rows of the telemetry panel as values, without drawing.

The services' figures come as one `TelemetrySnapshot`. Each section (server, model, context, …) is
a function that yields its rows: texts, meters and sparks. `telemetry_rows` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat import units
from lmchat.servers.answer import Stage, Turn
from lmchat.servers.discovery.probe_result import Health, Verdict
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.sessions.message import AnswerState
from lmchat.sessions.stats import Budget, Metrics
from lmchat.tui.widgets.line import MUTED, STRONG, StyledText, StyledTexts
from lmchat.units import UNKNOWN, Icons


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
    read_ahead_fraction: float | None = None
    """Part of the session that is read ahead; None while nothing is."""
    next_check_s: float | None = None  # monotonic time of the next check
    warning: str = ""  # lasting problem, as "nothing is saved: disk full"


class TextRow(Struct, frozen=True, kw_only=True):
    """A label and a value."""

    left: StyledTexts  # shortened where room is short
    right: StyledTexts = ()  # cut only if `is_words`, or if it is wider than the panel
    is_words: bool = False  # whether `right` is shortened rather than `left`
    short: StyledTexts = ()  # replacement of `right` where that has no room
    sign: str = ""  # name of the field of `Icons` drawn before `left`
    sign_style: str = ""
    loses_middle: bool = False  # whether `left`, an address or a name, is cut in its middle
    is_detail: bool = False  # whether the row is dropped first on a short screen


class MeterRow(Struct, frozen=True, kw_only=True):
    """Bar whose used part is a fraction, from 0 to 1; None if that is not known."""

    fraction: float | None


class SparkRow(Struct, frozen=True, kw_only=True):
    """Bars of the last values."""

    values: tuple[float | None, ...]  # newest last; None for a failure
    at_least: float = 0.0  # minimum value of a full bar, so that small values look small


TelemetryRow = TextRow | MeterRow | SparkRow
SectionRows = Callable[["TelemetrySnapshot", float], Iterator[TelemetryRow]]

_OK, _WARN, _BAD = "$success", "$warning", "$error"
# names of fields of `Icons` by the style of a state; `off` for other styles
_SIGNS: Mapping[str, str] = {_OK: "ready", _WARN: "degraded", _BAD: "down"}
_FAILURES = (AnswerState.INTERRUPTED, AnswerState.FAILED)
_CALM_LATENCY_MS = 8.0  # a full bar below this latency, so that small changes look small


class StateWords(Struct, frozen=True):
    """State as a word in a style, and what is added to it or replaces it."""

    word: str
    style: str = ""
    reason: str = ""  # replaces the latency
    short: str = ""  # replaces the word where that has no room


_VERDICTS: Mapping[Verdict, StateWords] = {
    Verdict.READY: StateWords("ready", _OK),
    Verdict.LOADING: StateWords("loading", _WARN),
    Verdict.NO_MODEL: StateWords("no model", _WARN),
    Verdict.NEEDS_KEY: StateWords("needs key", _WARN),
    Verdict.KEY_REJECTED: StateWords("key", _BAD, "rejected"),
    Verdict.HOST_BLOCKED: StateWords("blocked", _BAD, "host"),
    Verdict.SERVER_OFF: StateWords("down", _BAD, "server off"),
    Verdict.SERVER_ERROR: StateWords("down", _BAD, "error"),
    Verdict.NOT_AN_LLM: StateWords("down", _BAD, "not an LLM"),
    Verdict.REFUSED: StateWords("down", _BAD, "refused"),
    Verdict.TIMED_OUT: StateWords("down", _BAD, "timed out"),
}


def server_sign(verdict: Verdict | None, icons: Icons) -> StyledText:
    """Return the sign of a server's state, and its style.

    `verdict` is None while the server is checked for the first time: the sign is then muted.
    """
    style = _VERDICTS[verdict].style if verdict else MUTED
    return getattr(icons, _SIGNS.get(style, "off")), style


def _head(name: str, word: str, style: str = "", **options: Any) -> TextRow:
    """Return the first row of a section: its name, and a word for its state."""
    return TextRow(left=((name, STRONG),), right=((word, style),), **options)


def _figure(label: str, value: str, style: str = "", **options: Any) -> TextRow:
    """Return a row with a label and a value in a style; `UNKNOWN` is always muted."""
    if value == UNKNOWN:
        style = MUTED
    return TextRow(left=((label, MUTED),), right=((value, style),), **options)


def _server_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[TelemetryRow]:
    """Yield name and state of the server, its address, and the latencies of the last checks."""
    health = snapshot.health
    name = health.product or "Server"
    state = StateWords("not found" if snapshot.lacks_server else "checking", MUTED)
    if health.verdict:
        state = _VERDICTS[health.verdict]
    sign = _SIGNS.get(state.style, "off")
    yield _head(name, state.word, state.style, sign=sign, sign_style=state.style)
    address = health.endpoint.netloc if health.endpoint else UNKNOWN
    reason_or_latency = state.reason or units.latency(health.latency_ms)
    yield TextRow(left=((address, MUTED),), right=((reason_or_latency, ""),), loses_middle=True)
    yield SparkRow(values=health.latencies_ms, at_least=_CALM_LATENCY_MS)


def _model_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[TelemetryRow]:
    """Yield the state of the model, its name, its context window, and the profile in use, if any.

    While the server is down, the time since it was last seen is in place of the context window.
    """
    health = snapshot.health
    model = _current_model(snapshot)
    state = _model_state(snapshot, model, now_s)
    yield _head("Model", state.word, state.style)
    name = model.model_id if model else UNKNOWN
    quantization = model.quantization if model else ""
    is_known = model is not None and not health.is_down
    yield TextRow(
        left=((name, "" if is_known else MUTED),),
        right=((quantization, MUTED),),
        loses_middle=True,
    )
    if health.is_down:
        last_seen = UNKNOWN
        if health.seen_s is not None:
            last_seen = f"{units.ago(now_s - health.seen_s)} ago"
        yield TextRow(left=(("last seen", MUTED),), right=((last_seen, ""),), is_detail=True)
    else:
        window = context_text(model) or UNKNOWN
        yield TextRow(left=(("context", MUTED),), right=((window, ""),), is_detail=True)
    if snapshot.profile:
        yield _figure("profile", snapshot.profile, is_words=True)


def _model_state(snapshot: TelemetrySnapshot, model: ModelInfo | None, now_s: float) -> StateWords:
    """Return the state of the model in words; "unknown" also while the server is down.

    While the model loads, its progress follows if the server reports it. Otherwise it is the time
    since the loading began, or was first noticed, if the snapshot has that.
    """
    unknown = StateWords("unknown", MUTED)
    if snapshot.health.is_down:
        return unknown
    if snapshot.loading_since_s is not None:
        elapsed = f" {units.ago(now_s - snapshot.loading_since_s)}"
        return StateWords(f"loading{units.so_far(snapshot.loading_fraction) or elapsed}", _WARN)
    if model is None or model.state is LoadState.UNKNOWN:
        return unknown
    if model.state is LoadState.LOADING:
        return StateWords(f"loading{units.so_far(model.load_fraction)}", _WARN)
    return StateWords(model.state.value, "" if model.state is LoadState.LOADED else MUTED)


def _current_model(snapshot: TelemetrySnapshot) -> ModelInfo | None:
    """Return the model of the snapshot, with the state that the running turn shows.

    While a turn runs, the server is not asked for the state. A model that was not in memory is
    loading if the turn says so, and is loaded once it reads the prompt or has sent a token.
    """
    model = snapshot.health.model
    turn = snapshot.turn
    if model is None or model.state not in (LoadState.ASLEEP, LoadState.NOT_LOADED):
        return model
    if turn is None or not turn.is_running or turn.model != model.model_id:
        return model
    if turn.stage is Stage.LOADING:
        return replace(model, state=LoadState.LOADING, load_fraction=turn.fraction)
    if turn.stage is Stage.READING or turn.first_token_s is not None:
        return replace(model, state=LoadState.LOADED)
    return model


def context_text(model: ModelInfo | None) -> str:
    """Return the context window as loaded, and the largest one of the model: `8k of 32k`.

    If only one is known, or they are equal, return that; if none is known, an empty text.
    """
    if model is None:
        return ""
    loaded = units.window(model.context_loaded)
    most = units.window(model.context_max)
    if loaded and most and loaded != most:
        return f"{loaded} of {most}"
    return loaded or most


def _context_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[TelemetryRow]:
    """Yield how full the context window is: as a percentage, a bar, and numbers of tokens.

    Warnings follow if messages are left out, or if `/compact` would make room.
    """
    used, limit = snapshot.context_tokens, snapshot.context_limit
    share = used / limit if used is not None and limit else None
    yield _head("Context", UNKNOWN if share is None else units.percent(share))
    yield MeterRow(fraction=share)
    words = units.tokens(used, is_estimated=snapshot.is_context_estimated)
    short_words = words
    if limit:
        words = f"{words} of {units.tokens(limit)}"
    if share is not None:
        approx = "~" if snapshot.is_context_estimated else ""
        short_words = f"{approx}{units.window(used)} of {units.window(limit)}"
    yield TextRow(left=(("used", MUTED),), right=((words, ""),), short=((short_words, ""),))
    if snapshot.left_out:
        left_out = units.counted(snapshot.left_out, "message")
        yield TextRow(left=((f"! {left_out} left out", _WARN),))
    if snapshot.can_compact:
        yield TextRow(left=(("/compact makes room", _WARN),))


def _turn_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[TelemetryRow]:
    """Yield the stage of the last turn, its figures, and the speeds of the last seconds as bars.

    While a tool call waits for the user, words for that are in place of the stage; else, while the
    server reads the session ahead, its progress is. Before the first turn, the figures are
    `UNKNOWN`. After a turn of which no speeds are known, no bars follow.
    """
    turn = snapshot.turn
    stage = stage_words(turn)
    if snapshot.is_asking:
        stage = StateWords("waiting for you", _WARN)
    elif snapshot.read_ahead_fraction is not None:
        share = units.so_far(snapshot.read_ahead_fraction)
        stage = StateWords(f"reading ahead{share}", short=f"ahead{share}")
    yield _head("Turn", stage.word, stage.style, short=((stage.short or stage.word, stage.style),))
    if turn is None:
        yield _figure("elapsed", UNKNOWN)
        yield _figure("first token", UNKNOWN)
        yield _figure("speed", UNKNOWN)
        yield SparkRow(values=())
        return
    yield _figure("elapsed", units.elapsed(turn.elapsed_s(now_s)))
    yield _figure("first token", units.exact_time(turn.ttft_s))
    yield _figure("speed", units.rate(turn.tokens_per_second))
    if snapshot.speeds or turn.is_running:
        yield SparkRow(values=snapshot.speeds)


def stage_words(turn: Turn | None) -> StateWords:
    """Return words for the stage of a running turn, or for how the turn ended.

    Without a turn the word is `UNKNOWN`. The progress is added while a model loads or reads, the
    silence while it is stalled, and the wait before a retry.
    """
    if turn is None:
        return StateWords(UNKNOWN, MUTED)
    if not turn.is_running:
        return StateWords(turn.state.value, _BAD if turn.state in _FAILURES else "")
    word = turn.stage_word
    match turn.stage:
        case Stage.LOADING | Stage.READING:
            share = units.so_far(turn.fraction)
            style = _WARN if share and turn.stage is Stage.LOADING else ""
            first_word, *_ = word.split()  # `reading 41 %` is short for `reading prompt 41 %`
            return StateWords(f"{word}{share}", style, short=f"{first_word}{share}")
        case Stage.STALLED:
            return StateWords(f"stalled {units.elapsed(turn.silent_s)}", _WARN)
        case Stage.RETRYING if turn.retry is not None:
            short = f"retry {turn.retry.attempt}/{turn.retry.attempts}"
            wait = units.elapsed(turn.retry.wait_s)
            return StateWords(f"{short} in {wait}", _WARN, short=short)
    return StateWords(word)


def _request_rows(snapshot: TelemetrySnapshot, _now_s: float) -> Iterator[TelemetryRow]:
    """Yield how many requests are left in this minute, and the counters of this run."""
    metrics = snapshot.metrics
    budget = snapshot.budget
    if budget is None:
        yield _head("Requests", UNKNOWN)
    else:
        left = f"{budget.left} of {budget.limit}/min"
        yield _head("Requests", left, _BAD if budget.left <= 0 else "")
    yield _figure("ok", units.tokens(metrics.successful_requests))
    has_failed = snapshot.turn is not None and snapshot.turn.state in _FAILURES
    failed = units.tokens(metrics.failed_requests)
    yield _figure("failed", failed, _BAD if has_failed else "")
    yield _figure("retries", units.tokens(metrics.retries), is_detail=True)
    yield _figure("from cache", units.tokens(metrics.cache_hits), is_detail=True)


def _activity_rows(snapshot: TelemetrySnapshot, now_s: float) -> Iterator[TelemetryRow]:
    """Yield whether tools are used, and the number of steps of the last turn if they are.

    While the server is down, the next check follows, otherwise the last action.
    """
    yield _head("Activity", "tools" if snapshot.has_tools else "chat", is_detail=True)
    if snapshot.has_tools:
        steps = snapshot.turn.steps if snapshot.turn else 0
        yield _figure("steps", str(steps), is_detail=True)
    if snapshot.health.is_down and snapshot.next_check_s is not None:
        wait = units.ago(snapshot.next_check_s - now_s)
        yield _figure("next check", f"in {wait}", is_detail=True)
    else:
        yield _figure("last", snapshot.last_action or UNKNOWN, is_words=True, is_detail=True)


_SECTIONS: Mapping[str, SectionRows] = {
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
) -> list[TelemetryRow | None]:
    """Return the rows of some sections in at most `height` rows; None is a blank row between two.

    Unknown names of sections are left out. Where room is short, the details of all sections are
    dropped first, then the last sections, and at last the end of the only one that remains.
    """
    shown = [list(_SECTIONS[name](snapshot, now_s)) for name in sections if name in _SECTIONS]
    if _height(shown) > height:
        without_details = map(_without_details, shown)
        shown = [section for section in without_details if section]
    while len(shown) > 1 and _height(shown) > height:
        shown.pop()

    rows: list[TelemetryRow | None] = []
    for section in shown:
        if rows:
            rows.append(None)
        rows += section
    return rows[: max(height, 0)]


def _without_details(section: Sequence[TelemetryRow]) -> list[TelemetryRow]:
    return [row for row in section if not (isinstance(row, TextRow) and row.is_detail)]


def _height(sections: Sequence[Sequence[TelemetryRow]]) -> int:
    """Return the number of rows of sections with a blank row between each two."""
    return sum(len(section) + 1 for section in sections) - 1
