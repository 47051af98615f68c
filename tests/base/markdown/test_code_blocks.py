from __future__ import annotations

from lmchat.base.markdown.commonmark import code_blocks


def test_the_code_is_what_stands_in_blocks_of_code():
    for text, blocks in (
        ("no code", []),
        ("a `b` ```c``` d", []),
        ("So:\n```py\nprint(1)\n```\nDone.", ["print(1)\n"]),
        ("```\na\n```\n~~~sh\nb\n~~~", ["a\n", "b\n"]),
        ("```py\na\n\n  b\n```", ["a\n\n  b\n"]),
        # fences within fences: a longer one outside, or of the other kind
        ("````md\n```py\na\n```\n````", ["```py\na\n```\n"]),
        ("~~~\n```\na\n~~~", ["```\na\n"]),
        # as models write them: Markdown with fences of the same marks, an end outside of its item
        ("```md\n# A\n```py\na\n```\nb\n```\nc\n```\nd\n```", ["# A\n```py\na\n```\nb\n", "d\n"]),
        ("```py\n```md\na\n```", ["```md\na\n"]),
        ("1. Do:\n   ```sh\n   a\n```\n2. Then\n   ```\n   b\n   ```", ["a\n", "b\n"]),
        ("```\na\n``` not a closing one\nb\n```", ["a\n``` not a closing one\nb\n"]),
        # indented as in a list: its white space is no code
        ("1. Do:\n   ```py\n   if a:\n       b\n   ```", ["if a:\n    b\n"]),
        ("- ```py\n  a\n  ```", ["a\n"]),
        ("So:\n\n    a\n", ["a\n"]),
        ("```py\na\nb", ["a\nb"]),  # cut in the middle
        ("```py", [""]),
        ("``", []),
    ):
        assert [block.content for block in code_blocks(text)] == blocks
