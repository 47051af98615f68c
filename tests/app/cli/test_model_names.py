"""The name of a model that a user gives: what is sent for it, and what is told of the answer."""

from __future__ import annotations

import json

import pytest

from lmchat.api import SyncClient, WrongUse
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Cut,
    Hold,
    Reply,
    ScriptedServer,
    delta,
    error_reply,
    finish,
    html_reply,
    json_reply,
    raw_reply,
    sse,
)
from tests.support.serving import HI, serving

Cli = Inside
LIST = "GET /v1/models"
# Replies of servers that have no list of models, or hide it: the first is that of FastAPI without
# the path, as mlx-vlm sends it; the empty list is that of `transformers serve` 5.19.
WITHOUT_LIST = [
    json_reply({"detail": "Not Found"}, status=404),
    json_reply({"detail": "Method Not Allowed"}, status=405),
    json_reply({"error": "Not implemented"}, status=501),
    json_reply({"error": "Forbidden"}, status=403),
    json_reply({"models": ["alder"]}),
    html_reply(),
    error_reply(401, "No key"),
    raw_reply(Hold()),
    raw_reply(Cut()),
    json_reply({"object": "list", "data": []}),
    json_reply({"object": "list", "data": None}),
]


def lists(server: ScriptedServer, *rows: str | dict, served: str = "") -> None:
    """Let the server list these models; each answer has the name that was asked for, or `served`."""
    data = [row if isinstance(row, dict) else {"id": row, "object": "model"} for row in rows]
    server.on(LIST, json_reply({"object": "list", "data": data}))

    def answer(seen) -> Reply:
        model = served or seen.json["model"]
        words = [delta("Yes", model=model), finish(model=model)]
        return sse(*words, DONE) if seen.json.get("stream") else json_reply({})

    server.on(CHAT, answer)


def line(model: str) -> str:
    """Return a line of a batch that names a model."""
    return json.dumps({"body": {"model": model, "messages": HI}})


def told(server: ScriptedServer) -> list[str]:
    return [seen.json["model"] for seen in server.seen(CHAT)]


@pytest.mark.leaf("batch", "plain")
@pytest.mark.parametrize("reply", WITHOUT_LIST)
def test_a_server_that_lists_no_model_answers_by_a_name(reply, server, cli, tmp_path):
    lists(server)
    server.on(LIST, reply)
    lines = tmp_path / "lines.jsonl"
    cases = tmp_path / "cases.toml"
    lines.write_text(f'{{"prompt": "Hi"}}\n{line("birch")}\n', encoding="utf-8")
    cases.write_text("[[case]]\nprompt = 'Hi'\nexpect = 'Yes'\n", encoding="utf-8")
    quick = "[timeouts]\nhealth_s = 0.2\n"
    cli.configure(f'{quick}[profiles.p]\nmodel = "elm"\n[profiles.q]\n')

    assert cli("ask", "-m", "alder", "Hi").stdout == "Yes\n"
    assert cli("ask", "Hi", LMCHAT_MODEL="alder").stdout == "Yes\n"
    assert cli("ask", "--profile", "p", "Hi").stdout == "Yes\n"
    assert told(server) == ["alder", "alder", "elm"]
    if reply not in (WITHOUT_LIST[0], WITHOUT_LIST[-1]):
        return  # the other ways read the same list
    rows = cli("batch", "-m", "alder", str(lines)).stdout.splitlines()
    assert [json.loads(row)["reply"] for row in rows] == ["Yes", "Yes"]
    assert cli("batch", str(lines), LMCHAT_MODEL="alder").returncode == 0
    assert "birch" in told(server)
    for words in (
        ("eval", "-m", "alder", str(cases)),
        ("compare", "-m", "alder", "-m", "birch", "Hi"),
    ):
        done = cli(*words)
        assert done.returncode == 0, done.stderr
    done = cli("--plain", stdin="/model oak\nHi\n/profile p\nHi\n")
    assert told(server)[-2:] == ["oak", "elm"], done.stderr
    with SyncClient(server.url) as client:
        assert client.chat("Hi", model="alder").text == "Yes"


@pytest.mark.leaf("serve")
def test_serve_passes_on_a_name_to_a_named_server_that_lists_none(server, tmp_path):
    lists(server)
    with serving(tmp_path, url=server.url) as service:
        assert service.chat(model="ash", stream=True).status_code == 200
    lists(server, "alder")
    with serving(tmp_path, url=server.url) as service:
        assert service.chat(model="ash", stream=True).json()["error"]["code"] == "model_not_found"
    assert told(server) == ["ash"]


def test_without_a_name_the_error_says_that_one_may_work(server, cli):
    for reply, kind, words in (
        (WITHOUT_LIST[0], "is not a model server.", "name a model with -m MODEL."),
        (WITHOUT_LIST[-1], "No LM Studio model selected: the server lists no model.", "-m MODEL"),
    ):
        server.on(LIST, reply)
        said = cli("ask", "Hi").stderr
        assert kind in said
        assert words in said
    assert not server.seen(CHAT)


def test_the_chat_decides_about_a_name_that_a_named_server_does_not_list(server, cli):
    lists(server, "alder")
    assert cli("ask", "-m", "oak", "Hi").stdout == "Yes\n"
    server.on(CHAT, error_reply(404, "The model `oak` does not exist."))
    done = cli("ask", "-m", "oak", "Hi")
    assert done.returncode == 1
    assert "The model `oak` does not exist." in done.stderr
    assert told(server) == ["oak", "oak"]


def test_a_model_that_refuses_to_chat_is_named_and_no_other_is_asked(server, cli):
    """In the words of Ollama; without a name, the first one is asked."""
    lists(server, "nomic-v2-moe", "pear")
    server.on(CHAT, error_reply(400, '"nomic-v2-moe" does not support chat'))
    said = cli("ask", "Hi").stderr
    assert '"nomic-v2-moe" does not support chat' in said
    assert "Choose another model with /model or -m" in said
    assert told(server) == ["nomic-v2-moe"]


@pytest.mark.leaf("batch", "plain", "serve")
def test_what_is_sent_is_the_listed_name_that_a_given_one_means(server, cli, tmp_path):
    swap = {"id": "smol", "meta": {"llamaswap": {"aliases": ["smol-alias"]}}}
    rows = [
        dict(swap, object="model", owned_by="llama-swap"),
        {"id": "org/Alder-4B", "object": "model", "owned_by": "llama-swap"},
        {"id": "elm", "object": "model", "owned_by": "llama-swap"},
    ]
    lists(server, *rows)
    lines = tmp_path / "lines.jsonl"
    cases = tmp_path / "cases.toml"
    lines.write_text(line("ALDER-4b"), encoding="utf-8")
    cases.write_text("[[case]]\nprompt = 'Hi'\nexpect = 'Yes'\n", encoding="utf-8")
    for name, sent in (("smol-alias", "smol"), ("alder-4b", "org/Alder-4B")):
        started = len(told(server))
        document = cli.json("ask", "-m", name, "--json", "Hi")
        assert (document["model"], document["asked_model"]) == (sent, None)
        assert cli("eval", "-m", name, str(cases)).returncode == 0
        assert cli("compare", "-m", name, "-m", "elm", "Hi").returncode == 0
        cli("--plain", stdin=f"/model {name}\nHi\n")
        with SyncClient(server.url) as client:
            assert client.chat("Hi", model=name).model == sent
        assert {*told(server)[started:]} == {sent, "elm"}
    cli("batch", str(lines), LMCHAT_MODEL="elm")
    assert told(server)[-1] == "org/Alder-4B"
    with serving(tmp_path, url=server.url) as service:
        assert service.chat(model="smol-alias", stream=True).status_code == 200
        assert told(server)[-1] == "smol"


@pytest.mark.leaf("batch", "plain")
def test_a_name_that_can_mean_several_models_is_not_sent(server, cli, tmp_path):
    lists(server, "org/alder", "pub/Alder", "elm")
    lines = tmp_path / "lines.jsonl"
    lines.write_text(line("alder"), encoding="utf-8")
    question = "No server has a model alder; did you mean org/alder or pub/Alder?"
    assert question in cli("ask", "-m", "alder", "Hi").stderr
    assert question in cli("batch", str(lines), LMCHAT_MODEL="elm").stdout
    assert question in cli("compare", "-m", "alder", "-m", "elm", "Hi").stderr
    assert question in cli("--plain", stdin="/model alder\n").stderr
    with SyncClient(server.url) as client, pytest.raises(WrongUse, match="did you mean"):
        client.chat("Hi", model="alder")
    assert not server.seen(CHAT)


@pytest.mark.leaf("serve")
def test_each_name_is_listed_once(server, cli, tmp_path):
    lists(server, "alder", "alder", "ALDER", "alder", "a b#%/\\c")
    names = ["alder", "ALDER", "a b#%/\\c"]
    assert [row["id"] for row in cli.json("models", "--json")["data"]] == names
    with serving(tmp_path, url=server.url) as service:
        assert [row["id"] for row in service.get("/v1/models").json()["data"]] == names
    cli("ask", "-m", "a b#%/\\c", "Hi")
    assert told(server) == ["a b#%/\\c"]


@pytest.mark.leaf("batch")
def test_the_servers_own_name_of_a_model_changes_nothing(server, cli, tmp_path):
    # as llama-swap v250 and Docker Model Runner 1.2.9 send it, `transformers serve` 5.19, and
    # others
    for served in ("/models/small/model.gguf", "smol-small@main", "model.gguf"):
        lists(server, "smol-small", "smol-big", served=served)
        done = cli("ask", "-m", "smol-small", "--json", "Hi")
        assert "instead" not in done.stderr
        document = json.loads(done.stdout)
        assert (document["model"], document["asked_model"]) == ("smol-small", None)
    lists(server, "smol-small", "org/smol-big", served="smol-big:latest")
    done = cli("ask", "-m", "smol-small", "--json", "Hi")
    assert "smol-big:latest answers instead of smol-small." in done.stderr
    document = json.loads(done.stdout)
    assert (document["model"], document["asked_model"]) == ("smol-big:latest", "smol-small")
    cases = tmp_path / "cases.toml"
    cases.write_text('[[case]]\nname = "a"\nprompt = "Hi"\nregex = "."\n')
    done = cli("eval", str(cases), "-m", "smol-small", "--runs", "3")
    assert "smol-big:latest instead of smol-small " in done.stdout
    value = cli.json("eval", str(cases), "-m", "smol-small", "--json")
    asked = ["-m", "smol-small", "-m", "org/smol-big"]
    assert "smol-big:latest instead of smol-small " in cli("compare", *asked, "Hi").stdout
    compared = cli.json("compare", *asked, "Hi", "--json")["models"]
    for rows in (value["models"], value["cases"], compared[:1]):
        assert [(row["model"], row["asked_model"]) for row in rows] == [
            ("smol-big:latest", "smol-small")
        ]
    assert (compared[1]["model"], "asked_model" in compared[1]) == ("org/smol-big", False)
