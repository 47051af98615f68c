from __future__ import annotations

from lmchat.config.state import State, UsedModel
from lmchat.errors import StoreUnavailable
from lmchat.servers.discovery.catalogue import Catalogue
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState, ModelInfo
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model, probed

OTHER = Endpoint.parse("http://localhost:11434")
LLAMA = ModelInfo(model_id="llama3.2:3b", endpoint=OTHER, product="Ollama", state=LoadState.LOADED)
QWEN, GEMMA, EMBED = model(), model("gemma-3-4b"), model("nomic", kind="embedding")


async def known_speeds():
    return {(ENDPOINT.url, "qwen3-8b"): 42.3}


async def no_speeds():
    raise StoreUnavailable("no")


def backend() -> ScriptedBackend:
    other = probed("", LLAMA, endpoint=OTHER, product="Ollama")
    away = probed("offline", endpoint=Endpoint.parse("http://localhost:8080"))
    return ScriptedBackend(results=[probed("", EMBED, QWEN, GEMMA), other, away])


def names(rows) -> list[str]:
    return [row.model.model_id for row in rows]


async def test_models_are_listed_with_recent_ones_first_names_of_servers_and_own_speeds():
    recent = State(
        recent=(UsedModel(OTHER.url, "llama3.2:3b"), UsedModel(ENDPOINT.url, "gemma-3-4b"))
    )
    asked = backend()
    catalogue = Catalogue(asked, known_speeds, server_names={OTHER.origin: "workstation"})
    known, age_s = catalogue.cached_rows(recent)
    assert (len(known), age_s, asked.checks) == (4, 40, 0)
    rows = await catalogue.refresh(recent)
    assert [(row.model.model_id, row.recent_index, row.server_name) for row in rows] == [
        ("llama3.2:3b", 0, "workstation"),
        ("gemma-3-4b", 1, ""),
        ("qwen3-8b", None, ""),
        ("nomic", None, ""),
    ]
    assert [row.tokens_per_second for row in rows] == [None, None, 42.3, None]


async def test_speeds_that_cannot_be_read_cost_the_speeds_alone():
    rows = await Catalogue(backend(), no_speeds).refresh(State())
    assert names(rows) == ["qwen3-8b", "gemma-3-4b", "llama3.2:3b", "nomic"]


OWN, TYPED = Endpoint.parse("http://gpu-box:8000"), Endpoint.parse("http://localhost:8081")


class NotingBackend(ScriptedBackend):
    named = ()

    async def detect(self, *, named=()):
        self.named = tuple(named)
        return await super().detect(named=named)


async def test_a_typed_place_is_looked_at_once_and_one_that_is_looked_at_anyway_stays():
    asked = NotingBackend()
    catalogue = Catalogue(asked, no_speeds, named=[OWN])
    await catalogue.probe_all()
    for endpoint in (ENDPOINT, TYPED, TYPED):
        catalogue.add_named(endpoint)
    await catalogue.probe_all()
    assert asked.named == (TYPED, OWN)
