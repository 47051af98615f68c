from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.base.errors import BodyTooLarge
from lmchat.core.servers.request import Tool
from lmchat.core.sessions.message import (
    FilePart,
    Role,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import ask, events_of, failure_of, message_of
from tests.support.scripted_products import CHAT, plain

IMAGE = FilePart(name="garden.png", media_type="image/png", digest="a", size=3)
NOTES = FilePart(name="notes\n.md", media_type="text/plain", digest="b", size=3)
TEXT = "```\nrm -rf\n```\n"


def with_files(request, *parts, **files):
    message = request.messages[-1]
    fresh = replace(message, parts=(*parts, *message.parts))
    return replace(request, messages=(fresh,), files=files)


async def test_images_are_parts_and_other_files_are_fenced_text(server, make_client):
    for files, content in (
        (
            {"a": b"\x89PN", "b": TEXT.encode()},
            [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
                {"type": "text", "text": f"File notes .md:\n````\n{TEXT}````\n\nWhat?"},
            ],
        ),
        (
            {"a": b"", "b": b"\xef\xbb\xbf\xff"},
            "[image garden.png]\n\nFile notes .md:\n```\n\ufffd\n```\n\nWhat?",
        ),
        ({}, "[file garden.png is missing]\n\n[file notes .md is missing]\n\nWhat?"),
    ):
        server.requests.clear()
        client = make_client()
        plain(server)
        await events_of(client, with_files(ask(server, "What?"), IMAGE, NOTES, **files))
        assert server.seen(CHAT)[0].json["messages"] == [{"role": "user", "content": content}]


async def test_an_empty_prompt_behind_a_picture_as_in_a_preview_adds_no_part(server, client):
    asked = with_files(ask(server, ""), IMAGE, a=b"\x89PN")
    unfinished = replace(asked, messages=(*asked.messages, text_message(Role.USER, "")))
    shown, sent = [(await client.prepare(one)).json()["messages"] for one in (unfinished, asked)]
    assert shown == sent


async def test_pictures_of_tools_follow_all_results_as_a_prompt_and_join_the_next_one(
    server, make_client
):
    made = [ToolCallPart(call_id=one, name="look", arguments="{}") for one in ("1", "2")]
    found = ToolResultPart(text="[image garden.png]")
    history = (
        text_message(Role.USER, "Look."),
        message_of(Role.ASSISTANT, *made),
        message_of(Role.TOOL, made[0], found, IMAGE),
        message_of(Role.TOOL, made[1], ToolResultPart(text="nothing")),
    )
    named = {"type": "text", "text": "garden.png:"}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    answer = {"role": "assistant", "content": "(no answer)"}
    for files, behind, end in (
        ({"a": b"\x89PN"}, [answer, {"role": "user", "content": [named, picture]}], ()),
        (
            {"a": b"\x89PN"},
            [answer, {"role": "user", "content": [named, picture, QUESTION]}],
            ASKED,
        ),
        ({"a": b""}, [], ()),
    ):
        server.requests.clear()
        plain(server)
        tools = (Tool(server="garden", name="look", wire_name="look"),)
        messages = (*history, *end)
        request = replace(ask(server), tools=tools, messages=messages, files=files)
        await events_of(make_client(), request)
        sent = server.seen(CHAT)[0].json["messages"]
        assert [one["content"] for one in sent[2:4]] == ["[image garden.png]", "nothing"]
        assert sent[4:] == behind


QUESTION = {"type": "text", "text": "Which bed?"}
ASKED = (text_message(Role.USER, "Which bed?"),)


async def test_a_text_file_with_a_place_is_sent_there_with_its_language(server, make_client):
    placed = replace(NOTES, name="notes.md", place=5, language="md")
    at_end = replace(placed, place=len("Read\nWhat?\n"))
    missing = "[file notes.md is missing]"
    for parts, files, content in (
        (
            (placed,),
            {"b": TEXT.encode()},
            f"Read\nnotes.md (3 bytes):\n````md\n{TEXT}````\nWhat?\n",
        ),
        ((at_end,), {"b": b"x \n\n"}, "Read\nWhat?\nnotes.md (3 bytes):\n```md\nx\n```"),
        ((placed, at_end), {}, f"Read\n{missing}\nWhat?\n{missing}"),
    ):
        server.requests.clear()
        plain(server)
        request = with_files(ask(server, "Read\nWhat?\n"), *parts, **files)
        await events_of(make_client(), request)
        assert server.seen(CHAT)[0].json["messages"] == [{"role": "user", "content": content}]


async def test_images_do_not_count_for_the_limit_of_a_request_and_other_files_do(server, client):
    plain(server)
    large = {"a": bytes(9_000_000)}
    assert (await events_of(client, with_files(ask(server, "What?"), IMAGE, **large)))[1] is None
    question = with_files(ask(server, "What?" * 1_200_000), NOTES, b=b"x" * 440_000)
    earlier = (text_message(Role.USER, "Why?" * 900_000), text_message(Role.ASSISTANT, "So."))
    request = replace(question, messages=(*earlier, *question.messages))
    error = await failure_of(client, request)
    assert isinstance(error, BodyTooLarge)
    assert error.message == "The request is 10.04 MB; the limit is 10 MB."
    assert error.next_step == (
        "The largest part is the prompt, about 2400000 tokens. "
        "Shorten the prompt or attach less, or raise max_body_mb under [limits]."
    )


@pytest.mark.slow  # requests of some 10 MB
async def test_a_request_that_a_tool_makes_too_large_names_the_tool(server, client):
    plain(server)
    for flood in (
        {"description": "a bed of " * 1_700_000},
        {"schema": {"title": "x" * 15_000_000}},
    ):
        tool = Tool(server="garden", name="water", wire_name="water", **flood)
        error = await failure_of(client, replace(ask(server, "hello"), tools=(tool,)))
        assert error.next_step.startswith("The largest part is the tool garden/water, about ")
    assert not server.seen(CHAT)
