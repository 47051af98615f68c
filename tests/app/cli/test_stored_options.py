"""A session or a file sets how a model samples, and no field that decides what a request is about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.api import Ask, Home, RequestAdapted
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.session import Session
from lmchat.core.storage.store import Store
from tests.support import desktop
from tests.support.chats import chat
from tests.support.desktop import shown
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import ScriptedServer

PRODUCT = llama_cpp
Cli = Inside

FAR = "far-away:120b-cloud"  # in each value that no request may have
OWN = {"Model", "MODEL", "Messages", "me\u017f\u017fages", "Stream"}
ELSEWHERE = {"models", "fallbacks", "Fallbacks", "api_base", "Api_Base", "base_url", "API_KEY"}
TOOLS = {"Tools", "TOOLS", "tool_choice", "functions", "tool\u017f"}
CONTROLS = {"grammar", "json_schema", "lora", "id_slot", "n_probs", "cache_prompt"}
FOREIGN = OWN | ELSEWHERE | TOOLS | CONTROLS
SAMPLING = {
    "temperature": 0.25,
    "max_tokens": 77,
    "stop": ["###"],
    "logit_bias": {"15043": 5},
    "mirostat": 2,
    "samplers": ["top_k"],
}
EXTRAS = {f"extra.{name}": [FAR] for name in FOREIGN}
OPTIONS = {name: [FAR] for name in FOREIGN} | EXTRAS | SAMPLING
SENT_ALWAYS = {
    *("model", "messages", "stream", "stream_options", "seed"),
    *("reasoning_control", "return_progress", "timings_per_token"),
}


def sent_fields(server: ScriptedServer) -> list[set[str]]:
    """Return the names of the fields of each request; none has one twice, or what is foreign."""
    bodies = [seen.body for seen in server.seen(CHAT)]
    assert not [body for body in bodies if FAR.encode() in body]
    pairs = [json.loads(body, object_pairs_hook=list) for body in bodies]
    found = [{name for name, _ in fields} - SENT_ALWAYS for fields in pairs]
    assert all(len({name.casefold() for name, _ in fields}) == len(fields) for fields in pairs)
    assert {dict(fields)["model"] for fields in pairs} <= {"tiny.gguf"}
    server.requests.clear()
    return found


def exported(options: Mapping[str, object]) -> Session:
    session = chat("Which vegetables?", "Lettuce.", title="Beds")
    return replace(session, header=replace(session.header, sampling=options))


async def put(folder, session: Session) -> None:
    """Let the database have a session as an earlier lmchat, or a copied file, has it."""
    folder.mkdir(exist_ok=True)
    store = Store(folder / "sessions.db")
    await store.import_session(session)
    await store.aclose()


def test_an_import_brings_options_that_sample_and_names_these_and_the_others(cli, server, tmp_path):
    file = tmp_path / "beds.json"
    few = {"extra.Model": FAR, "Model": FAR, "extra.fallbacks": [FAR], "lora": [FAR]} | SAMPLING
    file.write_text(to_json(exported(few)), encoding="utf-8")
    tried = cli("import", "--dry-run", str(file))
    done = cli("import", str(file))
    assert (done.returncode, done.stderr) == (tried.returncode, tried.stderr) == (0, done.stderr)
    assert f"is imported, 2 messages, with {', '.join(SAMPLING)}\n" in done.stdout
    assert "beds.json, “Beds”: Not sent: extra.Model, Model, extra.fallbacks, lora." in done.stderr
    asked = cli("ask", "-r", "last", "And herbs?")
    assert (asked.returncode, asked.stderr) == (0, "lmchat: continues “Beds”.\n")
    assert sent_fields(server) == [{*SAMPLING}]
    saved = cli("export", "last", "--format", "json").stdout
    assert json.loads(saved)["session"]["sampling"] == SAMPLING


@pytest.mark.leaf("batch", "plain")
def test_a_session_of_the_database_sends_what_samples_and_the_rest_is_named(cli, server):
    asyncio.run(put(cli.folder, exported(OPTIONS)))
    for words, stdin, requests in (
        (("ask", "-r", "last", "And herbs?"), "", 1),
        (("ask", "-r", "last", "--json", "And herbs?"), "", 1),
        (("--plain", "-r", "last"), "And herbs?\n/set temperature\n/retry\nAnd beans?\n", 3),
    ):
        done = cli(*words, stdin=stdin)
        assert done.stderr.count("Not sent: ") == 1, done.stderr
        assert sent_fields(server) == [{*SAMPLING}] * requests, words
    done = cli("ask", "-r", "last", "--dry-run", "And herbs?")
    assert json.loads(done.stdout).keys() - SENT_ALWAYS == {*SAMPLING}
    assert done.stderr.count("Not sent: ") == 1
    assert cli("compare", "-m", "tiny.gguf", "-m", "tiny.gguf", "Herbs?").returncode == 0
    assert sent_fields(server) == [set()] * 2
    cli("decide", "Herbs?")
    assert sent_fields(server)


async def test_the_python_api_and_the_screen_send_of_a_session_what_samples_and_name_the_rest(
    cli, server
):
    session = exported(OPTIONS)
    session_id = session.header.session_id
    await put(cli.folder, session)
    cli.configure(f'endpoint = "{server.url}"\n')
    async with Home(cli.folder) as home:
        again = {"replaces": session.messages[1].message_id}
        for words, more, notes in (("And herbs?", {}, 1), ("", again, 0)):
            ask = Ask(prompt=words, session_id=session_id, **more)
            async with aclosing(home.turn(ask)) as events:
                told = [one.note async for one in events if isinstance(one, RequestAdapted)]
            assert sum(note.startswith("Not sent: ") for note in told) == notes
            assert sent_fields(server) == [{*SAMPLING}]
    async with desktop.run(cli.folder, {8080: server}) as seen:
        await seen.goes_on()
        await seen.open_in_list(session_id)
        await seen.say("And herbs?")
        await shown(seen, "Not sent: ")
        await seen.until(lambda: len(server.seen(CHAT)) == 1, "a request")
        assert sent_fields(server) == [{*SAMPLING}]
        await seen.rests()


@pytest.mark.leaf("batch")
def test_a_line_of_batch_sets_what_samples_and_the_rest_is_named_once(cli, server, tmp_path):
    messages = [{"role": "user", "content": "Which herbs?"}]
    body = {"messages": messages, "stream": False, **OPTIONS}
    lines = tmp_path / "lines.jsonl"
    rows = [{"body": body}, {"body": body}, {"body": {"messages": messages, "extra.top_a": FAR}}]
    top = {"messages": messages, **OPTIONS}
    lines.write_text("\n".join(map(json.dumps, [*rows, top, {"prompt": "Hi", **OPTIONS}])))
    done = cli("batch", str(lines), "--jobs", "1")
    assert done.returncode == 0, done.stdout
    assert sent_fields(server) == [{*SAMPLING}] * 2 + [set()] * 3
    first, second = [line for line in done.stderr.splitlines() if "Not sent: " in line]
    assert "extra.top_a" not in first
    assert second.startswith("lmchat: Not sent: extra.top_a. ")
    body = {"messages": messages, "tools": [FAR], "Model": FAR, "n": 3, "Temperature": 1}
    done = cli("batch", stdin=json.dumps({"custom_id": "a", "body": body}))
    assert (done.returncode, sent_fields(server)) == (0, [set()])
    assert (
        "Not sent: Model, Temperature, n, tools. A file or a saved session can only set "
        in done.stderr
    )
    wrong = {"body": {"messages": messages, "temperature": 9}}
    assert (
        "temperature must be a number from 0 to 2, not 9."
        in cli("batch", stdin=json.dumps(wrong)).stdout
    )
    assert sent_fields(server) == []


@pytest.mark.leaf("batch")
def test_a_case_of_eval_sets_what_samples_and_the_command_line_the_rest(cli, server, tmp_path):
    cases = tmp_path / "cases.toml"

    def evaluated(options: Mapping[str, object], *words: str):
        table = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)} = {value}" for name, value in options.items()
        )
        cases.write_text(
            f'[[case]]\nname = "herbs"\nprompt = "Which herbs?"\nexpect = "there"\nset = {{ {table} }}\n',
            encoding="utf-8",
        )
        return cli("eval", str(cases), "-m", "tiny.gguf", *words)

    sampling = {"temperature": 0.25, "mirostat": 2, "stop": '["###"]'}
    others = {f"extra.{name}": f'["{FAR}"]' for name in ELSEWHERE | TOOLS}
    others |= dict.fromkeys(CONTROLS, f'["{FAR}"]')
    done = evaluated(sampling | others)
    assert done.returncode == 0, done
    assert sent_fields(server) == [{*sampling}]
    assert done.stderr.count("lmchat: Not sent: ") == 1
    for name in ("Model", "extra.Model", "extra.me\u017f\u017fages", "tempratur"):
        done = evaluated({name: f'["{FAR}"]'})
        assert (done.returncode, name in done.stderr) == (2, True), done
    assert sent_fields(server) == []
    done = evaluated({"extra.top_a": 0.5}, "--set", "extra.top_a=0.2")
    assert (sent_fields(server), done.stderr) == ([{"top_a"}], "")


@pytest.mark.leaf("plain")
def test_what_is_typed_counts_in_its_run_and_later_only_if_it_samples(cli, server):
    done = cli("--plain", stdin="/set extra.top_a 0.5\n/set temperature 0.25\nHi\n/retry\n")
    assert "Not sent" not in done.stderr
    assert sent_fields(server) == [{"temperature", "top_a"}] * 2
    for more, count in (((), 1), (("--set", "extra.top_a=1"), 0)):
        done = cli("ask", "-r", "last", *more, "And beans?")
        assert done.stderr.count("lmchat: Not sent: extra.top_a. ") == count
    assert sent_fields(server) == [{"temperature"}, {"temperature", "top_a"}]
    done = cli(
        "--plain", "-r", "last", stdin="/set extra.Model far\n/set extra.top_a default\nHi\n"
    )
    assert "extra.Model cannot be set: lmchat itself sets model" in done.stderr
    assert "Not sent" not in cli("ask", "-r", "last", "Hi").stderr
    assert sent_fields(server) == [{"temperature"}] * 2
