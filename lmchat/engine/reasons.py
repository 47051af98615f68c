"""Reasons for a child's failure, from its report, exit code and log."""

from __future__ import annotations

import re
import signal
from contextlib import suppress

from lmchat.domain.engine import ModelFile
from lmchat.engine.download import install_command
from lmchat.engine.engine_process import Report
from lmchat.engine.model_files import memory_words
from lmchat.errors import EngineUnavailable

_OUT_OF_MEMORY = re.compile(
    r"failed to allocate|unable to allocate|out of memory|cannot allocate memory|bad_alloc|failed to mmap",
    re.IGNORECASE,
)
_DAMAGED = re.compile(
    r"corrupted or incomplete|invalid magic|failed to read magic|not within the file bounds|"
    r"failed to read tensor|failed to read key|invalid GGUF|tensor .* has invalid|missing tensor|"
    r"gguf_init_from",
    re.IGNORECASE,
)
_UNKNOWN_KIND = re.compile(
    r"unknown model architecture: '([^'\n]{1,60})'|unsupported|unknown pre-tokenizer"
)
_TAKEN = re.compile(r"couldn't bind|address already in use|HTTP server error", re.IGNORECASE)
_ERROR_LINE = re.compile(r"^[\d.]+ E \S+ +\S+: (.+)$", re.MULTILINE)
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_OLD_SYSTEM = re.compile(r"version `(GLIBC(?:XX)?_[\d.]+)' not found")
_DETAIL_LINES = 8
_ILLEGAL_INSTRUCTION, _KILLED = 4, 9  # numbers of signals, which Windows does not name
_SMALLER = "Choose a smaller model, or a smaller context window under [local] in the configuration."


def why_not_started(
    model: ModelFile | None, report: Report | None, exit_code: int | None, log: str
) -> EngineUnavailable:
    """Return why a child never became ready."""
    if report is not None and report.problem == "import":
        return _cannot_import(report)
    details = _end_of(log)
    if (known := _known_end(model, exit_code, log)) or model is None:
        return known or _crashed(exit_code, details)
    hint, file_details = "Choose another model file.", f"{model.path}\n{details}"
    if unknown := _UNKNOWN_KIND.search(log):
        kind = f" ({unknown[1]})" if unknown[1] else ""
        message = f"The built-in engine does not know this kind of model{kind}."
    elif _DAMAGED.search(log):
        message = f"The model file is damaged or incomplete: {model.path}."
        hint = (
            "Let lmchat download it again."
            if model.is_demo
            else "Download it again from its source."
        )
    elif _TAKEN.search(log):
        message = "Another program took the port of the built-in engine."
        return EngineUnavailable(message, hint="Try again.", kind="port")
    else:
        words = next(iter(_ERROR_LINE.findall(log)), report.words if report else "")
        message = f"The built-in engine could not load {model.name}{f': {words}' if words else ''}"
        message += "" if message.endswith((".", "!")) else "."
    return EngineUnavailable(message, hint=hint, kind="model_file", details=file_details)


def why_ended(model: ModelFile, exit_code: int | None, log: str) -> EngineUnavailable:
    """Return why a running child ended."""
    return _known_end(model, exit_code, log) or _crashed(exit_code, _end_of(log))


def _known_end(
    model: ModelFile | None, exit_code: int | None, log: str
) -> EngineUnavailable | None:
    details = _end_of(log)
    if exit_code == -_ILLEGAL_INSTRUCTION:
        return EngineUnavailable(
            "This processor lacks instructions that the built-in engine was compiled for.",
            hint="Use another server: llama.cpp built on this machine, Ollama or LM Studio.",
            kind="processor",
            details=details,
        )
    need = memory_words(model) if model else ""
    if exit_code == -_KILLED:
        message = f"The system ended the built-in engine, most often because memory ran out{need}."
    elif model and _OUT_OF_MEMORY.search(log):
        message = f"There is not enough memory for {model.name} and its context window{need}."
    else:
        return None
    return EngineUnavailable(message, hint=_SMALLER, kind="memory", details=details)


def _cannot_import(report: Report) -> EngineUnavailable:
    library, old = _LIBRARY.search(report.words), _OLD_SYSTEM.search(report.words)
    kind = None
    if library and library[1].startswith("libgomp"):
        message = "The built-in engine needs the system library libgomp, which is not installed."
        hint = "Install it: `sudo apt install libgomp1`, or on Fedora `sudo dnf install libgomp`."
    elif library:
        message = (
            f"The built-in engine needs the system library {library[1]}, which is not installed."
        )
        hint = "Install it with the package manager of this system."
    elif old:
        message = f"This system is too old for the built-in engine: it lacks {old[1]} (glibc 2.35 is needed)."
        hint = "Use another server, for example llama.cpp built here, or a newer system."
    elif report.module == "xllamacpp":
        message, kind = "The built-in engine is not installed.", "not_installed"
        hint = f"Install it: `{install_command()}`."
    else:
        message = "The built-in engine is installed, but cannot be loaded."
        hint = f"Reinstall it: `{install_command(is_anew=True)}`."
    return EngineUnavailable(message, hint=hint, details=report.words, kind=kind)


def _crashed(exit_code: int | None, details: str) -> EngineUnavailable:
    how = "it does not answer" if exit_code is None else f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"signal {-exit_code}"
        with suppress(ValueError):
            how = f"signal {signal.Signals(-exit_code).name}"
    return EngineUnavailable(
        f"The built-in engine crashed ({how}).", hint="Try again.", kind="crashed", details=details
    )


def _end_of(log: str) -> str:
    return "\n".join(log.strip().splitlines()[-_DETAIL_LINES:])
