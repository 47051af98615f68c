"""`lmchat health` and `lmchat detect`: what stands where, as JSON."""

from __future__ import annotations

from lmchat.cli.output import timestamp
from lmchat.cli.parts import Parts
from lmchat.cli.target import look, own_endpoints
from lmchat.cli.wiring import World, open_world
from lmchat.domain.candidate import NOTHING_FOUND, arrive_at, choose, why_unusable
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Verdict, is_address
from lmchat.errors import LMChatError


async def health(parts: Parts) -> int:
    """Print whether the server can answer; exit 1 if it cannot."""
    try:
        async with open_world(parts) as world:
            candidates = await look(world.backend, world.settings)
            candidate = _best(candidates, world)
    except LMChatError as error:
        parts.output.document(_health_json(parts, None, None, error.message))
        return error.exit_code
    model = _model(candidate, world)
    reason = "" if candidate and candidate.verdict.is_usable else why_unusable(candidates).message
    parts.output.document(_health_json(parts, candidate, model, reason))
    return 1 if reason else 0


async def detect(parts: Parts) -> int:
    """Print every place that was looked at and what was found; exit 3 if no server is among them."""
    try:
        async with open_world(parts) as world:
            candidates = await world.backend.detect(expected=own_endpoints(world.settings))
            best = _best(candidates, world)
    except LMChatError as error:
        parts.output.document({"detected": False, "error": error.message, "candidates": []})
        return error.exit_code
    listed = [_candidate_json(candidate) for candidate in candidates]
    if best is None:
        parts.output.document({"detected": False, "error": NOTHING_FOUND, "candidates": listed})
        return 3
    parts.output.document(
        {
            "endpoint": best.endpoint.url,
            "detected": True,
            "product": best.product,
            "verdict": best.verdict,
            "latency_ms": _rounded(best.latency_ms),
            "models": [model.model_id for model in best.models],
            "candidates": listed,
        }
    )
    return 0


def _best(candidates: tuple[Candidate, ...], world: World) -> Candidate | None:
    """Return what the chat screen would open, else any model server at all."""
    chosen = choose(candidates, model=world.settings.model, remembered=world.remembered).candidate
    return chosen or next((one for one in candidates if one.verdict.is_server), None)


def _model(candidate: Candidate | None, world: World) -> ModelInfo | None:
    if candidate is None or not candidate.verdict.is_usable:
        return None
    target = arrive_at(candidate, model=world.settings.model, remembered=world.remembered).target
    return target.model if target else None


def _health_json(
    parts: Parts, candidate: Candidate | None, model: ModelInfo | None, reason: str
) -> dict[str, object]:
    is_healthy = not reason
    is_loaded = model is not None and (
        model.state is LoadState.LOADED
        or (model.state is LoadState.UNKNOWN and candidate is not None and candidate.verdict is Verdict.READY)
    )
    return {
        "healthy": is_healthy,
        "endpoint": candidate.endpoint.url if candidate else _named(parts.loaded.settings.endpoint),
        "models": len(candidate.models) if candidate else 0,
        "error": reason or None,
        "status": ("ok" if is_loaded else "degraded") if is_healthy else "error",
        "llm_available": is_healthy,
        "model": model.model_id if model else None,
        "model_loaded": is_healthy and is_loaded,
        "orchestrator_ready": not parts.loaded.problems,
        "timestamp": timestamp(),
    }


def _named(url: str) -> str | None:
    return Endpoint.parse(url).url if is_address(url) else None


def _candidate_json(candidate: Candidate) -> dict[str, object]:
    return {
        "url": candidate.endpoint.url,
        "product": candidate.product,
        "verdict": candidate.verdict,
        "latency_ms": _rounded(candidate.latency_ms),
        "next_step": candidate.next_step or None,
        "detail": candidate.detail or None,
    }


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)
