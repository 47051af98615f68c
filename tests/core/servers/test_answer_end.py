"""What ends an answer, and that no pause of a server does. The clock of these tests jumps over all waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import httpx
import pytest

from lmchat.base.errors import LMChatError, StreamInterrupted
from lmchat.core.config.settings import Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import RequestAdapted, StreamFinished
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import CHAT_PATH, ForwardedRequest
from lmchat.core.sessions.message import AnswerState, ToolCallPart
from tests.core.servers.event_streams import data_line
from tests.support.client_calls import ask, events_of, streamed
from tests.support.quick_loop import run_quickly
from tests.support.scripted_server import DONE, delta, finish, usage

HERE = Endpoint.parse("http://localhost:9")
HOLD = 10_000.0  # seconds: longer than any limit
BREAK = httpx.ReadError("connection reset")
Part = dict | bytes | str | float | Exception
"""Chunk, bytes, chunk with this text, pause in seconds, or how the connection breaks."""


@dataclass(frozen=True)
class Read:
    """What came of an answer."""

    text: str
    thought: str
    calls: tuple[tuple[str, str], ...]
    reason: str | None  # None: it did not end well
    error: LMChatError | None
    notes: tuple[str, ...]
    seconds: float

    @property
    def content(self) -> tuple[object, ...]:
        error = self.error
        end = error and (type(error), error.kind, error.message)
        return self.text, self.thought, self.calls, self.reason, end


def client_of(parts: Iterable[Part], content_type: str = "text/event-stream") -> HttpServerClient:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            if isinstance(part, float):
                await asyncio.sleep(part)
                continue
            chunk = delta(part) if isinstance(part, str) else part
            yield chunk if isinstance(chunk, bytes) else data_line(chunk)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": content_type}, content=body())

    return HttpServerClient(Settings(), transport=httpx.MockTransport(answer))


def read(*parts: Part, product: str = "OpenAI-compatible") -> Read:
    async def work() -> Read:
        client = client_of(parts)
        events, error = await events_of(client, ask(HERE, product=product))
        await client.aclose()
        content = streamed(events).content
        calls = (part for part in content.parts if isinstance(part, ToolCallPart))
        end = events[-1] if events else None
        return Read(
            text=content.text("text", "refusal"),
            thought=content.text("reasoning"),
            calls=tuple((call.name, call.arguments) for call in calls),
            reason=end.reason if isinstance(end, StreamFinished) else None,
            error=error,
            notes=tuple(one.note for one in events if isinstance(one, RequestAdapted)),
            seconds=asyncio.get_running_loop().time(),
        )

    return run_quickly(work())


def with_reason(chunk: dict | str, reason: str = "stop") -> dict:
    chunk = delta(chunk) if isinstance(chunk, str) else chunk
    return {**chunk, "choices": [{**chunk["choices"][0], "finish_reason": reason}]}


def beside(chunk: dict | str, error: object) -> dict:
    return {**(delta(chunk) if isinstance(chunk, str) else chunk), "error": error}


def call(number: int, name: str, arguments: str) -> dict:
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": number, "id": f"c{number}", "function": function}])


def more_of(number: int, arguments: str) -> dict:
    return delta(tool_calls=[{"index": number, "function": {"arguments": arguments}}])


WATER = ("water", '{"day":"Monday"}')
WHOLE = {
    "a reason beside each text": (with_reason("Take 2 "), with_reason("pills."), DONE),
    "a reason of its own in the middle": ("Take 2 ", finish(), 1.0, "pills.", finish(), DONE),
    "a reason before anything": (finish(), "Take 2 pills.", finish(), DONE),
    "a reason beside a thought": (
        with_reason(delta(reasoning_content="Hm.")),
        "Take 2 pills.",
        finish(),
        DONE,
    ),
    "the limit beside a text, and more": (with_reason("Take 2 ", "length"), "pills.", finish()),
    "no end mark": ("Take 2 ", "pills.", finish()),
    "a reason beside the last text, and a close": ("Take 2 ", with_reason("pills.")),
}
CALLS = {
    "a reason beside the first of two calls": (
        (with_reason(call(0, "look", "{}"), "tool_calls"), call(1, *WATER), DONE),
        (("look", "{}"), WATER),
    ),
    "a reason beside the first of two calls and of its own behind the second": (
        (with_reason(call(0, *WATER), "tool_calls"), call(1, "look", "{}"), finish("tool_calls")),
        (WATER, ("look", "{}")),
    ),
    "arguments behind a reason beside the name": (
        (with_reason(call(0, "water", ""), "tool_calls"), more_of(0, WATER[1]), DONE),
        (WATER,),
    ),
    "arguments behind a reason of its own": (
        (call(0, "water", ""), finish("tool_calls"), more_of(0, WATER[1]), finish("tool_calls")),
        (WATER,),
    ),
    "half of the arguments behind a reason of its own": (
        (call(0, "water", '{"day":'), finish("tool_calls"), more_of(0, '"Monday"}'), DONE),
        (WATER,),
    ),
}


def paused(parts: Sequence[Part], seconds: float) -> list[Part]:
    """Put pauses between all parts but those that have one."""
    found: list[Part] = []
    for part in parts:
        has_pause = not found or isinstance(part, float) or isinstance(found[-1], float)
        found += [part] if has_pause else [seconds, part]
    return found


@pytest.mark.rule("R-22")
@pytest.mark.parametrize("seconds", [0.0, 3.0, 250.0])
def test_a_pause_takes_nothing_from_an_answer(seconds):
    for name, parts in WHOLE.items():
        found = read(*paused(parts, seconds))
        assert (found.text, found.error) == ("Take 2 pills.", None), name
    for name, (parts, calls) in CALLS.items():
        found = read(*paused(parts, seconds))
        assert (found.calls, found.error) == (calls, None), name


def test_a_reason_in_a_chunk_of_its_own_ends_an_answer_two_seconds_later():
    for behind in (
        (HOLD,),
        (1.5, usage(), HOLD),
        (1.5, finish(), 1.5, finish(), HOLD),
        (b": ping\n\n", 0.5) * 100,
        (b"data: ping\n\n", 0.5) * 100,
    ):
        found = read("Done.", finish(), *behind)
        assert (found.text, found.reason, found.seconds, found.notes) == ("Done.", "stop", 2.0, ())


def test_behind_a_reason_beside_the_last_text_the_server_is_waited_for_as_in_any_silence():
    for last in (with_reason("Done."), with_reason(call(0, *WATER), "stop")):
        for behind in ((HOLD,), (usage(), HOLD), (b": ping\n\n", 2.0) * 1000):
            found = read("So: ", last, *behind)
            assert (found.reason, found.seconds) == ("stop", 300.0)


def test_an_answer_whose_connection_breaks_is_whole_only_behind_a_reason_of_its_own():
    for parts, is_whole in (
        (("Done.", finish()), True),
        ((call(0, *WATER), finish("tool_calls"), usage()), True),
        (("Done.",), False),
        ((with_reason("Done."),), False),
        (("Done.", finish(), " But"), False),
        ((with_reason(call(0, *WATER)),), False),
        ((call(0, "water", ""), finish("tool_calls")), False),
        ((call(0, "water", '{"day":'), finish("tool_calls")), False),
    ):
        found = read(*parts, BREAK)
        assert (found.error is None) is is_whole, parts


def test_a_call_whose_arguments_never_come_is_no_answer():
    for arguments in ("", '{"day":'):
        for words in ((), (b"data: lost the worker\n\n", *(b": ping\n\n", 2.0) * 1000)):
            found = read(call(0, "water", arguments), finish("tool_calls"), *words, HOLD)
            assert found.error is not None
            assert ("lost the worker" in found.error.message) is bool(words)


def test_a_call_in_a_form_that_is_not_read_is_an_error():
    function = {"name": "water", "arguments": "{}"}
    for parts in (
        (finish("tool_calls"),),
        ("So: ", finish("tool_calls")),
        (finish("function_call"), DONE),
        # continuedev/continue#5849
        (delta(function_call=function), finish("stop"), DONE),
        ("So: ", delta(function_call=function), finish("function_call")),
        # run-llama/llama_index#18313
        (delta(tool_calls={"id": "a", "function": function}), finish(), DONE),
        (delta(tool_calls={"id": "a", "function": function}), DONE),
    ):
        found = read(*parts)
        assert found.error is not None
        assert found.error.message == (
            "Streaming failed: the server sent a tool call in a form that lmchat does not read."
        )


FALSE_ERRORS = ({"status": "none"}, {"code": "ok", "message": "no error"}, "none", True)
IDLE_WORDS = (b"data: -- idle --\n\n", b"data: ping\n\n", b"data: :\n\n", b"all is well\n")


@pytest.mark.rule("R-26")
def test_neither_errors_beside_a_whole_answer_nor_words_within_it_are_told():
    answers: list[tuple[Part, ...]] = [
        ("Sow ", {"error": None}, {"error": ""}, "in May.", finish(), DONE),
        ("Sow ", {"event": "queue", "detail": {"place": 3}}, "in May.", finish(), DONE),
        ({"event": "queue", "detail": {"place": 3}}, 50.0, "Sow in May.", DONE),
    ]
    for error in FALSE_ERRORS:
        each = (beside("Sow ", error), beside("in May.", error), beside(finish(), error))
        answers += [(*each, DONE), each]
    for words in IDLE_WORDS:
        answers += [
            ("Sow ", words, "in May.", finish(), DONE),
            (words, "Sow in May.", finish()),
            ("Sow in May.", words, DONE),
            ("Sow in May.", finish(), words),
            ("Sow ", words, 1.5, "in May.", DONE),
        ]
    for parts in answers:
        found = read(*parts)
        assert (found.text, found.error, found.notes) == ("Sow in May.", None, ()), parts


BOOM = {"message": "boom"}


@pytest.mark.rule("R-26")
def test_neither_a_reason_nor_an_end_mark_makes_an_answer_with_an_error_whole():
    for error in (
        {"error": BOOM},
        {"error": "boom", "usage": {"prompt_tokens": 5}},
        {"detail": "boom"},
        {"choices": [], "error": BOOM},
        {"choices": [{"index": 0, "delta": {}, "error": BOOM}]},
        beside(finish("error"), BOOM),
        b'data: [{"error": {"message": "boom"}}]\n\n',
        b'{"error": {"message": "boom"}}\n',
    ):
        for parts, text in (
            (("Sow ", error, "in May.", finish(), DONE), "Sow in May."),
            (("Sow in May.", finish(), error, DONE), "Sow in May."),
            (("Sow ", error, b"data: ping\n\n", {"message": "Loading"}, finish()), "Sow "),
            ((call(0, *WATER), error, finish("tool_calls"), DONE), ""),
            ((error, call(0, *WATER), finish("tool_calls"), usage()), ""),
            ((call(0, *WATER), error, DONE), ""),
            ((error, finish("length"), DONE), ""),
        ):
            found = read(*parts)
            assert found.error is not None, parts
            assert (found.text, found.error.message) == (text, "The server says: boom"), parts


def test_a_whole_call_before_the_end_mark_needs_no_reason():
    """Also of a product that always names one."""
    for product in ("OpenAI-compatible", "llama.cpp", "vLLM"):
        for parts, calls in (
            ((call(0, *WATER), DONE), (WATER,)),
            (("So: ", call(0, "water", ""), more_of(0, WATER[1]), usage(), DONE), (WATER,)),
            ((call(0, *WATER), call(1, "look", "{}"), DONE), (WATER, ("look", "{}"))),
        ):
            found = read(*parts, product=product)
            assert (found.calls, found.reason, found.error) == (calls, "", None), parts
    for parts in (
        ("So: ", DONE),
        (call(0, "water", ""), DONE),
        (call(0, "water", '{"day":'), DONE),
        (call(0, *WATER), call(1, "look", "{"), DONE),
        (call(0, *WATER),),
        (call(0, *WATER), BREAK),
    ):
        found = read(*parts, product="llama.cpp")
        assert isinstance(found.error, StreamInterrupted), parts


def test_words_that_stop_an_answer_are_shown_and_then_end_it():
    for words, told in (
        (b"Backend gave up after 3 tries.\n", "Backend gave up after 3 tries."),
        (b"data: Backend gave up after 3 tries.\n\n", "Backend gave up after 3 tries."),
        (b"lost the worker\nasked twice\n", "lost the worker asked twice"),
    ):
        for behind in ((HOLD,), (b": ping\n\n", 2.0) * 100, (b"data:\n\n", 7.0) * 100):
            found = read("Half ", words, *behind)
            assert found.text == "Half "
            assert found.notes == (f"The server says: {told}",)
            assert found.error is not None
            assert (found.error.message, found.seconds) == (f"The server says: {told}", 60.0)


def test_words_that_come_again_are_data_and_are_shown_once():
    found = read("Half ", *(b"data: still at it\n\n", 40.0) * 10, "an hour.", finish(), DONE)
    assert (found.text, found.error) == ("Half an hour.", None)
    assert found.notes == ("The server says: still at it",)


def test_a_program_gets_parallel_answers_to_their_end_and_others_until_theirs():
    other = {"choices": [{"index": 1, "delta": {"content": "other"}}]}
    late = {"choices": [{"index": 1, "delta": {"content": "late"}}]}

    async def body_passed(*, is_parallel: bool) -> tuple[bytes, AnswerState]:
        client = client_of(("Hi", other, finish(), 5.0, late, DONE))
        model = ModelInfo(model_id="tiny", endpoint=HERE, product="OpenAI-compatible")
        request = ForwardedRequest(model=model, path=CHAT_PATH, body=b"{}", is_parallel=is_parallel)
        states: list[AnswerState] = []
        body = b""
        async with client.forward(request, lambda state, _: states.append(state)) as reply:
            async for chunk in reply.chunks:
                body += chunk
        await client.aclose()
        return body, states[0]

    assert b"late" in run_quickly(body_passed(is_parallel=True))[0]
    body, state = run_quickly(body_passed(is_parallel=False))
    assert (b"late" in body, state) == (False, AnswerState.COMPLETE)
