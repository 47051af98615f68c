from __future__ import annotations

from lmchat.core.servers.model import LoadState
from lmchat.core.servers.target import Target
from tests.support.client_calls import endpoint_of
from tests.support.scripted_products import ollama
from tests.support.scripted_server import json_reply

SHOW = "POST /api/show"


async def test_ollama_is_asked_for_more_of_a_model_once_and_again_when_it_changes(server, client):
    digests = {"llama3:8b": "1", "old-embed": "2"}

    def tags(_):
        rows = [{"name": name, "digest": digest} for name, digest in digests.items()]
        return json_reply({"models": rows})

    def show(seen):
        able = ["completion", "tools", "thinking"]
        kind, able = ("nomic-bert", []) if "embed" in seen.json["model"] else ("llama", able)
        info = {"general.architecture": kind, f"{kind}.context_length": 131072}
        return json_reply({"capabilities": able, "model_info": info, "license": "x" * 9000})

    ollama(server, *digests).on("GET /api/tags", tags).on(SHOW, show)
    for _ in range(3):
        listed = await client.models.listed(endpoint_of(server), is_refresh=True)
    talker, embedding = listed
    assert (talker.context_max, talker.capabilities) == (131072, ("tools", "reasoning"))
    assert (talker.kind, embedding.kind) == ("", "embedding")
    assert (talker.images, embedding.images) == (False, None)  # of the other it says nothing
    digests["old-embed"] = "3"
    await client.models.listed(endpoint_of(server), is_refresh=True)
    asked = [one.json["model"] for one in server.seen(SHOW)]
    assert sorted(asked) == ["llama3:8b", "old-embed", "old-embed"]


def ollama_windows(server, *, running=(), parameters="", most: int = 8192) -> None:
    """Ollama 0.33 with one model; the form of `parameters` is as recorded."""
    info = {"general.architecture": "llama", "llama.context_length": most}
    shown = {"capabilities": ["completion"], "model_info": info, "parameters": parameters}
    rows = [{"name": "smol:latest", **row} for row in running]
    ollama(server, "smol:latest").on(SHOW, json_reply(shown))
    server.on("GET /api/ps", json_reply({"models": rows}))


OWN_512 = 'num_ctx                        512\nstop                           "<|im_end|>"'


async def test_the_window_of_ollama_is_that_of_a_request_and_never_only_the_largest(
    server, make_client
):
    for running, parameters, window, has_own in (
        ([{"context_length": 4096}], "", 4096, False),
        ([{"context_length": 4096}], OWN_512, 4096, True),
        ([], OWN_512, 512, True),
        ([{}], OWN_512, 512, True),  # an older version does not tell it
        ([], "num_ctx 99999", 8192, True),  # Ollama takes the largest one
        ([], 'stop                           "num_ctx 512"', None, False),
        ([], "temperature                    0.7", None, False),
        ([], None, None, False),
        ([], ["num_ctx 512"], None, False),
        ([{}], "", None, False),
    ):
        ollama_windows(server, running=running, parameters=parameters)
        (model,) = await make_client().models.listed(endpoint_of(server))
        assert (model.context_loaded, model.has_own_window) == (window, has_own), parameters
        assert model.context_max == 8192
        assert Target.of(model).context == window


async def test_a_window_that_was_seen_stays_known_after_an_unload_but_not_for_another_run(
    server, make_client, tmp_path
):
    file = tmp_path / "models.json"
    client = make_client(cache_file=file)
    ollama_windows(server, running=[{"context_length": 2048}])
    await client.models.listed(endpoint_of(server))
    await client.model_lists.write()
    assert b"2048" not in file.read_bytes()
    ollama_windows(server)
    for one, window in ((client, 2048), (make_client(cache_file=file), None)):
        probed = await one.models.check(endpoint_of(server))
        assert [model.context_loaded for model in probed.models] == [window]
        assert [model.state for model in probed.models] == [LoadState.NOT_LOADED]
    ollama_windows(server, parameters=OWN_512)
    (model,) = (await make_client(cache_file=file).models.check(endpoint_of(server))).models
    assert model.context_loaded == 512, "its own file says more than what was seen"


async def test_a_document_that_was_cut_when_the_product_was_looked_for_is_read_whole(
    server, client
):
    facts = {"loaded_models": [{"id": "birch"}], "backends": ["llama-cpp"] * 90_000}  # of LocalAI
    rows = [{"id": name, "object": "model"} for name in ("alder", "birch")]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows}))
    server.on("GET /system", json_reply(facts))
    alder, birch = await client.models.listed(endpoint_of(server))
    assert (alder.product, birch.state) == ("LocalAI", LoadState.LOADED)
