"""Bounded reader for the header of a GGUF file.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from msgspec import Struct

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_BYTES = 64 << 20  # of one value
_LONGEST_KEY = 1024
_LONGEST_TEXT = 256  # longer texts are skipped
_MOST = 1 << 40  # more than any number of tokens

_VOCABULARY = "tokenizer."
_NEEDED = {"general.architecture", "general.file_type"}

_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""Formats of `struct` by the number of a type."""
_TEXT = 8  # number of a type
_LIST = 9
_QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""Names by the number of a file type."""


class NotGguf(Exception):  # noqa: N818 - named for what was found
    """Not a GGUF file, cut off, or over a limit; the message says which."""


class Header(Struct, frozen=True, kw_only=True):
    """Fields of the header that lmchat uses."""

    architecture: str = ""  # such as `llama`
    quantization: str = ""  # such as `Q4_K_M`; empty for an unknown number
    kind: str = ""  # `general.type`: `model`, `adapter`, `mmproj`, …
    context_max: int | None = None  # tokens
    tensors: int = 0  # 0 in a file with only a vocabulary
    has_pooling: bool = False  # for embeddings and rankings

    @property
    def can_chat(self) -> bool:
        if self.kind not in ("", "model") or self.architecture in ("", "clip"):
            return False
        is_embedding = self.has_pooling or "bert" in self.architecture
        return self.tensors > 0 and not is_embedding


def read_header(file: BinaryIO) -> Header:
    """Read the header of a file; raises `NotGguf` or `OSError`."""
    source = _Source(file)
    if source.read(4) != _MAGIC:
        raise NotGguf("no GGUF file")
    version = source.number("I")
    if version not in _VERSIONS:
        raise NotGguf(f"version {version}")
    tensors = source.number("Q")
    keys = source.number("Q")
    values: dict[str, object] = {}
    for _ in range(keys):
        name = source.text(_LONGEST_KEY)
        if name is None:
            raise NotGguf("a key without end")
        if name.startswith(_VOCABULARY) and values.keys() >= _NEEDED:
            break  # 50 ms, and all that is wanted comes before it
        values[name] = source.value()
    return _header(values, tensors)


def _header(values: dict[str, object], tensors: int) -> Header:
    def text(name: str) -> str:
        value = values.get(name)
        return value if isinstance(value, str) else ""

    def whole(name: str) -> int:
        value = values.get(name)
        if type(value) is not int:
            return 0
        return value if 0 < value < _MOST else 0

    architecture = text("general.architecture")
    file_type = values.get("general.file_type")
    return Header(
        architecture=architecture,
        quantization=_QUANTIZATIONS.get(file_type, "") if type(file_type) is int else "",
        kind=text("general.type"),
        context_max=whole(f"{architecture}.context_length") or None,
        tensors=tensors,
        has_pooling=whole(f"{architecture}.pooling_type") > 0,
    )


class _Source:
    """File reader with limits."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise NotGguf("cut off")
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.read(struct.calcsize(f"<{form}")))[0]

    def text(self, longest: int) -> str | None:
        """Return the next text; None for a longer one, which is skipped."""
        length = self.number("Q")
        if length > longest:
            self._skip(length)
            return None
        return self.read(length).decode("utf-8", "replace")

    def value(self) -> object:
        """Return the next value; None for a list or a long text."""
        kind = self.number("I")
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _TEXT:
            return self.text(_LONGEST_TEXT)
        if kind != _LIST:
            raise NotGguf(f"a value of kind {kind}")
        self._skip_list()
        return None

    def _skip_list(self) -> None:
        kind = self.number("I")
        count = self.number("Q")
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(f"<{_SCALARS[kind]}"))
        elif kind == _TEXT:
            for _ in range(count):
                self._skip(self.number("Q"))
        else:
            raise NotGguf(f"a list of kind {kind}")

    def _skip(self, count: int) -> None:
        if count > _MOST_BYTES:
            raise NotGguf("a header without end")
        self._file.seek(count, os.SEEK_CUR)
