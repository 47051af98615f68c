"""How it stands with the keys of servers: none, works, rejected, stored elsewhere; never a key itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmchat.domain.finding import Finding, Grade, Group, Rows
from lmchat.domain.server import Candidate, Endpoint, Verdict
from lmchat.errors import LMChatError

_row = Rows(Group.KEYS)


def key_findings(
    candidates: Sequence[Candidate],
    sources: Mapping[str, str],
    stored: Sequence[str],
    warnings: Sequence[str],
    *,
    has_chat: bool,
) -> list[Finding]:
    """Return a row for each server that wants or gets a key, and one about what is stored.

    Args:
        candidates: What answers.
        sources: Where the key of an origin comes from; an origin without a key is left out.
        stored: Origins that a key is stored for.
        warnings: What could not be read, as sentences.
        has_chat: Whether a chat can be had without what is missing.
    """
    rows = [
        _server(one, sources.get(one.endpoint.origin, ""), stored, has_chat=has_chat) for one in candidates
    ]
    found = [row for row in rows if row is not None]
    found += [_row("key", "Keys", Grade.WARNING, words, state="warning") for words in warnings]
    return [*found, _stored(stored, is_alone=not found)]


def _server(one: Candidate, source: str, stored: Sequence[str], *, has_chat: bool) -> Finding | None:
    name, bad = one.product.value, Grade.WARNING if has_chat else Grade.FAULT
    facts = {"url": one.endpoint.url, "source": source or None}
    if one.verdict is Verdict.KEY_REJECTED:
        cause = f"{one.endpoint.url} rejects the key from {source}."
        return _row("key", name, bad, cause, one.next_step, state="rejected", **facts)
    if one.verdict is Verdict.NEEDS_KEY:
        others = _near(one.endpoint, stored)
        told = f" One is stored for {', '.join(others)}, which is another address." if others else ""
        cause = f"{one.endpoint.url} wants a key, and none is known for it.{told}"
        return _row("key", name, bad, cause, one.next_step, state="missing", **facts)
    if source and one.verdict.is_usable:
        cause = f"{one.endpoint.url} takes the key from {source}."
        return _row("key", name, Grade.OK, cause, state="works", **facts)
    return None


def _stored(stored: Sequence[str], *, is_alone: bool) -> Finding:
    told = f"Stored for {', '.join(stored)}." if stored else "None is stored."
    if is_alone and not stored:
        told = "None is stored, and no server asks for one."
    return _row("key", "Stored", Grade.OK, told, state="stored", origins=list(stored))


def _near(endpoint: Endpoint, stored: Sequence[str]) -> list[str]:
    """Return other addresses of the same host that a key is stored for: a port that was changed."""
    return [origin for origin in stored if origin != endpoint.origin and _is_same_host(origin, endpoint)]


def _is_same_host(origin: str, endpoint: Endpoint) -> bool:
    try:
        other = Endpoint.parse(origin)
    except LMChatError:
        return False
    return other.host == endpoint.host or (other.is_loopback and endpoint.is_loopback)
