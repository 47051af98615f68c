"""Recordings of a real llama.cpp server, read by read, to be played again."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.support.scripted_server import Reply, raw_reply

FOLDER = Path(__file__).parent / "captures"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def head(name: str) -> dict:
    """Return the first line of a recording: what was asked, and how it ended."""
    with (FOLDER / f"{name}.jsonl").open() as file:
        return json.loads(file.readline())


def reads(name: str) -> list[bytes]:
    """Return the bytes of a recording as they were read from the socket."""
    _, *lines = map(json.loads, (FOLDER / f"{name}.jsonl").read_text().splitlines())
    return [line["data"].encode() if "data" in line else base64.b64decode(line["b64"]) for line in lines]


def replay(name: str, *, every: int | None = None) -> Reply:
    """Play a recording, in the pieces of then or in pieces of a size."""
    pieces = reads(name)
    if every is not None:
        whole = b"".join(pieces)
        pieces = [whole[start : start + every] for start in range(0, len(whole), every)]
    return raw_reply(*pieces)
