"""The text of the next request at a real llama.cpp server: it has exactly the tokens that are read."""

from __future__ import annotations

import json
from functools import partial

import httpx
import pytest
from msgspec.structs import replace

from lmchat.domain.request import TemplateText
from lmchat.domain.server import Endpoint, LoadState
from lmchat.errors import LMChatError
from lmchat.services.next_request import json_text, next_request, split_at_special_tokens
from tests.support.real_sessions import User, user_at
from tests.support.scripted_tools import toolbox

pytestmark = pytest.mark.timeout(180)  # it reads and writes some hundred tokens, 100 a second
HOSTILE = "Say \x1b[31mred\u202e <|im_end|>\n\n\t`$HOME` 😀 é \ud800 字"


class Asker(User):
    """A user who looks at each request before it is sent."""

    async def look(self, text: str) -> TemplateText:
        settings = self.sessions.next_turn.settings()
        request = await next_request(self.conversation, text, settings)
        return await self.backend.template_text(request)


@pytest.fixture
def make_asker(tmp_path):
    return partial(user_at, Asker, tmp_path)


def counted_by_server(url: str, text: str) -> int:
    body = {"content": text, "add_special": True, "parse_special": True}
    reply = httpx.post(f"{url}/tokenize", json=body)
    return len(reply.json()["tokens"])


@pytest.mark.parametrize("has_tools", [False, True], ids=["", "tools"])
async def test_the_text_has_the_tokens_of_the_answer_that_follows(
    start_real_server, make_asker, has_tools
):
    server = start_real_server(reasoning=24)
    async with make_asker(server.url, system_prompt="Answer in one word.") as asker:
        if has_tools:
            asker.sessions.next_turn.toolbox = toolbox()
        for prompt in ("Which crop needs water?", "Say <|im_end|> 😀 é 字 `$HOME`", HOSTILE):
            shown = await asker.look(prompt)
            usage = await asker.send(prompt)
            assert shown.tokens == counted_by_server(server.url, shown.text) == usage.prompt_tokens
        assert "Answer in one word." in shown.text
        assert shown.text.endswith("<think>\n") or "<think>" in shown.text
        assert ("read_text" in shown.text) is has_tools


async def test_first_words_are_in_the_text(real_server, make_asker):
    async with make_asker(real_server.url) as asker:
        asker.sessions.use_first_words("The best crop")
        shown = await asker.look("Which one?")
        assert shown.text.endswith("The best crop")
        assert (await asker.send("Which one?")).prompt_tokens == shown.tokens


async def test_special_tokens_are_found_also_where_the_user_typed_them(real_server, make_asker):
    async with make_asker(real_server.url) as asker:
        shown = await asker.look("Is <|im_end|> a token, and <|im_endx|> none?")
        assert shown.special_tokens == ("<|im_end|>", "<|im_start|>")
        pieces = split_at_special_tokens(shown)
        assert "".join(pieces) == shown.text
        assert pieces[1::2].count("<|im_end|>") == shown.text.count("<|im_end|>")
        assert any("<|im_endx|> none?" in piece for piece in pieces[::2])


async def test_without_a_draft_the_prompt_is_empty(real_server, make_asker):
    async with make_asker(real_server.url) as asker:
        await asker.send("Hello")
        shown = await asker.look("")
        assert shown.text.endswith("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n")
        assert len(asker.conversation.messages) == 2


async def test_a_model_that_sleeps_is_not_woken(start_real_server, make_asker):
    server = start_real_server(sleep_s=1)
    async with make_asker(server.url) as asker:
        await asker.wait_until_asleep(server.url)
        with pytest.raises(LMChatError) as raised:
            await asker.look("Hello")
        assert raised.value.kind == "model_not_loaded"
        assert await asker.model_state(server.url) is LoadState.ASLEEP


@pytest.mark.router
async def test_a_router_loads_no_model_for_the_text(real_router, make_asker):
    async with make_asker(real_router.url) as asker:
        endpoint = Endpoint.parse(real_router.url)
        await asker.backend.load((await asker.backend.models(endpoint)).models[0])
        models = (await asker.backend.models(endpoint, is_refresh=True)).models
        [loaded] = [model for model in models if model.state is LoadState.LOADED]
        [unloaded] = [model for model in models if model.state is LoadState.NOT_LOADED]
        next_turn = asker.sessions.next_turn
        assert next_turn.target is not None
        next_turn.target = replace(next_turn.target, model=unloaded)
        with pytest.raises(LMChatError) as raised:
            await asker.look("Hello")
        assert raised.value.kind == "model_not_loaded"
        next_turn.target = replace(next_turn.target, model=loaded)
        assert "Hello" in (await asker.look("Hello")).text
        after = (await asker.backend.models(endpoint, is_refresh=True)).models
        assert [model.state for model in after] == [model.state for model in models]


async def test_the_json_of_a_request_is_its_body(real_server, make_asker):
    async with make_asker(real_server.url) as asker:
        settings = asker.sessions.next_turn.settings()
        request = await next_request(asker.conversation, HOSTILE, settings)
        outgoing = await asker.backend.outgoing(request)
        assert json.loads(json_text(outgoing)) == json.loads(outgoing.body)
        assert "\x1b" not in json_text(outgoing)
        assert "\u202e" not in json_text(outgoing)
