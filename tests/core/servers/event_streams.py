r"""Event streams and the events in them, by the HTML Standard (9.2.5 and 9.2.6).

The inputs and results of the first table are those of a public test suite: the bytes and what a
reader must make of them, without its code. `lastEventId`, the time of reconnecting and the text of
comments are left out: lmchat has no use for them.
"""

from __future__ import annotations

import json

Events = list[tuple[str, bytes]]  # name and data of each event


def data_line(value: object, end: bytes = b"\n\n") -> bytes:
    """Return an event with this JSON."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + end


BOM = b"\xef\xbb\xbf"
LONG = b"x" * 2048

WEB_PLATFORM_TESTS: dict[str, tuple[bytes, Events]] = {
    # github.com/web-platform-tests/wpt, folder `eventsource`; the names are those of the files. Its
    # server adds "\n\n" to most messages, and "\n" to all.
    "event-data": (
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        [("", b"msg\nmsg"), ("", b""), ("", b"end")],
    ),
    "format-bom": (
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n\n",
        [("", b"1"), ("", b"3")],
    ),
    "format-bom-2": (
        BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n\n",
        [("", b"2"), ("", b"3")],
    ),
    "format-comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + LONG + b"\rdata:3\n:data:fail\r:" + LONG + b"\ndata:4\n\n",
        [("", b"1\n2\n3\n4")],
    ),
    "format-data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2\n",
        [("", b"test1")],
    ),
    "format-field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n\n",
        [("", b""), ("", b"\n"), ("", b"test")],
    ),
    "format-field-event": (
        b"event:test\ndata:x\n\ndata:x\n\n\n",
        [("test", b"x"), ("", b"x")],
    ),
    "format-field-event-empty": (b"event: \ndata:data\n\n\n", [("", b"data")]),
    "format-field-id": (
        "id: …\nretry: 200\ndata: hello\n\n\n".encode(),
        [("", b"hello")],
    ),
    "format-field-id-2": (
        "id: …\nretry: 200\ndata: hello\n\ndata: …\n\ndata: …\n\n".encode(),
        [("", b"hello"), ("", "…".encode()), ("", "…".encode())],
    ),
    "format-field-id-3, an empty id": (
        b"id: 1\ndata:\n\nid\ndata:\n\ndata:\n\n",
        [("", b"")] * 3,
    ),
    "format-field-id-null": (
        b"id: \0\0\nretry: 200\ndata: hello\n\n\n",
        [("", b"hello")],
    ),
    "format-field-parsing": (
        (
            b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\n"
            b"data:3\rdata:\r\n data:32\ndata:4\n\n"
        ),
        [("", b"\0\n 2\n1\n3\n\n4")],
    ),
    "format-field-retry": (b"retry:02000\ndata:x\n\n\n", [("", b"x")]),
    "format-field-retry-bogus": (b"retry:2000\nretry:1000x\ndata:x\n\n\n", [("", b"x")]),
    "format-field-retry-empty": (b"retry\ndata:test\n\n\n", [("", b"test")]),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n\n",
        [("", b"test\n\ntest")],
    ),
    "format-leading-space": (
        b"data:\ttest\rdata: \ndata:test\n\n\n",
        [("", b"\ttest\n\ntest")],
    ),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r\n", [("", b"test\n\ntest")]),
    "format-null-character": (b"data:\0\n\n\n\n\n", [("", b"\0")]),
    "format-utf-8": ("data:ok…\n\n\n".encode(), [("", "ok…".encode())]),
    "eventsource-from-readable-stream, line ends": (
        b"data: cr\r\rdata: lf\n\ndata: crlf\r\n\r\n",
        [("", b"cr"), ("", b"lf"), ("", b"crlf")],
    ),
}

OWN: dict[str, tuple[bytes, Events]] = {
    "mixed": (
        b"data: a\n\r\ndata: b\r\r\ndata: c\r\n\rdata: d\n\n",
        [("", b"a"), ("", b"b"), ("", b"c"), ("", b"d")],
    ),
    "a mark alone": (BOM, []),
    "a mark and a line end": (BOM + b"\r\ndata: a\r\n\r\n", [("", b"a")]),
    "a mark behind the first line end": (b"\n" + BOM + b"data: a\n\ndata: b\n\n", [("", b"b")]),
    "several lines": (b"data: a\r\ndata: b\r\n\r\n", [("", b"a\nb")]),
    "comments": (b": ping\n\n:\n\ndata: a\n\n", [("", b"a")]),
    "named": (b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("", b"b")]),
    "a name without data is no event": (b"event: ping\n\ndata: a\n\n", [("", b"a")]),
    "a name alone does not pass to the next event": (
        b"event: error\n\ndata: a\n\n",
        [("", b"a")],
    ),
    "id and retry": (b"id: 7\nretry: 3000\n\nid: 8\ndata: a\n\n", [("", b"a")]),
    "other fields": (b"Data: x\n data: x\ndata\0: x\nfoo: x\ndata: a\n\n", [("", b"a")]),
    "other line ends do not count": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [("", "a\u2028b\u2029c\u0085d\x0be\x0cf".encode())],
    ),
    "whole JSON at the end": (b'data: {"a": 1}', [("", b'{"a": 1}')]),
    "whole JSON of two lines at the end": (
        b'data: {"a":\rdata: 1}\r',
        [("", b'{"a":\n1}')],
    ),
    "the end mark at the end": (b"data: [DONE]\n", [("", b"[DONE]")]),
    "cut JSON at the end": (b'data: a\n\ndata: {"a": ', [("", b"a")]),
    "an error at the end": (b"event: error\ndata: no mem", [("error", b"no mem")]),
    "nothing": (b"", []),
    # llama.cpp before September 2025, ggml-org/llama.cpp#16104
    "an error as a field": (b'error: {"code":500}\n\n', [("error", b'{"code":500}')]),
}
