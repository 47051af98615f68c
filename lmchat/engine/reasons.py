"""Reasons for a child's failure, from its report, exit code and log."""

from __future__ import annotations

import re
import signal

from lmchat.domain.engine import ModelFile
from lmchat.engine.download import install_command
from lmchat.engine.engine_process import Report
from lmchat.engine.memory import memory_words
from lmchat.errors import EngineUnavailable

_OUT_OF_MEMORY = re.compile(
    r"failed to allocate|unable to allocate|out of memory|cannot allocate memory|bad_alloc|"
    r"failed to mmap",
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
_ILLEGAL_INSTRUCTION = 4  # number of a signal, which Windows does not name
_KILLED = 9  # the same
_SMALLER = "Choose a smaller model, or a smaller context window under [local] in the configuration."


def why_not_started(
    model: ModelFile | None, report: Report | None, exit_code: int | None, log: str
) -> EngineUnavailable:
    """Return why a child never became ready."""
    if report is not None and report.problem == "import":
        return _cannot_import(report)
    if known := _known_end(model, exit_code, log):
        return known
    details = _end_of(log)
    if model is None:
        return _crashed(exit_code, details)
    if _is_taken(log):
        message = "Another program took the port of the built-in engine."
        return EngineUnavailable(message, hint="Try again.", kind="port")

    hint = "Choose another model file."
    if unknown := _UNKNOWN_KIND.search(log):
        kind = f" ({unknown[1]})" if unknown[1] else ""
        message = f"The built-in engine does not know this kind of model{kind}."
    elif _DAMAGED.search(log):
        message = f"The model file is damaged or incomplete: {model.path}."
        hint = "Download it again from its source."
        if model.is_demo:
            hint = "Let lmchat download it again."
    else:
        message = _could_not_load(model, report, log)
    return EngineUnavailable(
        message, hint=hint, kind="model_file", details=f"{model.path}\n{details}"
    )


def why_ended(model: ModelFile, exit_code: int | None, log: str) -> EngineUnavailable:
    """Return why a running child ended."""
    return _known_end(model, exit_code, log) or _crashed(exit_code, _end_of(log))


def _is_taken(log: str) -> bool:
    """Return whether only the port was the reason."""
    is_of_file = _UNKNOWN_KIND.search(log) or _DAMAGED.search(log)
    return not is_of_file and _TAKEN.search(log) is not None


def _could_not_load(model: ModelFile, report: Report | None, log: str) -> str:
    errors = _ERROR_LINE.findall(log)
    reason = report.words if report else ""
    if errors:
        reason = errors[0]
    message = f"The built-in engine could not load {model.name}"
    if reason:
        message += f": {reason}"
    return message if message.endswith((".", "!")) else f"{message}."


def _known_end(
    model: ModelFile | None, exit_code: int | None, log: str
) -> EngineUnavailable | None:
    """Return the reason of an end that the system or a lack of memory has caused."""
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
    library = _LIBRARY.search(report.words)
    old_system = _OLD_SYSTEM.search(report.words)
    kind = None
    if library and library[1].startswith("libgomp"):
        message = "The built-in engine needs the system library libgomp, which is not installed."
        hint = "Install it: `sudo apt install libgomp1`, or on Fedora `sudo dnf install libgomp`."
    elif library:
        name = library[1]
        message = f"The built-in engine needs the system library {name}, which is not installed."
        hint = "Install it with the package manager of this system."
    elif old_system:
        lacking = f"it lacks {old_system[1]} (glibc 2.35 is needed)"
        message = f"This system is too old for the built-in engine: {lacking}."
        hint = "Use another server, for example llama.cpp built here, or a newer system."
    elif report.module == "xllamacpp":
        message = "The built-in engine is not installed."
        hint = f"Install it: `{install_command()}`."
        kind = "not_installed"
    else:
        message = "The built-in engine is installed, but cannot be loaded."
        hint = f"Reinstall it: `{install_command(is_reinstall=True)}`."
    return EngineUnavailable(message, hint=hint, details=report.words, kind=kind)


def _crashed(exit_code: int | None, details: str) -> EngineUnavailable:
    if exit_code is None:
        reason = "it does not answer"
    elif exit_code < 0:
        reason = f"signal {_name_of(-exit_code)}"
    else:
        reason = f"exit code {exit_code}"
    message = f"The built-in engine crashed ({reason})."
    return EngineUnavailable(message, hint="Try again.", kind="crashed", details=details)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # this system does not name it
        return str(number)


def _end_of(log: str) -> str:
    return "\n".join(log.strip().splitlines()[-_DETAIL_LINES:])
