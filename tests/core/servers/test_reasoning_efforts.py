from __future__ import annotations

import pytest

from lmchat.core.config.settings import EFFORTS
from lmchat.core.servers.endpoint import loopback
from lmchat.core.servers.events import RequestAdapted, RequestSent
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.request import Sampling
from tests.support.client_calls import answered, ask
from tests.support.scripted_products import CHAT, PRODUCT_NAMES, chat_reply
from tests.support.scripted_server import error_reply

TEMPLATED = (
    *("llama.cpp", "built-in", "Jan", "vLLM", "SGLang", "vllm-mlx"),
    *("llama-swap", "Docker Model Runner"),
)
TAKING_ALL = (*TEMPLATED, "LiteLLM", "OpenAI", "Mistral", "Gemini")


def notes(events) -> list[str]:
    return [one.note for one in events if isinstance(one, RequestAdapted)]


def test_an_effort_goes_where_it_is_known_and_switches_thinking_off_in_templates():
    for product in PRODUCT_NAMES:
        server = product_named(product)
        for effort in EFFORTS if product in TAKING_ALL else ():
            sampling = Sampling(reasoning_effort=effort)
            assert server.request_fields(sampling)["reasoning_effort"] == effort
        off = server.request_fields(Sampling(reasoning_effort="none"))
        is_switch = off.get("chat_template_kwargs") == {"enable_thinking": False}
        assert is_switch == (product in (*TEMPLATED, "mlx_lm.server"))
        assert "chat_template_kwargs" not in server.request_fields(Sampling(reasoning_effort="low"))


def test_an_effort_that_is_not_known_is_not_sent():
    for product, efforts, effort, is_sent in (
        ("OpenAI-compatible", (), "high", False),
        ("Ollama", (), "max", True),
        ("Ollama", (), "xhigh", True),  # it names all levels when it refuses one
        ("Ollama", (), "minimal", True),
        ("Ollama", (), "500", False),  # it takes no number of tokens
        ("vLLM", ("none",), "high", False),
        ("LM Studio", ("off", "on"), "none", True),
        ("LM Studio", ("low", "xhigh"), "xhigh", True),
        ("LM Studio", (), "low", False),
    ):
        about = ModelInfo(model_id="m", endpoint=loopback(1), product=product, efforts=efforts)
        sampling = Sampling(reasoning_effort=effort)
        fields = product_named(product).request_fields(sampling, about)
        assert fields == ({"reasoning_effort": effort} if is_sent else {})


@pytest.mark.rule("R-46")
def test_a_number_of_tokens_goes_where_thoughts_have_a_limit_and_0_switches_them_off():
    limited = Sampling(reasoning_effort="500")
    off = Sampling(reasoning_effort="0")
    for product in PRODUCT_NAMES:
        server = product_named(product)
        fields = server.request_fields(limited)
        assert server.request_fields(off) == server.request_fields(
            Sampling(reasoning_effort="none")
        )
        if product in ("llama.cpp", "built-in"):
            assert fields["reasoning_budget_tokens"] == 500
            assert "reasoning_effort" not in fields
        else:
            assert "500" not in map(str, fields.values())


async def test_what_is_not_sent_is_told_once(server, client):
    server.on(CHAT, chat_reply())
    for number in range(2):
        request = ask(server, product="Ollama", reasoning_effort="500", more={"top_k": 5})
        told = notes(await answered(client, request))
        assert [note.partition(",")[0] for note in told] == [
            f"Ollama does not take {name} here" for name in ("reasoning_effort", "top_k")
        ] * (1 - number)
    assert server.seen(CHAT)[0].json.keys() == {"model", "messages", "stream", "stream_options"}


async def test_a_refused_effort_is_left_out_and_told_once_and_another_is_tried(server, client):
    words = "Unrecognized request argument supplied: reasoning_effort \x1b[2J"
    server.on(CHAT, error_reply(400, words), chat_reply())
    said = []
    told = []
    for effort in ("max", "max", "low"):
        events = await answered(client, ask(server, product="vLLM", reasoning_effort=effort))
        said += notes(events)
        told += [one.sampling for one in events if isinstance(one, RequestSent)]
    sent = [one.json.get("reasoning_effort") for one in server.seen(CHAT)]
    assert sent == ["max", None, None, "low"]
    assert [one.get("reasoning_effort") for one in told] == sent
    (note,) = said
    assert "without reasoning_effort" in note
    assert "\x1b" not in note
