from __future__ import annotations

from tests.support.client_calls import endpoint_of
from tests.support.scripted_products import LLAMA, llama_cpp, model_list, ollama
from tests.support.scripted_server import json_reply

SHOW = "POST /api/show"
LITELLM = {"x-litellm-version": "1.0"}


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
        listed = await client.models(endpoint_of(server), is_refresh=True)
    talker, embedding = listed
    assert (talker.context_max, talker.capabilities) == (131072, ("tools", "reasoning"))
    assert (talker.kind, embedding.kind) == ("", "embedding")
    assert (talker.images, embedding.images) == (False, None)  # of the other it says nothing
    digests["old-embed"] = "3"
    await client.models(endpoint_of(server), is_refresh=True)
    asked = [one.json["model"] for one in server.seen(SHOW)]
    assert sorted(asked) == ["llama3:8b", "old-embed", "old-embed"]


async def test_sglang_tells_its_window_and_is_never_asked_for_its_health(server, client):
    server.on("GET /v1/models", model_list("qwen", owned_by="sglang", max_model_len=1000))
    (model,) = await client.models(endpoint_of(server))
    assert (model.product, model.context) == ("SGLang", 1000)
    assert "/health" not in {one.path for one in server.seen()}


async def test_litellm_tells_context_and_abilities(server, client):
    listed = {"data": [{"id": "gpt"}, {"id": "embed"}, {"id": "other"}]}
    server.on("GET /v1/models", json_reply(listed, headers=LITELLM))
    facts = {"max_input_tokens": 128000, "supports_vision": True, "supports_function_calling": None}
    data = [
        {"model_name": "gpt", "model_info": facts},
        {"model_name": "embed", "model_info": {"mode": "embedding", "max_input_tokens": "8192"}},
    ]
    server.on("GET /model/info", json_reply({"data": data}, headers=LITELLM))
    gpt, embed, other = await client.models(endpoint_of(server))
    assert (gpt.context_max, gpt.capabilities, gpt.tools) == (128000, ("vision",), None)
    assert (embed.kind, embed.context_max) == ("embedding", None)
    assert (other.context_max, other.capabilities, other.images) == (None, (), None)


async def test_a_llama_cpp_says_whether_its_model_sees(server, make_client):
    for modalities, props, sees in (
        (["text"], {}, False),
        (["text", "image"], {}, True),
        (None, {"modalities": {"vision": False}}, False),
        (None, {}, None),
    ):
        client = make_client()
        llama_cpp(server)
        row = {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}
        row |= {"architecture": {"input_modalities": modalities}} if modalities else {}
        server.on("GET /v1/models", json_reply({"data": [row]}, headers=LLAMA))
        server.on("GET /props", json_reply(props, headers=LLAMA))
        (model,) = await client.models(endpoint_of(server))
        assert (model.images, model.context_loaded, model.context_max) == (sees, 4096, 8192)
