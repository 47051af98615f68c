"""Why the engine cannot be had: one sentence and the way out, for everything that was seen to happen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from lmchat.servers.engine import engine_process
from lmchat.servers.engine.engine_process import Report, engine_error
from lmchat.servers.engine.model_files import ModelFile

MODEL = ModelFile(path=Path("/models/big.gguf"), name="big", size_bytes=40 * 10**9)
MISSING = Report(error_text="No module named 'xllamacpp'", module="xllamacpp")
FAILED = Report(error_text="RuntimeError: Failed to init server")


@pytest.fixture
def reason_of(tmp_path):
    """Return the reason of a failure with this log."""

    def reason(report, exit_code, log=""):
        log_file = tmp_path / "engine.log"
        log_file.write_text(log)
        return engine_error(MODEL, report, exit_code, log_file)

    return reason


def test_a_package_that_is_not_installed_is_told_with_the_command(monkeypatch, reason_of):
    pip = f"{sys.executable} -m pip install"
    uv = f"uv pip install --python {sys.executable}"
    for command, find_spec in ((pip, lambda _: True), (uv, lambda _: None)):
        monkeypatch.setattr("lmchat.servers.engine.download.importlib.util.find_spec", find_spec)
        monkeypatch.setattr("lmchat.servers.engine.download.shutil.which", lambda _: "/usr/bin/uv")
        error = reason_of(MISSING, 3)
        assert (error.kind, error.message, error.hint) == (
            "not_installed",
            "The built-in engine is not installed.",
            f"Install it: `{command} 'lmchat[local]'`.",
        )


@pytest.mark.parametrize(
    ("log", "ended_by"),
    [
        ("E ggml_backend_cpu: failed to allocate buffer of size 858", signal.SIGABRT),
        ("terminate called after throwing an instance of 'std::bad_alloc'", signal.SIGABRT),
        ("llama_mmap: mmap failed: Cannot allocate memory", signal.SIGABRT),
        ("", signal.SIGKILL),
    ],
)
def test_too_little_memory_is_told_with_need_and_supply(monkeypatch, reason_of, log, ended_by):
    monkeypatch.setattr(engine_process, "available_bytes", lambda: 3 * 10**9)
    error = reason_of(FAILED, -ended_by, log)
    assert error.kind == "memory"
    assert error.message == (
        "There is not enough memory for big and its context window: "
        "the model alone needs about 46.0 GB, 3.0 GB are free."
    )
    assert "smaller context window under [local]" in error.hint


def test_anything_else_is_told_with_the_first_error_and_the_log(reason_of, tmp_path):
    for report, exit_code, log, message in [
        (
            FAILED,
            3,
            "0.1 I srv load: well\n0.2 E srv  load: the moon is full\n0.3 E srv  init: exiting\n",
            "could not serve big: the moon is full.",
        ),
        (FAILED, 3, "", "could not serve big: RuntimeError: Failed to init server."),
        (
            Report(error_text="libgomp.so.1: cannot open", module=""),
            3,
            "",
            "could not serve big: libgomp.so.1: cannot open.",
        ),
        (None, 1, "0.2 E srv  send: a refused request", "crashed (exit code 1)."),
        (None, -signal.SIGSEGV, "", "crashed (signal SIGSEGV)."),
        (None, -99, "", "crashed (signal 99)."),
        (None, None, "", "crashed (it does not answer)."),
    ]:
        error = reason_of(report, exit_code, log)
        assert error.message == f"The built-in engine {message}"
        assert error.hint == f"Read its log, {tmp_path / 'engine.log'}."


def test_the_end_of_the_log_is_kept_for_who_wants_the_details(reason_of):
    log = "\n".join(f"line {number}" for number in range(100))
    assert reason_of(None, 1, log).details.splitlines()[0] == "line 92"
