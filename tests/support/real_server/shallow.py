"""First layers of a model file: the same words and tokens, a tenth of the work, and no sense."""

from __future__ import annotations

from pathlib import Path
from struct import calcsize, pack, unpack_from

_FIRST_TENSOR = b"token_embd.weight"
_ALIGNMENT = 32


def write_shallow(source: Path, target: Path, layers: int = 2) -> None:
    """Write a model that has only the first layers of another one.

    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md has the format.
    """
    data = source.read_bytes()
    magic, version, count, value_count = unpack_from("<IIQQ", data)
    at = data.index(pack("<Q", len(_FIRST_TENSOR)) + _FIRST_TENSOR)
    key, found, rest = data[calcsize("<IIQQ") : at].partition(b".block_count" + pack("<I", 4))
    assert found, "a number of 32 bits"
    values = key + found + pack("<I", layers) + rest[4:]

    tensors = []
    for _ in range(count):
        (size,) = unpack_from("<Q", data, at)
        (dimensions,) = unpack_from("<I", data, at + 8 + size)
        form = f"<Q{size}sI{dimensions}QIQ"
        *info, offset = unpack_from(form, data, at)
        at += calcsize(form)
        tensors.append((offset, form, info))
    start = -(-at // _ALIGNMENT) * _ALIGNMENT
    tensors.sort()
    infos = b""
    content = bytearray()
    kept = 0
    for (offset, form, info), (end, *_) in zip(
        tensors, [*tensors[1:], (len(data) - start,)], strict=True
    ):
        name = info[1].split(b".")
        if name[0] == b"blk" and int(name[1]) >= layers:
            continue
        infos += pack(form, *info, len(content))
        content += data[start + offset : start + end]
        kept += 1
    written = pack("<IIQQ", magic, version, kept, value_count) + values + infos
    target.write_bytes(written + bytes(-len(written) % _ALIGNMENT) + content)
