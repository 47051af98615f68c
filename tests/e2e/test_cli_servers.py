from __future__ import annotations

import json
import re
from contextlib import suppress
from subprocess import TimeoutExpired

import pytest

from tests.support import scripted_products as products
from tests.support.programs import Inside
from tests.support.scripted_server import (
    Gate,
    ScriptedServer,
    json_reply,
)

Cli = Inside
_HEALTH = [
    *("healthy", "endpoint", "models", "error"),
    *("status", "llm_available", "model", "model_loaded", "model_state"),
    *("orchestrator_ready", "timestamp"),
]


def test_health_detection_and_models_of_the_real_server(real, real_server):
    value = real.json("health")
    assert list(value) == _HEALTH
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value["timestamp"])
    assert (value["healthy"], value["model_state"]) == (True, "loaded")
    assert (value["endpoint"], value["model"]) == (real_server.url, real_server.models[0])
    value = real.json("health", "-m", "absent-7b", code=2)
    assert (list(value), value["error"]) == (_HEALTH, "No server has a model absent-7b.")
    value = real.json("detect", "--json")
    first, *others = value.pop("candidates")
    assert value.pop("latency_ms") == first.pop("latency_ms") > 0
    assert value == {
        "endpoint": real_server.url,
        "detected": True,
        "product": "llama.cpp",
        "verdict": "ready",
        "models": [*real_server.models],
    }
    assert (first["url"], others) == (real_server.url, []), "only the named address is tried"
    head, row = real("models").stdout.splitlines()
    assert head.split() == ["STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER"]
    assert row.split()[:5] == ["loaded", real_server.models[0], "135M", "Q4_1", "4k"]
    assert (
        real("models", "load", real_server.models[0]).stdout == f"{real_server.models[0]}: loaded\n"
    )
    value = real.json("models", "--json")
    (row,) = value["data"]
    assert value["object"] == "list"
    assert list(row)[:4] == ["id", "object", "created", "owned_by"]
    assert (row["id"], row["endpoint"]) == (real_server.models[0], real_server.url)


def test_a_gateway_that_answers_its_list_is_ok_without_a_choice_of_a_model(cli, server):
    """All rows of LiteLLM have this time; none of its models is chosen for being the first."""
    server.forget()
    rows = [{"id": name, "created": 1677610602, "owned_by": "openai"} for name in ("a", "b")]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows}))
    server.on("GET /health/liveliness", json_reply("I'm alive!"))
    value = cli.json("health")
    assert (value["status"], value["model"], value["model_loaded"]) == ("ok", None, False)
    value = cli.json("health", "-m", "a")
    assert (value["status"], value["model"], value["model_loaded"]) == ("ok", "a", False)


def test_health_keeps_its_form_where_the_configuration_is_refused(alone):
    alone.configure("nonsense = 1")
    value = alone.json("health", code=2)
    assert list(value) == _HEALTH
    assert "config.toml, line 1: nonsense: unknown" in value["error"]
    assert value["orchestrator_ready"] is False


def test_a_server_is_found_where_its_variable_or_its_settings_say_or_where_it_was_used_last(
    alone, server
):
    alone.url = ""
    moved = alone.home / "moved"
    (alone.home / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    settings = moved / "apps/bionic/.internal/http-server-config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"port": server.port}))
    with products.ollama(ScriptedServer(), loaded=("llama3.2:3b",)) as ollama:
        alone.env["OLLAMA_HOST"] = f"localhost:{ollama.port}"
        found = {row["url"]: row for row in alone.json("detect")["candidates"]}
    assert (found[ollama.url]["product"], found[ollama.url]["verdict"]) == ("Ollama", "ready")
    assert found[server.url]["verdict"] == "ready"
    settings.unlink()
    alone.folder.mkdir(exist_ok=True)
    (alone.folder / "state.toml").write_text(
        f'recent = [{{ endpoint = "{server.url}", model = "m" }}]\n'
    )
    value = alone.json("detect")
    assert value["endpoint"] == server.url
    places = {row["url"].rpartition(":")[2] for row in value["candidates"]}
    assert {"1234", "1337", "11434", "8000", "30000", "4000", str(server.port)} <= places
    (alone.folder / "state.toml").write_text('endpoint = "http://192.0.2.2:9663"\n')
    notice = "192.0.2.2:9663, used last, is not allowed in this run: --allow-host 192.0.2.2, or"
    assert notice in alone("models").stderr


def test_detection_of_a_named_address_speaks_of_that_address_alone(alone, server):
    found = alone.json("detect", "--endpoint", server.url)
    assert (found["endpoint"], len(found["candidates"])) == (server.url, 1)
    refused = alone.json("detect", "--endpoint", "http://models.example", code=2)
    assert (refused["detected"], refused["candidates"]) == (False, [])
    assert refused["error"].startswith("Endpoint not allowed: ")


@pytest.mark.router
@pytest.mark.timeout(60)
def test_the_real_router_loads_and_unloads_and_the_next_answer_is_of_the_other_model(
    tmp_path, real_router
):
    cli = Cli(home=tmp_path, url=real_router.url)
    cli.configure("[chat]\nmax_tokens = 64\n")
    plain, thinking = real_router.models

    def states():
        return {row["id"]: row["state"] for row in cli.json("models", "--json")["data"]}

    assert cli("models", "load", plain).stdout == f"{plain}: loaded\n"
    assert states()[plain] == "loaded"
    first = cli.json("ask", "--save", "--json", "-m", plain, "Say hello.")
    assert (first["model"], first["reasoning"]) == (plain, "")
    second = cli.json("ask", "-r", "last", "--json", "-m", thinking, "And again.")
    assert second["model"] == thinking
    assert second["reasoning"]
    assert states()[thinking] == "loaded"
    assert cli.json("models", "unload", thinking[1:].upper(), "--json")["state"] == "not loaded"
    assert states()[thinking] == "not loaded"
    assert cli("models", "unload", thinking).stdout == f"{thinking}: not loaded\n"


def test_everything_has_its_folder_where_no_home_is_set(tmp_path, server):
    folders = {"XDG_CONFIG_HOME": "c", "XDG_CACHE_HOME": "k", "XDG_STATE_HOME": "s"}
    env = {name: str(tmp_path / folder) for name, folder in folders.items()} | {"LMCHAT_HOME": ""}
    cli = Cli(home=tmp_path, url=server.url, env=env)
    paths = json.loads(cli("config", "path", "--json").stdout.replace(f"{tmp_path}/", ""))
    assert paths == paths | {
        "config": "c/lmchat/config.toml",
        "state": "c/lmchat/state.toml",
        "credentials": "c/lmchat/credentials.toml",
        "sessions": "c/lmchat/sessions.db",
        "models": "k/lmchat/models.json",
        "log": "s/lmchat/lmchat.log",
        "tools": "c/lmchat/tools.py",
        "attachments": "c/lmchat/attachments",
    }
    assert list(tmp_path.iterdir()) == []
    cli("ask", "--save", "hi")
    assert (tmp_path / "c/lmchat/sessions.db").exists()
    assert (tmp_path / "k/lmchat/models.json").exists()


def test_only_the_server_that_is_used_has_its_key_command_run(tmp_path, server):
    products.plain(server, "tiny", key="sk-right")
    cli = Cli(home=tmp_path, url=server.url)
    runs = tmp_path / "runs"
    entries = [
        f'[[endpoints]]\nname = "{name}"\nurl = "{url}"\n'
        f'api_key_cmd = "echo {name} >> {runs}; echo sk-right"\n'
        for name, url in (("used", server.url), ("other", "http://127.0.0.1:9"))
    ]
    cli.configure("".join(entries))
    assert cli("ask", "Hi").returncode == 0
    assert runs.read_text() == "used\n"


def test_a_key_command_that_fails_is_the_next_step(tmp_path, server):
    products.plain(server, "tiny", key="sk-right")
    cli = Cli(home=tmp_path)
    cli.configure(f'[[endpoints]]\nname = "used"\nurl = "{server.url}"\napi_key_cmd = "exit 3"\n')
    done = cli("ask", "Hi")
    _, step = done.stderr.splitlines()
    fault = "The api_key_cmd of endpoint 'used' exited with status 3. Run it in a shell to see why."
    assert step == fault

    products.plain(server, "tiny").on(products.CHAT, products.chat_reply("Yes."))
    done = cli("--plain", stdin="one\ntwo")
    assert (done.stdout, done.stderr.count(fault)) == ("Yes.\nYes.\n", 1), "told once in a run"


def test_a_listed_model_that_is_named_by_a_file_goes_before_the_file(tmp_path, server):
    """llama-cpp-python names its model by the path of the file, which is on this machine."""
    file = tmp_path / "alder.gguf"
    file.write_bytes(b"GGUF")
    products.plain(server, str(file))
    cli = Cli(home=tmp_path)
    cli.configure(f'[[endpoints]]\nname = "mine"\nurl = "{server.url}"\n')
    for words, prompt in (
        (("ask", "-m", str(file), "Hello"), ""),
        (("--plain", "-m", str(file)), "Hello"),
    ):
        done = cli(*words, stdin=prompt)
        assert (done.stdout, done.returncode) == ("".join(products.ANSWER) + "\n", 0), done
        assert server.seen(products.CHAT)[-1].json["model"] == str(file)
    other = file.with_name("birch.gguf")
    other.write_bytes(b"GGUF")
    assert cli("ask", "-m", str(other), "Hello").stderr.startswith("lmchat: The built-in engine")


def test_two_commands_that_load_a_model_at_once_load_it_once(tmp_path, server):
    gate = Gate()
    products.lm_studio(server, loaded=[], loading=gate)
    cli = Cli(home=tmp_path, url=server.url)
    first = cli.start("models", "load", "qwen3-8b")
    assert gate.reached.wait(30)
    second = cli.start("models", "load", "qwen3-8b")
    told = b""
    while b"Loading qwen3-8b" not in told:  # it has read the list, without the model
        told += second.stderr.read1()
    with suppress(TimeoutExpired):  # it would ask within this time, and wait at the gate, too
        second.wait(2)
    assert len(server.seen("POST /api/v1/models/load")) == 1
    gate.open()
    for process in (first, second):
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, b"qwen3-8b: loaded\n")
    assert len(server.seen("POST /api/v1/models/load")) == 1
