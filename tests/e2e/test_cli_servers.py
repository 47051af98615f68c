from __future__ import annotations

import json
import re
import threading

import pytest

from tests.support import scripted_products as products
from tests.support.programs import Inside, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_server import Hold, ScriptedServer, html_reply, json_reply, raw_reply

Cli = Inside
_HEALTH = [
    *("healthy", "endpoint", "models", "error"),
    *("status", "llm_available", "model", "model_loaded", "model_state"),
    *("orchestrator_ready", "timestamp"),
]


def test_health_detection_and_models_of_the_real_server(real, real_server):
    value = real.json("health")
    assert list(value) == _HEALTH
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value.pop("timestamp"))
    assert value == {
        "healthy": True,
        "endpoint": real_server.url,
        "models": 1,
        "error": None,
        "status": "ok",
        "llm_available": True,
        "model": real_server.models[0],
        "model_loaded": True,
        "model_state": "loaded",
        "orchestrator_ready": True,
    }
    value = real.json("detect", "--json")
    assert (value["endpoint"], value["detected"]) == (real_server.url, True)
    assert (value["product"], value["verdict"]) == ("llama.cpp", "ready")
    known = ["url", "product", "verdict", "latency_ms", "next_step", "detail"]
    assert all(list(candidate) == known for candidate in value["candidates"])
    first = value["candidates"][0]
    assert (first["url"], first["next_step"], first["detail"]) == (real_server.url, None, None)
    ports = {candidate["url"].rpartition(":")[2] for candidate in value["candidates"]}
    assert {"1234", "1337", "9931", "11434", "8000", "30000", "4000"} <= ports
    head, row = real("models").stdout.splitlines()
    assert head.split() == ["STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER"]
    assert row.split()[:5] == ["loaded", real_server.models[0], "135M", "Q4_1", "4k"]
    value = real.json("models", "--json")
    (row,) = value["data"]
    assert (value["object"], row["object"]) == ("list", "model")
    assert list(row)[:4] == ["id", "object", "created", "owned_by"]
    assert (row["id"], row["state"]) == (real_server.models[0], "loaded")
    assert row["endpoint"] == real_server.url


def test_health_of_what_is_no_usable_server_keeps_its_form_and_says_what_it_is(cli, server, alone):
    server.forget()
    for reply, reason in (
        (html_reply(), "is not a model server: a web page."),
        (html_reply(status=502), ": server error: 502 Bad Gateway."),
        (json_reply({"error": {"message": "No key"}}, status=401), " needs an API key."),
        (raw_reply(b"SSH-2.0-OpenSSH_9\r\n"), "is not a model server: unknown reply."),
    ):
        server.on("GET /v1/models", reply)
        assert cli.json("health", code=1)["error"].endswith(reason)
    server.forget()
    server.unknown = raw_reply(Hold())
    cli.configure("[timeouts]\nhealth_s = 0.2\n")
    assert cli.json("health", code=1)["error"].endswith("does not answer in time.")

    value = alone.json("health", "--json", code=1)
    assert list(value) == _HEALTH
    assert (value["healthy"], value["models"]) == (False, 0)
    assert value["endpoint"] == "http://127.0.0.1:1"
    assert (value["status"], value["llm_available"], value["model"]) == ("error", False, None)
    assert value["error"] == "Nothing answers at 127.0.0.1:1."
    value = alone.json("health", "--endpoint", "http://example.com", code=2)
    assert list(value) == _HEALTH
    assert value["error"].startswith("Endpoint not allowed: Endpoint must be localhost")
    alone.configure("nonsense = 1")
    value = alone.json("health", code=2)
    assert value["error"].endswith("config.toml, line 1: nonsense is unknown")
    assert value["orchestrator_ready"] is False


def test_a_server_is_found_where_its_variable_says_or_where_it_was_used_last(alone, server):
    with products.ollama(ScriptedServer(), loaded=("llama3.2:3b",)) as ollama:
        alone.env["OLLAMA_HOST"] = f"127.0.0.1:{ollama.port}"
        found = {row["url"]: row for row in alone.json("detect")["candidates"]}
    assert (found[ollama.url]["product"], found[ollama.url]["verdict"]) == ("Ollama", "ready")
    alone.url = ""
    alone.folder.mkdir(exist_ok=True)
    (alone.folder / "state.toml").write_text(
        f'recent = [{{ endpoint = "{server.url}", model = "m" }}]\n'
    )
    assert server.url in alone("doctor").stdout
    assert alone.json("detect")["endpoint"] == server.url
    assert alone("ask", "Hi").returncode == 0


def test_detect_says_of_each_place_what_helps_and_what_it_heard(alone, server):
    server.forget()
    server.on("GET /v1/models", json_reply({"error": {"message": "No key"}}, status=401))
    alone.configure(f'[[endpoints]]\nname = "mine"\nurl = "{server.url}"\n')
    mine, *others = alone.json("detect")["candidates"]
    assert (mine["verdict"], mine["next_step"]) == ("needs key", "Enter the server's API key")
    assert mine["detail"] == "The server says: No key"
    assert all(candidate["next_step"] for candidate in others if candidate["verdict"] == "refused")


def test_a_sleeping_model_is_told_as_such_by_every_command_and_loaded_by_ask(cli, server):
    server.forget()
    products.llama_cpp(server)
    server.on("GET /props", json_reply({"is_sleeping": True}, headers=products.LLAMA))
    _, row = cli("models").stdout.splitlines()
    assert row.split()[:2] == ["asleep", "tiny.gguf"]
    assert cli.json("models", "--json")["data"][0]["state"] == "asleep"
    health = cli.json("health")
    told = ("healthy", "status", "model", "model_loaded", "model_state")
    assert [health[name] for name in told] == [True, "degraded", "tiny.gguf", False, "asleep"]
    checks = cli.json("doctor", "--json")["checks"]
    (found,) = [
        row for row in checks if row["check"] == "server" and f"{server.url} " in row["cause"]
    ]
    assert (found["verdict"], found["cause"].endswith("; tiny.gguf is asleep.")) == ("ok", True)
    asked = {request.path for request in server.seen()}
    assert asked <= {"/v1/models", "/props", "/health", "/v1/streams/lookup"}  # none wakes it
    done = cli("ask", "Hello")
    assert (done.stdout, done.returncode) == ("Hello there.\n", 0)
    assert "loading" in done.stderr.lower()


def test_a_decision_model_is_listed_last_and_refused_where_it_is_named(cli, server):
    server.forget()
    products.llama_cpp(server)
    rows = [
        {"id": name, "owned_by": "llamacpp", "architecture": {"output_modalities": [gives]}}
        for name, gives in (("judge", "decisions"), ("talker", "text"))
    ]
    server.on("GET /v1/models", json_reply({"data": rows}, headers=products.LLAMA))
    listed = cli.json("models", "--json")["data"]
    assert [(row["id"], row["type"]) for row in listed] == [
        ("talker", "llm"),
        ("judge", "decision"),
    ]
    table = [row.split() for row in cli("models").stdout.splitlines()[1:]]
    assert [row[1] for row in table] == ["talker", "judge"]
    assert "decision" in table[1]
    assert json.loads(cli("ask", "--json", "Hi").stdout)["reply"]
    assert server.seen(products.CHAT)[-1].json["model"] == "talker"
    for command in (("ask", "-m", "judge", "Hi"), ("compare", "-m", "talker", "-m", "judge", "Hi")):
        done = cli(*command)
        assert (done.returncode, "judge makes decisions and cannot chat" in done.stderr) == (
            2,
            True,
        )
    assert len(server.seen(products.CHAT)) == 1


def test_a_model_that_there_is_not_is_told_with_what_may_be_meant(cli):
    done = cli("models", "load", "tinny")
    words = "lmchat: No server has a model tinny; did you mean tiny?\n`lmchat models` lists the models.\n"
    assert (done.returncode, done.stderr) == (2, words)
    detail = cli.json("models", "load", "tiny", "--json", code=1)["detail"]
    assert set(detail) == {"error", "message", "timestamp"}


def loading_router(server, gate, *shares: float):
    """A router that is loading its one model until the gate opens."""
    products.router(server, large="unloaded")
    progress = [
        {"stages": ["text_model"], "current": "text_model", "value": share} for share in shares
    ]
    events = [
        f"data: {json.dumps({'model': 'large', 'data': {'progress': line}})}\n\n".encode()
        for line in progress
    ]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server.on("GET /models/sse", raw_reply(head, *events, Hold()))
    rows = products.router_rows(large="loading"), products.router_rows(large="loaded")
    server.on("POST /models/load", json_reply({"success": True}))
    server.on("GET /v1/models", lambda _: rows[gate.is_set()])


def is_watched(server) -> bool:
    asked = [f"{request.method} {request.path}" for request in server.seen()]
    return (
        "POST /models/load" in asked
        and "GET /v1/models" in asked[asked.index("POST /models/load") :]
    )


def test_loading_is_drawn_at_a_terminal_and_stopped_at_the_router_if_it_is_given_up(cli, server):
    gate = threading.Event()
    loading_router(server, gate, 0.25, 0.4)
    with PtyProgram(cli.argv("models", "load", "large"), home=cli.home) as program:
        program.wait_for("40%")
        wait_until(lambda: is_watched(server), "the router has taken it")
        program.type("\x03")
        assert program.wait_exit() == 130
    assert [request.json for request in server.seen("POST /models/unload")] == [{"model": "large"}]
    gate.set()  # into a pipe it is said once
    done = cli("models", "load", "large")
    assert (done.stdout, done.stderr) == ("large: loaded\n", "Loading large …\n")
    done = cli("models", "load", "large", "--json")
    assert (json.loads(done.stdout)["state"], done.stderr) == ("loaded", "")


@pytest.mark.router
@pytest.mark.timeout(60)
def test_the_real_router_loads_and_unloads_and_the_next_answer_is_of_the_other_model(
    tmp_path, real_router
):
    cli = Cli(home=tmp_path, url=real_router.url)
    cli.configure("[chat]\nmax_tokens = 64\n")
    plain, thinking = real_router.models

    def states():
        return {
            row["id"]: row["state"] for row in cli.json("models", "--json", "--refresh")["data"]
        }

    assert cli("models", "load", plain).stdout == f"{plain}: loaded\n"
    assert states()[plain] == "loaded"
    first = cli.json("ask", "--save", "--json", "-m", plain, "Say hello.")
    assert (first["model"], first["reasoning"]) == (plain, "")
    second = cli.json("ask", "-r", "last", "--json", "-m", thinking, "And again.")
    assert second["model"] == thinking
    assert second["reasoning"]
    assert states()[thinking] == "loaded"
    assert cli.json("models", "unload", thinking, "--json")["state"] == "not loaded"
    assert states()[thinking] == "not loaded"


def test_metrics_add_up_over_runs_and_can_be_reset(cli, server):
    names = [
        *("totalRequests", "successfulRequests", "failedRequests", "averageResponseTime"),
        *("cacheHits", "cacheMisses", "stoppedRequests", "retries", "refusedRequests"),
    ]
    assert list(cli.json("metrics")) == names
    cli("ask", "one")
    cli("ask", "two")
    server.on("POST /v1/chat/completions", json_reply({"error": {"message": "boom"}}, status=500))
    cli("ask", "three")
    value = cli.json("metrics", "--json")
    assert [value[name] for name in names[:3]] == [3, 2, 1]
    assert value["averageResponseTime"] > 0
    assert cli.json("metrics", "reset") == {"message": "Metrics reset successfully"}
    assert not any(cli.json("metrics").values())


def test_everything_has_its_folder_where_no_home_is_set(tmp_path, server):
    folders = {"XDG_CONFIG_HOME": "c", "XDG_CACHE_HOME": "k", "XDG_STATE_HOME": "s"}
    env = {name: str(tmp_path / folder) for name, folder in folders.items()} | {"LMCHAT_HOME": ""}
    cli = Cli(home=tmp_path, url=server.url, env=env)
    paths = json.loads(cli("config", "path", "--json").stdout)
    assert {name: path.removeprefix(f"{tmp_path}/") for name, path in paths.items()} == {
        "config": "c/lmchat/config.toml",
        "state": "c/lmchat/state.toml",
        "credentials": "c/lmchat/credentials.toml",
        "sessions": "c/lmchat/sessions.db",
        "models": "k/lmchat/models.json",
        "log": "s/lmchat/lmchat.log",
    }
    assert list(tmp_path.iterdir()) == []
    cli("ask", "--save", "hi")
    assert (tmp_path / "c/lmchat/sessions.db").exists()
    assert (tmp_path / "k/lmchat/models.json").exists()
