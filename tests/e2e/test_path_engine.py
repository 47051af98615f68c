"""The built-in engine without its package, where a `llama-server` is on `PATH`."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support import llama_server
from tests.support.engine_home import engines_of, write_model
from tests.support.lmchat_screen import STEADY, configure
from tests.support.programs import Cli, is_running, processes, wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server(tmp_path):
    return llama_server.place_llama_server(tmp_path / "bin")


@pytest.fixture
def local(tmp_path, server):
    configure(tmp_path, STEADY + "[local]\ncontext = 1024\nthreads = 1\n")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Cli(home=tmp_path, env={"PATH": path, "LLAMA_ARG_CTX_SIZE": "5", "HF_TOKEN": "hf-1"})


def servers(program):
    """Return the processes of the program."""
    return processes(llama_server.__file__, program)


def file(local, name):
    return str(write_model(local.home / "models" / f"{name}.gguf"))


def test_it_answers_with_the_settings_of_the_engine_and_is_gone_then(local, server):
    path = file(local, "small")
    done = local("ask", "--local", "-m", path, "What are your settings?")
    assert done.returncode == 0, done
    settings = json.loads(done.stdout)
    port = settings.pop("LLAMA_ARG_PORT")
    key = settings.pop("LLAMA_API_KEY")
    assert (port.isdigit(), len(key) > 20) == (True, True)
    assert settings == {
        "LLAMA_ARG_MODEL": path,
        "LLAMA_ARG_ALIAS": "small",
        "LLAMA_ARG_HOST": "127.0.0.1",
        "LLAMA_ARG_CTX_SIZE": "1024",
        "LLAMA_ARG_THREADS": "1",
        "LLAMA_ARG_N_PARALLEL": "1",
        "LLAMA_ARG_BATCH": "256",
        "LLAMA_ARG_CACHE_RAM": "512",
        "LLAMA_ARG_UI": "0",
    }
    assert not servers(server)
    assert "Installed: lmchat --local starts it." in local("doctor").stdout


def test_one_that_cannot_keep_what_it_has_read_answers_as_ever(local):
    # it answers 404, as a llama.cpp without `--slot-save-path` answers 501
    done = local("ask", "--local", "--save", "-m", file(local, "small"), "What are your settings?")
    folder = local.folder / "kept_prompts"
    assert json.loads(done.stdout)["LLAMA_ARG_SLOT_SAVE_PATH"] == f"{folder}{os.sep}"
    assert (done.returncode, list(folder.iterdir())) == (0, [])


@pytest.mark.parametrize("name", ["never", "small"], ids=["while it loads", "in an answer"])
def test_no_process_remains_when_lmchat_is_killed(local, server, name):
    program = local.start("ask", "--local", "-m", file(local, name), "Go on and on")
    if name == "small":
        assert program.stdout.read(1)
    wait_until(lambda: servers(server), "the server runs")
    (child,) = engines_of(local.home)
    (pid,) = servers(server)
    program.kill()
    program.communicate()
    wait_until(lambda: not is_running(child) and not is_running(pid), "both end, too")


def test_ctrl_c_while_it_loads_leaves_no_process(local, server):
    program = local.start("ask", "--local", "-m", file(local, "never"), "Hello")
    wait_until(lambda: servers(server), "the server runs")
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=20)
    assert program.returncode == 130
    assert not servers(server)


@pytest.mark.parametrize("is_child", [False, True], ids=["the server", "its parent"])
def test_a_server_that_is_killed_in_an_answer_is_told_and_leaves_no_process(
    local, server, is_child
):
    program = local.start("ask", "--local", "-m", file(local, "small"), "Go on and on")
    assert program.stdout.read(1)
    (pid,) = engines_of(local.home) if is_child else servers(server)
    os.kill(pid, signal.SIGSEGV)
    _, told = program.communicate(timeout=20)
    assert program.returncode == 1
    assert b"The built-in engine crashed (signal SIGSEGV)." in told
    assert not servers(server)


def test_a_server_of_the_current_folder_is_never_started(local, tmp_path):
    local.env["PATH"] = f"{os.pathsep}."
    local.cwd = tmp_path / "bin"
    done = local("ask", "--local", "-m", file(local, "small"), "Hello")
    assert done.returncode == 1
    assert "The built-in engine is not installed." in done.stderr
