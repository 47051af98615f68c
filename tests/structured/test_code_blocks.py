from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.structured.json_text import code_blocks


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no code", []),
        ("a `b` ```c``` d", []),
        ("So:\n```py\nprint(1)\n```\nDone.", ["print(1)"]),
        ("```\na\n```\n~~~sh\nb\n~~~", ["a", "b"]),
        ("```\n\n```\n", []),
        ("```py\na\n\n  b\n```", ["a\n\n  b"]),
        # fences within fences: a longer one outside, or of the other kind
        ("````md\n```py\na\n```\n````", ["```py\na\n```"]),
        ("~~~\n```\na\n~~~", ["```\na"]),
        ("```\na\n``` not a closing one\nb\n```", ["a\n``` not a closing one\nb"]),
        # indented as in a list: its white space is no code
        ("1. Do:\n   ```py\n   if a:\n       b\n   ```", ["if a:\n    b"]),
        ("- ```py\n  a\n  ```", ["a"]),
        ("\t```\n\ta\n\t```", ["a"]),
        # cut in the middle: what came is code, the beginning of a fence is none
        ("```py\na\nb", ["a\nb"]),
        ("```py\na\n", ["a\n"]),
        ("```py\na\n``", ["a"]),
        ("```py\na\n`", ["a"]),
        ("```py", []),
        ("``", []),
        ("```\r\na\r\nb\r\n```\r\n", ["a\nb"]),
        ("```\na\u2028b\x0cc\n```", ["a\u2028b\x0cc"]),
        ("```a`b\nc\n```\nd", ["d"]),
    ],
)
def test_the_code_is_what_stands_between_fences(text, blocks):
    assert code_blocks(text) == blocks


@given(st.text(alphabet="`~ \t\nab1.-", max_size=80))
def test_whatever_is_written_every_block_is_of_the_text(text):
    for block in code_blocks(text):
        assert block.strip()
        assert all(line.strip() in text for line in block.split("\n"))
