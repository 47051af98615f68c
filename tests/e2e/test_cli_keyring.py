from __future__ import annotations

import json
import os

import pytest

from tests.support.lmchat_screen import ready_screen
from tests.support.programs import PYTHON, run
from tests.support.pty_program import ROOT
from tests.support.scripted_products import model_list, plain

KEY = "sk-of-the-keyring-0123456789"


@pytest.fixture
def with_ring(cli):
    """The command line with the real library, whose keyring is locked."""
    cli.env |= {"PYTHON_KEYRING_BACKEND": "tests.support.faults.Ring", "PYTHONPATH": str(ROOT)}
    return cli


def test_the_key_of_a_named_server_comes_out_of_the_keyring(with_ring, server):
    plain(server, "tiny", key=KEY)
    with_ring.env["KEYRING_OF_TESTS"] = json.dumps({server.url: KEY})
    assert with_ring.json("ask", "--json", "Hello?")["reply"]
    report = with_ring("doctor", "--json").stdout
    assert "test ring" in report
    assert KEY not in report


def test_a_keyring_that_waits_for_its_user_keeps_nobody_waiting(with_ring, tmp_path, server):
    assert with_ring.json("health")["healthy"]
    assert "does not answer" in with_ring("doctor").stdout
    with ready_screen(tmp_path, server.url, env=with_ring.env) as screen:
        screen.type("\x11")
        assert screen.wait_exit() == 0


STARTS = """
import os, sys

def watch(event, arguments):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system", "os.fork"):
        with open(os.environ["STARTS"], "a") as file:
            file.write(f"{event} {arguments}\\n")

sys.addaudithook(watch)
"""
"""`sitecustomize` that notes each program which Python starts."""


@pytest.fixture
def watched(cli, tmp_path, monkeypatch):
    """The command line with the real library and no choice of a keyring; `starts` lists started programs."""
    folder = tmp_path / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STARTS)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")  # which the tests set for all programs
    cli.env |= {"PYTHONPATH": f"{folder}:{ROOT}"}
    cli.env |= {"STARTS": str(tmp_path / "starts"), "XDG_CONFIG_HOME": str(tmp_path)}
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gcc", "cc", "ld", "objdump", "ldconfig"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path / 'starts'}\n")
        (programs / name).chmod(0o755)
    cli.env["PATH"] = f"{programs}:{os.environ['PATH']}"
    return cli


def starts(tmp_path):
    file = tmp_path / "starts"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("wants", [None, KEY])
def test_a_question_starts_no_program_for_the_keyring(watched, tmp_path, server, wants):
    plain(server, "tiny", key=wants)
    done = watched("ask", "Hello?")
    assert done.returncode == (1 if wants else 0)
    assert starts(tmp_path) == []


def test_the_doctor_starts_no_program_for_the_keyring(watched, tmp_path):
    assert "No keyring is available" in watched("doctor").stdout
    names = ("gcc", "cc", "ld", "objdump", "ldconfig")
    assert [line for line in starts(tmp_path) if any(f"{name}'" in line for name in names)] == []


def test_the_process_that_reads_keys_for_the_screen_starts_no_program(watched, tmp_path, server):
    program = (
        "import sys; from lmchat.storage.credentials import KeyringKeys; "
        "assert KeyringKeys().load([sys.argv[1]], is_separate=True)"
    )
    done = run([PYTHON, "-c", program, server.url], home=tmp_path, env=watched.env)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = starts(tmp_path)
    assert f"'{PYTHON}'" in line


@pytest.mark.parametrize("place", ["variable", "file"])
def test_the_keyring_that_the_user_has_chosen_is_the_one_that_is_asked(
    watched, tmp_path, server, place
):
    plain(server, "tiny", key=KEY)
    watched.env["KEYRING_OF_TESTS"] = json.dumps({server.url: KEY})
    if place == "variable":
        watched.env["PYTHON_KEYRING_BACKEND"] = "tests.support.faults.Ring"
    else:
        chosen = tmp_path / "python_keyring" / "keyringrc.cfg"
        chosen.parent.mkdir()
        chosen.write_text("[backend]\ndefault-keyring=tests.support.faults.Ring\n")
    assert watched.json("ask", "--json", "Hello?")["reply"]
    assert starts(tmp_path) == []


def note_as_stored(cli):
    """Note that the key of the server is in the keyring."""
    cli.configure("")
    (cli.folder / "credentials.toml").write_text(f'["{cli.url}"]\nkeyring = true\n')


def test_no_keyring_is_asked_for_a_key_that_the_server_does_not_want(with_ring):
    """The keyring is locked: who asks it waits for two seconds, and is told."""
    note_as_stored(with_ring)
    done = with_ring("ask", "Hello?")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_locked_keyring_is_told_where_its_key_is_wanted(with_ring, server):
    plain(server, "tiny", key=KEY)
    note_as_stored(with_ring)
    done = with_ring("ask", "Hello?")
    assert done.returncode == 1
    assert "The system keyring does not answer, so its API key was not sent" in done.stderr


def test_a_server_that_lists_its_models_without_a_key_gets_that_of_the_keyring_with_the_prompt(
    with_ring, server
):
    plain(server, "tiny", key=KEY).on("GET /v1/models", model_list("tiny"))
    with_ring.env["KEYRING_OF_TESTS"] = json.dumps({server.url: KEY})
    assert with_ring.json("ask", "--json", "Hello?")["reply"]
    assert "authorization" not in server.seen("GET /v1/models")[0].headers
