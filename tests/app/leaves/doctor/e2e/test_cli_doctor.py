from __future__ import annotations

import json
import os
import re

import pytest

from lmchat.app.leaves.doctor import checks
from lmchat.app.leaves.doctor.finding import Finding
from lmchat.base.errors import StoreUnavailable
from tests.support.programs import ROOT, Inside, put_script
from tests.support.programs import Cli as Outside
from tests.support.scripted_products import plain
from tests.support.scripted_server import Hold, ScriptedServer, raw_reply

Cli = Inside
_LIMIT_S = 15.0  # what a loaded machine may take for what lasts 6 s at most


def report(cli: Cli, code: int = 0) -> dict:
    """The document, whatever was found in it."""
    value = cli.json("doctor", "--json", code=code)
    assert value["healthy"] is (code == 0)
    return value


def rows(value: dict, check: str) -> list[dict]:
    return [row for row in value["checks"] if row["check"] == check]


def row(value: dict, check: str) -> dict:
    [found] = rows(value, check)
    return found


def own(value: dict, cli: Cli) -> dict:
    """The row of the server that was named."""
    address = f"{cli.url.removeprefix('http://')} "
    [found] = [row for row in rows(value, "server") if address in row["cause"]]
    return found


def test_all_is_told_of_a_server_that_is_ready(cli):
    value = report(cli)
    assert row(value, "chat")["verdict"] == "ok"
    assert own(value, cli)["verdict"] == "ok"
    products = {row["name"] for row in rows(value, "server")}
    assert {"LM Studio", "Jan", "llama.cpp", "Ollama", "vLLM", "SGLang", "LiteLLM"} <= products
    groups = list(dict.fromkeys(row["group"] for row in value["checks"]))
    assert groups == ["Servers", "API keys", "Files", "Terminal", "Built-in engine", "lmchat"]
    done = cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(r"^  ok +Chat +A chat would use tiny", done.stdout, re.MULTILINE)


def test_a_key_is_told_with_its_source_and_whether_it_works_and_never_shown(cli, server):
    server.forget()
    plain(server, "tiny", key="sk-right")
    for key, code, verb in (("sk-wrong", 1, "rejects"), ("sk-right", 0, "accepts")):
        done = cli("doctor", "--json", LMCHAT_API_KEY=key)
        assert done.returncode == code
        assert f"{verb} the API key" in rows(json.loads(done.stdout), "key")[0]["cause"]
        assert "sk-right" not in done.stdout + done.stderr
        assert "sk-wrong" not in done.stdout + done.stderr
    # stored for another name of this machine
    cli.folder.mkdir(exist_ok=True)
    file = cli.folder / "credentials.toml"
    file.write_text(f'["http://localhost:{server.port}"]\nkey = "sk-right"\n')
    done = cli("doctor", "--json")
    value = json.loads(done.stdout)
    assert "accepts the API key from credentials.toml." in rows(value, "key")[0]["cause"]
    assert f"http://localhost:{server.port}" in rows(value, "key")[-1]["cause"]
    assert "sk-right" not in done.stdout


def test_a_key_is_waited_for_that_a_command_prints(cli, server):
    plain(server, "tiny", key="sk-right")
    command = "sleep 0.5; echo sk-right"
    cli.configure(f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\napi_key_cmd = "{command}"\n')
    assert own(report(cli), cli)["verdict"] == "ok"


def test_no_server_of_the_configuration_takes_the_place_of_the_one_that_was_named(cli, server):
    cli.configure(f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\n')
    cli.url = "http://127.0.0.1:9"
    value = report(cli, code=1)
    assert row(value, "chat")["cause"] == "The server you named cannot be used."
    assert any("tiny" in found["cause"] for found in rows(value, "server"))


def test_a_broken_configuration_is_a_row_and_all_else_is_looked_at(cli):
    cli.configure("[chat]\ntemprature = 1\n")
    value = report(cli, code=1)
    found = row(value, "config")
    assert "line 2" in found["cause"]
    assert "did you mean temperature?" in found["cause"]
    chat = row(value, "chat")
    assert (chat["verdict"], chat["next_step"]) == ("fault", "Correct it: lmchat config check")
    assert chat["cause"] == "No chat starts while the configuration has a problem."
    assert any("tiny" in found["cause"] for found in rows(value, "server"))


def test_a_row_has_the_same_name_for_scripts_if_its_check_fails(cli, monkeypatch):
    def fail(*_: object) -> list[Finding]:
        raise StoreUnavailable("The disk is away.")

    good = {row["check"] for row in report(cli)["checks"]}
    for name in ("config", "folder", "store", "locale", "engine", "version"):
        monkeypatch.setattr(checks, f"{name}_findings", fail)
    failed = {
        row["check"] for row in report(cli, code=1)["checks"] if row["cause"] == "The disk is away."
    }
    # on Windows, the locale has a row only if its check fails
    assert len(failed) == 6
    assert failed <= good | {"terminal.locale"}


def test_it_can_be_interrupted_and_then_says_nothing_more(tmp_path):
    with ScriptedServer() as server:
        server.on("GET /v1/models", raw_reply(Hold()))
        cli = Cli(home=tmp_path, url=server.url)
        process = cli.start("doctor")
        server.wait_for()
        process.send_signal(2)
        out, _ = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130
    assert out == b""


def test_nothing_of_the_screen_is_imported_for_it(cli):
    done = cli("doctor", "--json", PYTHONPROFILEIMPORTTIME="1")
    assert "lmchat.app.leaves.doctor.report" in done.stderr
    assert "textual" not in done.stderr


@pytest.mark.posix
def test_it_starts_no_program_of_the_folder_it_is_run_in(tmp_path):
    folder = tmp_path / "clone"
    for name in ("uname", "file", "ver", "gcc", "ldconfig"):  # Python asks these of a system
        put_script(folder / name, f"echo {name} >> {tmp_path}/started")
    path = os.pathsep.join((".", os.environ["PATH"]))
    cli = Outside(home=tmp_path, cwd=folder, env={"PATH": path, "PYTHONPATH": str(ROOT)})
    cli("doctor")
    assert not (tmp_path / "started").exists()
