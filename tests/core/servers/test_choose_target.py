from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.config.state import State
from lmchat.core.servers.discovery.choose import (
    choose,
    choose_without_asking,
    endpoints_of,
    no_model_error,
    no_server_error,
)
from lmchat.core.servers.discovery.status import ServerState, chat_state
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import BUILT_IN, LoadState
from tests.support.scripted_backend import model, probed, target

OTHER = Endpoint.parse("http://localhost:8080")
NEW = State()


def test_the_remembered_addresses_are_those_of_servers_and_not_of_the_engine():
    state = NEW.with_model("http://localhost:1234/v1", "a").with_model("built-in", "b")
    state = state.with_model("http://localhost:1234:5", "c")  # as edited by hand
    assert [endpoint.netloc for endpoint in endpoints_of(state)] == ["localhost:1234"]


def other(verdict: str = "", *models):
    return replace(probed(verdict, *models), endpoint=OTHER, product="llama.cpp")


READY = probed("", model("a"), model("b"))
COLD = probed("model_not_loaded", model(state=LoadState.NOT_LOADED))
OWN = replace(other("", model("own")), is_configured=True)


WARM = other("", model("c"))
FAR = other("model_not_loaded", model("far:latest"))
LAST = State(endpoint=READY.endpoint.url)
APPROVAL_SCOPES = {
    "the loaded one": ([READY], "", NEW, "a"),
    "as configured, where no model is listed": ([other()], "needed", NEW, "needed"),
    "where the named one is": ([READY, FAR], "far", NEW, "far:latest"),
    "the ready one": ([COLD, WARM], "", NEW, "c"),
    "the last used": ([WARM, READY], "", replace(LAST, model="b"), "b"),
    "the last used, though unloaded": ([COLD], "", replace(LAST, model="qwen3-8b"), "qwen3-8b"),
    "the last used there": (
        [READY],
        "",
        NEW.with_model(READY.server_id, "b").with_model(BUILT_IN, "d"),
        "b",
    ),
    "the last used server": ([other("", model("b")), READY], "", LAST, "a"),
    "the user's own": ([READY, OWN], "", LAST, "own"),
}


def test_the_model_that_is_chosen():
    for results, model_id, state, chosen in APPROVAL_SCOPES.values():
        choice = choose(results, model=model_id, state=state)
        assert (choice.state, choice.target.model_id) == (ServerState.READY, chosen)
    unknown = replace(other("not_an_llm"), is_configured=True)  # its product is only expected
    for server, product in ((other(), "llama.cpp"), (unknown, "OpenAI-compatible")):
        assert choose([server], model="m", state=NEW).target.product == product


def test_a_model_that_no_list_has_is_used_again_but_a_remote_one_only_as_it_was_chosen():
    server = probed("server_error", product="Ollama", is_configured=True)
    for name, is_remote, state in (
        ("garden:8b", False, ServerState.READY),
        ("garden:120b-cloud", True, ServerState.READY),
        ("garden:120b-cloud", False, ServerState.AWAY),
    ):
        used = NEW.with_model(server.server_id, name, is_remote=is_remote)
        assert choose([server], model="", state=used).state is state


def test_what_is_needed_before_a_chat():
    for results, missing in [
        ([COLD], ServerState.NO_MODEL),
        ([probed("", model("embed", kind="embedding"))], ServerState.NO_MODEL),
        ([probed("auth")], ServerState.NEEDS_KEY),
        ([probed("offline")], ServerState.AWAY),
        ([], ServerState.AWAY),
    ]:
        choice = choose(results, model="", state=NEW)
        assert choice.state is missing
        assert (choice.server is None) is (missing is ServerState.AWAY)
        assert choice.target is None or choice.target.model is None


def test_what_keeps_from_a_chat_is_told_once_a_search_has_ended():
    named = target()
    unnamed = replace(target(), model=None)
    loading = probed("loading")
    empty = probed("empty")
    for used, servers, state in [
        (None, [], None),
        (named, [], ServerState.READY),
        (unnamed, [loading], ServerState.LOADING),
        (unnamed, [], ServerState.NO_MODEL),
        (unnamed, [empty, probed("auth")], ServerState.NEEDS_KEY),
        (unnamed, [empty], ServerState.AWAY),
        (None, [probed("offline")], ServerState.AWAY),
        (None, [probed("offline"), probed("")], ServerState.NO_MODEL),  # `--local` has failed
    ]:
        assert chat_state(used, servers, is_loading=False) is state
        assert chat_state(used, servers, is_loading=True) is ServerState.LOADING


def test_the_built_in_engine_is_not_started_again_after_its_start_has_failed():
    cold_engine = replace(COLD, product=BUILT_IN)
    choice = choose([cold_engine], model="", state=NEW.with_model(BUILT_IN, "qwen3-8b"))
    assert choice.state is ServerState.NO_MODEL


def test_a_model_that_may_cost_money_is_chosen_only_if_the_user_named_used_or_has_only_it():
    models = [model(name, state=LoadState.UNKNOWN) for name in ("text-embedding-3", "gpt-5")]
    near = probed("", *models)
    hosted = replace(near, endpoint=Endpoint.parse("https://api.openai.com/v1"))
    for server in (hosted, replace(near, product="LiteLLM")):
        unasked = choose_without_asking([server], model="", state=NEW)
        error = no_model_error(unasked.server)
        assert error.next_step == "Choose one with -m MODEL: text-embedding-3, gpt-5."
        for choice in (unasked, choose([server], model="", state=NEW)):
            assert choice.state is ServerState.NO_MODEL
        used = NEW.with_model(server.server_id, "gpt-5")
        elsewhere = used.with_model(OTHER.url, "text-embedding-3")
        only = replace(server, models=(models[1],))
        for choice in (
            choose([server], model="gpt-5", state=NEW),
            choose([server], model="", state=used),
            choose_without_asking([only], model="", state=NEW),
            choose_without_asking([server], model="", state=elsewhere),
        ):
            assert choice.target.model_id == "gpt-5"
    assert choose([near], model="", state=NEW).state is ServerState.READY


def test_no_other_server_takes_the_place_of_the_one_that_was_named():
    named = replace(other("offline"), is_configured=True)
    assert choose([named, READY], model="", state=NEW, is_named=True).state is ServerState.AWAY
    assert choose([named, READY], model="", state=NEW).state is ServerState.READY


def test_the_address_that_was_used_last_is_told_if_nothing_answers_there_either():
    far = replace(other("far_offline"), endpoint=Endpoint.parse("http://gpu-box:1337/v1"))
    said = no_server_error([other("offline"), far]).message
    assert said.endswith("no model server answers on this machine or at gpu-box:1337.")


def test_the_hint_about_an_unusable_server_is_a_sentence():
    for step, hint in [
        ("ollama serve", "Start the server: ollama serve."),
        ("Check the address", "Check the address."),
        ("", "Start a model server, or name one with --endpoint URL."),
    ]:
        error = no_server_error([probed("offline", next_step=step, detail="It is off.")])
        assert (
            error.next_step
            == f"{hint} `lmchat doctor` shows what is missing; `lmchat --local` chats without a server."
        )
        assert error.message == "It is off."
