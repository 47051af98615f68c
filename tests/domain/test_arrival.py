from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.candidate import Need, Remembered, choose
from lmchat.domain.server import Endpoint, LoadState, Product, Verdict
from tests.support.scripted_backend import candidate, model

OTHER = Endpoint.parse("http://127.0.0.1:8080")
NEW = Remembered()


def other(verdict: Verdict = Verdict.READY, *models):
    return replace(candidate(verdict, *models), endpoint=OTHER, product=Product.LLAMA_CPP)


def test_a_ready_server_with_a_loaded_model_needs_nothing():
    arrival = choose([candidate(Verdict.READY, model())], model="", remembered=NEW)
    assert arrival.need is Need.NOTHING
    assert arrival.target is not None
    assert arrival.target.model_id == "qwen3-8b"


def test_the_first_ready_one_wins_over_an_earlier_one_without_a_model():
    cold = candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED))
    arrival = choose(
        [cold, other(Verdict.READY, replace(model("b"), endpoint=OTHER))], model="", remembered=NEW
    )
    assert arrival.candidate is not None
    assert arrival.candidate.endpoint == OTHER


def test_the_last_used_server_and_model_win():
    ready = candidate(Verdict.READY, model("a"), model("b"))
    remembered = Remembered(endpoint=ready.endpoint.url, model="b")
    arrival = choose([other(Verdict.READY, model("c")), ready], model="", remembered=remembered)
    assert arrival.target is not None
    assert arrival.target.model_id == "b"


def test_the_users_own_server_wins_over_the_last_used_one():
    own = replace(other(Verdict.READY, model("own")), is_own=True)
    last = candidate(Verdict.READY, model())
    arrival = choose([last, own], model="", remembered=Remembered(endpoint=last.endpoint.url))
    assert arrival.target is not None
    assert arrival.target.model_id == "own"


def test_a_server_without_a_loaded_model_needs_a_model():
    cold = candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED))
    arrival = choose([cold], model="", remembered=NEW)
    assert arrival.need is Need.MODEL
    assert arrival.target is not None
    assert arrival.target.model is None


def test_embedding_models_are_never_chosen():
    only = candidate(Verdict.READY, model("embed", is_embedding=True))
    assert choose([only], model="", remembered=NEW).need is Need.MODEL


def test_a_configured_model_is_taken_as_it_stands():
    arrival = choose([candidate(Verdict.READY, model("a"))], model="wanted", remembered=NEW)
    assert arrival.target is not None
    assert arrival.target.model_id == "wanted"


def test_a_server_that_wants_a_key_is_no_dead_end():
    arrival = choose([candidate(Verdict.NEEDS_KEY)], model="", remembered=NEW)
    assert arrival.need is Need.KEY
    assert arrival.candidate is not None


def test_nothing_but_refusals_needs_a_server():
    assert choose([candidate(Verdict.REFUSED)], model="", remembered=NEW).need is Need.SERVER
    assert choose([], model="", remembered=NEW).need is Need.SERVER


def test_no_other_server_takes_the_place_of_the_one_that_was_named():
    named = replace(other(Verdict.REFUSED), is_own=True)
    ready = candidate(Verdict.READY, model())
    assert choose([named, ready], model="", remembered=NEW, is_named=True).need is Need.SERVER
    assert choose([named, ready], model="", remembered=NEW).need is Need.NOTHING
