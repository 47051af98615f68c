"""The data of the pictures: one garden, fixed figures, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from lmchat.app.tui.dialogs.model_picker import ModelActions, ModelPicker, ModelRecord
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.widgets.telemetry_rows import PanelFacts
from lmchat.base.metrics import Metrics, RateLimit
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.servers.discovery.status import (
    ServerHealth,
    ServerState,
    ServerStatus,
)
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import UsageReported
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.session import SearchHit, SessionGroup, SessionHeader

NOW = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)
LM_STUDIO = Endpoint.parse("localhost:1234")
OLLAMA = Endpoint.parse("localhost:11434")
QWEN = ModelInfo(
    model_id="qwen3-8b",
    endpoint=LM_STUDIO,
    product="LM Studio",
    state=LoadState.LOADED,
    params="8B",
    quantization="Q4_K_M",
    context_loaded=8192,
    context_max=32768,
    size_bytes=4_700_000_000,
    tools=True,
    reasoning=True,
)
LATENCIES = tuple(float(digit) for digit in "12113111211112111112113111211113")
SPEEDS = tuple(float(digit) for digit in "56676677656778776756676677656778")
TURN = LiveStats(
    model="qwen3-8b",
    started_s=100.0,
    sent_s=100.0,
    stage=Stage.ANSWERING,
    first_token_s=100.21,
    last_token_s=104.1,
    chunks=171,
    usage=UsageReported(tokens_per_second=42.3),
)


def ended(state: AnswerState, now_s: float) -> LiveStats:
    """Return the turn as it ended."""
    turn = replace(TURN)
    turn.end(state, now_s)
    return turn


HEALTH = ServerHealth(
    target=Target.of(QWEN),
    status=ServerStatus(endpoint=LM_STUDIO, product="LM Studio"),
    latencies_ms=LATENCIES,
    seen_s=100.0,
)
ANSWERING = PanelFacts(
    server_name="LM Studio",
    health=HEALTH,
    search=ServerState.READY,
    now_s=104.1,
    used=3362,
    limit=8192,
    stats=replace(TURN, steps=3),
    speeds=SPEEDS,
    metrics=Metrics(total_requests=15, successful_requests=14, failed_requests=1, cache_hits=6),
    rate_limit=RateLimit(left=57, limit=60),
    has_tools=True,
    last_action="weather",
)
_LOST = replace(
    HEALTH,
    status=ServerStatus(endpoint=LM_STUDIO, product="LM Studio", reason="offline"),
    latencies_ms=(*LATENCIES[:-4], None, None, None, None),
    seen_s=91.0,
)
_INTERRUPTED = ended(AnswerState.INTERRUPTED, 103.1)
DOWN = PanelFacts(
    server_name="LM Studio",
    health=_LOST,
    search=ServerState.READY,
    now_s=103.0,
    used=6880,
    limit=8192,
    is_estimated=True,
    left_out=2,
    stats=_INTERRUPTED,
    metrics=Metrics(total_requests=16, successful_requests=14, failed_requests=1, cache_hits=6),
    rate_limit=RateLimit(left=55, limit=60),
    next_check_in_s=3.0,
)


def header(
    number: int,
    title: str,
    *,
    parent: str | None = None,
    changed: datetime = NOW,
    tags: tuple[str, ...] = (),
) -> SessionHeader:
    return SessionHeader(
        session_id=f"{number:016x}",
        title=title,
        created_at=NOW,
        updated_at=changed,
        parent_id=parent,
        tags=tags,
    )


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    return NOW.replace(day=day, hour=hour, minute=minute)


GROUPS = (
    SessionGroup(
        name="Pinned",
        headers=(header(1, "Garden, all year", changed=at(12), tags=("garden",)),),
    ),
    SessionGroup(
        name="Today",
        headers=(
            header(2, "Plan for the garden"),
            header(3, "Which vegetables grow in half shade", changed=at(20, 13, 40)),
            header(4, "Which vegetables grow on the north side of a wall", changed=at(20, 11, 20)),
            header(5, "Regex for dates", changed=at(20, 9, 47)),
        ),
    ),
    SessionGroup(
        name="Yesterday",
        headers=(
            header(6, "Trip to the north", changed=at(19, 21, 15)),
            header(7, "with the train", parent=f"{6:016x}", changed=at(19, 21, 40)),
            header(8, "Letter to the landlord", changed=at(19, 18, 2)),
        ),
    ),
    SessionGroup(
        name="November",
        headers=(
            header(9, "Bread without kneading", changed=at(18)),
            header(10, "Why is the sky dark at night?", changed=at(9)),
        ),
    ),
)
OPEN_ID = f"{2:016x}"
UNREAD = {f"{5:016x}"}
KEYS = (
    ("escape", "stop"),
    ("ctrl+o", "model"),
    ("ctrl+n", "new"),
    ("ctrl+f", "find"),
    ("ctrl+e", "export"),
    ("ctrl+b", "sessions"),
    ("ctrl+t", "telemetry"),
)
LAST_KEYS = (("ctrl+p", "commands"), ("f1", "help"))


def model(model_id: str, product: str = "LM Studio", **more) -> ModelInfo:
    endpoint = OLLAMA if product == "Ollama" else LM_STUDIO
    more = {"state": LoadState.NOT_LOADED, "quantization": "Q4_K_M", "endpoint": endpoint} | more
    return ModelInfo(model_id=model_id, product=product, **more)


def picker_rows() -> list[ModelRecord]:
    def row(
        name: str,
        params: str = "",
        gb: float = 0,
        *capabilities: str,
        speed=None,
        recent=None,
        **more,
    ):
        size = {"size_bytes": round(gb * 1e9)} if gb else {}
        product = "Ollama" if ":" in name else "LM Studio"
        able = {"vision": "images"}
        abilities = {able.get(word, word): True for word in capabilities}
        shown = model(name, product, params=params, **abilities, **size, **more)
        return ModelRecord(model=shown, tokens_per_second=speed, recent_index=recent)

    large = {"context_max": 131072}
    loading = {"state": LoadState.LOADING, "load_fraction": 0.4}
    return [
        ModelRecord(model=QWEN, tokens_per_second=42.3, recent_index=1),
        row("qwen2.5-coder-14b", "14B", 8.9, "tools", context_max=32768, speed=23.1, recent=2),
        row("qwen3-30b-a3b", "30B", 17.3, "tools", "reasoning", **loading),
        row(
            "qwen2.5-vl-7b", "7B", 8.1, "tools", "vision", quantization="Q8_0", speed=31.0, **large
        ),
        row("gemma-3-4b", "4B", 2.4, quantization="Q4_0", **large),
        row("qwen3:4b", "4B", 2.6, "tools", "reasoning", context_max=40960, speed=68.4),
        row("llama3.2:3b", "3B", **large),
        row("mistral-nemo:12b", "12B"),
        row("phi4:14b", "14B"),
        row("smollm2:135m", "135M"),
        row("nomic-embed-text-v1.5", gb=0.084, kind="embedding"),
    ]


def model_picker(rows: Sequence[ModelRecord] | None = None, **acts: Callable) -> ModelPicker:
    """Return the picker of such rows, in which Qwen is in use; `acts` is what its keys call."""
    known: dict = {"load_or_unload": print, "load_with": print, "remove": print}
    return ModelPicker(
        picker_rows() if rows is None else rows,
        age_s=40,
        current=("http://localhost:1234", "qwen3-8b"),
        actions=ModelActions(**known | {"pull": None, "refresh": print} | acts),
    )


def place(product: str, port: int, verdict: str, next_step: str, **more) -> ServerStatus:
    endpoint = Endpoint.parse(f"localhost:{port}")
    return ServerStatus(
        endpoint=endpoint, product=product, reason=verdict, next_step=next_step, **more
    )


PLACES = (
    place("LM Studio", 1234, "server_off", "Open LM Studio: Developer, Start server"),
    place("llama.cpp", 8080, "not_an_llm", "Free the port, or llama-server --port 8081"),
    place("Jan", 1337, "offline", "Open Jan: Settings, Local API Server, Start"),
    place("Ollama", 11434, "offline", "ollama serve"),
    place("vLLM", 8000, "offline", "vllm serve MODEL"),
    place("SGLang", 30000, "offline", "sglang serve MODEL"),
    place("LiteLLM", 4000, "timeout", "Check which program uses port 4000"),
)


def hit(
    number: int, title: str, *, model: str = "", days: int = 0, words: tuple[str, str]
) -> SearchHit:
    return SearchHit(
        session_id=title,
        title=title,
        message_id=f"m{number}",
        role="assistant" if model else "user",
        model=model,
        created_at=NOW - timedelta(days=days),
        before=words[0],
        match="shade",
        after=words[1],
    )


HITS = (
    hit(1, "Plan for the garden", words=("… three metres long. Which vegetables do well in ", "?")),
    hit(
        2,
        "Plan for the garden",
        model="qwen3-8b",
        words=("… takes the widest rows first; those that bear ", " go last …"),
    ),
    hit(
        3,
        "Balcony in July",
        model="gemma-3-4b",
        days=17,
        words=("… a light model: direct, half ", ", full shade as an enum …"),
    ),
    hit(
        4,
        "Shader for water",
        days=23,
        words=("… why does the ", "r get darker towards the shore? …"),
    ),
)


def search_dialog(hits: Sequence[SearchHit] = HITS, query: str = "") -> SearchDialog:
    """Return the search, at the time of the hits that it finds for all words."""

    async def search(_query: str, *, limit: int) -> Sequence[SearchHit]:
        return hits[:limit]

    return SearchDialog(search, lambda: NOW, query)
