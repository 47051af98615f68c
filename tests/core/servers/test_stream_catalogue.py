"""The catalogue of what streams look like on the wire, through the whole layer and a real socket.

Line ends and fields of events are in `test_sse.py`.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from lmchat.core.servers.events import LifeSign, RequestAdapted, StreamFinished
from lmchat.core.sessions.message import ToolCallPart
from tests.core.servers.event_streams import data_line
from tests.support.client_calls import ask, events_of, streamed, text_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Reply,
    body_reply,
    delta,
    finish,
    html_reply,
    json_reply,
    sse,
    usage,
)

R = delta("", role="assistant")
H = delta("Hé")
W = delta("llo")
F = finish()
TEXT = "Héllo"
BAD = b"data: {oops\n\n"


def choice(index: object, text: str | None = None, reason: str | None = None, **more) -> dict:
    """Return a chunk with one choice; `more` are fields beside its delta."""
    inner = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": inner, "finish_reason": reason, **more}]}


def whole_delta(value: object) -> dict:
    return {"choices": [{"index": 0, "delta": value, "finish_reason": None}]}


def message(text: str | None, **fields: object) -> dict:
    return {"message": {"role": "assistant", "content": text, **fields}}


def details(*texts: str) -> list[dict]:
    return [{"type": "reasoning.text", "text": text} for text in texts]


MARK = b"\xef\xbb\xbf"
CALL = {"index": 0, "id": "a", "function": {"name": "weigh", "arguments": '{"grams": 40}'}}
GOOD = (R, H, W, F, usage(), DONE)
COMPLETION = {
    "model": "tiny",
    "choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}],
}


@dataclass(frozen=True)
class Case:
    reply: Reply
    text: str = TEXT
    kind: str = ""  # kind of the error that ends it; empty: it ends well
    words: str = ""  # what the error says
    reason: str = "stop"
    thought: str = ""


CASES = {
    "no end mark and no reason": Case(sse(R, H, W), kind="interrupted"),
    "end mark without a reason": Case(sse(R, H, W, DONE), reason=""),
    "nothing at all": Case(sse(), text="", kind="empty_answer"),
    "error in the stream": Case(
        sse(R, H, W, {"error": {"message": "boom", "code": 500}}), kind="server_error", words="boom"
    ),
    "flat error": Case(
        sse(R, H, W, {"object": "error", "message": "boom", "code": 400}, DONE),
        kind="bad_request",
        words="boom",
    ),
    "error as a reason alone": Case(sse(R, H, W, finish("error"), DONE), kind="server_error"),
    "error by name, not JSON": Case(
        sse(R, H, b"event: error\ndata: boom\n\n"), text="Hé", kind="server_error", words="boom"
    ),
    "error of a gateway": Case(
        sse(R, H, {"error_type": "x", "error_message": "boom"}), text="Hé", kind="server_error"
    ),
    "end mark and nothing else": Case(sse(R, DONE), text="", kind="empty_answer"),
    "events that are no JSON": Case(
        sse(R, BAD, H, BAD * 3, W, BAD, F, DONE),
    ),
    "null, numbers, strings, lists": Case(
        sse(R, b'data: null\n\ndata: 7\n\ndata: "x"\n\ndata: [1]\n\n', H, W, F, DONE)
    ),
    "content as one part": Case(
        sse(
            delta(None, content={"type": "text", "text": "Hé"}),
            delta(None, content={"text": "llo"}),
            F,
            DONE,
        )
    ),
    "lone surrogate": Case(
        sse(R, b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n', F, DONE),
        text="a\ufffd",
    ),
    "bytes that are no UTF-8": Case(
        sse(R, data_line(H).replace("é".encode(), b"\xff"), W, F, DONE), text="H\ufffdllo"
    ),
    "data behind the end mark": Case(sse(R, H, W, F, DONE, delta("no"), {"error": "no"})),
    "end mark with more behind it in its line": Case(
        sse(R, H, W, b"data: [DONE] bye\n\n"), reason=""
    ),
    "cut inside a chunk": Case(sse(R, H, W, Cut(is_reset=True)), kind="interrupted"),
    "cut before any token": Case(sse(R, Cut()), text="", kind="interrupted"),
    "closed by its length": Case(sse(*GOOD, framing="close")),
    "JSON error instead of a stream": Case(
        json_reply({"error": {"message": "boom"}}), text="", kind="server_error", words="boom"
    ),
    "whole completion instead of a stream": Case(json_reply(COMPLETION)),
    "other JSON instead of a stream": Case(
        json_reply({"hello": "world"}), text="", kind="not_an_llm"
    ),
    "HTML instead of a stream": Case(
        html_reply(), text="", kind="not_an_llm", words="not a model server"
    ),
    **{
        f"the reason {reason}": Case(
            sse(R, H, W, finish(reason), DONE), kind="interrupted", words=f"the reason {reason}."
        )
        for reason in ("load", "abort", "cancelled", "timeout", "network_error")  # as they came
    },
    "words and a reason without a text": Case(
        sse(b"data: CUDA error: out of memory\n\n", F, DONE),
        text="",
        kind="model_failed",
        words="CUDA error: out of memory",
    ),
    "an unknown reason without a text": Case(
        sse(R, finish("load"), DONE), text="", kind="interrupted", words="the reason load."
    ),
    **{
        f"the reason {reason} of a limit or a filter": Case(
            sse(R, H, W, finish(reason), DONE), reason=reason
        )
        for reason in ("MAX_TOKENS", "content_filter", "SAFETY", "sensitive")
    },
    "both names at once": Case(
        sse(R, delta(reasoning="hm", reasoning_content="hm"), H, W, F, DONE), thought="hm"
    ),
    "an answer about the tag behind a thought": Case(
        sse(R, delta(reasoning_content="plan"), "<think> is a tag", " used by models.", F, DONE),
        text="<think> is a tag used by models.",
        thought="plan",
    ),
    # vLLM 38864, kekzl/imp 793
    "a closing tag left behind a thought": Case(
        sse(delta(reasoning_content="hm"), "</th", "ink>\n", "\nHé", "llo", F, DONE), thought="hm"
    ),
    "200 JSON of something else that is too long": Case(
        json_reply({"x": "x" * (3 << 20)}), text="", kind="not_an_llm"
    ),
    "one event of two megabytes": Case(
        sse(R, delta("x" * 2_000_000), F, DONE), text="x" * 2_000_000
    ),
    # Line ends and byte order marks; the HTML Standard, 9.2.5, and RFC 8259, 8.1
    "a mark before a stream of another type": Case(
        sse(MARK, H, W, F, DONE, content_type="application/json")
    ),
    "a mark before a whole completion": Case(body_reply(MARK + json.dumps(COMPLETION).encode())),
    "no blank line between events": Case(
        sse(*(data_line(one, b"\n") for one in (R, H, W, F)), b"data: [DONE]\n", every=7)
    ),
    "no blank line before an error": Case(
        sse(data_line(H, b"\n"), b'event: error\ndata: {"message": "boom"}\n'),
        text="Hé",
        kind="server_error",
        words="boom",
    ),
    **{
        f"no blank line, and cut at {end!r}": Case(
            sse(*(data_line(one, b"\n") for one in (R, H, W)), end), kind="interrupted"
        )
        for end in (b'data: {"choices":[{"del', b"da", b"data", b"data: [DO")
    },
    "data: twice": Case(  # paiml/aprender#2015
        sse(*(b"data: " + data_line(one) for one in (R, H, W, F)), b"data: data: [DONE]\n\n")
    ),
    "lines of JSON": Case(  # hyperonym/basaran#144
        sse(*(json.dumps(one).encode() + b"\n" for one in (R, H, W, F)))
    ),
    "control characters that are not escaped": Case(
        sse(R, data_line(H).replace("é".encode(), b"\t\x0b"), W, F, DONE), text="H\t\x0bllo"
    ),
    "a whole completion typed as a stream": Case(sse(json.dumps(COMPLETION).encode())),
    "a whole completion typed as a stream, with an end mark": Case(  # decolua/9router#3492
        sse(json.dumps(COMPLETION).encode() + DONE)
    ),
    "a whole completion in lines, typed as a stream": Case(
        sse(
            json.dumps(COMPLETION, indent=1, ensure_ascii=False)
            .replace(TEXT, f"<think>hm</think>{TEXT}")
            .encode(),
            DONE,
        ),
        thought="hm",
    ),
    # A `message` beside or behind deltas
    "the whole text once more at the end": Case(  # openclaw/openclaw#142888
        sse(R, H, W, choice(0, None, "stop", **message(TEXT)), DONE)
    ),
    "each piece once more beside its delta": Case(  # microsoft/foundry-local#263
        sse(choice(0, "Hé", **message("Hé")), choice(0, "llo", **message("llo")), F, DONE)
    ),
    "a message that is the only text": Case(
        sse(R, choice(0, "", "stop", **message(TEXT, reasoning_content="hm")), DONE), thought="hm"
    ),
    "pieces in messages": Case(
        sse(
            *({"choices": [{"index": 0, **message(text)}]} for text in ("Hé", "llo")),
            F,
            DONE,
        )
    ),
    "a thought in tags once more at the end": Case(
        sse("<think>hm</think>", H, W, choice(0, None, "stop", **message(TEXT, reasoning="hm"))),
        thought="hm",
    ),
    "text as of a plain completion": Case(  # ikawrakow/ik_llama.cpp#767
        sse(
            *({"choices": [{"index": 0, "text": text}]} for text in ("Hé", "llo")),
            {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
            DONE,
        )
    ),
    # Indices of choices
    "an index that is no number": Case(
        sse(choice(None, "Hé"), choice("0", "l"), choice(-1, "lo", "stop"), DONE)
    ),
    "a whole completion with index 1": Case(  # BerriAI/litellm#3678
        json_reply({"choices": [{**COMPLETION["choices"][0], "index": 1}]})
    ),
    "no index": Case(
        sse(
            *({"choices": [{"delta": {"content": text}}]} for text in ("Hé", "llo")),
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        )
    ),
    "a whole completion with another choice in front": Case(
        json_reply({"choices": [choice(1, **message("no"))["choices"][0], *COMPLETION["choices"]]})
    ),
    "another choice that fails": Case(
        sse(R, choice(1, "no", "error", error={"message": "boom"}), H, W, F, DONE)
    ),
    "another choice with a call and a thought": Case(
        sse(
            choice(1, delta={"reasoning_content": "no", "tool_calls": [CALL]}),
            H,
            W,
            choice(1, None, "tool_calls", **message("no", tool_calls=[CALL])),
            F,
            DONE,
        )
    ),
    "another choice in one chunk": Case(
        sse(
            *(
                {
                    "choices": [
                        {"index": index, "delta": {"content": text}}
                        for index, text in enumerate((one, "no"))
                    ]
                }
                for one in ("Hé", "llo")
            ),
            choice(0, None, "stop"),
            choice(1, "no", "length"),
            DONE,
        )
    ),
    # Thoughts in a list
    "a thought in a list": Case(  # LionSR/TeXRA#2947
        sse(delta("", reasoning_details=details("h", "m")), H, W, F, DONE), thought="hm"
    ),
    "a summary and an encrypted thought": Case(
        sse(
            delta(
                "",
                reasoning_details=[
                    {"type": "reasoning.summary", "summary": "hm"},
                    {"type": "reasoning.encrypted", "data": "eA=="},
                ],
            ),
            H,
            W,
            F,
            DONE,
        ),
        thought="hm",
    ),
    "a thought as a part of the content": Case(  # Databricks
        sse(
            delta(
                None,
                content=[
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "text", "text": "Hé"},
                ],
            ),
            W,
            F,
        ),
        thought="hm",
    ),
    **{
        f"a whole completion with words of success: {words}": Case(
            json_reply({**COMPLETION, **words})
        )
        for words in (
            {"code": 0, "msg": "success"},
            {"message": "OK"},
            {"error_code": 0, "error_msg": "success"},
        )
    },
    **{
        f"a thought as {field}: {value}": Case(
            sse(R, delta("", **{field: value}), H, W, F), thought="hm"
        )
        for field, value in (
            ("reasoning_text", "hm"),  # GitHub Copilot
            ("thinking", "hm"),  # as in Ollama's own API
            ("thinking_blocks", [{"type": "thinking", "thinking": "hm"}]),  # LiteLLM
            ("reasoning", {"content": "hm"}),
            ("reasoning_details", [{"type": "thinking", "thinking": "hm"}]),
            ("content", [{"type": "reasoning_text", "text": "hm"}]),
            ("content", [{"type": "reasoning", "content": [{"text": "hm"}]}]),
        )
    },
    # Finish reasons
    "a finish reason that is none, in each chunk": Case(
        sse(choice(0, "Hé", "null"), choice(0, "llo", "null"), DONE), reason=""
    ),
    # Errors in a stream; further ones are in `test_answer_end.py`
    "error of KoboldCpp": Case(
        sse(R, H, W, {"detail": {"msg": "boom"}}), kind="server_error", words="boom"
    ),
    "error by its type": Case(
        sse(R, H, W, {"type": "error", "message": "boom"}), kind="server_error", words="boom"
    ),
    "error of Anthropic": Case(
        sse(
            R,
            H,
            W,
            b'event: error\ndata: {"type":"error","error":{"type":"x","message":"boom"}}\n\n',
        ),
        kind="server_error",
        words="boom",
    ),
    "error of TGI": Case(
        sse(R, H, W, {"error": "boom", "error_type": "generation"}),
        kind="server_error",
        words="boom",
    ),
    "error of LM Studio": Case(
        sse(R, H, W, {"error": {"message": "boom"}, "message": "boom"}),
        kind="server_error",
        words="boom",
    ),
    "error of llama.cpp before September 2025": Case(  # ggml-org/llama.cpp#16104
        sse(R, H, W, b'error: {"code":500,"message":"boom","type":"server_error"}\n\n'),
        kind="server_error",
        words="boom",
    ),
    "error without data": Case(sse(R, H, W, b"event: error\ndata:\n\n"), kind="server_error"),
    "a message, and then the answer": Case(sse(R, {"message": "Loading"}, H, W, DONE), reason=""),
    "error of MiniMax": Case(
        sse(
            {**H, "base_resp": {"status_code": 0, "status_msg": ""}},
            {"base_resp": {"status_code": 1013, "status_msg": "boom"}},
            DONE,
        ),
        text="Hé",
        kind="server_error",
        words="boom",
    ),
    "error of Baidu": Case(
        json_reply({"error_code": 336000, "error_msg": "boom"}),
        text="",
        kind="server_error",
        words="boom",
    ),
    "words instead of a stream": Case(
        body_reply(b"upstream connect error", content_type="text/plain"),
        text="",
        kind="not_an_llm",
        words="upstream connect error",
    ),
    "a whole completion without an answer": Case(
        json_reply({"choices": None, "detail": None, "usage": {"prompt_tokens": 5}}),
        text="",
        kind="empty_answer",
    ),
    "deep nesting": Case(sse(R, H, b"data: " + b"[" * 100_000 + b"\n\n", W, F, DONE)),
    "empty parts": Case(sse(R, delta([]), delta([{"type": "text", "text": ""}]), H, W, F, DONE)),
    "a field of another name": Case(sse(R, H, whole_delta({"opaque": "x"}), W, F, DONE)),
}
UNREAD_TEXTS = {
    "a number": delta(4),
    "a picture": delta([{"type": "image_url", "image_url": {"url": "x"}}]),
    "a text in an object": delta({"text": {"value": "x"}}),
    "a delta that is a text": whole_delta("x"),
    "a picture beside its text": whole_delta({"content": "", "images": [{"type": "image_url"}]}),
    "a voice": whole_delta({"audio": {"transcript": "x"}}),
}
OTHER_FORMS = {
    **UNREAD_TEXTS,
    "a text under another name": whole_delta({"role": "assistant", "text": "x"}),
    "chats of Ollama": {"message": {"role": "assistant", "content": "x"}, "done": False},
    "messages of Anthropic": {"type": "content_block_delta", "delta": {"text": "x"}},
    "responses of OpenAI": {"type": "response.output_text.delta", "delta": "x"},
    "contents of Gemini": {"candidates": [{"content": {"parts": [{"text": "x"}]}}]},
    "completions of llama.cpp": {"content": "x", "stop": False},
    "choices by their index": {"choices": {"0": {"delta": {"content": "x"}}}},
    "what is no JSON": BAD,
    "another choice": choice(1, "x"),  # BerriAI/litellm#12666
}
CASES |= {
    f"{name} {end}": Case(
        sse(R, form, *more),
        text="",
        kind="unsupported",
        words="The server answers in a form that lmchat does not read.",
    )
    for name, form in OTHER_FORMS.items()
    for end, more in (("and a reason", (F, DONE)), ("alone", ()))
}


LOST = data_line(delta("old "))
LOSSES = {
    "events that are no JSON": (BAD, BAD),
    "a line with words in front": (b"12:04:07 " + LOST,),
    "a field in capitals": (LOST.replace(b"data", b"DATA"),),
    "a control character in front": (b"\x0b" + LOST,),
    "an event that a comment cuts": (LOST.replace(b"old", b"o\n: ping\nld"),),
    "a half event": (LOST[:30] + b"\n\n",),
    "another choice": (choice(1, "no"),),
} | {name: (form,) for name, form in UNREAD_TEXTS.items()}


async def test_a_part_that_is_lost_is_told(server, make_client):
    for name, lost in LOSSES.items():
        places = ((R, H, *lost, W, F, DONE), (R, H, W, *lost, F), (R, H, W, F, *lost))
        # a text behind a reason makes it void
        for chunks in places[: 2 if name in UNREAD_TEXTS else 3]:
            server.on(CHAT, sse(*chunks))
            events, error = await events_of(make_client(), ask(server))
            notes = [one for one in events if isinstance(one, RequestAdapted)]
            assert [one.note for one in notes] == ["A part of the answer may be missing."], name
            assert (text_of(events), error) == (TEXT, None), name
            assert streamed(events).stats.is_part_missing


@pytest.mark.rule("R-1", "R-16", "R-17", "R-21", "R-22", "R-23", "R-26", "R-38")
async def test_every_case_of_the_catalogue(server, make_client):
    for name, case in CASES.items():
        server.requests.clear()
        server.on(CHAT, case.reply)
        events, error = await events_of(make_client(), ask(server))
        read = streamed(events)
        answer = read.content
        assert not any(isinstance(part, ToolCallPart) for part in answer.parts), name
        assert answer.text("text", "refusal") == case.text, name
        assert answer.text("reasoning") == case.thought, name
        if case.kind:
            assert error is not None, f"{name}: it should not have ended well"
            assert (error.kind, case.words.lower() in error.message.lower()) == (case.kind, True)
            assert not isinstance(events[-1], StreamFinished)
        else:
            assert error is None, (name, error, error and error.details)
            assert events[-1] == StreamFinished(reason=case.reason)
        has_loss = "another choice" in name or name in (*LOSSES, "deep nesting")
        if not (case.kind and case.text):  # else the lost end is the error
            assert read.stats.is_part_missing is (has_loss and not case.kind), name
        # an empty stream may hide a refusal, which the request for a whole answer tells
        asked = [one.json["stream"] for one in server.seen(CHAT)]
        assert asked == ([True, False] if case.kind == "empty_answer" else [True]), name


async def test_comments_and_empty_frames_are_signs_of_life(server, client):
    lines = json.dumps(COMPLETION, indent=1).encode()
    for frame, rest in (
        (b": ping\n\n", (H, F)),
        (b"data:\n\n", (H, F)),
        (lines[:2], (lines[2:],)),
    ):
        gate = Gate()
        server.on(CHAT, sse(frame, gate, *rest, DONE))
        async with aclosing(client.stream(ask(server))) as stream:
            async for event in stream:
                assert not isinstance(event, RequestAdapted), event.note
                if event == LifeSign():
                    gate.open()
        assert gate.is_open, frame


async def test_an_answer_that_ends_without_a_reason_broke_off_where_a_product_always_names_one(
    server, make_client
):
    """llama-cpp-python ends a stream so when the request of another client interrupts it."""
    server.on(CHAT, sse(R, H, W, DONE))
    for product in ("llama-cpp-python", "llama.cpp", "Ollama", "vLLM", "LM Studio", "KoboldCpp"):
        events, error = await events_of(make_client(), ask(server, product=product))
        assert error is not None, product
        assert (error.kind, text_of(events)) == ("interrupted", TEXT)
        assert error.message == "Streaming failed: the server ended the answer without a reason."
    for product in ("OpenAI-compatible", "LiteLLM", "vllm-mlx"):  # an older one left it out
        events, error = await events_of(make_client(), ask(server, product=product))
        assert (error, events[-1]) == (None, StreamFinished(reason=""))
