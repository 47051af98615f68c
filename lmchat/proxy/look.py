"""One look at one place: which product stands there, in what state, with which models."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Product, Verdict
from lmchat.errors import LMChatError, RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.proxy.environment_proxy import ProxyUnavailable
from lmchat.proxy.error_bodies import read_body
from lmchat.proxy.reply import Reply
from lmchat.proxy.servers import SERVERS, server_of
from lmchat.proxy.servers.base import Server
from lmchat.proxy.site import NoQuestionsLeftError, Site

QUESTIONS = 3
"""Most requests to one port in one scan (R-2)."""
_VERDICTS = {
    "host_blocked": Verdict.HOST_BLOCKED,
    "loading": Verdict.LOADING,
    "model_not_loaded": Verdict.NO_MODEL,
    "not_an_llm": Verdict.NOT_AN_LLM,
    "offline": Verdict.REFUSED,
    "timeout": Verdict.TIMED_OUT,
    "dropped": Verdict.NOT_AN_LLM,
}
_FOREIGN = frozenset({"wrong_path", "forbidden", "bad_request", "unsupported"})
"""Refusals that a model server would not give to the question for its models."""


class Place(Struct, frozen=True, kw_only=True):
    """Where to look, and what to expect."""

    endpoint: Endpoint
    """Where."""
    server: Server
    """What should be there."""
    is_own: bool = False
    """Whether the user named it."""
    is_spare: bool = False
    """Whether it is a second port of a product: worth telling only if something is there."""


async def look(site: Site, place: Place, known: Server | None = None) -> Candidate:
    """Look; never raises for a server that is away or odd. `known` saves finding out the product."""
    server, error = known or place.server, None
    is_sure = known is not None
    models: tuple[ModelInfo, ...] = ()
    verdict = Verdict.NO_MODEL
    try:
        if known is None:
            server, is_sure = await identify(site, place.server)
        site.is_identified = is_sure
        site.asked = replace(site.asked, product=server.product)
        # who is only expected here is not asked for what it alone has
        models = await _models(server if is_sure else server_of(Product.OPENAI_COMPATIBLE), site)
        verdict = verdict_of(models)
    except NoQuestionsLeftError:
        pass
    except (ServerUnavailable, ServerRejected, RequestInvalid) as caught:  # the last: a key that is none
        error = caught
        verdict = _verdict(caught, site, is_sure=is_sure)
        if verdict.is_server and not is_sure and not place.endpoint.is_loopback:
            server = server_of(
                Product.OPENAI_COMPATIBLE
            )  # a port is no proof on a machine of one's own choice
    return _candidate(site, place, server, verdict, models, error)


async def identify(site: Site, expected: Server) -> tuple[Server, bool]:
    """Find out which product answers, with as few questions as can be; also whether that is proven.

    Raises:
        ServerUnavailable: nothing answers.
    """
    if expected.opening_path:
        opening = await site.get(expected.opening_path)
        if expected.confirms(opening):
            return expected, True
        proven = _proven(opening)
        if proven is not None:
            return proven, True
    listed = await site.get("/v1/models")
    proven = _proven(listed)
    if proven is not None:
        return proven, True
    suspect = next((one for one in SERVERS if one.confirm_path and one.suspects(listed)), expected)
    if suspect.confirm_path and suspect.confirm_path != expected.opening_path and site.questions:
        reply = await site.get(suspect.confirm_path)
        if suspect.confirms(reply):
            return suspect, True
    is_list = listed.is_good and isinstance(listed.object.get("data"), list)
    return (server_of(Product.OPENAI_COMPATIBLE), False) if is_list else (expected, False)


def is_another(reply: Reply, known: Server) -> bool:
    """Whether a reply shows that the server which stood there before has given way to another."""
    proven = _proven(reply)
    if proven is not None:
        return proven.product is not known.product
    return known.signs_replies


def verdict_of(models: tuple[ModelInfo, ...]) -> Verdict:
    """Return what the list of models says about the server."""
    states = {model.state for model in models if not model.is_embedding}
    if LoadState.LOADED in states or LoadState.UNKNOWN in states:
        return Verdict.READY
    return Verdict.LOADING if LoadState.LOADING in states else Verdict.NO_MODEL


def next_step(verdict: Verdict, server: Server, endpoint: Endpoint, *, has_models: bool = True) -> str:
    """Return the one step that helps; `has_models` says whether the server lists any model."""
    steps = {
        Verdict.LOADING: "Wait until the model is loaded",
        Verdict.NO_MODEL: server.model_hint if has_models else server.empty_hint,
        Verdict.NEEDS_KEY: server.key_hint,
        Verdict.KEY_REJECTED: server.key_hint,
        Verdict.HOST_BLOCKED: server.host_hint,
        Verdict.SERVER_OFF: server.off_hint,
        Verdict.SERVER_ERROR: "See the server's log, then start it again",
        Verdict.NOT_AN_LLM: server.port_hint,
        Verdict.REFUSED: server.start_hint,
        Verdict.TIMED_OUT: server.start_hint if server.hosts else "See what holds port {port}",
    }
    return steps.get(verdict, "").format(port=endpoint.port, host=endpoint.host)


async def _models(server: Server, site: Site) -> tuple[ModelInfo, ...]:
    """Read the models; a server whose newer lists are not there costs one question more, and only once.

    What it lacks is remembered, so the next look has questions enough.
    """
    try:
        return await server.models(site)
    except NoQuestionsLeftError:
        site.questions = 1
        return await server.models(site)


def _proven(reply: Reply) -> Server | None:
    return next((server for server in SERVERS if server.proves(reply)), None)


def _verdict(error: LMChatError, site: Site, *, is_sure: bool) -> Verdict:
    if error.kind == "auth":
        if not is_sure and site.first is not None and _is_foreign_door(site.first):
            return Verdict.NOT_AN_LLM
        return Verdict.KEY_REJECTED if site.asked.has_key else Verdict.NEEDS_KEY
    if error.kind in _FOREIGN and not is_sure:
        return Verdict.NOT_AN_LLM
    return _VERDICTS.get(error.kind, Verdict.SERVER_ERROR)


def _is_foreign_door(reply: Reply) -> bool:
    """Whether a 401 is of a web site rather than of a model server."""
    is_page = read_body(reply.body, reply.headers.get("content-type", "")).is_html
    return is_page or reply.headers.get("www-authenticate", "").lower().startswith("basic")


def _candidate(
    site: Site,
    place: Place,
    server: Server,
    verdict: Verdict,
    models: tuple[ModelInfo, ...],
    error: LMChatError | None,
) -> Candidate:
    has_models = any(not model.is_embedding for model in models)
    step = next_step(verdict, server, place.endpoint, has_models=has_models)
    if error is not None and (isinstance(error, ProxyUnavailable) or error.kind == "certificate"):
        step = error.hint
    elif verdict is Verdict.NOT_AN_LLM and place.is_own:
        step = "Check the port and the path of the address"
        if error is not None and error.kind == "dropped" and place.endpoint.scheme == "http":
            step += ", and whether it begins with https://"
    elif verdict is Verdict.TIMED_OUT and place.endpoint.scheme == "https" and not server.hosts:
        step += (
            ", and whether its address begins with http://"  # llama.cpp waits for more of what it cannot read
        )
    return Candidate(
        endpoint=place.endpoint,
        product=server.product,
        verdict=verdict,
        latency_ms=site.first.elapsed_ms if site.first else None,
        models=models,
        detail=error.message if error else "",
        kind=error.kind if error else "",
        next_step=step,
        is_own=place.is_own,
    )
