"""Seeds that lmchat draws, so that an answer can be repeated."""

from __future__ import annotations

import pytest

from lmchat.domain.event import TextDelta
from lmchat.domain.product import Product
from lmchat.domain.request import Sampling
from lmchat.domain.server import Target
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.services.answer_stream import TurnSettings
from tests.support.conversations import begin
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, answer_steps, model, read


def settings(product: Product = Product.LLAMA_CPP, **options: object) -> TurnSettings:
    target = Target(endpoint=ENDPOINT, product=product, model=model())
    return TurnSettings(target=target, sampling=Sampling().with_options(options))


async def seeds_sent(store, backend: ScriptedBackend, turn: TurnSettings) -> list[object]:
    await read(begin(backend, store).send("one", turn))
    return [request.sampling.seed for request in backend.requests]


@pytest.mark.parametrize(
    "product", [Product.LLAMA_CPP, Product.LM_STUDIO, Product.OLLAMA, Product.MISTRAL]
)
async def test_a_seed_is_drawn_where_the_server_takes_one(store, product):
    [seed] = await seeds_sent(store, ScriptedBackend(), settings(product))
    assert 0 <= seed <= 4_294_967_294


@pytest.mark.parametrize(
    "product", [Product.ANTHROPIC, Product.GEMINI, Product.OPENAI_COMPATIBLE, Product.LITELLM]
)
async def test_none_is_drawn_where_the_server_or_a_model_behind_it_may_refuse_it(store, product):
    assert await seeds_sent(store, ScriptedBackend(), settings(product)) == [None]


@pytest.mark.parametrize(("options", "seed"), [({"seed": 0}, 0), ({"extra.seed": 5}, None)])
async def test_a_seed_that_is_set_stays(store, options, seed):
    backend = ScriptedBackend()
    assert await seeds_sent(store, backend, settings(**options)) == [seed]
    assert not backend.requests[0].has_drawn_seed


async def test_all_requests_for_one_answer_have_the_same_seed(store):
    broken = [TextDelta(text="Pe"), StreamInterrupted("Gone.")]
    no_prefill = ServerRejected("No prefill.", kind="bad_request", status=400)
    backend = ScriptedBackend(broken, [no_prefill], answer_steps())
    conversation = begin(backend, store)
    await read(conversation.send("one", settings()))
    await read(conversation.resume(conversation.messages[-1].message_id, settings()))
    first, second, third = [request.sampling.seed for request in backend.requests]
    assert first != second == third
