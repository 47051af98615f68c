"""What every scripted product answers: lists of models, and "Hello there." to a chat."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.scripted_server import DONE, Reply, Seen, delta, finish, json_reply, sse, usage

CHAT = "POST /v1/chat/completions"
ANSWER = ("Hello", " there", ".")


def answer(*texts: str, model: str = "tiny") -> Reply:
    """Make a whole good answer."""
    words = (delta(text, model=model) for text in texts or ANSWER)
    return sse(*words, finish(model=model), usage(model=model), DONE)


def echo(seen: Seen) -> Reply:
    return answer(model=seen.json.get("model") or "tiny")


def model_list(*ids: str, owned_by: str = "someone", headers=None, **fields: object) -> Reply:
    """Make an OpenAI-like list of models."""
    base = {"object": "model", "created": 1_700_000_000, "owned_by": owned_by, **fields}
    return json_reply({"object": "list", "data": [{"id": one, **base} for one in ids]}, headers=headers)


def guarded(key: str | None, refuse: Reply, script: Reply | Callable[[Seen], Reply]):
    def play(seen: Seen) -> Reply:
        if key and seen.headers.get("authorization") != f"Bearer {key}":
            return refuse
        return script(seen) if callable(script) else script

    return play
