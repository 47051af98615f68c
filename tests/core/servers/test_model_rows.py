from __future__ import annotations

from lmchat.core.config.settings import EndpointSettings, Settings
from lmchat.core.config.state import State, UsedModel
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.model_lists import model_records
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState, ModelInfo
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model, probed

OTHER = Endpoint.parse("http://localhost:11434")
LLAMA = ModelInfo(model_id="llama3.2:3b", endpoint=OTHER, product="Ollama", state=LoadState.LOADED)
QWEN, GEMMA, EMBED = model(), model("gemma-3-4b"), model("nomic", kind="embedding")


def backend() -> ScriptedBackend:
    other = probed("", LLAMA, endpoint=OTHER, product="Ollama")
    away = probed("offline", endpoint=Endpoint.parse("http://localhost:8080"))
    return ScriptedBackend(results=[probed("", EMBED, QWEN, GEMMA), other, away])


def names(rows) -> list[str]:
    return [row.model.model_id for row in rows]


def test_models_are_listed_with_recent_ones_first_names_of_servers_and_own_speeds():
    recent = State(
        recent=(UsedModel(OTHER.url, "llama3.2:3b"), UsedModel(ENDPOINT.url, "gemma-3-4b"))
    )
    rows = model_records(
        backend().cached().models,
        recent,
        speeds={(ENDPOINT.url, "qwen3-8b"): 42.3},
        server_names={OTHER.origin: "workstation"},
    )
    assert [(row.model.model_id, row.recent_index, row.server_name) for row in rows] == [
        ("llama3.2:3b", 0, "workstation"),
        ("gemma-3-4b", 1, ""),
        ("qwen3-8b", None, ""),
        ("nomic", None, ""),
    ]
    assert [row.tokens_per_second for row in rows] == [None, None, 42.3, None]


OWN, TYPED = Endpoint.parse("http://gpu-box:8000"), Endpoint.parse("http://localhost:8081")


class NotingBackend(ScriptedBackend):
    named = ()

    async def detect(self, *, named=(), is_counted=True):
        self.named = tuple(named)
        return await super().detect(named=named)


async def test_a_typed_place_is_looked_at_once_and_one_that_is_looked_at_anyway_stays():
    asked = NotingBackend()
    own = EndpointSettings(name="box", url=OWN.url)
    finder = ServerFinder(asked, Settings(endpoints=(own,)), State)
    await finder.search()
    for endpoint in (ENDPOINT, TYPED, TYPED):
        finder.add(endpoint)
    await finder.search()
    assert asked.named == (TYPED, OWN)
