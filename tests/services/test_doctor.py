from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import aclosing

import pytest

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.domain.product import Product
from lmchat.domain.program import Installed, PortHolder
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Verdict
from lmchat.errors import StoreUnavailable
from lmchat.services.doctor import (
    Check,
    Detected,
    Examination,
    report_json,
    report_text,
    server_findings,
    without_home,
    worst,
)


def row(
    name: str = "x",
    grade: Grade = Grade.OK,
    cause: str = "So it is.",
    step: str = "",
    group: Group = Group.FILES,
) -> Finding:
    return Finding(group, name, name, grade, cause, step)


def check(name: str, run, **more) -> Check:
    return Check(name, Group.FILES, name.title(), run, **more)


def good(name: str = "good", group: Group = Group.FILES) -> Check:
    return Check(name, group, name.title(), lambda: [row(name, group=group)])


async def hang():
    await asyncio.Event().wait()


async def all_of(*checks: Check) -> dict[str, Finding]:
    examination = Examination(checks=checks, note_error=lambda _: "deadbeef")
    async with aclosing(examination.run()) as examined:
        return {check.check: findings[0] async for check, findings in examined}


async def test_checks_run_at_the_same_time():
    both = asyncio.Barrier(2)

    async def run():
        await both.wait()
        return [row()]

    assert len(await all_of(check("a", run), check("b", run))) == 2


async def test_a_check_that_raises_is_reported_by_the_id_of_the_log_and_without_its_words():
    def run():
        raise KeyError("sk-secret")

    found = await all_of(check("bad", run), good())
    assert found["good"].grade is Grade.OK
    assert found["bad"].grade is Grade.FAULT
    assert "KeyError" in found["bad"].cause
    assert "deadbeef" in found["bad"].cause
    assert "secret" not in found["bad"].cause


async def test_what_lmchat_itself_says_is_a_fault_with_its_hint():
    async def run():
        raise StoreUnavailable("The file is locked.", hint="Close the other one.")

    found = (await all_of(check("store", run)))["store"]
    assert (found.grade, found.cause, found.next_step) == (
        Grade.FAULT,
        "The file is locked.",
        "Close the other one.",
    )


async def test_a_check_or_thread_that_hangs_is_reported_and_stops_none_of_the_others():
    gate = threading.Event()
    late = check("late", hang, limit_s=0.05, step_if_late="check it")
    found = await all_of(late, check("disk", gate.wait, limit_s=0.05), good())
    gate.set()
    assert found["good"].grade is Grade.OK
    assert (found["late"].grade, found["late"].next_step) == (Grade.NOT_TRIED, "check it")
    assert "0.05 s" in found["late"].cause
    assert found["disk"].grade is Grade.FAULT
    assert found["disk"].next_step.startswith("Check the disk, network folder")


def test_a_program_ends_although_a_check_of_it_hangs():
    code = (
        "import asyncio, threading\n"
        "from lmchat.threads import run_abandonable\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(run_abandonable(threading.Event().wait), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('left')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


async def test_leaving_early_leaves_no_check_running():
    ended = asyncio.Event()

    async def run():
        try:
            await hang()
        finally:
            ended.set()

    examination = Examination(checks=(good(), check("late", run)), note_error=lambda _: "")
    async with aclosing(examination.run()) as examined:
        await anext(examined)
    assert ended.is_set()


def test_together_they_are_as_bad_as_the_worst_and_what_is_absent_is_no_harm():
    assert worst([]) is Grade.OK
    assert worst([row(grade=Grade.ABSENT), row(grade=Grade.NOT_TRIED)]) is Grade.OK
    assert worst([row(grade=Grade.WARNING), row()]) is Grade.WARNING
    assert worst([row(grade=Grade.WARNING), row(grade=Grade.FAULT)]) is Grade.FAULT


# the report

ROWS = [
    row("Jan", Grade.FAULT, "It wants a key.", "Settings", Group.SERVERS),
    row("模型", Grade.ABSENT, "Nothing answers.", "start it", Group.SERVERS),
    row("Folder", Grade.OK, "/home/ada/x is fine."),
]


def test_columns_are_aligned_and_a_step_is_told_only_where_one_is_needed():
    assert report_text(ROWS).splitlines() == [
        "Servers",
        "  problem  Jan     It wants a key.",
        "                   next: Settings",
        "  absent   模型    Nothing answers.",
        "",
        "Files",
        "  ok       Folder  /home/ada/x is fine.",
        "",
        "1 problem in 3 checks",
    ]


def test_a_narrow_terminal_wraps_and_a_pipe_does_not():
    rows = [row("N", Grade.OK, "word " * 40)]
    assert max(len(line) for line in report_text(rows, width=60).splitlines()) <= 60
    assert max(len(line) for line in report_text(rows).splitlines()) > 190


def test_an_address_or_path_is_never_broken_by_wrapping():
    path = "/" + "long/" * 30
    assert path in report_text([row("N", Grade.OK, f"At {path} it is.")], width=60)


def test_what_came_from_outside_is_made_safe():
    text = report_text([row("a\x1b[2J", Grade.FAULT, "b\n\u202ec", "d\x07")])
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert len(text.splitlines()) == 5


def test_colours_are_of_the_words_alone():
    text = report_text(ROWS, paint=lambda word, grade: f"<{word}>")
    assert "<problem>  Jan" in text
    assert "<Servers>" in text


def test_home_is_written_so_that_a_shell_still_finds_it():
    assert without_home("chmod 600 /home/ada/x", "/home/ada") == "chmod 600 ~/x"
    assert without_home("rm '/home/ada/my file'", "/home/ada/") == "rm ~/'my file'"
    assert without_home("/home/adam/x", "/home/ada") == "/home/adam/x"
    assert without_home("/srv/x", "") == "/srv/x"
    assert without_home("/x/y", "/") == "/x/y"


def test_the_document_has_stable_keys_and_all_steps():
    value = json.loads(json.dumps(report_json(ROWS, "2026-11-20T08:00:00.000Z")))
    assert list(value) == ["healthy", "verdict", "counts", "checks", "timestamp"]
    assert (value["healthy"], value["verdict"]) == (False, "fault")
    assert value["counts"] == {"ok": 1, "warning": 0, "fault": 1, "absent": 1, "not_tried": 0}
    assert list(value["checks"][0]) == [
        "check",
        "group",
        "name",
        "verdict",
        "cause",
        "next_step",
        "facts",
    ]
    assert value["checks"][1]["next_step"] == "start it"
    assert value["checks"][2]["next_step"] is None


# servers

PORTS = {Product.LM_STUDIO: 1234, Product.JAN: 1337, Product.LLAMA_CPP: 9931, Product.OLLAMA: 11434}


def candidate(
    verdict: Verdict, product: Product = Product.LM_STUDIO, *, models=(), host="127.0.0.1", **more
):
    endpoint = Endpoint(scheme="http", host=host, port=PORTS.get(product, 9))
    infos = tuple(
        ModelInfo(model_id=name, endpoint=endpoint, product=product, state=state)
        for name, state in models
    )
    step = more.pop("next_step", f"help {product}")
    return Candidate(
        endpoint=endpoint, product=product, verdict=verdict, models=infos, next_step=step, **more
    )


READY = candidate(
    Verdict.READY, models=[("qwen3-8b", LoadState.LOADED)], latency_ms=3.2, next_step=""
)


def rows(*candidates: Candidate, **more):
    chat, *found = server_findings(Detected(candidates=candidates, **more))
    return chat, {one.name: one for one in found if one.check == "server"}


def keys(*candidates: Candidate, **more) -> list[Finding]:
    found = server_findings(Detected(candidates=candidates, **more))
    return [one for one in found if one.check == "key"]


def test_a_ready_server_is_named_with_its_model_and_needs_no_step():
    chat, servers = rows(READY)
    assert (chat.grade, chat.next_step) == (Grade.OK, "")
    assert "qwen3-8b on LM Studio at http://127.0.0.1:1234" in chat.cause
    assert (
        servers["LM Studio"].cause
        == "It answers at http://127.0.0.1:1234 in 3 ms; qwen3-8b is loaded."
    )


@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.READY])
def test_beside_a_ready_server_nothing_is_a_fault(verdict):
    chat, servers = rows(READY, candidate(verdict, Product.JAN))
    assert chat.grade is Grade.OK
    assert servers["Jan"].grade is not Grade.FAULT


@pytest.mark.parametrize(
    ("verdict", "grade"),
    [
        (Verdict.READY, Grade.OK),
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
def test_alone_it_is_as_bad_as_it_keeps_from_a_chat_and_a_sentence_with_the_address(verdict, grade):
    chat, servers = rows(candidate(verdict, detail="boom."))
    found = servers["LM Studio"]
    assert found.grade is grade
    assert chat.grade is (Grade.WARNING if verdict.is_usable else Grade.FAULT)
    assert chat.next_step
    assert "http://127.0.0.1:1234" in found.cause
    assert found.cause.endswith(".")
    assert not found.cause.endswith("..")


def test_models_that_are_downloaded_and_not_loaded_are_told_as_such():
    _, servers = rows(
        candidate(Verdict.NO_MODEL, models=[(name, LoadState.NOT_LOADED) for name in "abcd"])
    )
    assert "no model is loaded, it has a, b, c and 1 more" in servers["LM Studio"].cause


def test_who_holds_the_port_of_this_machine_is_told():
    holder = PortHolder(program="nginx", pid=33, user="www")
    _, servers = rows(candidate(Verdict.NOT_AN_LLM, Product.LLAMA_CPP), holders={9931: holder})
    found = servers["llama.cpp"]
    assert found.cause.endswith("is not a model server. Port 9931 is used by nginx (process 33).")
    assert found.facts["port_held_by"] == {"program": "nginx", "pid": 33, "user": "www"}
    one = candidate(Verdict.TIMED_OUT, Product.LLAMA_CPP, host="10.0.0.7", is_own=True)
    assert "nginx" not in rows(one, holders={9931: holder})[1]["10.0.0.7:9931"].cause


@pytest.mark.rule("R-44")
def test_both_ports_of_llama_cpp_are_named_where_nothing_answers():
    away = candidate(Verdict.REFUSED, Product.LLAMA_CPP, other_ports=(8080,))
    _, servers = rows(away)
    assert servers["llama.cpp"].cause == "Nothing answers at http://127.0.0.1:9931 or at port 8080."
    here = Installed(
        product=Product.LLAMA_CPP, program="/bin/llama-server", start_words="llama-server"
    )
    _, servers = rows(away, installed=(here,))
    assert servers["llama.cpp"].cause == (
        "It is installed, but nothing answers at http://127.0.0.1:9931 or at port 8080."
    )


def test_what_is_installed_and_not_running_comes_first_among_what_helps():
    here = Installed(product=Product.OLLAMA, program="/usr/bin/ollama", start_words="ollama serve")
    chat, servers = rows(
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
    assert rows(candidate(Verdict.SERVER_OFF, next_step=step))[0].next_step == told


def test_the_engine_makes_a_missing_server_a_warning_but_not_the_one_that_was_named():
    chat, _ = rows(candidate(Verdict.REFUSED), engine_step="lmchat --local")
    assert (chat.grade, chat.next_step) == (Grade.WARNING, "lmchat --local")
    chat, _ = rows(
        candidate(Verdict.REFUSED, is_own=True), engine_step="lmchat --local", is_named=True
    )
    assert chat.grade is Grade.FAULT


def test_no_other_server_stands_in_for_the_one_that_was_named():
    chat, servers = rows(READY, candidate(Verdict.REFUSED, Product.JAN, is_own=True), is_named=True)
    assert chat.grade is Grade.FAULT
    assert servers["127.0.0.1:1337"].grade is Grade.FAULT


def test_an_address_that_is_not_allowed_was_not_asked():
    detail = "Endpoint not allowed: no"
    one = candidate(
        Verdict.REFUSED, host="10.0.0.7", is_own=True, detail=detail, kind="not_allowed"
    )
    assert rows(one)[1]["10.0.0.7:1234"].cause.startswith(
        "It was not checked: Endpoint not allowed"
    )


def test_what_a_server_calls_itself_and_says_has_a_limit_of_length():
    long = "m" * 50_000
    models = [(f"{number}{long}", LoadState.LOADED) for number in range(5)]
    found = server_findings(
        Detected(
            candidates=(
                candidate(Verdict.READY, models=models),
                candidate(Verdict.SERVER_ERROR, Product.JAN, detail=long),
            ),
            holders={1337: PortHolder(program=long, pid=7, user="www")},
        )
    )
    assert all(len(one.cause) < 500 for one in found)
    assert all(len(repr(one.facts)) < 60_000 for one in found)
    assert "and 2 more are loaded" in found[1].cause


def test_keys_are_told_with_their_state_and_source():
    jan, ollama = (
        candidate(Verdict.KEY_REJECTED, Product.JAN),
        candidate(Verdict.NEEDS_KEY, Product.OLLAMA),
    )
    sources = {READY.endpoint.origin: "credentials.toml", jan.endpoint.origin: "api_key, flag"}
    found = keys(
        READY, jan, ollama, sources=sources, warnings=["api_key_cmd of endpoint 'x' ended with 3."]
    )
    assert [one.facts["state"] for one in found] == [
        "works",
        "rejected",
        "missing",
        "warning",
        "stored",
    ]
    assert [one.grade for one in found] == [Grade.OK, *[Grade.WARNING] * 3, Grade.OK]
    assert "credentials.toml" in found[0].cause
    assert "api_key, flag" in found[1].cause
    assert keys(jan)[0].grade is Grade.FAULT
    assert [one.cause for one in keys(READY)] == ["No API key is stored."]
