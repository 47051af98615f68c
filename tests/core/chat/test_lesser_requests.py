"""A refused request is followed by lesser ones, whatever the words of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import cycle, pairwise
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from lmchat.core.config.settings import LimitSettings, Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.sessions.message import AnswerState, ChatMessage, FilePart, Role
from lmchat.core.sessions.prompts import Prompt
from lmchat.core.tools.calls import ToolResult
from tests.support.chat_turns import ChatTurns
from tests.support.chats import answer, prompt
from tests.support.refusal_corpus import RECORDS, raw_body
from tests.support.scripted_backend import ENDPOINT
from tests.support.scripted_server import DONE, delta, finish
from tests.support.scripted_tools import ScriptedHost, toolbox

SENTENCE = "The lettuce grows between the beans, and the shed is full of pots. "  # 15 tokens
ROOF = FilePart(name="roof.png", media_type="image/png", digest="", size=9, tokens=300)
WINDOWS = (1000, 2000, 8000)
Refuse = Callable[[], httpx.Response]


def reply(status: int, data: bytes, kind: str = "application/json") -> httpx.Response:
    return httpx.Response(status, headers={"Content-Type": kind}, stream=httpx.ByteStream(data))


def stream(*events: object) -> httpx.Response:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return reply(200, data + DONE, "text/event-stream")


def said(status: int, words: str = "No.") -> Refuse:
    return lambda: reply(status, json.dumps({"error": {"message": words}}).encode())


def as_recorded(record: dict[str, Any]) -> Refuse:
    if record["where"] == "stream":
        return lambda: stream(record["body"])
    return lambda: reply(record["status"], raw_body(record))


RECORDED = [
    one for one in RECORDS if one["kind"] == "context_overflow" and "code" not in one["body"]
]
OTHERS = {
    "a size": said(413),
    "a page": lambda: reply(413, b"<html><title>Request Entity Too Large</title>", "text/html"),
}
OVERFLOWS = {**{one["source"]: as_recorded(one) for one in RECORDED}, **OTHERS}
# that each has the same kind in its words is seen where refusals are read
FORMS = {(one["where"], one["status"], type(one["body"])): as_recorded(one) for one in RECORDED}
UNCLEAR = {
    "no words": lambda: reply(400, b""),
    "no JSON": lambda: reply(422, b"nope", "text/plain"),
    "one word": said(400),
    "another status": said(422),
    "Chinese": said(400, "\u8f93\u5165\u5185\u5bb9\u8fc7\u957f"),
    "German": said(422, "Die Anfrage ist zu lang."),
    "in a stream": lambda: stream({"error": {"message": "No.", "code": 400}}),
    "a template": said(400, "Conversation roles must alternate"),
}
TWO_UNCLEAR = {
    name: UNCLEAR[name] for name in ("no words", "in a stream")
}  # others differ in words


class Server(httpx.AsyncBaseTransport):
    """Takes requests up to its window: a token for each blank, and 300 for an image."""

    def __init__(self, window: int, refuse: Refuse, *, sees: bool = True) -> None:
        self.window = window
        self.refuse = refuse
        self.sees = sees
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[httpx.Response] = []  # before all others
        self.is_off = False
        self.takes_tools = True
        self.fields: dict[str, object] = {}  # of its one model

    def listed(self, path: str) -> httpx.Response:
        rows = [{"id": "qwen3-8b", "object": "model", **self.fields}]
        is_list = path == "/v1/models"
        return reply(200 if is_list else 404, json.dumps({"data": rows if is_list else 0}).encode())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_off:
            raise httpx.ConnectError("All connection attempts failed")
        if request.method == "GET":
            return self.listed(request.url.path)
        body = json.loads(await request.aread())
        self.bodies.append(body)
        text = json.dumps([body["messages"], body.get("tools")])
        images = text.count('"data:image')
        is_odd = (images and not self.sees) or ("tools" in body and not self.takes_tools)
        if is_odd or text.count(" ") + 300 * images > self.window:
            return self.refuse()
        return self.answers.pop(0) if self.answers else stream(delta("Yes."), finish())


class Chat(ChatTurns):
    """A session over a server that lists no window."""

    def __init__(self, store, server: Server, *, window=None, **more) -> None:
        limits = LimitSettings(retries=1, requests_per_minute=0)
        client = HttpServerClient(Settings(limits=limits), transport=server)
        super().__init__(store, server=client, product="OpenAI-compatible", window=window, **more)
        self.bodies = server.bodies

    async def ask(self, text: str) -> list[dict[str, Any]]:
        """Send a prompt; return the requests for its answer."""
        before = len(self.bodies)
        self.events.clear()
        await self.send(text)
        return self.bodies[before:]

    @property
    def end(self) -> tuple[AnswerState, str]:
        failure = self.path[-1].failure
        return self.path[-1].state, f"{failure.message} {failure.hint}" if failure else ""


def talk(sentences: int, *, image: FilePart | None = None) -> list[ChatMessage]:
    """Return ten exchanges, the first perhaps with an image."""
    messages: list[ChatMessage] = []
    for number in range(10):
        asked = prompt(f"{number}: {SENTENCE * sentences}", messages[-1] if messages else None)
        if image is not None and not number:
            asked = replace(asked, parts=(image, *asked.parts))
        messages += [asked, answer(SENTENCE * sentences, parent=asked)]
    return messages


def texts(body: dict[str, Any]) -> list[str]:
    return [str(message["content"]) for message in body["messages"]]


DONE_WELL = (AnswerState.COMPLETE, "")


async def test_a_session_goes_on_after_an_overflow_in_any_form(store):
    forms = {**FORMS, **OTHERS}
    for (name, refuse), window in zip(forms.items(), cycle(WINDOWS), strict=False):
        chat = Chat(store, Server(window, refuse), max_tokens=2 * window)
        await chat.open_import(*talk(window // 60))
        requests = await chat.ask("And now?")
        assert (chat.end, 1 < len(requests) <= 4) == (DONE_WELL, True), name
        for before, after in pairwise(requests):
            assert len(after["messages"]) < len(before["messages"])
            assert texts(after) == texts(before)[-len(after["messages"]) :], "the oldest go"
        noted = [re.findall(r"Sent without (\d+) oldest messages\.$", note) for note in chat.notes]
        left_out = [len(requests[0]["messages"]) - len(one["messages"]) for one in requests[1:]]
        assert noted == [[str(count)] for count in left_out], name
        # the room is first taken for the middle of what was refused and what was taken
        requests = await chat.ask("And then?")
        assert (len(requests) <= 2, chat.end) == (True, DONE_WELL), name
        assert "The context window is full:" in chat.notes[0]
        if requests[1:]:  # its note counts those of the note before, too
            left_out = len(chat.path) - 1 - len(requests[1]["messages"])
            assert f"Sent without {left_out} oldest" in chat.notes[1], name
        assert len(await chat.ask("And at last?")) == 1, name


async def test_words_that_name_no_length_lead_to_one_request_of_half_the_size(store):
    for name, refuse in UNCLEAR.items():
        for window, is_answered in ((2000, True), (1000, False)):
            chat = Chat(store, Server(window, refuse))
            await chat.open_import(*talk(10))
            requests = await chat.ask("And now?")
            assert [len(body["messages"]) for body in requests] == [21, 9], name
            assert (chat.end == DONE_WELL) is is_answered
            if is_answered:
                assert len(await chat.ask("And then?")) == 1, name


async def test_words_that_name_no_length_lead_to_a_request_as_large_as_was_taken_before(store):
    for name, refuse in TWO_UNCLEAR.items():
        chat = Chat(store, Server(600, refuse))
        for _ in range(20):
            requests = await chat.ask(SENTENCE * 2)
            assert (chat.end, len(requests) <= 2) == (DONE_WELL, True), name
            assert len(requests[-1]["messages"]) >= min(len(chat.path) - 1, 9)
        refused = len(chat.bodies) - 20
        assert refused == 1, name


async def test_an_answer_without_its_context_is_not_asked_for_where_no_length_is_named(store):
    for refuse in TWO_UNCLEAR.values():
        chat = Chat(store, Server(300, refuse))
        await chat.open_import(*talk(1)[-2:])
        (request,) = await chat.ask(SENTENCE * 30)
        assert len(request["messages"]) == 3
        assert chat.end[0] is AnswerState.FAILED


async def test_an_empty_answer_shows_as_well_what_the_server_takes(store):
    server = Server(1000, OVERFLOWS["a size"])
    chat = Chat(store, server)
    await chat.open_import(*talk(10))
    server.answers = [stream(finish())]
    assert len(await chat.ask("And now?")) > 1
    assert (chat.end, chat.path[-1].text) == (DONE_WELL, "")
    assert len(await chat.ask("And then?")) == 1


async def test_what_is_no_question_of_the_content_is_asked_once(store):
    for status in (401, 402, 403, 404, 405, 408, 409, 429, 500, 501, 502, 503, 504, 524, 529):
        chat = Chat(store, Server(300, said(status)))
        await chat.open_import(*talk(10))
        assert len(await chat.ask("And now?")) == 1, status
        assert chat.end[0] is AnswerState.FAILED
        assert not chat.notes


async def test_nothing_is_sent_again_behind_text_or_where_nothing_may_be_left_out(store):
    refuse = OVERFLOWS["a size"]
    chat = Chat(store, Server(300, refuse), auto_truncate=False)
    await chat.open_import(*talk(10))
    assert len(await chat.ask("And now?")) == 1
    assert not chat.notes
    overflow = {"error": {"message": "x", "code": "context_length_exceeded"}}
    server = Server(9000, refuse)
    server.answers = [stream(delta("Half"), overflow)]
    chat = Chat(store, server)
    await chat.open_import(*talk(10))
    assert len(await chat.ask("And now?")) == 1
    assert chat.path[-1].text == "Half"


async def test_an_earlier_image_costs_a_model_that_reads_text_one_request_more_once(store):
    digest = await store.files.save(b"\x89PNG roof")
    roof = replace(ROOF, digest=digest)
    in_words = {one["source"]: one for one in RECORDS if one["kind"] == "no_vision"}
    for name, refuse in {
        **{source: as_recorded(one) for source, one in in_words.items()},
        **UNCLEAR,
    }.items():
        chat = Chat(store, Server(9000, refuse, sees=False))
        await chat.open_import(*talk(3, image=roof))
        requests = await chat.ask("What colour is the roof?")
        assert (chat.end, len(requests)) == (DONE_WELL, 2), name
        assert chat.notes[0].endswith(" Sent without 1 image.")
        assert "[image roof.png]" in texts(requests[1])[0]
        assert len(requests[1]["messages"]) == 21
        assert len(await chat.ask("And the door?")) == 1, name
        await chat.send_prompt(Prompt("And here?", (roof,)))
        assert chat.end[0] is AnswerState.FAILED
        if name in in_words:
            assert "Choose a model with vision, or remove the image." in chat.end[1]


def box_of(tool_count: int = 1, *, result: str = "", description: str = ""):
    tools = {f"read_{number}": lambda _: ToolResult(text=result) for number in range(tool_count)}
    host = ScriptedHost(**tools)
    host.description = description
    return toolbox(host, max_steps=20)


def call(*numbers: int) -> httpx.Response:
    """Answer with calls of the first tool, each with another argument."""
    function = {"name": "files__read_0"}
    calls = [
        {
            "index": index,
            "id": f"c{number}",
            "type": "function",
            "function": {**function, "arguments": json.dumps({"path": str(number)})},
        }
        for index, number in enumerate(numbers)
    ]
    return stream(delta(tool_calls=calls), finish("tool_calls"))


async def test_tools_that_are_larger_than_the_window_go_before_the_exchanges(store):
    for refuse in (OVERFLOWS["a size"], *TWO_UNCLEAR.values()):
        box = box_of(60, description=SENTENCE * 10)
        chat = Chat(store, Server(4000, refuse), box=box)
        await chat.open_import(*talk(3))
        for text in ("Hi", "And now?"):
            whole, less = await chat.ask(text)
            assert chat.end == DONE_WELL
            assert len(whole["tools"]) == 60
            assert "tools" not in less
            assert len(less["messages"]) >= 21
            assert chat.notes[0].endswith(" 60 tools.")


async def test_results_of_tools_have_the_room_that_the_window_leaves(store):
    """Each stands behind its call, and the session keeps them whole."""
    overflow = OVERFLOWS["a size"]
    unclear = UNCLEAR["one word"]
    long = SENTENCE * 1400
    short = SENTENCE * 47
    for rounds, result, window, refuse, is_told in (
        ([[0]], long, 4000, overflow, False),
        ([[0]], long, 4000, overflow, True),
        ([[0, 1, 2, 3, 4]], short, 1500, overflow, False),
        ([[0, 1, 2, 3, 4]], short, 2500, unclear, False),
        ([[number] for number in range(12)], short, 4000, overflow, False),
        ([[number] for number in range(12)], short, 4000, overflow, True),
    ):
        server = Server(window, refuse)
        server.answers = [call(*numbers) for numbers in rounds]
        box = box_of(result=result)
        told_window = window if is_told else None
        chat = Chat(store, server, box=box, window=told_window, max_tokens=16)
        await chat.open_import(*talk(1))
        requests = await chat.ask("Sum them up")
        assert chat.end == DONE_WELL
        refused = len(requests) - len(rounds) - 1
        assert refused <= (0 if is_told else 3), (rounds, window)
        kept = [one.tool_result for one in chat.path if one.role is Role.TOOL]
        assert kept == [result] * sum(map(len, rounds))
        for body in requests:
            messages = body["messages"]
            prompt_at = max(n for n, one in enumerate(messages) if one["role"] == "user")
            assert messages[prompt_at]["content"] == "Sum them up"
            behind = [one.get("tool_call_id", "") for one in messages[prompt_at + 1 :]]
            called = [one["id"] for message in messages for one in message.get("tool_calls", ())]
            assert list(filter(None, behind)) == called
        told = " ".join(chat.notes)
        assert re.search(r"\d results? of tools cut\.", told), told
        assert "may refuse the prompt" not in told
        assert len(await chat.ask("And now?")) == 1


async def test_a_turn_that_failed_for_its_results_does_not_end_the_session(store):
    for name, refuse in TWO_UNCLEAR.items():
        server = Server(700, refuse)
        server.answers = [call(0, 1, 2, 3, 4)]
        chat = Chat(store, server, box=box_of(result=SENTENCE * 47))
        await chat.open_import(*talk(1)[-2:])
        await chat.ask("Sum them up")
        assert chat.end[0] is AnswerState.FAILED
        for text, count in (("Say yes", 2), ("And now?", 1)):
            assert (len(await chat.ask(text)), chat.end) == (count, DONE_WELL), name


async def test_if_nothing_is_left_to_leave_out_the_largest_part_is_named(store):
    parts = (
        ({"system_prompt": "word " * 5000}, "the system prompt, about 5000", "system prompt, or"),
        ({"max_tokens": 50_000}, "max_tokens, about 50000 tokens", "Lower max_tokens."),
    )
    in_words = [one for name, one in OVERFLOWS.items() if not name.startswith("a ")]
    for refuse, (more, words, step) in zip(in_words, cycle(parts), strict=False):
        chat = Chat(store, Server(40, refuse), **more)
        await chat.ask(SENTENCE * 4)
        state, message = chat.end
        assert (state, len(chat.bodies)) == (AnswerState.FAILED, 1)
        assert f" The largest part is {words}" in message
        assert message.count("horten the prompt") <= ("horten the prompt" in message)
        assert step in message


async def test_an_answer_that_is_continued_keeps_the_prompt_that_it_belongs_to(store):
    server = Server(400, OVERFLOWS["a size"])
    chat = Chat(store, server)
    await chat.open_import(*talk(3))
    server.window, server.answers = 9000, [stream(delta("Half of"))]
    await chat.ask("Which bed?")
    server.window = 400
    before = len(chat.bodies)
    await chat.continue_answer(chat.path[-1])
    assert chat.end[0] is AnswerState.COMPLETE
    assert 1 < len(chat.bodies) - before <= 4
    for body in chat.bodies[before:]:
        assert [text[:10] for text in texts(body)[-3:]] == ["Which bed?", "Half of", "Your last "]


class Broken(httpx.AsyncByteStream):
    """An answer whose server is killed."""

    async def __aiter__(self):
        yield b"data: " + json.dumps(delta("Half")).encode() + b"\n\n"
        raise httpx.RemoteProtocolError("peer closed connection")


async def ends_unseen(chat: Chat, server: Server) -> None:
    """The next prompt meets no server."""
    server.is_off = True
    await chat.ask("Hello?")
    assert chat.path[-1].failure.kind == "offline"
    server.is_off = False


async def breaks_off(chat: Chat, server: Server) -> None:
    kind = {"Content-Type": "text/event-stream"}
    server.answers = [httpx.Response(200, headers=kind, stream=Broken())]
    await chat.ask("Hello?")
    assert chat.path[-1].failure.kind == "interrupted"


async def is_looked_for(chat: Chat, server: Server) -> None:
    server.is_off = True
    await chat.server.models.check(ENDPOINT)
    server.is_off = False
    await chat.server.models.check(ENDPOINT)


async def is_forgotten(chat: Chat, server: Server) -> None:
    """As by F5."""
    chat.server.models.forget_lists()


async def lists_another_window(chat: Chat, server: Server) -> None:
    for window in (2048, 8192):
        server.fields = {"max_model_len": window}
        await chat.server.models.check(ENDPOINT)


async def is_another_product(chat: Chat, server: Server) -> None:
    for owner in ("vllm", "llamacpp"):
        server.fields = {"owned_by": owner}
        await chat.server.models.check(ENDPOINT)


async def is_unloaded(chat: Chat, server: Server) -> None:
    """As by llama-swap, which lists no window, also after a new start of its own."""
    for state in ("loaded", "unloaded"):
        server.fields = {"owned_by": "llama-swap", "status": {"value": state}}
        await chat.server.models.check(ENDPOINT)


@pytest.mark.parametrize(
    "start",
    [
        ends_unseen,
        breaks_off,
        is_looked_for,
        is_forgotten,
        lists_another_window,
        is_another_product,
        is_unloaded,
    ],
)
async def test_what_a_start_of_a_server_has_shown_ends_with_it(store, start):
    """Its window, how much it takes, that it takes no images, no tools and no system role."""
    named = OVERFLOWS["recorded, Ollama 0.33"]  # 4096
    for refuse in (named, OVERFLOWS["a size"]):
        server = Server(2000, refuse)
        chat = Chat(store, server)
        await chat.open_import(*talk(20))
        await chat.ask("And now?")
        assert len((await chat.ask("And then?"))[-1]["messages"]) < 20
        await start(chat, server)
        server.window = 32_000
        (request,) = await chat.ask("And now?")
        assert len(request["messages"]) > 23, start.__name__
        assert not chat.notes

    roof = replace(ROOF, digest=await store.files.save(b"\x89PNG roof"))
    server = Server(9000, said(400, "This model does not support tools"), sees=False)
    chat = Chat(store, server, box=box_of())
    await chat.open_import(*talk(1, image=roof))
    server.takes_tools = False
    for _ in range(3):
        *_, last = await chat.ask("And now?")
        assert chat.end == DONE_WELL
    assert ("tools" in last, "image_url" in json.dumps(last)) == (False, False)
    await start(chat, server)
    server.takes_tools = server.sees = True
    (request,) = await chat.ask("And now?")
    assert ("tools" in request, "image_url" in json.dumps(request)) == (True, True)
