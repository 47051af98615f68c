"""Files that are made to keep a program busy: texts and containers of about 300 kB each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SIZE = 300_000
_LIMIT_S = 6  # at most half of it is needed, and many times as much in quadratic time
_TICK = "`"
_MANY = 100_000  # signs with which a pattern starts


def repeated(piece: str, size: int = SIZE) -> str:
    return (piece * (size // len(piece) + 1))[:size]


@contextmanager
def limited_processor_time() -> Iterator[None]:
    """Fail the test if a block uses too much processor time, however slow the clock."""
    if not hasattr(signal, "SIGVTALRM"):  # Windows, where the limit of the test counts
        yield
        return
    signal.signal(signal.SIGVTALRM, _fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _fail(*_: object) -> None:
    pytest.fail("it takes too much processor time")  # no `Exception`, which a reader might catch


TEXTS = {
    "blanks": repeated(" "),
    "line ends": repeated("\n"),
    "one letter": repeated("a"),
    "open details": repeated('<details type="x">'),
    "details of which one ends": repeated('<details type="x" ') + "</details>",
    "details with open attributes": repeated('<details type="x" a="'),
    "short details": repeated('<details type="x"></details>'),
    "thoughts": repeated("<think>"),
    "blanks before a thought": repeated(" ") + "<think>",
    "an open thought": "<think>" + repeated("</thin"),
    "names of calls": "<<<AGENTIC_TOOL_CALL" + "<<<TOOL_NAME:" * _MANY,
    "calls": "<<<AGENTIC_TOOL_CALL_START>>>" * _MANY,
    "open citations of before 2025": "【" * _MANY,
    "open citations": "\ue200cite\ue202" * _MANY,
    "citations of many words": "\ue200" + "cite " * _MANY + "\ue200cite\ue202" + "turn0 " * _MANY,
    "gaps": ", " * _MANY,
    "backticks": repeated(_TICK),
    "fences of all lengths": "\n".join(_TICK * size for size in range(3, 1400)),
    "fences with backticks behind": repeated("```" + "a" * 500 + "`\n"),
    "long rows of a table": "|a|b|\n|-|-|\n" + repeated(f"|{_TICK * 2000}a|\n"),
    "lines of attached files": repeated('["file",\n'),
    "a line of attached files": '["file",' + repeated('"' + "a" * 64 + '",'),
    "deep lines of attached files": '["file",' + "[" * SIZE,
    "comments": repeated("<!-- 0123abcd "),
    "brackets": repeated("["),
    "marks": repeated("a\u0301", SIZE // 3),
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


def _chatgpt(text: str) -> Any:
    message = {
        "author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": [text]},
    }
    return {"id": "a", "title": text, "mapping": {"1": {"parent": None, "message": message}}}


def _llama_cpp(text: str) -> Any:
    row = {"id": "1", "convId": "a", "role": "assistant", "parent": None, "content": text}
    return {"conv": {"id": "a", "name": text}, "messages": [row]}


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


def _chain(count: int) -> Any:
    """Messages without content, each the parent of the one before it."""
    messages = {
        str(number): {"role": "user", "parentId": str(number + 1)} for number in range(count)
    }
    return {"id": "a", "history": {"messages": messages}}


FILES: dict[str, Callable[[], str]] = {
    "a chat without an end": lambda: '[{"mapping": {' + '"a": {"parent": "b"},' * 20_000,
    "deep lists": lambda: "[" * SIZE,
    "broken lines": lambda: '{"thread_id": 1, "content": []}\n' + '{"a\n' * (SIZE // 4),
    "open lines": lambda: '{"thread_id": 1, "content": []}\n' + '{"a":[\n' * (SIZE // 7),
    "a long number": lambda: '[{"role": "user", "content": ' + "9" * SIZE + "}]",
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
    chats = {"open-webui": _open_webui(text), "chatgpt": _chatgpt(text), "llama": _llama_cpp(text)}
    files = {f"{name}.json": json.dumps([chat]) for name, chat in chats.items()}
    return {**files, "list.json": json.dumps(rows)}


@contextmanager
def deep_folder(name: str = "e", levels: int = 1050) -> Iterator[Path]:
    """Give a folder with a file that many levels below it; it goes at the end.

    Python's `rmtree`, with which pytest removes its folders, calls itself for each level.
    """
    top = Path(tempfile.mkdtemp())
    try:
        folder = os.open(top, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=folder)
            below = os.open(name, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        file = os.open("z.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
        os.write(file, b"The deepest words.\n")
        os.close(file)
        os.close(folder)
        yield top
    finally:
        subprocess.run(["rm", "-r", str(top)], check=True)  # noqa: S603, S607 - ours
