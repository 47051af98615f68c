"""A server that answers as a real one of a product did, from what was recorded of it.

    with RecordedServer("vllm") as server:
        ...  # GET /v1/models, chats, refusals: the bytes of then

A recording is a file of `captures`: a line about the request and the product, then what came, each
piece with its time in milliseconds. Here the pieces come without their pauses. A chat gets the reply
to the recorded request that asked for the same: a stream, tools, too much, an unknown model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.support.client_calls import FOLDER, body_of, replay
from tests.support.scripted_server import Reply, ScriptedServer, Seen, text_reply

UNKNOWN_MODEL = "no-such-model"
LONG_CHARS = 20_000  # above any window of these servers


class Asked(Enum):
    """What a chat asks for."""

    WHOLE = auto()
    STREAM = auto()
    TOOLS = auto()
    TOO_LONG = auto()
    UNKNOWN_MODEL = auto()
    NO_JSON = auto()


@dataclass(frozen=True)
class Recording:
    """A recorded reply."""

    name: str  # of its file
    product: str
    method: str
    path: str
    body: Any  # of the request; text where the recording only describes it

    @property
    def is_chat(self) -> bool:
        return self.method == "POST" and self.path.endswith("/v1/chat/completions")

    @property
    def model(self) -> str:
        return self.body.get("model", "") if isinstance(self.body, Mapping) else ""

    @property
    def asked(self) -> Asked:
        if isinstance(self.body, str):
            return Asked.TOO_LONG if "words" in self.body else Asked.NO_JSON
        return asked_by(self.body, is_known=self.model != UNKNOWN_MODEL)


def asked_by(body: Mapping[str, Any], *, is_known: bool) -> Asked:
    if not is_known:
        return Asked.UNKNOWN_MODEL
    if len(json.dumps(body["messages"])) > LONG_CHARS:
        return Asked.TOO_LONG
    if body.get("tools") and not any(one["role"] == "tool" for one in body["messages"]):
        return Asked.TOOLS
    return Asked.STREAM if body.get("stream") else Asked.WHOLE


def _recordings() -> list[Recording]:
    found = []
    for file in sorted(FOLDER.rglob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            about = json.loads(next(lines))
        request = about["request"]
        name = file.relative_to(FOLDER).with_suffix("").as_posix()
        found.append(
            Recording(
                name=name,
                product=about.get("product", ""),
                method=request["method"],
                path=request["path"],
                body=request["body"],
            )
        )
    return found


RECORDINGS = _recordings()


class RecordedServer(ScriptedServer):
    """It plays a product; what a test scripts with `on` goes before what was recorded.

    Of several recordings of one request, that with the shortest name is the usual one. `leads` are
    played instead.
    """

    def __init__(self, product: str, *leads: str) -> None:
        super().__init__()
        own = [one for one in RECORDINGS if one.product == product]
        assert own, f"nothing is recorded of {product}"
        first = {f"{product}/{name}" for name in leads}
        self.product = product
        self.recordings = sorted(own, key=lambda one: (one.name not in first, len(one.name)))
        self.unknown = self._answer

    @property
    def listed(self) -> list[str]:
        """Ids of the recorded list of models."""
        name = next(one.name for one in self.recordings if one.path.endswith("/v1/models"))
        return [row["id"] for row in json.loads(body_of(name)).get("data", ())]

    def _answer(self, seen: Seen) -> Reply:
        here = [
            one for one in self.recordings if (one.method, one.path) == (seen.method, seen.path)
        ]
        if seen.method == "POST" and seen.path.endswith("/v1/chat/completions"):
            return self._answer_chat(seen)
        if here and seen.method == "POST":
            here = [one for one in here if one.body == seen.json]
            return replay(here[0].name) if here else not_recorded(seen.path)
        return replay(here[0].name if here else f"{self.product}/unknown-path")

    def _answer_chat(self, seen: Seen) -> Reply:
        chats = [one for one in self.recordings if one.is_chat]
        known = {one.model for one in chats} - {UNKNOWN_MODEL} | set(self.listed)
        try:
            name = seen.json["model"].removesuffix(":latest")
            is_known = name in known or seen.json["model"] in known
            asked = asked_by(seen.json, is_known=is_known)
        except ValueError:
            name = ""
            asked = Asked.NO_JSON
        fitting = [one for one in chats if one.asked is asked]
        fitting.sort(key=lambda one: one.model != name)
        return replay(fitting[0].name) if fitting else not_recorded(asked.name)


def not_recorded(what: str) -> Reply:
    return text_reply(f"Not recorded: {what}", status=501)
