"""Lists of models with odd values, and servers whose signs are those of several products."""

from __future__ import annotations

from typing import Any

import pytest

from lmchat.base.errors import ServerRejected
from lmchat.core.config.settings import TimeoutSettings
from tests.support.client_calls import PortMap, endpoint_of
from tests.support.scripted_products import EXPRESS, model_list, ollama_with_remote
from tests.support.scripted_server import (
    Cut,
    Hold,
    error_reply,
    html_reply,
    json_reply,
    raw_reply,
    text_reply,
)

LIST = "GET /v1/models"


VLLM = {"id": "alder", "object": "model", "owned_by": "vllm"}


OLLAMA = {
    LIST: model_list("alder:4b", owned_by="library", headers=EXPRESS),
    "GET /api/tags": json_reply({"models": [{"name": "alder:4b"}]}),
    "GET /api/ps": json_reply({"models": []}),
}


async def test_a_hint_that_led_nowhere_does_not_hide_the_others(server, client):
    """Ollama behind a proxy made with Express, which is a hint at LM Studio, too."""
    for route, reply in OLLAMA.items():
        server.on(route, reply)
    looks = [(await client.models.check(endpoint_of(server))).product for _ in range(3)]
    assert looks == ["OpenAI-compatible", "Ollama", "Ollama"]


KOBOLDCPP = {
    LIST: model_list("koboldcpp/alder", owned_by="koboldcpp"),
    "GET /api/extra/true_max_context_length": json_reply({"value": 4096}),
}
UNKNOWN = {LIST: model_list("oak", owned_by="someone")}


@pytest.mark.rule("R-5")
@pytest.mark.parametrize("routes", [KOBOLDCPP, OLLAMA, {LIST: json_reply({"data": [VLLM]})}])
async def test_a_server_that_takes_the_place_of_another_is_itself(routes, server, client):
    """Between two looks, so that no connection is refused."""
    for route, reply in routes.items():
        server.on(route, reply)
    client.models.scan_also({"Ollama": endpoint_of(server)})
    first = (await client.models.check(endpoint_of(server))).product
    assert first != "OpenAI-compatible"
    server.forget()
    server.on(LIST, error_reply(500, "Out of luck"), UNKNOWN[LIST])
    for product in (first, "OpenAI-compatible", "OpenAI-compatible"):
        assert (await client.models.check(endpoint_of(server))).product == product


@pytest.mark.rule("R-5")
async def test_a_product_is_looked_for_again_if_the_user_asks(server, client):
    """What a server was not, it may be by now; LM Studio may have been updated."""
    rows = model_list("alder", owned_by="organization_owner", headers=EXPRESS)
    server.on(LIST, rows)
    assert (await client.models.check(endpoint_of(server))).product == "OpenAI-compatible"
    server.on("GET /api/v1/models", json_reply({"error": "Unexpected endpoint or method."}))
    server.on("GET /api/v0/models", json_reply({"data": [{"id": "alder", "state": "loaded"}]}))
    client.models.forget_lists()
    assert (await client.models.check(endpoint_of(server))).product == "LM Studio"
    instances = [{"id": "alder", "config": {"context_length": 4096}}]
    row = {"key": "alder", "loaded_instances": instances}
    server.on("GET /api/v1/models", json_reply({"models": [row]}))
    client.models.forget_lists()
    (model,) = (await client.models.check(endpoint_of(server))).models
    assert model.context_loaded == 4096


async def test_facts_of_a_router_that_come_late_are_asked_for_again(server, make_client):
    """A search does not wait for one model after the other, which would take 9 s here."""
    row = {"id": "alder", "owned_by": "llamacpp", "status": {"value": "loaded"}}
    models = [{**row, "id": f"alder-{number}"} for number in range(5)]
    server.on(LIST, json_reply({"data": models}, headers={"Server": "llama.cpp"}))
    server.on("GET /props", raw_reply(Hold()))
    client = make_client(transport=PortMap({("localhost", 8080): server}))
    (probed,) = [one for one in await client.models.detect() if one.endpoint.port == 8080]
    assert (probed.word, probed.models[0].slots) == ("ready", None)
    server.on("GET /props", error_reply(503, "Loading model"), json_reply({"total_slots": 3}))
    for told in (4, 5, 5):
        (probed,) = [one for one in await client.models.detect() if one.endpoint.port == 8080]
        assert [model.slots for model in probed.models].count(3) == told
    assert len(server.seen("GET /props")) == 11, "then no more"


async def test_llama_swap_says_ok_in_plain_text(server, client):
    """Recorded with v250."""
    row = {"id": "oak#2", "owned_by": "llama-swap", "status": {"value": "loaded"}}
    server.on(LIST, json_reply({"data": [row]}))
    server.on("POST /api/models/unload/oak%232", text_reply("OK"))
    (model,) = (await client.models.check(endpoint_of(server))).models
    await client.models.unload(model)
    server.on("POST /api/models/unload/oak%232", html_reply())
    with pytest.raises(ServerRejected):
        await client.models.unload(model)


async def test_a_remote_model_is_not_a_local_one_while_ollama_cannot_tell(server, client):
    ollama_with_remote(server, "garden", remote=["garden"])
    (model,) = (await client.models.check(endpoint_of(server))).models
    assert model.is_remote
    server.on("GET /api/tags", error_reply(500, "Out of luck"))
    failed = await client.models.check(endpoint_of(server))
    assert (failed.models, failed.detail) == ((), "Ollama says: Out of luck")


@pytest.mark.rule("R-5")
async def test_a_known_server_that_is_killed_under_a_request_is_down(server, client):
    """It closes the connection; a program that never spoke HTTP there is none."""
    server.on(LIST, raw_reply(Cut()))
    assert (await client.models.check(endpoint_of(server))).word == "not an LLM server"
    server.on(LIST, KOBOLDCPP[LIST], raw_reply(Cut(is_reset=True)))
    assert (await client.models.check(endpoint_of(server))).product == "KoboldCpp"
    assert (await client.models.check(endpoint_of(server))).word == "refused"
    server.on(LIST, UNKNOWN[LIST])
    assert (await client.models.check(endpoint_of(server))).product == "OpenAI-compatible"


def rows(*data: dict[str, Any], **headers: str):
    return json_reply({"object": "list", "data": list(data)}, headers=headers)


LLAMA_CPP_PYTHON = {  # recorded with 0.3.36
    "id": "/srv/gguf/SmolLM2-135M-Instruct.Q4_1.gguf",
    "object": "model",
    "owned_by": "me",
    "permissions": [],
}
SIGN_OF_LIFE = "HEAD /"


@pytest.mark.rule("R-5")
async def test_a_server_whose_answers_end_when_it_is_looked_at_is_asked_once(
    server, make_client, tmp_path
):
    """Its list interrupts the running answer, also that of another client."""

    async def look(client, *, times: int = 1) -> list[int]:
        for _ in range(times):
            probed = await client.models.check(endpoint_of(server))
            assert (probed.product, probed.word) == ("llama-cpp-python", "ready")
            assert [model.model_id for model in probed.models] == [LLAMA_CPP_PYTHON["id"]]
        return [len(server.seen(route)) for route in (LIST, SIGN_OF_LIFE)]

    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    server.on(SIGN_OF_LIFE, text_reply("", status=404))
    screen = make_client(cache_file=tmp_path / "models.json")
    assert await look(screen, times=60) == [1, 59], "five minutes of an idle screen"
    assert await screen.models.listed(endpoint_of(server)), "its list is kept"
    shell = make_client(cache_file=tmp_path / "models.json")
    assert await look(shell, times=2) == [1, 61], "another run reads the list on the disk"
    screen.models.forget_lists()  # the user asks
    assert await look(screen, times=3) == [2, 63]
    server.stop()
    assert (await screen.models.check(endpoint_of(server))).word == "refused"
    server.start()
    assert await look(screen, times=2) == [3, 64], "another model may run now"


@pytest.mark.rule("R-5")
@pytest.mark.parametrize(
    ("sign", "verdict"),
    [
        (text_reply("", status=405, headers={"server": "uvicorn"}), "ready"),
        (raw_reply(Cut()), "ready"),
        (raw_reply(Cut(is_reset=True)), "ready"),
        (raw_reply(Hold()), "timed out"),
    ],
)
async def test_a_list_that_disturbs_is_not_asked_for_because_of_an_odd_sign_of_life(
    sign, verdict, server, make_client
):
    """A server that is busy with a prompt may be silent, too."""
    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    server.on(SIGN_OF_LIFE, sign)
    client = make_client(timeouts=TimeoutSettings(health_s=0.2))
    assert (await client.models.check(endpoint_of(server))).word == "ready"
    assert (await client.models.check(endpoint_of(server))).word == verdict
    assert len(server.seen(LIST)) == 1


async def test_a_kept_list_is_not_that_of_another_server(server, make_client, tmp_path):
    """llama.cpp was started where llama-cpp-python had been, within the time that its list counts."""
    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    file = tmp_path / "models.json"
    await make_client(cache_file=file).models.check(endpoint_of(server))
    server.on(LIST, rows({"id": "alder", "owned_by": "llamacpp"}, server="llama.cpp"))
    server.on(SIGN_OF_LIFE, text_reply("", status=404, headers={"server": "llama.cpp"}))
    probed = await make_client(cache_file=file).models.check(endpoint_of(server))
    assert (probed.product, [one.model_id for one in probed.models]) == ("llama.cpp", ["alder"])
