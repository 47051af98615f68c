"""No prompt reaches a model that does not run where its server runs, unless the user has named it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest

from lmchat.api import LMChatError, SyncClient
from lmchat.app.cli.subcommands import SUBCOMMANDS, Subcommand
from lmchat.core.config.state import State, read_state
from lmchat.core.servers import models
from tests.support.programs import Inside
from tests.support.scripted_products import (
    CHAT,
    echo,
    jan_with_remote,
    localai_with_remote,
    model_list,
    ollama_with_remote,
    plain,
)
from tests.support.scripted_server import ScriptedServer, Seen, json_reply
from tests.support.serving import serving

Cli = Inside
PROMPT = "The seeds are under the stone."
Script = Callable[..., ScriptedServer]
JAN = "Acme/Garden-large"
CLOUD = "garden:120b-cloud"
TAGGED = "garden:latest"
NOTES = {
    JAN: f"{JAN} does not run on this machine: the prompt leaves it.",
    CLOUD: f"{CLOUD} does not run on this machine: the prompt leaves it (ollama.com).",
    TAGGED: f"{TAGGED} does not run on this machine: the prompt leaves it (ollama.com).",
}
LISTS = [
    pytest.param(jan_with_remote, [JAN], id="jan alone"),
    pytest.param(jan_with_remote, [JAN, "garden-small", "weeds"], id="jan first"),
    pytest.param(localai_with_remote, [JAN, "weeds"], id="localai first"),
    pytest.param(ollama_with_remote, [CLOUD], id="ollama alone"),
    pytest.param(ollama_with_remote, [TAGGED, CLOUD, "weeds:8b", "hay:8b"], id="ollama first"),
]


def is_remote(name: str) -> bool:
    return name in NOTES


def play(script: Script, server: ScriptedServer, names: Sequence[str]) -> str:
    """Let the server list these models, and return the first remote one."""
    remote = [name for name in names if is_remote(name)]
    script(server, *names, remote=remote)
    return remote[0]


def told_to(server: ScriptedServer) -> list[str]:
    """Return the models to which a prompt has gone; nothing else has the words of a prompt."""
    asked = [seen for seen in server.seen() if PROMPT.encode() in seen.body]
    assert all(seen.route == CHAT for seen in asked)
    return [seen.json["model"] for seen in asked]


def parts_of(name: str) -> list[str]:
    """Return names that a server, or a person, could take for that of the model."""
    base = name.removesuffix(":latest")
    similar = [name.upper(), name.lower(), base, "library/" + name, base[:-1], "garden"]
    return [one for one in dict.fromkeys(similar) if one != name]


def may_mean(name: str, told: str) -> bool:
    """Return whether a server may use the model for this name in a request."""
    short = told.strip().casefold().rpartition("/")[2].removesuffix(":latest")
    return short == name.casefold().rpartition("/")[2].removesuffix(":latest")


@pytest.mark.leaf("batch", "plain")
@pytest.mark.parametrize(("script", "names"), LISTS)
def test_no_prompt_reaches_a_remote_model_that_was_not_named(script, names, server, cli, tmp_path):
    remote = play(script, server, names)
    lines = tmp_path / "lines.jsonl"
    cases = tmp_path / "cases.toml"
    cases.write_text(f"[[case]]\nprompt = '{PROMPT}'\nexpect = 'seeds'\n", encoding="utf-8")
    parts = ["", *parts_of(remote)]
    rows = [{"prompt": PROMPT} | ({"model": part} if part else {}) for part in parts]
    lines.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    cli("batch", str(lines))
    cli("--plain", stdin="".join(f"/model {part}\n{PROMPT}\n" for part in (*parts, 7)))
    with SyncClient(server.url) as client:
        for part in parts:
            cli("ask", *(("-m", part) if part else ()), PROMPT)
            with suppress(LMChatError):
                client.chat(PROMPT, model=part)
    for part in parts[:2]:  # these ask for the model in the same way
        named = ("-m", part) if part else ()
        cli.configure(f'[profiles.p]\nmodel = "{part}"\n')
        cli("--plain", *named, stdin=f"{PROMPT}\n/profile p\n{PROMPT}\n")
        cli("batch", *named, str(lines))
        cli("eval", *named, str(cases))
        cli("compare", *named, "-m", "garden", PROMPT)
        cli("decide", *named, PROMPT, "--options", "yes,no")
        cli("ask", PROMPT, LMCHAT_MODEL=part)
        cli("ask", PROMPT, LLM_MODEL=part)
        cli("ask", "--profile", "p", PROMPT)
        with SyncClient(server.url, model=part) as client:
            for ask in (client.chat, client.chat_json):
                with suppress(LMChatError):
                    ask(PROMPT)
    assert not [told for told in told_to(server) if may_mean(remote, told)]
    local = {name for name in names if not is_remote(name)}
    assert local.isdisjoint(told_to(server)) == (not local or script is ollama_with_remote)


def commands_of(commands: Sequence[Subcommand], words: Sequence[str] = ()) -> Iterator[list[str]]:
    """Return each command that ends by itself, with its positional arguments by their names."""
    for command in commands:
        names = [one.names[-1] for one in command.arguments if not one.names[0].startswith("-")]
        if command.name != "serve":
            yield [*words, command.name, *names]
        yield from commands_of(command.commands, [*words, command.name])


@pytest.mark.leaf("batch", "plain")
@pytest.mark.parametrize(
    ("script", "name"),
    [(jan_with_remote, JAN), (ollama_with_remote, CLOUD), (ollama_with_remote, TAGGED)],
)
def test_no_command_takes_a_name_in_a_session_or_a_file_for_one_that_the_user_has_given(
    script, name, server, cli, tmp_path
):
    script(server, "weeds", name, remote=[name])
    chosen = (cli.folder / "state.toml").read_bytes() if cli.folder.exists() else None
    cli("ask", "--save", "-m", name, PROMPT)
    assert told_to(server) == [name]
    assert chosen is None or (cli.folder / "state.toml").read_bytes() == chosen
    server.requests.clear()

    lines, chats, cases = (tmp_path / one for one in ("lines.jsonl", "chats.jsonl", "cases.toml"))
    lines.write_text(
        json.dumps({"body": {"model": name, "messages": [{"role": "user", "content": PROMPT}]}}),
        encoding="utf-8",
    )
    message = {"role": "user", "content": PROMPT, "model": name}
    chats.write_text(
        json.dumps({"title": PROMPT, "model": name, "messages": [message]}), encoding="utf-8"
    )
    cases.write_text(
        f"[[case]]\nname = '{name}'\nprompt = '{PROMPT}'\nexpect = 'seeds'\n", encoding="utf-8"
    )
    values = {
        "prompt": [PROMPT],
        "id": ["last"],
        "title": [name],
        "files": [str(chats)],
        "shell": ["bash"],
        "query": ["seeds"],
        "tool": ["python/add"],
    }
    given = {"eval": {"file": [str(cases)]}, "batch": {"file": [str(lines)]}}
    ran = [
        [part for word in words for part in (values | given.get(words[0], {})).get(word, [word])]
        for words in commands_of(SUBCOMMANDS)
    ]
    more = (["ask", "-r", "last", PROMPT], ["ask", "-f", str(chats), PROMPT], ["export", "--all"])
    for words in (*more, *ran):  # these end with sessions that are deleted
        cli(*words)
    for stdin in (f"/resume last\n{PROMPT}\n", f"{PROMPT}\n/retry\n/continue\n/compact\n"):
        cli("--plain", "-r", "last", stdin=stdin)
        cli("--plain", stdin=stdin)
    told = told_to(server)
    assert "weeds" in told
    assert not [one for one in told if may_mean(name, one)]
    done = cli("batch", str(lines))
    assert f"{name} does not run on this machine, and only a line of the file names it." in (
        done.stdout + done.stderr
    )
    assert cli("batch", "-m", name, str(lines)).returncode == 0
    assert told_to(server)[-1] == name


@pytest.mark.leaf("batch", "plain")
@pytest.mark.parametrize(
    ("script", "name"),
    [
        (jan_with_remote, JAN),
        (localai_with_remote, JAN),
        (ollama_with_remote, CLOUD),
        (ollama_with_remote, TAGGED),
    ],
)
def test_a_remote_model_that_is_named_answers_with_one_note(script, name, server, cli, tmp_path):
    script(server, "weeds", name, remote=[name])
    note = f"lmchat: {NOTES[name]}\n"
    done = cli("ask", "-m", name, PROMPT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello there.\n", note)
    assert cli("ask", PROMPT, LMCHAT_MODEL=name).stderr == note

    lines = tmp_path / "lines.jsonl"
    cases = tmp_path / "cases.toml"
    lines.write_text(
        json.dumps({"prompt": PROMPT, "model": name}) + "\n" + '{"prompt": "Hi"}\n' * 2,
        encoding="utf-8",
    )
    cases.write_text(
        f"[[case]]\nprompt = '{PROMPT}'\nexpect = 'Hello there.'\n" * 2, encoding="utf-8"
    )
    for words in (
        ("batch", "-m", name, str(lines)),
        ("eval", "-m", name, str(cases)),
        ("compare", "-m", name, "-m", name, PROMPT),
    ):
        done = cli(*words)
        assert done.returncode == 0, done
        assert done.stderr.count(note) == 1, done.stderr
    done = cli("--plain", stdin=f"/model {name}\n{PROMPT}\n{PROMPT}\n/compact\n")
    assert done.stderr.count(note) == 1, done.stderr
    with SyncClient(server.url) as client:
        assert client.chat(PROMPT, model=name).text == "Hello there."
    assert set(told_to(server)) == {name}
    assert not [
        seen for seen in server.seen() if seen.route == "POST /api/show" and name in str(seen.body)
    ]


@pytest.mark.leaf("plain")
def test_after_it_was_chosen_it_is_used_again_but_not_by_a_file_of_an_earlier_version(
    server, cli, tmp_path
):
    jan_with_remote(server, JAN, "weeds", remote=[JAN])
    state_file = cli.folder / "state.toml"
    cli("--plain", stdin=f"/model {JAN}\n")
    assert cli("ask", PROMPT).stderr == f"lmchat: {NOTES[JAN]}\n"
    assert told_to(server) == [JAN]

    old = state_file.read_text(encoding="utf-8").replace("is_remote = true\n", "")
    state_file.write_text(old, encoding="utf-8")
    assert read_state(state_file)[0] == State().with_model(server.url, JAN)
    cli("ask", PROMPT)
    cli("--plain", stdin=f"/model weeds\n/model {JAN}\n")
    cli("--plain", stdin="/model weeds\n")
    cli("ask", PROMPT)
    assert told_to(server) == [JAN, "weeds", "weeds"]


@pytest.mark.leaf("batch", "plain")
@pytest.mark.parametrize("script", [jan_with_remote, ollama_with_remote])
def test_a_model_that_becomes_remote_between_two_prompts_gets_no_further_one(
    script, server, cli, tmp_path, monkeypatch
):
    monkeypatch.setattr(models, "RECENT_S", -1.0)  # else each list would be new for seconds
    lines = tmp_path / "lines.jsonl"
    cases = tmp_path / "cases.toml"
    lines.write_text(json.dumps({"prompt": PROMPT}) + '\n{"prompt": "Hi"}\n', encoding="utf-8")
    cases.write_text(f"[[case]]\nprompt = '{PROMPT}'\nexpect = 'seeds'\n" * 2, encoding="utf-8")

    def answer(seen: Seen):
        script(server, TAGGED, remote=[TAGGED])
        return echo(seen)

    for words in (
        ("--plain",),
        ("--plain", "-m", TAGGED),
        ("batch", str(lines)),
        ("batch", "-m", TAGGED, str(lines)),
        ("eval", str(cases)),
        ("compare", "-m", TAGGED, "-m", TAGGED, PROMPT),
    ):
        script(server, TAGGED, remote=[]).on(CHAT, answer)
        server.requests.clear()
        done = cli(*words, stdin=f"{PROMPT}\n{PROMPT}\n")
        assert len(server.seen(CHAT)) == 1, words
        assert f"{TAGGED} does not run on this machine any more." in done.stdout + done.stderr


def test_without_a_local_model_the_next_step_is_to_choose_one(server, cli):
    jan_with_remote(server, JAN, remote=[JAN])
    done = cli("ask", PROMPT)
    assert done.returncode != 0
    assert (
        done.stderr == f"lmchat: No Jan model selected\nChoose one with -m MODEL: {JAN} (remote).\n"
    )
    done = cli("ask", "-m", JAN.lower(), PROMPT)
    assert f"No server has a model {JAN.lower()}; did you mean {JAN}?" in done.stderr
    assert json.loads(cli("detect").stdout)["verdict"] == "no model loaded"
    assert json.loads(cli("health").stdout)["status"] == "degraded"
    assert json.loads(cli("-m", JAN, "health").stdout)["status"] == "ok"


def test_a_remote_model_is_listed_last_and_can_be_neither_loaded_nor_unloaded(server, cli):
    ollama_with_remote(server, TAGGED, "weeds:8b", remote=[TAGGED])
    rows = cli.json("models", "--json")["data"]
    assert [(row["id"], row["state"], row["runs_at"]) for row in rows] == [
        ("weeds:8b", "not loaded", None),
        (TAGGED, "remote", "ollama.com"),
    ]
    for verb in ("load", "unload"):
        done = cli("models", verb, TAGGED)
        assert done.returncode != 0
        assert f"{TAGGED} is a remote model: it is not in memory here. It runs at ollama.com." in (
            done.stderr
        )
        assert "No server has a model garden" in cli("models", verb, "garden").stderr
    assert not server.seen("POST /api/generate")


@pytest.mark.leaf("serve")
def test_serve_passes_on_to_a_remote_model_by_its_whole_name_only(server, tmp_path):
    ollama_with_remote(server, TAGGED, CLOUD, "weeds:8b", remote=[TAGGED, CLOUD])
    with ScriptedServer() as other:
        plain(other, TAGGED)
        config = "".join(
            f'[[endpoints]]\nname = "s"\nurl = "{one.url}"\n' for one in (server, other)
        )
        messages = [{"role": "user", "content": PROMPT}]
        with serving(tmp_path, config=config) as program:
            reply = program.get("/v1/models")
            assert reply.headers["server"] == "lmchat"
            rows = reply.json()["data"]
            assert [row["id"] for row in rows if row["state"] == "remote"] == [
                row["id"] for row in rows
            ][-2:]
            assert {row["runs_at"] for row in rows[-2:]} == {"ollama.com"}
            for path in ("/v1/chat/completions", "/chat/completions", "/v1/completions"):
                for part in parts_of(CLOUD):
                    program.post(path, {"model": part, "messages": messages, "prompt": PROMPT})
            other.requests.clear()
            # of two servers that list a name, the one that runs the model itself
            assert program.chat(model=TAGGED, messages=messages).is_success
            assert told_to(server) == []
            assert told_to(other) == [TAGGED]
            bare = {"messages": messages, "endpoint": server.url}
            for part in parts_of(TAGGED):
                program.post("/chat/completions", {"model": part} | bare)
            assert not [told for told in told_to(server) if may_mean(TAGGED, told)]
            for _ in range(2):
                assert program.chat(model=CLOUD, messages=messages).is_success
            assert told_to(server)[-2:] == [CLOUD, CLOUD]
            program.process.terminate()
            _, stderr = program.process.communicate(timeout=30)
    notes = [line for line in stderr.decode().splitlines() if line.startswith("lmchat: ")]
    assert notes == [f"lmchat: {NOTES[CLOUD]}"]


@pytest.mark.parametrize(
    "row",
    [
        {"owned_by": "remote"},
        {"owned_by": "llama-swap", "meta": {"llamaswap": {"type": "model", "peerID": "gpu-box"}}},
        {"id": CLOUD, "owned_by": "library"},
        {"recipe": "cloud"},
        {"recipe": "collection.router"},
        {"state": "remote", "runs_at": "ollama.com"},
    ],
)
def test_a_server_of_no_known_product_can_say_that_a_model_is_remote(row, server, cli):
    data = [{"id": "garden", **row}, {"id": "weeds", "owned_by": "someone"}]
    plain(server).on("GET /v1/models", json_reply({"data": data}))
    cli("ask", PROMPT)
    assert told_to(server) == ["weeds"]
    assert [listed["state"] for listed in cli.json("models", "--json")["data"]] == [
        "unknown",
        "remote",
    ]


@pytest.mark.parametrize(
    "name", ["garden:cloud", "garden:8b-cloud", "garden:8B-CLOUD", "a/b:1-cloud"]
)
def test_a_name_that_ollama_sends_to_its_cloud_is_a_remote_one_even_if_it_is_not_listed(
    name, server, cli
):
    ollama_with_remote(server, remote=[])
    server.on("GET /api/tags", json_reply({"models": []}))
    assert f"{name} does not run on this machine: the prompt leaves it (ollama.com)." in (
        cli("ask", "-m", name, PROMPT).stderr
    )
    assert told_to(server) == [name]
    server.on("GET /api/tags", json_reply({"models": [{"name": name, "size": 1}]}))
    server.on("GET /v1/models", model_list(name, owned_by="library"))
    cli("ask", PROMPT)
    assert told_to(server) == [name]


def test_a_remote_model_that_only_its_details_tell_is_seen(server, cli):
    ollama_with_remote(server, "garden", remote=[])

    def show(_: Seen):
        return json_reply({"remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com"})

    server.on("POST /api/show", show)
    assert cli("ask", PROMPT).returncode != 0
    assert told_to(server) == []
