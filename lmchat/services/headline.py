"""What the welcome page says first: what is the matter, and the one step that helps; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmchat.domain.arrival import can_be_allowed, has_model
from lmchat.domain.server import Candidate, Product, Verdict

NOTHING = "No model server answers on this machine yet."
_USABLE = "{} answers."
_OTHER = "The server that you named does not answer. {} does."
_WORDS: Mapping[Verdict, str] = {
    Verdict.NEEDS_KEY: "{name} answers, but wants a key.",
    Verdict.KEY_REJECTED: "{name} answers, but refused the key.",
    Verdict.HOST_BLOCKED: "{name} answers, but not to the host name {host}.",
    Verdict.NO_MODEL: "{name} answers, but has no model yet.",
    Verdict.SERVER_OFF: "{name} runs, but its server is off.",
}


def headline(candidates: Sequence[Candidate]) -> str:
    """Return what is the matter; it may hold anything that a server or a user said."""
    waiting = _waiting(candidates)
    if waiting is not None:
        return _WORDS[waiting.verdict].format(name=_name(waiting), host=waiting.endpoint.host)
    usable = next((one for one in candidates if one.verdict.is_usable), None)
    if usable is not None:
        return (_OTHER if any(one.is_own for one in candidates) else _USABLE).format(usable.product.value)
    named = _named(candidates)
    return NOTHING if named is None else _why_away(named)


def advice(candidates: Sequence[Candidate]) -> str:
    """Return the one step that helps where a server is near to a chat; empty where none is."""
    near = _waiting(candidates)
    if near is None and not any(one.verdict.is_usable for one in candidates):
        near = _named(candidates)
    if near is None or not near.next_step:
        return ""
    if can_be_allowed(near):
        return f"Next: {near.next_step}, or type the address here to allow it for this run"
    if near.kind == "certificate":  # which are trusted is read once a run
        return f"Next: {near.next_step} Then start lmchat again."
    return f"Next: {near.next_step} (this page then goes on by itself)"


def _waiting(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that is nearest to a chat, and lacks one thing."""
    return next((one for one in candidates if one.verdict in _WORDS and not _is_ready(one)), None)


def _is_ready(candidate: Candidate) -> bool:
    return candidate.verdict.is_usable and has_model(candidate)


def _named(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that the user named, where it is the only one and it is known why it is away."""
    own = [one for one in candidates if one.is_own]
    return own[0] if len(own) == 1 and own[0].detail else None


def _why_away(named: Candidate) -> str:
    is_told = named.endpoint.host in named.detail
    return named.detail if is_told else f"{named.endpoint.netloc}: {named.detail}"


def _name(candidate: Candidate) -> str:
    endpoint = candidate.endpoint
    if candidate.product is Product.OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_known = endpoint.is_loopback and not candidate.is_own
    return candidate.product.value if is_known else f"{candidate.product.value} at {endpoint.netloc}"
