"""Servers, models and counters as JSON, the same from the command line and from `lmchat serve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmchat.base.errors import LMChatError
from lmchat.base.metrics import Metrics
from lmchat.base.units import rounded, timestamp
from lmchat.core.config.settings import Settings
from lmchat.core.servers.discovery.choose import Choice, no_server_error
from lmchat.core.servers.discovery.status import ServerState, ServerStatus
from lmchat.core.servers.endpoint import Endpoint, is_address
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.product import NOTHING_FOUND


def model_json(model: ModelInfo, name: str = "") -> dict[str, object]:
    """`name` is that by which `lmchat serve` lists it, such as `NAME@PRODUCT`."""
    own_fields = (
        "product",
        "state",
        "load_failure",
        "context_loaded",
        "context_max",
        "size_bytes",
        "capabilities",
        "efforts",
    )
    return {
        "id": name or model.model_id,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owned_by,
        "endpoint": model.endpoint.url,
        "type": model.kind or "llm",
        "params": model.params or None,
        "quantization": model.quantization or None,
        "runs_at": model.runs_at or None,
        **{field: getattr(model, field) for field in own_fields},
    }


def list_json(models: Mapping[str, ModelInfo]) -> dict[str, object]:
    return {"object": "list", "data": [model_json(model, name) for name, model in models.items()]}


def health_json(
    choice: Choice,
    servers: Sequence[ServerStatus],
    settings: Settings,
    *,
    error: LMChatError | None,
    has_problems: bool = False,
) -> dict[str, object]:
    """`error` says why nothing could be checked. Scripts read these names."""
    server = choice.server
    target = choice.target
    model = None
    is_loaded = can_answer = False
    if server is None or target is None or not server.state.is_usable:
        error = error or no_server_error(servers)
    else:
        model = target.model
        is_ready = server.state is ServerState.READY
        if model is None:
            # the user chooses the model of a provider
            can_answer = is_ready and not settings.model
        else:
            is_loaded = model.state is LoadState.LOADED
            # a server that reports no states answers at once, unless it loads on demand
            may_load = not is_ready or product_named(server.product).acts.loads_on_demand
            can_answer = (
                is_loaded or model.is_remote or (model.state is LoadState.UNKNOWN and not may_load)
            )
    shown_url = None
    if server is not None:
        shown_url = server.endpoint.url
    elif is_address(settings.endpoint):  # else it is not shown: it may hold a password
        shown_url = Endpoint.parse(settings.endpoint).url
    status = "ok" if can_answer else "degraded"  # the first answer may have to wait
    return {
        "healthy": error is None,
        "endpoint": shown_url,
        "models": len(server.models) if server else 0,
        "error": error.message if error else None,
        "status": "error" if error else status,
        "llm_available": error is None,
        "model": model.model_id if model else None,
        "model_loaded": is_loaded,
        "model_state": model.state if model else None,
        "orchestrator_ready": not has_problems,
        "timestamp": timestamp(),
    }


def detection_json(
    choice: Choice, servers: Sequence[ServerStatus], *, error: LMChatError | None = None
) -> dict[str, object]:
    """`error` says why nothing could be checked."""
    best = choice.server
    document: dict[str, object]
    if best is None:
        document = {"detected": False, "error": error.message if error else NOTHING_FOUND}
    else:
        document = {"endpoint": best.endpoint.url, "detected": True, **_status_json(best)}
        document["models"] = [model.model_id for model in best.models]
    document["candidates"] = [
        {
            "url": server.endpoint.url,
            **_status_json(server),
            "next_step": server.next_step or None,
            "detail": server.detail or None,
        }
        for server in servers
    ]
    return document


def metrics_json(metrics: Metrics) -> dict[str, object]:
    """Times are in milliseconds."""
    return {
        "totalRequests": metrics.total_requests,
        "successfulRequests": metrics.successful_requests,
        "failedRequests": metrics.failed_requests,
        "averageResponseTime": round(metrics.average_response_ms, 1),
        "cacheHits": metrics.cache_hits,
        "cacheMisses": metrics.cache_misses,
        "stoppedRequests": metrics.stopped_requests,
        "retries": metrics.retries,
        "refusedRequests": metrics.refused_requests,
    }


def _status_json(server: ServerStatus) -> dict[str, object]:
    return {
        "product": server.product,
        "verdict": server.word,
        "latency_ms": rounded(server.latency_ms),
    }
