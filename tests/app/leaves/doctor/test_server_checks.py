from __future__ import annotations

from msgspec.structs import replace

from lmchat.app.leaves.doctor.finding import Grade
from lmchat.app.leaves.doctor.server_checks import chat_finding, key_findings, server_findings
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.choose import choose, no_server_error
from lmchat.core.servers.discovery.status import STATUS, ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState, ModelInfo

PORTS = {"LM Studio": 1234, "Jan": 1337, "llama.cpp": 9931, "Ollama": 11434}


def probed(verdict: str, product: str = "LM Studio", *, models=(), host="localhost", **more):
    endpoint = Endpoint(scheme="http", host=host, port=PORTS.get(product, 9))
    infos = tuple(
        ModelInfo(model_id=name, endpoint=endpoint, product=product, state=state)
        for name, state in models
    )
    step = more.pop("next_step", f"help {product}")
    return ServerStatus(
        endpoint=endpoint, product=product, reason=verdict, models=infos, next_step=step, **more
    )


READY = probed("", models=[("qwen3-8b", LoadState.LOADED)], latency_ms=3.2, next_step="")


def rows(*results: ServerStatus, is_named=False, how_to_start=None, engine_step=""):
    choice = choose(results, model="", state=State(), is_named=is_named)
    known = how_to_start or {}
    chat = chat_finding(results, choice, known, is_named=is_named, engine_step=engine_step)
    return chat, {one.name: one for one in server_findings(results, choice, known)}


def test_a_verdict_is_as_bad_as_it_keeps_from_a_chat_and_no_fault_beside_a_ready_server():
    grades = {"ready": Grade.OK, "not allowed": Grade.ABSENT, "refused": Grade.ABSENT}
    warnings = ["loading", "no model loaded", "server off", "not an LLM server", "timed out"]
    warnings += ["needs sign-in", "redirects"]
    grades |= dict.fromkeys(warnings, Grade.WARNING)
    for reason in STATUS:
        server = probed(reason, detail="http://localhost:1234: boom.")
        chat, servers = rows(server)
        found = servers["LM Studio"]
        assert found.grade is grades.get(server.word, Grade.FAULT)
        assert chat.grade is (Grade.WARNING if server.state.is_usable else Grade.FAULT)
        assert chat.next_step
        assert "http://localhost:1234" in found.cause
        assert found.cause.endswith(".")
        assert not found.cause.endswith("..")
        chat, servers = rows(READY, probed(reason, "Jan"))
        assert chat.grade is Grade.OK
        assert servers["Jan"].grade is not Grade.FAULT


def test_what_is_installed_and_not_running_comes_first_among_what_helps():
    words = "nothing answers at http://localhost:9931."
    refused = probed("offline")
    away = probed("offline", "llama.cpp")
    _, servers = rows(away)
    assert servers["llama.cpp"].cause == words.capitalize()
    chat, servers = rows(refused, away, how_to_start={"llama.cpp": "llama-server"})
    found = servers["llama.cpp"]
    assert found.cause == f"It is installed, but {words}"
    assert (found.grade, found.next_step) == (Grade.WARNING, "llama-server")
    assert chat.next_step == "llama-server"
    assert servers["LM Studio"].grade is Grade.ABSENT


def test_neither_the_engine_nor_another_server_stands_in_for_the_one_that_was_named():
    chat, _ = rows(probed("offline"), engine_step="lmchat --local")
    assert (chat.grade, chat.next_step) == (Grade.WARNING, "lmchat --local")
    named = probed("offline", "Jan", is_configured=True)
    chat, servers = rows(READY, named, engine_step="lmchat --local", is_named=True)
    assert chat.grade is Grade.FAULT
    assert servers["localhost:1337"].grade is Grade.FAULT


def test_what_a_server_calls_itself_and_says_has_a_limit_of_length():
    long = "m" * 50_000
    models = [(f"{number}{long}", LoadState.LOADED) for number in range(5)]
    chat, found = rows(probed("", models=models), probed("server_error", "Jan", detail=long))
    assert all(len(one.cause) < 500 for one in (chat, *found.values()))


def test_keys_are_told_with_their_state_and_source():
    jan = probed("key_rejected", "Jan")
    sources = {READY.endpoint.origin: "credentials.toml", jan.endpoint.origin: "api_key, flag"}
    found = key_findings([READY, jan], sources, [], "The file of the keys is damaged.")
    assert [one.grade for one in found] == [Grade.OK, Grade.WARNING, Grade.WARNING, Grade.OK]
    assert "credentials.toml" in found[0].cause
    assert "api_key, flag" in found[1].cause
    others = [replace(jan, reason="offline"), probed("", "Ollama")]
    assert [one.cause for one in key_findings(others, sources, [], "")] == ["No API key is stored."]


def test_it_says_the_same_of_a_server_as_other_commands():
    for verdict in ("auth", "key_rejected", "host_blocked"):
        here = probed(verdict, "Jan", host="gpu-box", is_configured=True)
        assert rows(here)[1]["gpu-box:1337"].cause == no_server_error([here]).message


def test_two_servers_of_a_product_have_rows_of_their_own():
    far = probed("", "llama.cpp")
    own = probed("", "llama.cpp", own_name="workstation")
    near = replace(far, endpoint=Endpoint.parse("http://localhost:8080"))
    assert [*rows(far, near)[1]] == ["localhost:9931", "localhost:8080"]
    assert [*rows(own, near)[1]] == ["workstation", "llama.cpp"]
