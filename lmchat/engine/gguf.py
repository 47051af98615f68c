"""The header of a GGUF file: what the model is; the file may hold anything, so everything has a limit.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from msgspec import Struct

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_BYTES = 64 << 20
"""Of a header: those of vocabularies of 250 000 words are 12 MB long."""
_MOST_KEYS = 4096
_LONGEST_KEY = 1024
_LONGEST_TEXT = 256
"""Of a text that is kept; longer ones are passed over."""
_MOST_SEEN_TEXTS = 500_000
"""Of all lists of texts together: each has its own length, so each has to be looked at."""
_DEEPEST = 3

_VOCABULARY = "tokenizer."
_NEEDED = {"general.architecture", "general.file_type"}

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9

_QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""`general.file_type`, as llama.cpp numbers them."""


class NotGguf(Exception):  # noqa: N818 - named for what was found
    """The file is no GGUF file, is cut off, or goes beyond a limit; the message says which."""


class Header(Struct, frozen=True, kw_only=True):
    """What a header tells."""

    architecture: str = ""
    """For example `llama`."""
    title: str = ""
    """`general.name`."""
    quantization: str = ""
    """For example `Q4_K_M`; empty where the number is not known."""
    kind: str = ""
    """`general.type`: `model`, `adapter`, `mmproj`, …"""
    context_max: int | None = None
    """Tokens of the largest window."""
    tensors: int = 0
    """0: it holds a vocabulary alone."""
    has_pooling: bool = False
    """Whether it makes embeddings or ranks texts, rather than talk."""

    @property
    def can_chat(self) -> bool:
        """Whether it is a model that one can talk to."""
        is_model = self.kind in ("", "model") and self.architecture not in ("", "clip")
        return is_model and self.tensors > 0 and not self.has_pooling and "bert" not in self.architecture


def read_header(file: BinaryIO) -> Header:
    """Read the header at the beginning of a file.

    Raises:
        NotGguf: there is none, or it cannot be trusted.
        OSError: the file cannot be read.
    """
    source = _Source(file)
    if source.take(4) != MAGIC:
        raise NotGguf("no GGUF file")
    version = source.number("I")
    if version not in _VERSIONS:
        raise NotGguf(f"version {version}")
    tensors, keys = source.number("Q"), source.number("Q")
    if keys > _MOST_KEYS:
        raise NotGguf("too many keys")
    values: dict[str, object] = {}
    for _ in range(keys):
        name = source.text(_LONGEST_KEY)
        if name is None:
            raise NotGguf("a key without end")
        if name.startswith(_VOCABULARY) and values.keys() >= _NEEDED:
            break  # 50 ms, and all of a person's interest stands before it
        value = source.value(source.number("I"))
        if value is not None:
            values[name] = value
    return _header(values, tensors)


def _header(values: dict[str, object], tensors: int) -> Header:
    architecture = _text(values.get("general.architecture"))
    pooling = _whole(values.get(f"{architecture}.pooling_type"))
    return Header(
        architecture=architecture,
        title=_text(values.get("general.name")),
        quantization=_QUANTIZATIONS.get(_whole(values.get("general.file_type"), -1), ""),
        kind=_text(values.get("general.type")),
        context_max=_whole(values.get(f"{architecture}.context_length")) or None,
        tensors=tensors,
        has_pooling=pooling > 0,
    )


class _Source:
    """Reads piece by piece, and no further than the limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_BYTES
        self._texts_left = _MOST_SEEN_TEXTS

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        self._spend(count)
        data = self._file.read(count)
        if len(data) < count:
            raise NotGguf("cut off")
        return data

    def number(self, form: str) -> int:
        """Return the next number."""
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return int(value)

    def text(self, longest: int) -> str | None:
        """Return the next text; None where it is longer, and was passed over."""
        length = self.number("Q")
        if length > longest:
            self._pass(length)
            return None
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> object:
        """Return the next value; None where it is a list, not finite, or too long."""
        if kind in _SCALARS:
            (value,) = struct.unpack(f"<{_SCALARS[kind]}", self.take(struct.calcsize(f"<{_SCALARS[kind]}")))
            return value if isinstance(value, int) else None
        if kind == _TEXT:
            return self.text(_LONGEST_TEXT)
        if kind == _LIST:
            self._pass_list(depth)
            return None
        raise NotGguf(f"a value of kind {kind}")

    def _pass_list(self, depth: int) -> None:
        kind, count = self.number("I"), self.number("Q")
        if kind in _SCALARS:
            self._pass(count * struct.calcsize(f"<{_SCALARS[kind]}"))
            return
        if depth >= _DEEPEST or count > self._texts_left:
            raise NotGguf("a list without end")
        self._texts_left -= count
        for _ in range(count):
            if kind == _TEXT:
                self._pass(self.number("Q"))
            else:
                self.value(kind, depth + 1)

    def _pass(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise NotGguf("a header without end")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object, default: int = 0) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40:
        return value
    return default
