"""Why the engine cannot be had: one sentence and the way out, for everything that was seen to happen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from lmchat.domain.engine import ModelFile
from lmchat.engine import memory
from lmchat.engine.engine_process import Report
from lmchat.engine.reasons import why_ended, why_not_started

MODEL = ModelFile(path=Path("/models/big.gguf"), name="big", size_bytes=40 * 10**9)
DEMO = ModelFile(path=Path("/models/demo.gguf"), name="demo", size_bytes=10**8, is_demo=True)
GOMP = "libgomp.so.1: cannot open shared object file: No such file or directory"
GLIBC = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.35' not found (required by xllamacpp.abi3.so)"


def failed_start(log, exit_code=3, model=MODEL):
    return why_not_started(
        model, Report(problem="start", error_text="Failed to init server"), exit_code, log
    )


@pytest.mark.parametrize(
    ("words", "module", "message", "hints"),
    [
        (
            "No module named 'xllamacpp'",
            "xllamacpp",
            "The built-in engine is not installed.",
            [f"`{sys.executable} -m pip install 'lmchat[local]'`"],
        ),
        (GOMP, "", "libgomp", ["apt install libgomp1", "dnf install libgomp"]),
        (GOMP.replace("libgomp", "libvulkan"), "", "libvulkan.so.1", []),
        (GLIBC, "", "GLIBC_2.35", []),
        (
            "cannot import name 'Server'",
            "xllamacpp.server",
            "cannot be loaded",
            ["--force-reinstall"],
        ),
    ],
    ids=["not installed", "libgomp", "another library", "an old system", "broken"],
)
def test_a_package_that_cannot_be_imported_is_told_with_the_way_out(words, module, message, hints):
    error = why_not_started(MODEL, Report(problem="import", error_text=words, module=module), 3, "")
    assert message in error.message
    assert all(hint in error.hint for hint in hints)


def test_where_there_is_no_pip_uv_is_what_installs_it(monkeypatch):
    monkeypatch.setattr("lmchat.engine.download.importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("lmchat.engine.download.shutil.which", lambda _: "/usr/bin/uv")
    error = why_not_started(MODEL, Report(problem="import", module="xllamacpp"), 3, "")
    assert f"`uv pip install --python {sys.executable} 'lmchat[local]'`" in error.hint


def test_a_processor_without_the_instructions_is_told(monkeypatch):
    for report in (None, Report(problem="start")):
        error = why_not_started(MODEL, report, -signal.SIGILL, "")
        assert (error.kind, "processor lacks instructions" in error.message) == ("processor", True)
        assert "built on this machine" in error.hint


@pytest.mark.parametrize(
    ("log", "ended_by"),
    [
        (
            "E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 858",
            signal.SIGABRT,
        ),
        ("terminate called after throwing an instance of 'std::bad_alloc'", signal.SIGABRT),
        ("0.02 E llama_init_from_model: failed to allocate buffer for kv cache", signal.SIGABRT),
        ("llama_mmap: mmap failed: Cannot allocate memory", signal.SIGABRT),
        ("", signal.SIGKILL),
    ],
)
def test_too_little_memory_is_told_with_need_and_supply(monkeypatch, log, ended_by):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 * 10**9)
    error = failed_start(log, exit_code=-ended_by)
    assert error.kind == "memory"
    assert "it needs about 46.0 GB, 3.0 GB are free" in error.message


@pytest.mark.parametrize(
    "log",
    [
        "0.02 E llama_model_load: tensor 'x' data is not within the file bounds, corrupted or incomplete",
        "0.00 E gguf_init_from_reader: invalid magic characters: 'i?X?', expected 'GGUF'",
        "0.00 E gguf_init_from_reader: failed to read magic",
    ],
)
def test_a_damaged_file_is_named(log):
    error = failed_start(log)
    assert (error.kind, str(MODEL.path) in error.message) == ("model_file", True)
    assert "Download it again" in error.hint
    assert "download it again" in failed_start(log, model=DEMO).hint


def test_a_kind_of_model_that_is_not_known_is_named():
    error = failed_start(
        "0.1 E llama_model_load: error loading model: unknown model architecture: 'newest'"
    )
    assert "does not know this kind of model (newest)" in error.message


def test_anything_else_is_told_in_the_engines_own_words():
    error = failed_start(
        "0.00.1 I srv load: all well\n0.00.2 E srv    load_model: the moon is full\n"
    )
    assert error.message == "The built-in engine could not load big: the moon is full."
    assert "the moon is full" in error.details
    assert (
        failed_start("").message == "The built-in engine could not load big: Failed to init server."
    )
    assert why_not_started(MODEL, None, 1, "").message == "The built-in engine could not load big."


def test_a_crash_is_told_with_its_signal():
    assert "(signal SIGSEGV)" in why_ended(MODEL, -signal.SIGSEGV, "").message
    assert "(signal 99)" in why_ended(MODEL, -99, "").message
    assert "(exit code 1)" in why_ended(MODEL, 1, "").message
    assert why_ended(MODEL, -signal.SIGABRT, "std::bad_alloc").kind == "memory"


def test_the_end_of_the_log_is_kept_for_who_wants_the_details():
    log = "\n".join(f"line {number}" for number in range(100))
    assert why_ended(MODEL, 1, log).details.splitlines()[0] == "line 92"


def test_a_model_that_hardly_fits_is_warned_of_before(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 * 10**9)
    assert "may be too large for the memory of this machine" in memory.size_warning(MODEL)
    assert memory.size_warning(DEMO) == ""


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free = memory.available_bytes()
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("700000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\nfile 250000000\nshmem 50000000\n")
    assert memory.available_bytes() == 500_000_000 < free
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() > 500_000_000
