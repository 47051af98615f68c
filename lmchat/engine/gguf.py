"""Bounded reader for the header of a GGUF file, which may be damaged or hostile.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from msgspec import Struct

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_VALUE_BYTES = 64 * 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024 * 1024  # several times as much as a large vocabulary takes
_MAX_KEYS = 100_000
_LEAST_TEXT_BYTES = 8  # of its length
_MAX_KEY_BYTES = 1024
_MAX_TEXT_BYTES = 256  # longer texts, such as chat templates, are skipped
_MAX_NUMBER = 2**40  # more than any number of tokens

_VOCABULARY_PREFIX = "tokenizer."  # of the keys of the vocabulary
_NEEDED_KEYS = {"general.architecture", "general.file_type"}
"""Keys that have to be read before the rest of the header is left out."""

_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""Format characters of `struct`, by the number that the file gives to a type of values."""
_TEXT = 8  # number of the type of texts
_LIST = 9  # number of the type of lists
_QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""Names of quantizations by the number of a file type."""


class NotGguf(Exception):  # noqa: N818 - named for what was found
    """A file is no GGUF file, is cut off, or is over a limit; the message says which."""


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
        """Whether the file is a language model that answers.

        An adapter, an image encoder (`clip`), a vocabulary and a model for embeddings do not.
        """
        if self.kind not in ("", "model") or self.architecture in ("", "clip"):
            return False
        # models of the family BERT make embeddings also where the header does not say it
        is_embedding = self.has_pooling or "bert" in self.architecture
        return self.tensors > 0 and not is_embedding


def read_header(file: BinaryIO) -> Header:
    """Read the header of a file from its beginning; raises `NotGguf` or `OSError`.

    It consists of magic bytes, the version, the number of tensors, the number of keys, and the keys
    with their values.
    """
    reader = _Reader(file)
    if reader.read_bytes(len(_MAGIC)) != _MAGIC:
        raise NotGguf("no GGUF file")
    version = reader.read_number("I")
    if version not in _VERSIONS:
        raise NotGguf(f"version {version}")
    tensor_count = reader.read_number("Q")
    key_count = reader.read_number("Q")
    if key_count > _MAX_KEYS:
        raise NotGguf(f"{key_count} keys")

    values: dict[str, object] = {}
    for _ in range(key_count):
        name = reader.read_text(_MAX_KEY_BYTES)
        if name is None:
            raise NotGguf("a key without end")
        if name.startswith(_VOCABULARY_PREFIX) and values.keys() >= _NEEDED_KEYS:
            break  # the vocabulary takes 50 ms to read, and the keys behind it are not used
        values[name] = reader.read_value()
        if file.tell() > _MAX_HEADER_BYTES:
            raise NotGguf("a header without end")
    return _header(values, tensor_count)


def _header(values: dict[str, object], tensor_count: int) -> Header:
    """Return the header with the fields that lmchat uses; a value of a wrong type is ignored."""
    architecture = _text_at(values, "general.architecture")
    file_type = values.get("general.file_type")
    return Header(
        architecture=architecture,
        # not `isinstance`, by which True is an `int`
        quantization=_QUANTIZATIONS.get(file_type, "") if type(file_type) is int else "",
        kind=_text_at(values, "general.type"),
        context_max=_positive_at(values, f"{architecture}.context_length") or None,
        tensors=tensor_count,
        has_pooling=_positive_at(values, f"{architecture}.pooling_type") > 0,
    )


def _text_at(values: dict[str, object], key: str) -> str:
    """Return the value of a key if it is a text, else ""."""
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _positive_at(values: dict[str, object], key: str) -> int:
    """Return the value of a key if it is a whole number above 0 and below the limit, else 0."""
    value = values.get(key)
    if type(value) is not int:  # not `isinstance`, by which True is an `int`
        return 0
    return value if 0 < value < _MAX_NUMBER else 0


class _Reader:
    """Reader of the values of a file, one after the other; raises `NotGguf` beyond the limits."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read_bytes(self, count: int) -> bytes:
        """Return the next bytes, exactly this many; raises `NotGguf` if there are fewer."""
        data = self._file.read(count)
        if len(data) < count:
            raise NotGguf("cut off")
        return data

    def read_number(self, struct_format: str) -> Any:
        """Return the next number, whose type is a format character of `struct`."""
        little_endian = f"<{struct_format}"
        data = self.read_bytes(struct.calcsize(little_endian))
        (number,) = struct.unpack(little_endian, data)
        return number

    def read_text(self, max_bytes: int) -> str | None:
        """Return the next text; if it is longer than the limit, skip it and return None."""
        length = self.read_number("Q")
        if length > max_bytes:
            self._skip(length)
            return None
        return self.read_bytes(length).decode("utf-8", "replace")

    def read_value(self) -> object:
        """Return the next value, whatever its type; skip a list or long text and return None."""
        kind = self.read_number("I")
        if kind in _SCALARS:
            return self.read_number(_SCALARS[kind])
        if kind == _TEXT:
            return self.read_text(_MAX_TEXT_BYTES)
        if kind != _LIST:
            raise NotGguf(f"a value of kind {kind}")
        self._skip_list()
        return None

    def _skip_list(self) -> None:
        """Skip a list, which consists of the type of its values, their number, and the values.

        A list of lists is refused.
        """
        kind = self.read_number("I")
        count = self.read_number("Q")
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(f"<{_SCALARS[kind]}"))
        elif kind == _TEXT:
            if count * _LEAST_TEXT_BYTES > _MAX_VALUE_BYTES:
                raise NotGguf("a header without end")
            for _ in range(count):
                self._skip(self.read_number("Q"))
        else:
            raise NotGguf(f"a list of kind {kind}")

    def _skip(self, byte_count: int) -> None:
        """Skip bytes; raises `NotGguf` if there are too many of them.

        They may end behind the end of the file: the next read then finds nothing.
        """
        if byte_count > _MAX_VALUE_BYTES:
            raise NotGguf("a header without end")
        self._file.seek(byte_count, os.SEEK_CUR)
