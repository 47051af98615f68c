from __future__ import annotations

import pytest

from lmchat.config.settings import EFFORTS
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import RequestAdapted
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import product_named
from lmchat.servers.request import Sampling
from tests.support.proxy_calls import answered, ask
from tests.support.scripted_products import CHAT, PRODUCT_NAMES, chat_reply
from tests.support.scripted_server import error_reply, json_reply

TEMPLATED = ("llama.cpp", "built-in", "Jan", "vLLM", "SGLang")
TAKING_ALL = (*TEMPLATED, "LiteLLM", "OpenAI", "Mistral", "Gemini")


def model(product: str, **known) -> ModelInfo:
    known = {"capabilities": (), "efforts": ()} | known
    return ModelInfo(
        model_id="m", endpoint=Endpoint.parse("http://127.0.0.1:1"), product=product, **known
    )


def notes(events) -> list[str]:
    return [one.note for one in events if isinstance(one, RequestAdapted)]


def test_an_effort_goes_where_it_is_known_and_switches_thinking_off_in_templates():
    for product in PRODUCT_NAMES:
        server = product_named(product)
        for effort in EFFORTS if product in TAKING_ALL else ():
            sampling = Sampling(reasoning_effort=effort)
            assert server.request_fields(sampling)["reasoning_effort"] == effort
            assert server.unsent_notes(sampling) == ()
        off = server.request_fields(Sampling(reasoning_effort="none"))
        is_switch = off.get("chat_template_kwargs") == {"enable_thinking": False}
        assert is_switch == (product in TEMPLATED)
        assert "chat_template_kwargs" not in server.request_fields(Sampling(reasoning_effort="low"))


def test_an_effort_that_is_not_known_is_not_sent_and_not_hushed_up():
    for product, known, effort, is_sent in (
        ("OpenAI-compatible", {}, "high", False),
        ("Ollama", {}, "max", True),
        ("Ollama", {}, "xhigh", False),
        ("LM Studio", {"efforts": ("off", "on")}, "none", True),
        ("LM Studio", {"efforts": ("low", "medium", "high", "xhigh")}, "xhigh", True),
        ("LM Studio", {}, "low", False),
        ("OpenRouter", {"capabilities": ("tools",)}, "low", False),
        ("OpenRouter", {}, "low", True),
    ):
        sampling, about = Sampling(reasoning_effort=effort), model(product, **known)
        fields = product_named(product).request_fields(sampling, about)
        told = " ".join(product_named(product).unsent_notes(sampling, about))
        if is_sent:
            is_nested = product == "OpenRouter"
            field = {"reasoning": {"effort": effort}} if is_nested else {"reasoning_effort": effort}
            assert (fields, told) == (field, "")
        else:
            assert (fields, told.endswith("It is not sent.")) == ({}, True)
            assert all(name in told for name in known.get("efforts", ()))


@pytest.mark.rule("R-46")
def test_a_number_of_tokens_goes_where_thoughts_have_a_limit_and_0_switches_them_off():
    limited, off = Sampling(reasoning_effort="500"), Sampling(reasoning_effort="0")
    none = Sampling(reasoning_effort="none")
    for product in PRODUCT_NAMES:
        server = product_named(product)
        fields, notes = server.request_fields(limited), server.unsent_notes(limited)
        assert server.request_fields(off) == server.request_fields(none)
        assert server.unsent_notes(off) == server.unsent_notes(none)
        if product in ("llama.cpp", "built-in"):
            assert fields["reasoning_budget_tokens"] == 500
            assert "reasoning_effort" not in fields
            assert notes == ()
        else:
            assert "500" not in map(str, fields.values())
            (note,) = notes
            assert note.endswith("It is not sent.")


async def test_a_refused_effort_is_left_out_and_told_once_and_another_is_tried(server, make_client):
    detail = [{"loc": ["body", "reasoning_effort"], "msg": "Input should be 'low'"}]
    for refusal in (
        error_reply(400, "Unrecognized request argument supplied: reasoning_effort \x1b[2J"),
        json_reply({"detail": detail}, status=422),
        error_reply(400, '"llama3.2" does not support thinking'),
    ):
        client, said = make_client(), []
        server.requests.clear()
        server.on(
            CHAT,
            lambda seen, refusal=refusal: (
                refusal if seen.json.get("reasoning_effort") == "max" else chat_reply()
            ),
        )
        for effort in ("max", "max", "low"):
            request = ask(server, product="vLLM", reasoning_effort=effort, seed=5)
            events = await answered(client, request)
            said += notes(events)
        sent = [(one.json.get("reasoning_effort"), one.json["seed"]) for one in server.seen(CHAT)]
        assert sent == [("max", 5), (None, 5), (None, 5), ("low", 5)]
        (note,) = said
        assert "without reasoning_effort" in note
        assert "\x1b" not in note
