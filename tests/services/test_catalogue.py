from __future__ import annotations

import pytest

from lmchat.domain.product import Product
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Endpoint, LoadState, ModelInfo, Verdict
from lmchat.errors import ServerUnavailable, StoreUnavailable, WrongUse
from lmchat.services.catalogue import Catalogue, matching_model
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, candidate, model

OTHER = Endpoint.parse("http://127.0.0.1:11434")
LLAMA = ModelInfo(
    model_id="llama3.2:3b", endpoint=OTHER, product=Product.OLLAMA, state=LoadState.LOADED
)
QWEN, GEMMA, EMBED = model(), model("gemma-3-4b"), model("nomic", is_embedding=True)


class Speeds:
    """A store that knows speeds only."""

    def __init__(self, speeds=None):
        self._speeds = speeds

    async def speeds(self):
        if self._speeds is None:
            raise StoreUnavailable("no")
        return self._speeds


def backend() -> ScriptedBackend:
    other = candidate(Verdict.READY, LLAMA, endpoint=OTHER, product=Product.OLLAMA)
    away = candidate(Verdict.REFUSED, endpoint=Endpoint.parse("http://127.0.0.1:8080"))
    return ScriptedBackend(candidates=[candidate(Verdict.READY, EMBED, QWEN, GEMMA), other, away])


def names(rows) -> list[str]:
    return [row.model.model_id for row in rows]


async def test_recent_ones_first_in_their_order_and_embedding_models_last():
    recent = Remembered(recent=((OTHER.url, "llama3.2:3b"), (ENDPOINT.url, "gemma-3-4b")))
    rows, _ = await Catalogue(backend(), Speeds({})).refresh(recent)
    assert names(rows) == ["llama3.2:3b", "gemma-3-4b", "qwen3-8b", "nomic"]
    assert [row.recent_index for row in rows] == [0, 1, None, None]


async def test_a_decision_model_stands_last_though_it_was_used_and_is_refused_by_its_name():
    asked = backend()
    judge = model("judge", is_decision=True)
    asked.candidates = (candidate(Verdict.READY, judge, EMBED, QWEN),)
    recent = Remembered(recent=((ENDPOINT.url, "judge"),))
    rows, _ = await Catalogue(asked, Speeds({})).refresh(recent)
    assert names(rows) == ["qwen3-8b", "judge", "nomic"]
    with pytest.raises(WrongUse, match="judge makes decisions and cannot chat"):
        matching_model("judge", rows)


async def test_what_is_known_comes_without_asking_and_tells_its_age():
    asked = backend()
    rows, age_s = Catalogue(asked, Speeds({})).cached_rows(Remembered())
    assert (len(rows), age_s, asked.checks) == (4, 40, 0)


async def test_own_speeds_stand_beside_the_models():
    speeds = {(ENDPOINT.url, "qwen3-8b"): 42.3}
    rows, _ = await Catalogue(backend(), Speeds(speeds)).refresh(Remembered())
    assert {row.model.model_id: row.tokens_per_second for row in rows}["qwen3-8b"] == 42.3


async def test_a_server_of_the_users_own_goes_by_its_name():
    catalogue = Catalogue(backend(), Speeds({}), names={OTHER.origin: "workstation"})
    rows, _ = await catalogue.refresh(Remembered())
    assert {row.model.model_id: row.server_name for row in rows if row.server_name} == {
        "llama3.2:3b": "workstation"
    }


async def test_a_server_whose_list_fails_costs_its_own_models_alone():
    asked = backend()
    models = asked.models

    async def half(endpoint, **more):
        if endpoint == OTHER:
            raise ServerUnavailable("gone")
        return await models(endpoint, **more)

    asked.models = half
    rows, _ = await Catalogue(asked, Speeds(None)).refresh(Remembered())
    assert names(rows) == ["qwen3-8b", "gemma-3-4b", "nomic"]


OWN, TYPED = Endpoint.parse("http://gpu-box:8000"), Endpoint.parse("http://127.0.0.1:8081")


class ExpectingBackend(ScriptedBackend):
    expected = ()

    async def detect(self, *, expected=()):
        self.expected = tuple(expected)
        return await super().detect(expected=expected)


@pytest.fixture
def expecting():
    return ExpectingBackend()


@pytest.fixture
def catalogue(expecting):
    return Catalogue(expecting, None, expected=[OWN])


async def test_a_typed_place_is_looked_at_once(catalogue, expecting):
    catalogue.expect(TYPED)
    catalogue.expect(TYPED)
    await catalogue.probe_all()
    assert expecting.expected == (TYPED, OWN)


async def test_a_place_that_is_looked_at_anyway_stays_what_it_is(catalogue, expecting):
    await catalogue.probe_all()
    catalogue.expect(ENDPOINT)
    await catalogue.probe_all()
    assert expecting.expected == (OWN,)
