"""Reasons why the engine does not serve: one sentence and the way out, for all that was seen."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from lmchat.base.errors import EngineUnavailable
from lmchat.base.extras import install_command
from lmchat.core.config.settings import LocalSettings
from lmchat.core.servers.local import engine as engine_module
from lmchat.core.servers.local.engine import Engine, engine_error
from lmchat.core.servers.local.gguf import ModelFile

MODEL = ModelFile(path=Path("/models/big.gguf"), name="big", size_bytes=40 * 10**9)

# Ends of logs of xllamacpp 2026.10.11549 and of llama-server b11669 (Debian), with other paths.
DAMAGED = """\
0.00.058.196 I srv    load_model: loading model '/models/big.gguf'
0.00.081.521 E llama_model_load: error loading model: tensor 'blk.2.ffn_up.weight' data is not \
within the file bounds, model is corrupted or incomplete
0.00.081.549 E llama_model_load_from_file_impl: failed to load model
0.00.092.632 E cmn  common_init_: failed to load model '/models/big.gguf'
0.00.092.667 I srv    operator(): operator(): cleaning up before exit...
0.00.092.950 E srv  llama_server: exiting due to model loading error
"""
NO_GGUF = """\
0.00.022.955 E gguf_init_from_reader: invalid magic characters: '??@i', expected 'GGUF'
0.00.023.067 E llama_model_load: error loading model: llama_model_loader: failed to load model
0.00.024.547 E srv  llama_server: exiting due to model loading error
"""
PORT_TAKEN = """\
0.00.000.653 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 5
0.00.000.716 E srv          init: exiting due to HTTP server error
"""
WINDOW_TOO_LARGE = """\
0.01.007.194 W llama_context: n_ctx_seq (4000000) > n_ctx_train (8192)
0.01.201.065 E ggml_aligned_malloc: insufficient memory (attempted to allocate 87890.62 MB)
0.01.230.822 E llama_init_from_model: failed to initialize the context: failed to allocate buffer
"""
MODEL_TOO_LARGE = """\
0.00.160.599 E llama_model_load: error loading model: mmap failed: Cannot allocate memory
0.00.160.668 E llama_model_load_from_file_impl: failed to load model
"""
# of Python, where the library cannot be loaded
NO_GOMP = """\
Traceback (most recent call last):
  File "engine_child.py", line 71, in _serve
    import xllamacpp  # 100 MB
ImportError: libgomp.so.1: cannot open shared object file: No such file or directory
"""


@pytest.fixture
def reason_of(tmp_path):
    """Return the reason of a failure with this log."""

    def reason(exit_code, log="", *, was_ready=False):
        log_file = tmp_path / "engine.log"
        log_file.write_text(log, encoding="utf-8")
        return engine_error(MODEL, exit_code, log_file, was_ready=was_ready)

    return reason


async def test_an_engine_that_is_not_installed_is_told_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda path: path if path == "uv" else None)
    pip = f"{sys.executable} -m pip install"
    uv = f"uv pip install --python {sys.executable}"
    environ = {"PATH": str(tmp_path)}
    engine = Engine(
        LocalSettings(), folder=tmp_path, log_file=tmp_path / "engine.log", environ=environ
    )
    package = install_command("local").rpartition(" ")[2]
    for command, found in ((f"{pip} {package}", {"pip"}), (f"{uv} {package}", set[str]())):
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, found=found: name if name in found else None
        )
        with pytest.raises(EngineUnavailable) as caught:
            await engine.start(MODEL)
        error = caught.value
        assert (error.kind, error.message, error.next_step) == (
            "not_installed",
            "The built-in engine is not installed.",
            f"Install it: `{command}`; an installed `llama-server` will do, too.",
        )


@pytest.mark.parametrize(
    ("log", "exit_code"),
    [
        (WINDOW_TOO_LARGE, 1),
        (MODEL_TOO_LARGE, 1),
        ("E ggml_backend_cpu: failed to allocate buffer of size 858", -6),
        ("terminate called after throwing an instance of 'std::bad_alloc'", -6),
        ("out of memory", -9),
    ],
)
def test_too_little_memory_is_told_with_need_and_supply(monkeypatch, reason_of, log, exit_code):
    monkeypatch.setattr(engine_module, "available_bytes", lambda: 3 * 10**9)
    error = reason_of(exit_code, log)
    assert error.kind == "memory"
    assert error.message == (
        "There is not enough memory for big and its context window: "
        "big alone needs about 46.0 GB, 3.0 GB are free."
    )
    assert "smaller context window under [local]" in error.next_step


def test_who_has_killed_it_is_not_known(monkeypatch, reason_of):
    monkeypatch.setattr(engine_module, "available_bytes", lambda: 30 * 10**9)
    error = reason_of(-9, "0.2 I srv  all is well")
    assert error.kind == "memory"
    assert error.message == (
        "The built-in engine was killed, as the system does if memory runs out: "
        "big alone needs about 46.0 GB, 30.0 GB are free."
    )


@pytest.mark.parametrize(
    ("exit_code", "log", "sentence"),
    [
        (1, DAMAGED, r"could not serve big: error loading model: tensor .* is corrupted or .*\."),
        (1, NO_GGUF, r"could not serve big: invalid magic characters: .*, expected 'GGUF'\."),
        (1, PORT_TAKEN, r"could not serve big: couldn't bind HTTP server socket, .* port: 5\."),
        (1, NO_GOMP, r"could not serve big: ImportError: libgomp.so.1: cannot open .* directory\."),
        (7, "", r"could not serve big: exit code 7\."),
        (-signal.SIGSEGV, "0.1 I srv    load_model: loading", r"crashed \(signal SIGSEGV\)\."),
    ],
)
def test_any_other_failed_start_is_told_with_the_first_error_and_the_log(
    reason_of, tmp_path, exit_code, log, sentence
):
    error = reason_of(exit_code, log)
    assert re.fullmatch(f"The built-in engine {sentence}", error.message)
    assert error.next_step == f"Read its log, {tmp_path / 'engine.log'}."


def test_a_crash_is_told_by_how_it_ended_as_errors_in_the_log_may_be_those_of_requests(reason_of):
    for exit_code, how in [(1, "exit code 1"), (-11, "signal SIGSEGV"), (-99, "signal 99")]:
        error = reason_of(exit_code, "0.2 E srv  send: a refused request", was_ready=True)
        assert error.message == f"The built-in engine crashed ({how})."


def test_the_end_of_the_log_is_kept_for_who_wants_the_details(reason_of):
    log = "\n".join(f"line {number}" for number in range(100))
    assert reason_of(1, log).details.splitlines()[0] == "line 92"


def test_a_line_of_the_log_is_cut_and_made_safe_before_it_is_part_of_a_sentence(reason_of):
    for log in ("x" * 16_000, "0.1 E srv load_model: \x1b]0;evil\x07" + "y" * 9_000):
        message = reason_of(1, log).message
        assert len(message) < 300
        assert message.isprintable()
