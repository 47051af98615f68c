"""`lmchat models pull` and `lmchat models rm`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import scripted_products as products
from tests.support.programs import Inside
from tests.support.scripted_server import ScriptedServer, body_reply, json_reply, sse

Cli = Inside
NAME = "llama3.2:3b"
DELETE = "DELETE /api/delete"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        products.ollama(scripted, NAME)
        scripted.on(DELETE, body_reply(b""))
        yield scripted


def test_a_model_is_downloaded_and_printed(cli, server):
    rows = [b'{"status":"pulling b179","total":9,"completed":9}\n', b'{"status":"success"}\n']
    server.on("POST /api/pull", sse(*rows, content_type="application/x-ndjson"))
    done = cli("models", "pull", NAME)
    assert (done.returncode, done.stdout) == (0, f"{NAME}: downloaded\n")
    assert done.stderr == f"Ollama at {server.url} downloads {NAME} …\n"
    assert cli.json("models", "pull", NAME, "--json")["size_bytes"] == 2_019_393_189
    assert [one.json for one in server.seen("POST /api/pull")] == [{"model": NAME}] * 2


def test_a_failure_is_one_sentence_with_the_way_out(cli, server):
    server.on("POST /api/pull", json_reply({"error": "invalid model name"}, status=400))
    failed = cli("models", "pull", "a b", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["detail"]["error"] == "fetch"
    assert "ollama.com/search" in failed.stderr


def test_nothing_is_deleted_without_a_yes_which_names_model_and_size(cli, server):
    kept = cli("models", "rm", NAME)
    assert kept.returncode == 2
    assert f"Deleting {NAME} (2.0 GB, on Ollama at {server.url}) cannot be undone." in kept.stderr
    assert "Confirm with --yes." in kept.stderr
    assert cli("models", "rm", "llama3", "--yes").returncode == 2, "a part of a name is no name"
    assert server.seen(DELETE) == []
    assert cli("models", "rm", NAME, "--yes").stdout == f"{NAME}: deleted\n"
    assert [one.json for one in server.seen(DELETE)] == [{"model": NAME}]


def test_what_a_server_cannot_do_is_neither_announced_nor_asked_about(tmp_path):
    with ScriptedServer() as server:
        cli = Inside(home=tmp_path, url=server.url)
        for script, verb, act in (
            (products.plain, "pull", "download"),
            (products.plain, "load", "load"),
            (products.plain, "rm", "delete"),
            (products.llama_cpp, "pull", "download"),
            (products.llama_cpp, "rm", "delete"),
        ):
            script(server)
            failed = cli("models", verb, cli.json("models", "--json")["data"][0]["id"])
            sentence, step = failed.stderr.splitlines()
            assert sentence.endswith(f" cannot {act} models on request.")
            assert (failed.returncode, step[-1]) == (1, ".")


def test_nothing_is_done_at_one_of_two_servers_unless_the_user_names_it(tmp_path, server):
    cli = Inside(home=tmp_path)
    with ScriptedServer() as other:
        products.ollama(other, NAME, "hay:8b").on(DELETE, body_reply(b""))
        cli.configure(
            f'[[endpoints]]\nname = "bert"\nurl = "{server.url}"\n'
            f'[[endpoints]]\nname = "ernie"\nurl = "{other.url}"\n'
        )
        for verb, words in (("rm", ["--yes"]), ("load", []), ("unload", []), ("pull", [])):
            done = cli("models", verb, NAME, *words)
            assert done.returncode == 2, verb
            assert f"at several servers: {server.url}, {other.url}." in done.stderr
            assert f"--endpoint {server.url}" in done.stderr
        changing = ("/api/pull", "/api/delete", "/api/generate")
        seen = [one.path for one in (*server.seen(), *other.seen())]
        assert not set(seen).intersection(changing)
        assert cli("models", "rm", NAME, "--yes", "--endpoint", other.url).returncode == 0
        assert cli("models", "rm", "hay:8b", "--yes").returncode == 0
        assert [one.json["model"] for one in other.seen(DELETE)] == [NAME, "hay:8b"]
        assert server.seen(DELETE) == []
