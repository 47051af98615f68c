from __future__ import annotations

import json
import re

from tests.support.programs import Inside
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import plain
from tests.support.scripted_server import AUTHORITY, Hold, ScriptedServer, raw_reply

Cli = Inside
_KEYS = ["check", "group", "name", "verdict", "cause", "next_step"]
_VERDICTS = {"ok", "warning", "fault", "absent", "not tried"}
_LIMIT_S = 15.0  # what a loaded machine may take for what lasts 6 s at most


def report(cli: Cli, *words: str, code: int = 0, **env: str) -> dict:
    """The document, whatever was found in it."""
    done = cli("doctor", "--json", *words, **env)
    assert done.returncode == code, done
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert value["healthy"] is (code == 0)
    assert all(list(row) == _KEYS for row in value["checks"])
    assert {row["verdict"] for row in value["checks"]} <= _VERDICTS
    assert all(row["next_step"] for row in value["checks"] if row["verdict"] == "fault")
    return value


def rows(value: dict, check: str) -> list[dict]:
    return [row for row in value["checks"] if row["check"] == check]


def row(value: dict, check: str) -> dict:
    [found] = rows(value, check)
    return found


def own(value: dict, cli: Cli) -> dict:
    """The row of the server that was named."""
    address = f"{cli.url.removeprefix('http://').removeprefix('https://')} "
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
    assert str(cli.home) not in done.stdout


def test_a_certificate_that_is_not_believed_is_told_as_such_with_the_way_out(tmp_path):
    with ScriptedServer(certificate="alone") as server:
        cli = Cli(home=tmp_path, url=plain(server, "tiny").url)
        cli.configure(f'ca_file = "{AUTHORITY}"\n')
        told = own(report(cli, code=1), cli)
        assert told["verdict"] == "fault"
        assert told["cause"].startswith(f"The certificate of 127.0.0.1:{server.port} ")
        assert told["cause"].endswith("Nothing was sent.")
        assert told["next_step"]
        detail = cli.json("ask", "--json", "-m", "tiny", "Hello", code=1)["detail"]
        assert (detail["error"], detail["message"]) == ("certificate", told["cause"])
        assert server.requests == []


def test_a_key_is_told_with_its_source_and_whether_it_works_and_never_shown(cli, server):
    server.forget()
    plain(server, "tiny", key="sk-right")
    for key, code, verb in (("sk-wrong", 1, "rejects"), ("sk-right", 0, "accepts")):
        done = cli("doctor", "--json", LMCHAT_API_KEY=key)
        assert done.returncode == code
        assert f"{verb} the API key" in rows(json.loads(done.stdout), "key")[0]["cause"]
        assert "sk-" not in done.stdout + done.stderr
    # stored for another name of this machine, in a file that others could read
    cli.folder.mkdir(exist_ok=True)
    file = cli.folder / "credentials.toml"
    file.write_text(f'["http://localhost:{server.port}"]\nkey = "sk-right"\n')
    file.chmod(0o644)
    done = cli("doctor", "--json")
    value = json.loads(done.stdout)
    assert "accepts the API key from credentials.toml." in rows(value, "key")[0]["cause"]
    assert f"http://localhost:{server.port}" in rows(value, "key")[-1]["cause"]
    found = row(value, "files.credentials")
    assert (found["verdict"], "(mode 644)" in found["cause"]) == ("warning", True)
    assert "sk-" not in done.stdout
    # printed by a command that takes a while
    file.unlink()
    command = "sleep 0.5; echo sk-right"
    cli.configure(f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\napi_key_cmd = "{command}"\n')
    assert own(report(cli), cli)["verdict"] == "ok"


def test_a_broken_configuration_is_a_row_and_all_else_is_looked_at(cli):
    cli.configure("[chat]\ntemprature = 1\n")
    lines = [
        {"time": "2020-01-01T00:00:00.000+00:00", "message": "unexpected error, id 0badf00d"},
        {"time": "2020-01-02T00:00:00.000+00:00", "message": "unexpected error, id 1234abcd"},
        {"time": "2020-01-03T00:00:00.000+00:00", "message": "all is well"},
    ]
    text = "\n".join(map(json.dumps, lines))
    (cli.folder / "lmchat.log").write_text(text + '\nunexpected error {"cut\n\x00\xff')
    value = report(cli, code=1)
    found = row(value, "config")
    assert "line 2" in found["cause"]
    assert "did you mean temperature?" in found["cause"]
    assert row(value, "chat")["verdict"] == "ok"
    found = row(value, "lmchat.log")
    assert (found["verdict"], "1234abcd" in found["cause"]) == ("ok", True)
    cli.url = ""
    for text in ("model = ", 'endpoint = "ftp://x"\n'):
        cli.configure(text)
        assert "fault" in {row["verdict"] for row in report(cli, code=1)["checks"]}


def test_a_folder_or_address_that_is_none_is_a_row_and_every_check_still_runs(tmp_path):
    (tmp_path / "file").write_text("")
    done = Cli(home=tmp_path)(
        "doctor",
        LMCHAT_HOME=str(tmp_path / "file"),
        LMCHAT_ENDPOINT="http://127.0.0.1:sk-SECRET",
    )
    assert "should be a folder." in done.stdout
    assert "next: Set LMCHAT_HOME to a folder" in done.stdout
    assert "The address in --endpoint, LMCHAT_ENDPOINT or endpoint cannot be used" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr
    assert "The check itself failed" not in done.stdout


def test_on_a_terminal_words_have_colours_unless_none_are_wanted_and_rows_fit(cli):
    for env, is_coloured in (({"TERM": "xterm-256color"}, True), ({"NO_COLOR": "1"}, False)):
        with PtyProgram(cli.argv("doctor"), home=cli.home, size=(90, 50), env=env) as program:
            assert program.wait_exit() == 0
            raw = program.raw.decode()
        assert ("\x1b[32mok\x1b[0m" in raw) is is_coloured
        text = re.sub(r"\x1b\[[0-9]*m", "", raw) if is_coloured else raw
        assert "\x1b" not in text
        assert max(len(line) for line in text.splitlines()) <= 90
        assert "90 × 50." in text


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
    assert "lmchat.services.examination" in done.stderr
    assert "textual" not in done.stderr
