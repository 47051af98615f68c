"""First layers of a model file: the same words and tokens, a tenth of the work, and no sense."""

from __future__ import annotations

import struct
from pathlib import Path

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST, _UINT32 = 8, 9, 4
_ALIGNMENT = 32


class _Header:
    """Reads the header of a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def numbers(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def text(self) -> bytes:
        (size,) = self.numbers("Q")
        self.at += size
        return self.data[self.at - size : self.at]

    def pass_value(self, kind: int) -> None:
        if kind == _TEXT:
            self.text()
        elif kind == _LIST:
            kind, count = self.numbers("IQ")
            if kind == _TEXT:
                for _ in range(count):
                    self.text()
            else:
                self.at += count * _SIZES[kind]
        else:
            self.at += _SIZES[kind]


def write_shallow(source: Path, target: Path, layers: int = 2) -> None:
    """Write a model that has only the first layers of another one."""
    header = _Header(source.read_bytes())
    magic, version, tensor_count, value_count = header.numbers("IIQQ")
    values_start = header.at
    values = bytearray()
    for _ in range(value_count):
        name = header.text()
        (kind,) = header.numbers("I")
        value_start = header.at
        header.pass_value(kind)
        if name.endswith(b".block_count"):
            assert kind == _UINT32
            values += header.data[values_start:value_start] + struct.pack("<I", layers)
            values_start = header.at
    values += header.data[values_start : header.at]

    tensors = []
    for _ in range(tensor_count):
        name = header.text()
        (size,) = header.numbers("I")
        tensors.append((name, header.numbers(f"{size}QI"), *header.numbers("Q")))
    start = -(-header.at // _ALIGNMENT) * _ALIGNMENT
    ends = [*sorted(offset for *_, offset in tensors)[1:], len(header.data) - start]
    infos, content, count = bytearray(), bytearray(), 0
    for (name, shape, offset), end in zip(
        sorted(tensors, key=lambda one: one[2]), ends, strict=True
    ):
        if name.startswith(b"blk.") and int(name.split(b".")[1]) >= layers:
            continue
        form = f"<Q{len(name)}sI{len(shape) - 1}QIQ"
        infos += struct.pack(form, len(name), name, len(shape) - 1, *shape, len(content))
        content += header.data[start + offset : start + end]
        count += 1
    written = struct.pack("<IIQQ", magic, version, count, value_count) + values + infos
    target.write_bytes(written + bytes(-len(written) % _ALIGNMENT) + content)
