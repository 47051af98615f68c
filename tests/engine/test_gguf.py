from __future__ import annotations

import io
import struct
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.engine.gguf import Header, NotGguf, read_header
from tests.support.engine_home import header, model_values, text

U32, TEXT, LIST = 4, 8, 9


def read(data: bytes) -> Header:
    return read_header(io.BytesIO(data))


def entry(key: str, kind: int, data: bytes = b"") -> bytes:
    return text(key) + struct.pack("<I", kind) + data


def raw(*entries: bytes, keys: int | None = None) -> bytes:
    count = len(entries) if keys is None else keys
    return b"GGUF" + struct.pack("<IQQ", 3, 1, count) + b"".join(entries)


def test_a_header_tells_what_a_person_wants_to_know():
    found = read(header(model_values()))
    assert found == Header(
        architecture="llama", quantization="Q4_K_M", kind="model", context_max=8192, tensors=200
    )
    assert found.can_chat


def test_what_stands_behind_the_vocabulary_is_found_where_it_was_not_told_before():
    values = model_values()
    del values["general.file_type"]
    assert read(header(values | {"general.file_type": 7})).quantization == "Q8_0"


@pytest.mark.parametrize(
    "values",
    [
        model_values(**{"general.architecture": "clip"}),
        model_values(**{"general.type": "mmproj"}),
        model_values(**{"general.type": "adapter"}),
        model_values(**{"general.architecture": "nomic-bert"}),
        {"llama.pooling_type": 1, **model_values()},
        {"general.name": "without architecture"},
    ],
)
def test_what_cannot_talk_is_told_apart(values):
    assert not read(header(values)).can_chat
    assert not read(header(model_values(), tensors=0)).can_chat, "a vocabulary alone"


def test_a_value_that_is_unknown_too_long_or_of_another_kind_is_passed_over():
    odd = model_values(
        **{"general.type": 5, "llama.context_length": "many", "general.file_type": True}
    )
    found = read(header(odd))
    assert (found.kind, found.context_max, found.quantization) == ("", None, "")
    found = read(header(model_values(**{"general.file_type": 999, "general.type": "x" * 10_000})))
    assert (found.kind, found.quantization) == ("", "")


def test_a_text_may_hold_any_bytes():
    assert read(raw(entry("general.type", TEXT, text(b"\xff\xfe\x1b[2J")))).kind == "��\x1b[2J"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGU",
        b"GGML" + bytes(20),
        b"GGUF",
        b"GGUF" + struct.pack("<IQQ", 99, 1, 1),
        b"GGUF" + struct.pack(">IQQ", 3, 1, 1),
        raw(keys=2**63),
        raw(keys=5000),
        raw(struct.pack("<Q", 2**63)),
        raw(entry("k", TEXT, struct.pack("<Q", 2**63))),
        raw(entry("k", TEXT, struct.pack("<Q", 2**40))),
        raw(entry("k", 77)),
        raw(entry("k", LIST, struct.pack("<IQ", U32, 2**62))),
        raw(entry("k", LIST, struct.pack("<IQ", TEXT, 2**40))),
        raw(entry("k", LIST, struct.pack("<IQ", TEXT, 900_000) + bytes(64))),
        raw(entry("k", LIST, struct.pack("<IQ", LIST, 1) * 50)),
        raw(
            entry(
                "k", LIST, struct.pack("<IQ", LIST, 999_999) + struct.pack("<IQ", LIST, 999_999) * 9
            )
        ),
    ],
    ids=range(17),
)
def test_a_hostile_header_is_refused_and_costs_nothing(data):
    tracemalloc.start()
    try:
        with pytest.raises(NotGguf):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "start",
    [
        raw(entry("a", LIST, struct.pack("<IQ", TEXT, 2**40))),
        raw(entry("a", LIST, struct.pack("<IQ", TEXT, 2**22)), keys=90_000)
        + bytes(2**25)
        + entry("", LIST, struct.pack("<IQ", TEXT, 2**22)),
        raw(keys=2**40),
    ],
    ids=["a list", "lists", "keys"],
)
def test_a_header_of_zeros_without_end_is_refused_soon(tmp_path, start):
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(start)
        file.truncate(2**36)  # takes no room on the disk
    with path.open("rb") as file, pytest.raises(NotGguf):
        read_header(file)


def test_a_file_that_is_cut_off_anywhere_is_refused():
    values = model_values()
    del values["tokenizer.ggml.tokens"]
    whole = header(values)
    for length in range(len(whole)):
        with pytest.raises(NotGguf):
            read(whole[:length])


@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes_in_a_header_are_read_or_refused(noise, at):
    whole = header(model_values())
    with suppress(NotGguf):
        read(whole[:at] + noise + whole[at + len(noise) :])
