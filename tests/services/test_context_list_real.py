"""`/context` at a real llama.cpp server: its sum is what the next request has."""

from __future__ import annotations

import inspect
import json
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.domain.message import (
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from lmchat.domain.server import LoadState
from lmchat.domain.session import MessagePath, Session
from lmchat.services.attachments import read_attachment
from lmchat.services.context_list import ContextList, context_lists
from lmchat.services.excluding import set_excluded
from tests.support.real_sessions import User, user_at
from tests.support.scripted_backend import read
from tests.support.scripted_tools import toolbox

pytestmark = pytest.mark.timeout(180)
PROMPT = "Which crop needs the most water? 🌱 水"


class Gardener(User):
    """A user who looks at the lists of `/context`."""

    async def lists(self, text: str = PROMPT, files=()) -> list[ContextList]:
        lists = context_lists(self.conversation, self.sessions.next_turn, self.backend, text, files)
        return await read(lists)


@pytest.fixture
def make_gardener(tmp_path):
    return partial(user_at, Gardener, tmp_path)


def exact(lists: list[ContextList]) -> ContextList:
    """Return the counted list, which says what each item has, and whose sum is right."""
    _, counted = lists
    assert not counted.is_estimated
    sent = [item for item in counted.items if item.is_sent]
    assert not any(item.is_estimated for item in sent)
    assert sum(item.tokens for item in sent) == counted.tokens
    return counted


async def test_the_sum_is_exact_with_a_system_prompt_a_file_and_hostile_texts(
    real_server, make_gardener, tmp_path
):
    path = tmp_path / "beets.md"
    path.write_text("# Beets\n\nRow by row, the beets grow slowly.\n\n```py\nx = 1\n```\n")
    async with make_gardener(real_server.url, system_prompt="Be short.\n") as gardener:
        for text in ("  a\n\n", "<|im_end|>\n<|im_start|>user\nuser", "\u202eabc\x1b[31m", PROMPT):
            counted = exact(await gardener.lists(text))
            assert (await gardener.send(text)).prompt_tokens == counted.tokens
        file = await read_attachment(path)
        counted = exact(await gardener.lists(PROMPT, [file]))
        assert [item.author for item in counted.items][-2:] == ["draft", "file"]
        assert counted.items[-1].tokens > 15
        assert (await gardener.send(PROMPT, [file])).prompt_tokens == counted.tokens
        content = "Tall beans shade the lettuce.\n" * 3
        typed = f"Compare:\nbeans.md ({len(content)} bytes):\n```md\n{content}```\nPlease."
        counted = exact(await gardener.lists(typed))
        assert counted.items[-1].words == "beans.md"
        assert (await gardener.send(typed)).prompt_tokens == counted.tokens
        assert exact(await gardener.lists("")).items[-1].tokens > 0


async def test_the_sum_is_exact_where_the_template_drops_old_thoughts(
    start_real_server, make_gardener
):
    server = start_real_server(reasoning=24)
    async with make_gardener(server.url) as gardener:
        for text in (PROMPT, "And after that?"):
            assert (await gardener.send(text)).prompt_tokens
        counted = exact(await gardener.lists("Why?"))
        assert (await gardener.send("Why?")).prompt_tokens == counted.tokens
        assert gardener.conversation.messages[1].reasoning


async def test_the_sum_is_exact_with_tools_their_calls_and_results(
    start_real_server, make_gardener
):
    server = start_real_server(reasoning=24)
    call = ToolCallPart(call_id="c1", name="read_text", arguments='{"path": "beds.md"}')
    messages = [text_message(Role.USER, "Read the plan of the beds.")]
    for role, parts in (
        (Role.ASSISTANT, (ReasoningPart(text="A file. "), call)),
        (Role.TOOL, (call, ToolResultPart(text='{"beds": 12}'))),
        (Role.ASSISTANT, (TextPart(text="There are twelve."),)),
    ):
        message = text_message(role, "", parent_id=messages[-1].message_id)
        messages.append(replace(message, parts=parts))
    async with make_gardener(server.url, system_prompt="Be short.") as gardener:
        gardener.sessions.next_turn.toolbox = toolbox()
        header = gardener.conversation.header
        gardener.sessions.show_path(Session(header=header, messages=MessagePath(messages)))
        counted = exact(await gardener.lists("Why?"))
        tokens = {item.author: item.tokens for item in counted.items}
        assert tokens["tools"] > 50
        assert 5 < tokens["tool"] < 20
        assert min(item.tokens for item in counted.items) > 2
        assert (await gardener.send("Why?")).prompt_tokens == counted.tokens


async def test_a_message_taken_out_is_not_counted_and_one_put_back_is(real_server, make_gardener):
    async with make_gardener(real_server.url) as gardener:
        for text in (PROMPT, "Long words about melons. " * 20, "And peas?"):
            await gardener.send(text)
        before = exact(await gardener.lists("Why?"))
        conversation = gardener.conversation
        longest = conversation.messages[2]
        queue = gardener.sessions.save_queue
        await set_excluded(conversation, queue, [longest.message_id], is_excluded=True)
        counted = exact(await gardener.lists("Why?"))
        states = {item.message_id: item.state for item in counted.items}
        assert states[longest.message_id] == "not sent"
        assert counted.tokens < before.tokens - 100
        await set_excluded(conversation, queue, [longest.message_id], is_excluded=False)
        assert exact(await gardener.lists("Why?")).tokens == before.tokens
        await set_excluded(conversation, queue, [longest.message_id], is_excluded=True)
        assert (await gardener.send("Why?")).prompt_tokens == counted.tokens


async def test_a_model_that_sleeps_is_not_woken_for_a_count(start_real_server, make_gardener):
    server = start_real_server(sleep_s=1)
    async with make_gardener(server.url) as gardener:
        await gardener.wait_until_asleep(server.url)
        (estimated,) = await gardener.lists()
        assert estimated.is_estimated
        assert await gardener.model_state(server.url) is LoadState.ASLEEP


SYSTEM = "You are a gardener. Answer in short sentences."
PROSE = (
    "The old gardener walked slowly between the rows of beans, thinking about the winter. ",
    "Nothing had survived in the lower field, not even the kale his sister had planted there. ",
    "He took a handful of soil: dry, much too dry for this time of the year, he said. ",
)
GERMAN = (
    "Der alte Gärtner ging langsam zwischen den Bohnenreihen und dachte an den Winter. ",
    "Im unteren Garten hatte nichts überlebt, nicht einmal der Grünkohl der Schwester. ",
    "Er ließ eine Handvoll Erde durch die Finger rieseln: viel zu trocken für das Frühjahr. ",
)
CHINESE = (
    "老园丁慢慢地走在豆行之间,想着刚刚过去的冬天。",
    "下面的田里什么都没有活下来,连羽衣甘蓝也没有。",
    "他抓起一把土,让它从指缝间流走:对这个季节来说太干了。",
)
CODE = tuple(inspect.getsource(function) for function in (read, exact, Gardener.lists))
RECORDS = tuple(
    json.dumps(
        [{"id": n + k, "crop": "kale", "moisture": 0.1 + n / 37} for n in range(6)], indent=k
    )
    for k in (0, 1, 2)
)
MIXED = (PROSE[0], CODE[0], RECORDS[0], GERMAN[1], CHINESE[1])


async def test_estimates_are_close_where_the_server_cannot_count(real_server, make_gardener):
    errors = []
    async with make_gardener(real_server.url, system_prompt=SYSTEM) as gardener:
        for texts in (PROSE, GERMAN, CHINESE, CODE, RECORDS, MIXED):
            gardener.sessions.begin()
            for text in texts:
                prompt = text * max(1, 300 // len(text))
                estimated, _ = await gardener.lists(prompt)
                assert estimated.is_estimated
                usage = await gardener.send(prompt)
                errors.append(estimated.tokens / usage.prompt_tokens - 1)
    assert sum(map(abs, errors)) / len(errors) < 0.08, errors
