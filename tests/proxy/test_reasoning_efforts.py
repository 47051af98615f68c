from __future__ import annotations

import pytest

from lmchat.config.settings import EFFORTS
from lmchat.domain.event import RequestAdapted
from lmchat.domain.product import Product
from lmchat.domain.request import Sampling
from lmchat.domain.server import Endpoint, LoadState, ModelInfo
from lmchat.proxy.servers import server_of
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_products import CHAT, chat_reply, lm_studio, plain
from tests.support.scripted_server import error_reply, json_reply

TEMPLATED = (Product.LLAMA_CPP, Product.BUILT_IN, Product.JAN, Product.VLLM, Product.SGLANG)
TAKING_ALL = (*TEMPLATED, Product.LITELLM, Product.OPENAI, Product.MISTRAL, Product.GEMINI)


def model(product: Product, **known) -> ModelInfo:
    known = {"capabilities": (), "efforts": ()} | known
    return ModelInfo(
        model_id="m", endpoint=Endpoint.parse("http://127.0.0.1:1"), product=product, **known
    )


def notes(events) -> list[str]:
    return [one.note for one in events if isinstance(one, RequestAdapted)]


@pytest.mark.rule("R-12")
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("product", TAKING_ALL)
def test_an_effort_goes_where_it_is_known(product, effort):
    sampling = Sampling(reasoning_effort=effort)
    fields = server_of(product).request_fields(sampling)
    assert fields["reasoning_effort"] == effort
    assert server_of(product).unsent_notes(sampling) == ()


@pytest.mark.parametrize("product", list(Product))
def test_thinking_is_switched_off_where_templates_have_a_switch(product):
    off = server_of(product).request_fields(Sampling(reasoning_effort="none"))
    low = server_of(product).request_fields(Sampling(reasoning_effort="low"))
    is_switch = off.get("chat_template_kwargs") == {"enable_thinking": False}
    assert is_switch == (product in TEMPLATED)
    assert "chat_template_kwargs" not in low


@pytest.mark.rule("R-12")
@pytest.mark.parametrize(
    ("product", "known", "effort", "is_sent"),
    [
        (Product.OPENAI_COMPATIBLE, {}, "high", False),
        (Product.ANTHROPIC, {}, "high", False),
        (Product.OLLAMA, {}, "max", True),
        (Product.OLLAMA, {}, "none", True),
        (Product.OLLAMA, {}, "xhigh", False),
        (Product.LM_STUDIO, {"efforts": ("off", "on")}, "none", True),
        (Product.LM_STUDIO, {"efforts": ("off", "on")}, "high", False),
        (Product.LM_STUDIO, {"efforts": ("low", "medium", "high", "xhigh")}, "xhigh", True),
        (Product.LM_STUDIO, {"efforts": ("low", "medium", "high")}, "none", False),
        (Product.LM_STUDIO, {}, "low", False),
        (Product.OPENROUTER, {"capabilities": ("tools", "reasoning")}, "low", True),
        (Product.OPENROUTER, {"capabilities": ("tools",)}, "low", False),
        (Product.OPENROUTER, {}, "low", True),
    ],
)
def test_an_effort_that_is_not_known_is_not_sent_and_not_hushed_up(product, known, effort, is_sent):
    sampling, about = Sampling(reasoning_effort=effort), model(product, **known)
    fields = server_of(product).request_fields(sampling, about)
    told = " ".join(server_of(product).unsent_notes(sampling, about))
    if is_sent:
        field = (
            {"reasoning": {"effort": effort}}
            if product is Product.OPENROUTER
            else {"reasoning_effort": effort}
        )
        assert (fields, told) == (field, "")
    else:
        assert (fields, told.endswith("It is not sent.")) == ({}, True)
        assert all(name in told for name in known.get("efforts", ()))


@pytest.mark.rule("R-46")
@pytest.mark.parametrize("product", list(Product))
def test_a_number_of_tokens_goes_where_thoughts_have_a_limit_and_0_switches_them_off(product):
    server = server_of(product)
    limited, off = Sampling(reasoning_effort="500"), Sampling(reasoning_effort="0")
    none = Sampling(reasoning_effort="none")
    fields = server.request_fields(limited)
    assert server.request_fields(off) == server.request_fields(none)
    assert server.unsent_notes(off) == server.unsent_notes(none)
    if product in (Product.LLAMA_CPP, Product.BUILT_IN):
        assert fields["reasoning_budget_tokens"] == 500
        assert "reasoning_effort" not in fields
        assert server.unsent_notes(limited) == ()
    else:
        assert 500 not in fields.values()
        assert "500" not in fields.values()
        (note,) = server.unsent_notes(limited)
        assert note.endswith("It is not sent.")


@pytest.mark.parametrize("product", list(Product))
def test_a_seed_is_sent_or_it_is_said_that_it_is_not(product):
    sampling = Sampling(seed=7)
    is_sent = 7 in server_of(product).request_fields(sampling).values()
    assert bool(server_of(product).unsent_notes(sampling)) != is_sent
    assert is_sent == (
        product not in (Product.OPENAI_COMPATIBLE, Product.ANTHROPIC, Product.GEMINI)
    )


@pytest.mark.parametrize("product", list(Product))
def test_how_long_a_model_stays_is_a_field_of_lm_studio_alone(product):
    fields = server_of(product).request_fields(Sampling(keep_loaded_s=90))
    assert ("ttl" in fields, 90 in fields.values()) == ((product is Product.LM_STUDIO,) * 2)
    assert server_of(product).unsent_notes(Sampling(keep_loaded_s=90)) == ()


async def test_the_efforts_that_lm_studio_names_reach_the_request(server, client):
    lm_studio(server)
    row = {
        "type": "llm",
        "key": "thinker",
        "loaded_instances": [{"id": "thinker", "config": {"context_length": 4096}}],
        "capabilities": {"reasoning": {"allowed_options": ["off", "on", 3], "default": "on"}},
    }
    server.on("GET /api/v1/models", json_reply({"models": [row]})).on(CHAT, chat_reply())
    (listed,) = (await client.models(endpoint_of(server))).models
    assert (listed.efforts, listed.state) == (("off", "on"), LoadState.LOADED)
    told = {"product": Product.LM_STUDIO, "model": "thinker"}
    await events_of(client, ask(server, reasoning_effort="none", keep_loaded_s=60, **told))
    assert (server.seen(CHAT)[0].json["reasoning_effort"], server.seen(CHAT)[0].json["ttl"]) == (
        "none",
        60,
    )


@pytest.mark.rule("R-12")
async def test_what_is_not_sent_is_said_once_a_run(server, client):
    plain(server)
    said = []
    for effort in ("high", "high", "low"):
        events, error = await events_of(client, ask(server, reasoning_effort=effort, seed=3))
        assert error is None
        said.append(len(notes(events)))
    assert said == [2, 0, 0]
    assert not {"reasoning_effort", "seed"} & set(server.seen(CHAT)[0].json)


@pytest.mark.rule("R-13")
@pytest.mark.parametrize(
    "refusal",
    [
        error_reply(400, "Unrecognized request argument supplied: reasoning_effort"),
        json_reply(
            {"detail": [{"loc": ["body", "reasoning_effort"], "msg": "Input should be 'low'"}]},
            status=422,
        ),
        error_reply(400, '"llama3.2" does not support thinking'),
    ],
)
async def test_a_refused_effort_is_left_out_once_for_all_and_told(server, client, refusal):
    server.on(CHAT, lambda seen: refusal if "reasoning_effort" in seen.json else chat_reply())
    how = {"product": Product.OLLAMA, "reasoning_effort": "max", "seed": 5}
    first, error = await events_of(client, ask(server, **how))
    second, _ = await events_of(client, ask(server, **how))
    assert error is None
    assert ["reasoning_effort" in one.json for one in server.seen(CHAT)] == [True, False, False]
    assert all(one.json["seed"] == 5 for one in server.seen(CHAT))
    assert (len(notes(first)), len(notes(second))) == (1, 0)
    assert "without reasoning_effort" in notes(first)[0]


@pytest.mark.rule("R-13")
async def test_another_value_of_a_refused_field_is_tried(server, client):
    refusal = error_reply(400, "reasoning_effort: must be low")
    server.on(
        CHAT, lambda seen: refusal if seen.json.get("reasoning_effort") == "xhigh" else chat_reply()
    )
    for effort in ("xhigh", "low", "xhigh"):
        assert (
            await events_of(client, ask(server, product=Product.VLLM, reasoning_effort=effort))
        )[1] is None
    sent = [one.json.get("reasoning_effort") for one in server.seen(CHAT)]
    assert sent == ["xhigh", None, "low", None]


@pytest.mark.rule("R-13")
async def test_a_refusal_that_names_a_field_for_ever_ends(server, client):
    server.on(CHAT, error_reply(400, "bad seed \x1b[2J"))
    events, error = await events_of(client, ask(server, product=Product.JAN, seed=1))
    assert (error.kind, len(server.seen(CHAT))) == ("bad_request", 2)
    assert "\x1b" not in notes(events)[0]


@pytest.mark.parametrize("options", ["", 7, None, {"low": 1}, [None, 2], [["low"]]])
async def test_efforts_of_a_shape_that_nobody_knows_are_none(server, client, options):
    lm_studio(server)
    row = {"type": "llm", "key": "m", "capabilities": {"reasoning": {"allowed_options": options}}}
    server.on("GET /api/v1/models", json_reply({"models": [row]}))
    (listed,) = (await client.models(endpoint_of(server))).models
    assert listed.efforts == ()
