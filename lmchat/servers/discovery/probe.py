"""One probe of an address: which product answers, in what state, with which models.

`run_probe` sends the requests by a `ServerApi` and turns what it finds, or the error, into a
`ProbeResult`: an address with its verdict and the next step for the user.
"""

from __future__ import annotations

from msgspec import Struct

from lmchat.errors import (
    LMChatError,
    NothingAnswers,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
)
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.probe_result import VERDICTS, ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.error_body import read_body
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products import UNKNOWN, identify, product_named
from lmchat.servers.products.product import Product
from lmchat.servers.products.server_api import ServerApi

_VERDICTS = {
    "host_blocked": Verdict.HOST_BLOCKED,
    "loading": Verdict.LOADING,
    "model_not_loaded": Verdict.NO_MODEL,
    "not_an_llm": Verdict.NOT_AN_LLM,
    "offline": Verdict.REFUSED,
    "timeout": Verdict.TIMED_OUT,
    "dropped": Verdict.NOT_AN_LLM,  # a program that does not speak HTTP closes the connection
}
_FOREIGN_KINDS = frozenset({"wrong_path", "forbidden", "bad_request", "unsupported"})
"""Refusals that a model server would not give to a request for its models."""
_READY_STATES = {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}


class Probe(Struct, frozen=True, kw_only=True):
    """An address to probe, and the product to expect there."""

    endpoint: Endpoint
    expected: Product
    is_own: bool = False  # whether the user has named the address in this run
    is_known: bool = False  # whether the user has named it, in this run or an earlier one


async def run_probe(api: ServerApi, probe: Probe) -> ProbeResult:
    """Probe a server and return its result; errors of the server become the verdict."""
    error: LMChatError | None = None
    models: tuple[ModelInfo, ...] = ()
    try:
        models = await read_models(api, probe.expected)
        states = {model.state for model in models if model.can_chat}
        verdict = Verdict.LOADING if LoadState.LOADING in states else Verdict.NO_MODEL
        if states & _READY_STATES:
            verdict = Verdict.READY
    except (ServerUnavailable, ServerRejected, RequestInvalid) as caught:
        error = caught  # `RequestInvalid`: the key has characters that no header can hold
        verdict = _verdict_of_error(caught, api)

    product = product_named(api.facts.product)
    # A server that has only refused may be the expected one; on another machine, the port tells
    # nothing.
    may_be_expected = error is not None and (probe.endpoint.is_loopback or not verdict.is_server)
    if not api.is_identified and not may_be_expected:
        product = UNKNOWN
    if error is not None and _has_own_step(error, probe, verdict):
        # A step has no full stop, unless it has several sentences.
        step = error.hint if ". " in error.hint else error.hint.removesuffix(".")
    else:
        has_models = any(model.can_chat for model in models)
        step = next_step(verdict, product, probe.endpoint, has_models=has_models)
    return ProbeResult(
        endpoint=probe.endpoint,
        product=product.name,
        verdict=verdict,
        latency_ms=api.first_reply.elapsed_ms if api.first_reply else None,
        models=models,
        detail=error.message if error else "",
        kind=error.kind if error else "",
        next_step=step,
        is_own=probe.is_own,
    )


async def read_models(api: ServerApi, expected: Product) -> tuple[ModelInfo, ...]:
    """Find out which product answers, and return its models; sets the product of `api`.

    `expected` is asked first; at the host of a provider, nothing else can answer.
    """
    product = expected if expected.hosts else await identify(api, expected)
    api.is_identified = product is not None
    api.facts = (product or expected).request_facts(key=api.facts.key, host=api.facts.host)
    return await (product or UNKNOWN).models(api)


def empty_result(probe: Probe, verdict: Verdict) -> ProbeResult:
    """Return a result with this verdict for an address whose probe brought no result."""
    return ProbeResult(
        endpoint=probe.endpoint,
        product=probe.expected.name,
        verdict=verdict,
        next_step=next_step(verdict, probe.expected, probe.endpoint),
        is_own=probe.is_own,
    )


def next_step(
    verdict: Verdict, product: Product, endpoint: Endpoint, *, has_models: bool = True
) -> str:
    """Return what the user should do after a verdict; empty if nothing has to be done.

    `has_models` is whether the server lists models that can chat.
    """
    host_step = product.host_step.format(host=shell_word(endpoint.host))
    return VERDICTS[verdict].step.format(
        model=product.model_step if has_models else product.empty_step,
        key=product.key_step,
        host=host_step,
        start=product.start_step,
        silent=product.silent_step.format(port=endpoint.port),
        port=endpoint.port,
    )


def _has_own_step(error: LMChatError, probe: Probe, verdict: Verdict) -> bool:
    """Whether the hint of an error says more than the step of the verdict does."""
    if verdict is Verdict.NOT_AN_LLM:
        return probe.is_known
    if verdict is Verdict.SERVER_ERROR:
        return error.kind in ("certificate", "wrong_path")
    # REFUSED for another reason than that nothing answers: a proxy, or an unknown name
    return verdict is Verdict.REFUSED and not isinstance(error, NothingAnswers)


def _verdict_of_error(error: LMChatError, api: ServerApi) -> Verdict:
    """Return the verdict for an error.

    As long as the product is not identified, another program may answer: a web login shows this,
    and so does a refusal that a model server would not send. A server that wants a key has its own
    verdicts; all other kinds of errors are in `_VERDICTS`, or are a SERVER_ERROR.
    """
    may_be_other_program = not api.is_identified
    if error.kind == "auth":
        reply = api.refused_reply
        if may_be_other_program and reply is not None:
            # a web login or a password is asked for, and not an API key
            scheme = reply.headers.get("www-authenticate", "").lower()
            body = read_body(reply.body, reply.headers.get("content-type", ""))
            if body.is_html or scheme.startswith("basic"):
                return Verdict.NOT_AN_LLM
        return Verdict.KEY_REJECTED if api.facts.key else Verdict.NEEDS_KEY
    if may_be_other_program and error.kind in _FOREIGN_KINDS:
        return Verdict.NOT_AN_LLM
    return _VERDICTS.get(error.kind, Verdict.SERVER_ERROR)
