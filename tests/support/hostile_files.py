"""Files that are made to keep a program busy: texts and containers of about 300 kB each."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIZE = 300_000
_LIMIT_S = 6  # at most half of it is needed, and many times as much in quadratic time
_TICK = "`"


def repeated(piece: str, size: int = SIZE) -> str:
    return (piece * (size // len(piece) + 1))[:size]


@contextmanager
def limited_processor_time() -> Iterator[None]:
    """Raise `TimeoutError` in a block that uses too much processor time, however slow the clock."""
    signal.signal(signal.SIGVTALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _raise_timeout(*_: object) -> None:
    raise TimeoutError


TEXTS = {
    "blanks": repeated(" "),
    "line ends": repeated("\n"),
    "Windows line ends": repeated("\r\n"),
    "tabs": repeated("\t"),
    "one letter": repeated("a"),
    "lines of one letter": repeated("a\n"),
    "blanks before details": repeated(" " * 5000 + "<details"),
    "open details": repeated('<details type="x">'),
    "details of which one ends": repeated('<details type="x" ') + "</details>",
    "open summaries": repeated('<details type="reasoning"><summary>'),
    "details with a long attribute": '<details type="tool_calls" ' + repeated("a") + "></details>",
    "details with open attributes": repeated('<details type="x" a="'),
    "details with a long type": '<details type="' + repeated("a"),
    "details with wrong types": repeated('<details type="?"') + "></details>",
    "short details": repeated('<details type="x"></details>'),
    "thoughts": repeated("<think>"),
    "blanks before a thought": repeated(" ") + "<think>",
    "an open thought": "<think>" + repeated("</thin"),
    "backticks": repeated(_TICK),
    "fences of all lengths": "\n".join(_TICK * size for size in range(3, 1400)),
    "tildes": repeated("~"),
    "fences": repeated("```\n"),
    "fences with backticks behind": repeated("```" + "a" * 500 + "`\n"),
    "rows of a table": "|a|b|\n|-|-|\n" + repeated("|`|``|\n"),
    "long rows of a table": "|a|b|\n|-|-|\n" + repeated(f"|{_TICK * 2000}a|\n"),
    "columns of a table": repeated("|a", SIZE // 3)
    + "\n"
    + repeated("|-", SIZE // 3)
    + "\n|a" * (SIZE // 9),
    "lines of attached files": repeated('["file",\n'),
    "a line of attached files": '["file",' + repeated('"' + "a" * 64 + '",'),
    "deep lines of attached files": '["file",' + "[" * SIZE,
    "headings of turns": repeated("## a · 2026-01-01 00:00:00 UTC\n"),
    "lines of turns": repeated("x" * 500 + " · 2026-01-01 00:00:00 U\n -"),
    "turns in a line": repeated(" · 2026-01-01 00:00:00 "),
    "padded underlines": repeated("a · 2026-01-01 00:00:00 UTC\n   ---" + " " * 2000 + "x\n"),
    "backslashes": repeated("\\"),
    "hashes": repeated("#"),
    "dashes": repeated("-"),
    "comments": repeated("<!-- 0123abcd "),
    "lines of comments": repeated("<!-- 0123abcd {\n"),
    "quotes": repeated(">"),
    "brackets": repeated("["),
    "images": repeated("!["),
    "links": repeated("[a]("),
    "stars": repeated("*a "),
    "underlines": repeated("_a_"),
    "angles": repeated("<a "),
    "entities": repeated("&#9"),
    "long entity": "&#" + repeated("9"),
    "nested lists": repeated("- a\n "),
    "references": repeated("[a]: b\n"),
    "mail addresses": repeated("a@"),
    "joiners": repeated("\u200d", SIZE // 3),
    "marks": repeated("a\u0301", SIZE // 3),
    "selectors": repeated("\ufe0f", SIZE // 3),
    "controls": repeated("\x1b"),
    "surrogates": repeated("\ud800", SIZE // 6),
}
"""Texts of a message."""


def _open_webui(text: str) -> Any:
    messages = {
        "1": {"role": "user", "content": text},
        "2": {"role": "assistant", "content": text, "parentId": "1"},
    }
    return {"id": "a", "title": text, "history": {"messages": messages, "currentId": "2"}}


def _chatgpt_thoughts(count: int) -> Any:
    """A row of thoughts, below whose end all answers are."""
    nodes: dict[str, Any] = {}
    for number in range(count):
        thought = {"summary": "", "content": "x"}
        content = {"content_type": "thoughts", "thoughts": [thought]}
        message = {"author": {"role": "assistant"}, "content": content}
        nodes[f"t{number}"] = {"parent": f"t{number - 1}", "message": message}
    for number in range(count):
        content = {"content_type": "text", "parts": ["x"]}
        message = {"author": {"role": "assistant"}, "content": content}
        nodes[f"a{number}"] = {"parent": f"t{count - 1}", "message": message}
    return {"id": "a", "mapping": nodes}


def _broken_objects(piece: str, size: int = SIZE) -> str:
    """A chat, and broken objects in the line of the chat."""
    return f"[{json.dumps(_chatgpt_thoughts(1))}," + repeated(piece, size) + "{}]"


def _chain(count: int) -> Any:
    """Messages without content, each the parent of the one before it."""
    messages = {
        str(number): {"role": "user", "parentId": str(number + 1)} for number in range(count)
    }
    return {"id": "a", "history": {"messages": messages}}


FILES: dict[str, Callable[[], str]] = {
    "a chat without an end": lambda: '[{"mapping": {' + '"a": {"parent": "b"},' * 20_000,
    "deep lists": lambda: "[" * SIZE,
    "deep objects": lambda: '{"a":' * (SIZE // 5),
    "deep lines": lambda: '{"a":\n' * (SIZE // 6),
    "broken lines": lambda: '{"thread_id": 1, "content": []}\n' + '{"a\n' * (SIZE // 4),
    "open lines": lambda: '{"thread_id": 1, "content": []}\n' + '{"a":[\n' * (SIZE // 7),
    "objects without colons": lambda: _broken_objects('{"a" "b"},'),
    "objects of letters": lambda: _broken_objects("{x},"),
    "whole and broken objects": lambda: _broken_objects("{},{x},", 1_000_000),
    "lines of one letter": lambda: repeated("a\n"),
    "commas": lambda: "[" + repeated(","),
    "a long number": lambda: '[{"role": "user", "content": ' + "9" * SIZE + "}]",
    "a long fraction": lambda: '[{"role": "user", "content": 0.' + "9" * SIZE + "}]",
    "many keys": lambda: json.dumps({"mapping": {str(number): 1 for number in range(40_000)}}),
    "many numbers": lambda: "[" + repeated("1e999,") + "1]",
    "many chats": lambda: "[" + repeated('{"mapping": {}},') + "{}]",
    "many messages": lambda: "[" + ",".join(['{"role": "user", "content": "x"}'] * 12_000) + "]",
    "many calls": lambda: (
        "["
        + ",".join(['{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}'] * 6_000)
        + "]"
    ),
    "thoughts above all answers": lambda: json.dumps([_chatgpt_thoughts(1_500)]),
    "a chain of parents": lambda: json.dumps([_chain(10_000)]),
}
"""Files of no format, or of a broken one."""


def message_files(text: str) -> dict[str, str]:
    """Return files of different programs with a message of a text, by their names."""
    rows = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    return {"open-webui.json": json.dumps([_open_webui(text)]), "list.json": json.dumps(rows)}
