"""Writes GGUF files: headers as they should be, and as no one should write them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

TYPES = {bool: 7, int: 4, float: 6, str: 8, list: 9}


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(one: object) -> bytes:
    """A value with its type before it."""
    kind = TYPES[type(one)]
    match one:
        case bool():
            return struct.pack("<I?", kind, one)
        case int():
            return struct.pack("<II", kind, one)
        case float():
            return struct.pack("<If", kind, one)
        case str():
            return struct.pack("<I", kind) + text(one)
        case list():
            return struct.pack("<IIQ", kind, 8, len(one)) + b"".join(text(item) for item in one)
    raise TypeError(one)


def header(values: Mapping[str, object], *, tensors: int = 200, version: int = 3) -> bytes:
    body = b"".join(text(key) + value(one) for key, one in values.items())
    return b"GGUF" + struct.pack("<IQQ", version, tensors, len(values)) + body


def model_values(**more: object) -> dict[str, object]:
    """What the header of a model to talk to says."""
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "Tiny",
        "llama.context_length": 8192,
        "general.file_type": 15,
        "tokenizer.ggml.tokens": ["a", "b", "c"],
    } | more


def write_model(path: Path, *, size_bytes: int = 0, tensors: int = 200, **more: object) -> Path:
    """Write a file that looks like a model, as long as wanted; nothing could load it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header(model_values(**more), tensors=tensors))
        if size_bytes:
            file.truncate(size_bytes)
    return path
