from __future__ import annotations

import pytest

from lmchat.domain.candidate import Grade, Group, Installed, PortHolder
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Product, Verdict
from lmchat.services.doctor import Look, key_findings, server_findings

PORTS = {Product.LM_STUDIO: 1234, Product.JAN: 1337, Product.LLAMA_CPP: 8080, Product.OLLAMA: 11434}


def candidate(verdict: Verdict, product: Product = Product.LM_STUDIO, *, models=(), host="127.0.0.1", **more):
    endpoint = Endpoint(scheme="http", host=host, port=PORTS.get(product, 9))
    infos = tuple(
        ModelInfo(model_id=name, endpoint=endpoint, product=product, state=state) for name, state in models
    )
    step = more.pop("next_step", f"help {product}")
    return Candidate(
        endpoint=endpoint, product=product, verdict=verdict, models=infos, next_step=step, **more
    )


READY = candidate(Verdict.READY, models=[("qwen3-8b", LoadState.LOADED)], latency_ms=3.2, next_step="")


def rows(*candidates: Candidate, **more):
    found = server_findings(Look(candidates=candidates, **more))
    return found[0], {row.name: row for row in found[1:-1]}, found[-1]


def test_a_ready_server_is_named_with_its_model_and_needs_no_step():
    chat, servers, hosts = rows(READY)
    assert (chat.grade, chat.next_step) == (Grade.OK, "")
    assert "qwen3-8b on LM Studio at http://127.0.0.1:1234" in chat.cause
    assert servers["LM Studio"].cause == "It answers at http://127.0.0.1:1234 in 3 ms; qwen3-8b is loaded."
    assert hosts.grade is Grade.OK


@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.READY])
def test_beside_a_ready_server_nothing_is_a_fault(verdict):
    chat, servers, hosts = rows(READY, candidate(verdict, Product.JAN))
    assert chat.grade is Grade.OK
    assert servers["Jan"].grade is not Grade.FAULT
    assert hosts.grade is not Grade.FAULT


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_a_sentence_with_the_address(verdict):
    _, servers, _ = rows(candidate(verdict, detail="boom."))
    cause = servers["LM Studio"].cause
    assert cause.endswith(".")
    assert not cause.endswith("..")
    assert "http://127.0.0.1:1234" in cause


@pytest.mark.parametrize(
    ("verdict", "grade"),
    [
        (Verdict.LOADING, Grade.WARNING),
        (Verdict.NO_MODEL, Grade.WARNING),
        (Verdict.NEEDS_KEY, Grade.FAULT),
        (Verdict.KEY_REJECTED, Grade.FAULT),
        (Verdict.HOST_BLOCKED, Grade.FAULT),
        (Verdict.SERVER_ERROR, Grade.FAULT),
        (Verdict.SERVER_OFF, Grade.WARNING),
        (Verdict.NOT_AN_LLM, Grade.WARNING),
        (Verdict.TIMED_OUT, Grade.WARNING),
        (Verdict.REFUSED, Grade.ABSENT),
    ],
)
def test_alone_it_is_as_bad_as_it_keeps_from_a_chat(verdict, grade):
    chat, servers, _ = rows(candidate(verdict))
    assert servers["LM Studio"].grade is grade
    assert chat.grade is (Grade.WARNING if verdict.is_usable else Grade.FAULT)
    assert chat.next_step


def test_a_model_that_is_downloaded_and_not_loaded_is_told_as_such():
    one = candidate(Verdict.NO_MODEL, models=[("a", LoadState.NOT_LOADED), ("b", LoadState.NOT_LOADED)])
    _, servers, _ = rows(one)
    assert "no model is loaded, though it has 2" in servers["LM Studio"].cause


def test_who_holds_the_port_is_told():
    holder = PortHolder(port=8080, program="nginx", pid=33, user="www")
    _, servers, _ = rows(candidate(Verdict.NOT_AN_LLM, Product.LLAMA_CPP), holders={8080: holder})
    row = servers["llama.cpp"]
    assert row.cause.endswith("is no model server. Port 8080 is held by nginx (process 33).")
    assert row.facts["port_held_by"] == {"program": "nginx", "pid": 33, "user": "www"}


def test_who_may_not_be_seen_is_told_with_the_command_that_sees():
    holder = PortHolder(port=8080, user="root")
    _, servers, _ = rows(
        candidate(Verdict.TIMED_OUT, Product.LLAMA_CPP),
        holders={8080: holder},
        tool_to_see="sudo ss -ltnp 'sport = :PORT'",
    )
    row = servers["llama.cpp"]
    assert "a program of user root" in row.cause
    assert row.next_step == "sudo ss -ltnp 'sport = :8080' shows what it is"


def test_the_holder_of_a_port_of_this_machine_is_not_that_of_another_one():
    holder = PortHolder(port=8080, program="nginx", pid=33)
    one = candidate(Verdict.TIMED_OUT, Product.LLAMA_CPP, host="10.0.0.7", is_own=True)
    _, servers, _ = rows(one, holders={8080: holder})
    assert "nginx" not in servers["10.0.0.7:8080"].cause


def test_what_is_installed_and_not_running_comes_first_among_what_helps():
    here = Installed(product=Product.OLLAMA, program="/usr/bin/ollama", start_words="ollama serve")
    chat, servers, _ = rows(
        candidate(Verdict.REFUSED), candidate(Verdict.REFUSED, Product.OLLAMA), installed=(here,)
    )
    assert chat.next_step == "ollama serve"
    assert (servers["Ollama"].grade, servers["Ollama"].next_step) == (Grade.WARNING, "ollama serve")
    assert "installed" in servers["Ollama"].cause
    assert servers["LM Studio"].grade is Grade.ABSENT


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("Open its Developer tab", "LM Studio: Open its Developer tab"),
        ("LM Studio shows it", "LM Studio shows it"),
        ("lms server start", "lms server start"),
    ],
)
def test_a_step_says_where_it_is_done(step, told):
    chat, _, _ = rows(candidate(Verdict.SERVER_OFF, next_step=step))
    assert chat.next_step == told


def test_the_engine_makes_a_missing_server_a_warning_but_not_the_one_that_was_named():
    missing = candidate(Verdict.REFUSED, is_own=True)
    chat, _, _ = rows(candidate(Verdict.REFUSED), engine_step="lmchat --local")
    assert (chat.grade, chat.next_step) == (Grade.WARNING, "lmchat --local")
    chat, _, _ = rows(missing, engine_step="lmchat --local", is_named=True)
    assert chat.grade is Grade.FAULT


def test_no_other_server_stands_in_for_the_one_that_was_named():
    chat, servers, _ = rows(READY, candidate(Verdict.REFUSED, Product.JAN, is_own=True), is_named=True)
    assert chat.grade is Grade.FAULT
    assert servers["127.0.0.1:1337"].grade is Grade.FAULT


def test_an_address_that_is_not_allowed_was_not_asked():
    one = candidate(
        Verdict.REFUSED,
        host="10.0.0.7",
        is_own=True,
        detail="Endpoint not allowed: no",
        kind="not_allowed",
        next_step="x",
    )
    _, servers, _ = rows(one)
    assert servers["10.0.0.7:1234"].cause.startswith("It was not asked: Endpoint not allowed")


def test_a_blocked_host_name_is_a_row_of_the_network_too():
    one = candidate(Verdict.HOST_BLOCKED, Product.JAN, host="my-box", is_own=True)
    _, _, hosts = rows(one)
    assert (hosts.group, hosts.grade) == (Group.NETWORK, Grade.FAULT)
    assert "my-box" in hosts.cause
    assert hosts.next_step


def test_without_servers_the_names_of_hosts_were_not_tried():
    assert rows(candidate(Verdict.REFUSED))[2].grade is Grade.NOT_TRIED


# keys


def keys(*candidates, sources=None, stored=(), warnings=(), has_chat=False):
    return key_findings(candidates, sources or {}, stored, warnings, has_chat=has_chat)


def test_a_missing_key_names_the_address_that_one_is_stored_for():
    found = keys(candidate(Verdict.NEEDS_KEY, Product.JAN), stored=["http://127.0.0.1:9999", "http://x:1"])
    assert (found[0].grade, found[0].facts["state"]) == (Grade.FAULT, "missing")
    assert "http://127.0.0.1:9999" in found[0].cause
    assert "http://x:1" not in found[0].cause


def test_a_key_that_works_and_one_that_is_rejected_are_told_with_their_source():
    jan = candidate(Verdict.KEY_REJECTED, Product.JAN)
    sources = {READY.endpoint.origin: "credentials.toml", jan.endpoint.origin: "api_key, flag"}
    found = keys(READY, jan, sources=sources, has_chat=True)
    assert [row.facts["state"] for row in found] == ["works", "rejected", "stored"]
    assert [row.grade for row in found] == [Grade.OK, Grade.WARNING, Grade.OK]
    assert "credentials.toml" in found[0].cause
    assert "api_key, flag" in found[1].cause


def test_without_keys_it_says_so_once():
    found = keys(READY)
    assert [row.cause for row in found] == ["None is stored, and no server asks for one."]


def test_a_command_that_prints_no_key_is_a_warning():
    assert keys(warnings=["api_key_cmd of endpoint 'x' ended with 3."])[0].grade is Grade.WARNING


def test_what_a_server_calls_itself_and_says_has_a_limit_of_length():
    long = "m" * 50_000
    models = [(f"{number}{long}", LoadState.LOADED) for number in range(5)]
    holder = PortHolder(port=1337, program=long, pid=7)
    found = server_findings(
        Look(
            candidates=(
                candidate(Verdict.READY, models=models),
                candidate(Verdict.SERVER_ERROR, Product.JAN, detail=long),
            ),
            holders={1337: holder},
        )
    )
    assert all(len(row.cause) < 500 for row in found)
    assert all(len(repr(row.facts)) < 60_000 for row in found)
    assert "and 2 more are loaded" in found[1].cause
