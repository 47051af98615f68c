from __future__ import annotations

import json
import re

import pytest

from tests.support.programs import Inside as Cli
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import llama_cpp, plain
from tests.support.scripted_server import AUTHORITY, Hold, ScriptedServer, raw_reply

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


def test_a_server_is_asked_with_its_key_however_long_the_command_takes_that_prints_it(cli, server):
    plain(server, "tiny", key="sk-1")
    command = "sleep 0.5; echo sk-1"
    cli.configure(f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\napi_key_cmd = "{command}"\n')
    assert own(report(cli), cli)["verdict"] == "ok"


@pytest.mark.parametrize("certificate", ["alone", "expired"])
def test_a_certificate_that_is_not_believed_is_told_as_such_with_the_way_out(tmp_path, certificate):
    with ScriptedServer(certificate=certificate) as server:
        cli = Cli(home=tmp_path, url=plain(server, "tiny").url)
        cli.configure(f'ca_file = "{AUTHORITY}"\n')
        value = report(cli, code=1)
        told = own(value, cli)
        assert told["verdict"] == "fault"
        assert told["cause"].startswith(f"The certificate of 127.0.0.1:{server.port} ")
        assert told["cause"].endswith("Nothing was sent.")
        assert told["next_step"]
        asked = cli("ask", "--json", "-m", "tiny", "Hello")
        detail = json.loads(asked.stdout)["detail"]
        assert (asked.returncode, detail["error"], detail["message"]) == (
            1,
            "certificate",
            told["cause"],
        )
        assert server.requests == []


def test_all_is_told_of_a_server_that_is_ready(cli):
    value = report(cli)
    assert row(value, "chat")["verdict"] == "ok"
    assert own(value, cli)["verdict"] == "ok"
    products = {row["name"] for row in rows(value, "server")}
    assert {"LM Studio", "Jan", "llama.cpp", "Ollama", "vLLM", "SGLang", "LiteLLM"} <= products
    groups = list(dict.fromkeys(row["group"] for row in value["checks"]))
    assert groups == [
        *(
            "Servers",
            "API keys",
            "Files",
            "Terminal",
            "Built-in engine",
            "lmchat",
        )
    ]


def test_the_text_has_the_same_rows_and_no_escape_codes_in_a_pipe(cli):
    done = cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(r"^  ok +Chat +A chat would use tiny", done.stdout, re.MULTILINE)
    assert str(cli.home) not in done.stdout


def test_a_key_that_is_rejected_and_one_that_works_are_told_and_never_shown(cli, server):
    server.forget()
    llama_cpp(server, key="sk-right")
    done = cli("doctor", "--json", LMCHAT_API_KEY="sk-wrong")
    assert done.returncode == 1
    assert "rejects the API key" in rows(json.loads(done.stdout), "key")[0]["cause"]
    good = cli("doctor", "--json", LMCHAT_API_KEY="sk-right")
    assert good.returncode == 0
    assert "accepts the API key" in rows(json.loads(good.stdout), "key")[0]["cause"]
    for text in (done.stdout, done.stderr, good.stdout, good.stderr):
        assert "sk-" not in text


def test_the_source_of_a_key_is_told_that_was_stored_for_another_name_of_this_machine(cli, server):
    plain(server, "tiny", key="sk-1")
    credentials = cli.folder / "credentials.toml"
    credentials.parent.mkdir(parents=True, exist_ok=True)
    for key, verb in (("sk-1", "accepts"), ("sk-2", "rejects")):
        credentials.write_text(f'["http://localhost:{server.port}"]\nkey = "{key}"\n')
        credentials.chmod(0o600)
        done = cli("doctor", "--json")
        told, _ = rows(json.loads(done.stdout), "key")
        assert f"{verb} the API key from credentials.toml." in told["cause"]


def test_credentials_that_others_could_read(cli):
    cli.folder.mkdir()
    file = cli.folder / "credentials.toml"
    file.write_text('["http://127.0.0.1:9"]\nkey = "sk-secret"\n')
    file.chmod(0o644)
    done = cli("doctor", "--json")
    found = row(json.loads(done.stdout), "files.credentials")
    assert (found["verdict"], "(mode 644)" in found["cause"]) == ("warning", True)
    assert "sk-secret" not in done.stdout
    assert "http://127.0.0.1:9" in rows(json.loads(done.stdout), "key")[-1]["cause"]


def test_a_broken_configuration_is_a_row_and_all_else_is_looked_at(cli):
    cli.configure("[chat]\ntemprature = 1\n")
    value = report(cli, code=1)
    found = row(value, "config")
    assert ":2" in found["cause"] or "line 2" in found["cause"]
    assert "did you mean temperature?" in found["cause"]
    assert row(value, "chat")["verdict"] == "ok"


@pytest.mark.parametrize("text", ["model = ", 'endpoint = "ftp://x"\n'])
def test_no_configuration_keeps_the_doctor_from_its_report(cli, text):
    cli.url = ""
    cli.configure(text)
    done = cli("doctor", "--json")
    assert done.returncode == 1
    assert "fault" in {row["verdict"] for row in json.loads(done.stdout)["checks"]}
    assert done.stderr == ""


def test_the_last_error_of_the_log_is_named(cli):
    cli.folder.mkdir()
    lines = [
        {"time": "2020-01-01T00:00:00.000+00:00", "message": "unexpected error, id 0badf00d"},
        {"time": "2020-01-02T00:00:00.000+00:00", "message": "unexpected error, id 1234abcd"},
        {"time": "2020-01-03T00:00:00.000+00:00", "message": "all is well"},
    ]
    text = "\n".join(map(json.dumps, lines))
    (cli.folder / "lmchat.log").write_text(text + '\nunexpected error {"cut\n\x00\xff')
    found = row(report(cli), "lmchat.log")
    assert "1234abcd" in found["cause"]
    assert found["verdict"] == "ok"


def test_a_file_in_place_of_the_folder_is_a_row_and_every_check_still_runs(cli):
    (cli.home / "file").write_text("")
    done = cli("doctor", LMCHAT_HOME=str(cli.home / "file"))
    assert "should be a folder." in done.stdout
    assert "next: Set LMCHAT_HOME to a folder" in done.stdout
    assert "The check itself failed" not in done.stdout


def test_on_a_terminal_words_have_colours_and_rows_fit(cli):
    with PtyProgram(
        cli.argv("doctor"), home=cli.home, size=(90, 50), env={"TERM": "xterm-256color"}
    ) as program:
        assert program.wait_exit() == 0
        raw = program.raw.decode()
    assert "\x1b[32mok\x1b[0m" in raw
    plain_text = re.sub(r"\x1b\[[0-9]*m", "", raw)
    assert max(len(line) for line in plain_text.splitlines()) <= 90
    assert "90 × 50." in plain_text


@pytest.mark.parametrize("env", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}], ids=str)
def test_where_no_colours_are_wanted_there_are_none(cli, env):
    with PtyProgram(cli.argv("doctor"), home=cli.home, size=(90, 50), env=env) as program:
        program.wait_exit()
        assert b"\x1b" not in program.raw


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


def test_an_address_that_is_none_is_a_row(tmp_path):
    done = Cli(home=tmp_path)("doctor", LMCHAT_ENDPOINT="http://127.0.0.1:sk-SECRET")
    assert "The address in --endpoint, LMCHAT_ENDPOINT or endpoint cannot be used" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr
