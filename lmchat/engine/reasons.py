"""Reasons for a failure of the child process, from its report, its exit code and its log.

The messages that are searched in the log are those of llama.cpp and of the system.
"""

from __future__ import annotations

import re
import signal

from lmchat.domain.engine import ModelFile
from lmchat.engine.download import install_command
from lmchat.engine.engine_process import Report
from lmchat.engine.memory import shortage_text
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
_PORT_TAKEN = re.compile(r"couldn't bind|address already in use|HTTP server error", re.IGNORECASE)
# a line of the log as "0.01.123.456 E srv load: out of space"; the group is its message
_ERROR_LINE = re.compile(r"^[\d.]+ E \S+ +\S+: (.+)$", re.MULTILINE)
# as in: libgomp.so.1: cannot open shared object file
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
# as in: version `GLIBC_2.35' not found
_OLD_SYSTEM = re.compile(r"version `(GLIBC(?:XX)?_[\d.]+)' not found")
_DETAIL_LINES = 8  # of the end of the log
# numbers of the signals SIGILL and SIGKILL, which Windows does not name
_ILLEGAL_INSTRUCTION = 4
_KILLED = 9
_SMALLER = "Choose a smaller model, or a smaller context window under [local] in the configuration."


def why_not_started(
    model: ModelFile | None, report: Report | None, exit_code: int | None, log: str
) -> EngineUnavailable:
    """Return why a child never became ready.

    The first cause that is found counts: import, system or memory, port, model file.
    `model` is None for a test of the engine without a model. `report` is None if the child ended
    without one. `exit_code` is None if it still runs, and negative if a signal ended it. `log` is
    the end of the log.
    """
    if report is not None and report.problem == "import":
        return _cannot_import(report)
    system_or_memory = _system_or_memory_error(model, exit_code, log)
    if system_or_memory is not None:
        return system_or_memory
    if model is None:
        return _crashed(exit_code, log)
    if _is_only_port_taken(log):
        message = "Another program took the port of the built-in engine."
        return EngineUnavailable(message, hint="Try again.", kind="port")
    return _model_file_error(model, report, log)


def why_ended(model: ModelFile, exit_code: int | None, log: str) -> EngineUnavailable:
    """Return why a child that was ready has ended: the system, the memory, or an unknown reason.

    `exit_code` and `log` are as for `why_not_started`.
    """
    system_or_memory = _system_or_memory_error(model, exit_code, log)
    return system_or_memory if system_or_memory is not None else _crashed(exit_code, log)


def _is_only_port_taken(log: str) -> bool:
    """Return whether the log says that the port was taken, and nothing about the model file."""
    is_about_file = _UNKNOWN_KIND.search(log) or _DAMAGED.search(log)
    return not is_about_file and _PORT_TAKEN.search(log) is not None


def _model_file_error(model: ModelFile, report: Report | None, log: str) -> EngineUnavailable:
    """Return the error that says why a model file could not be loaded.

    Its kind is unknown, or it is damaged; otherwise the error in the log or the report is quoted.
    """
    hint = "Choose another model file."
    if unknown := _UNKNOWN_KIND.search(log):
        architecture = f" ({unknown[1]})" if unknown[1] else ""
        message = f"The built-in engine does not know this kind of model{architecture}."
    elif _DAMAGED.search(log):
        message = f"The model file is damaged or incomplete: {model.path}."
        hint = "Download it again from its source."
        if model.is_demo:
            hint = "Let lmchat download it again."
    else:
        message = _could_not_load(model, report, log)
    details = f"{model.path}\n{_log_end(log)}"
    return EngineUnavailable(message, hint=hint, kind="model_file", details=details)


def _could_not_load(model: ModelFile, report: Report | None, log: str) -> str:
    """Return the message with the first error in the log, else with that in the report.

    Without both, the message gives no reason.
    """
    errors = _ERROR_LINE.findall(log)
    reason = report.error_text if report else ""
    if errors:
        reason = errors[0]
    message = f"The built-in engine could not load {model.name}"
    if reason:
        message += f": {reason}"
    return message if message.endswith((".", "!")) else f"{message}."


def _system_or_memory_error(
    model: ModelFile | None, exit_code: int | None, log: str
) -> EngineUnavailable | None:
    """Return the error for an end that the system or a lack of memory caused; None for others.

    An exit code that is the negative number of a signal shows that the system ended the child.
    """
    details = _log_end(log)
    if exit_code == -_ILLEGAL_INSTRUCTION:
        return EngineUnavailable(
            "This processor lacks instructions that the built-in engine was compiled for.",
            hint="Use another server: llama.cpp built on this machine, Ollama or LM Studio.",
            kind="processor",
            details=details,
        )
    shortage = shortage_text(model) if model else ""
    if exit_code == -_KILLED:
        message = (
            f"The system ended the built-in engine, most often because memory ran out{shortage}."
        )
    # a test without a model needs little memory
    elif model and _OUT_OF_MEMORY.search(log):
        message = f"There is not enough memory for {model.name} and its context window{shortage}."
    else:
        return None
    return EngineUnavailable(message, hint=_SMALLER, kind="memory", details=details)


def _cannot_import(report: Report) -> EngineUnavailable:
    """Return the error that says why the library of the engine could not be imported.

    A system library is missing or too old, the library itself is not installed, or it is broken.
    """
    library = _MISSING_LIBRARY.search(report.error_text)
    old_system = _OLD_SYSTEM.search(report.error_text)
    kind = None  # that of the class
    if library and library[1].startswith("libgomp"):
        message = "The built-in engine needs the system library libgomp, which is not installed."
        hint = "Install it: `sudo apt install libgomp1`, or on Fedora `sudo dnf install libgomp`."
    elif library:
        name = library[1]
        message = f"The built-in engine needs the system library {name}, which is not installed."
        hint = "Install it with the package manager of this system."
    elif old_system:
        reason = f"it lacks {old_system[1]} (glibc 2.35 is needed)"
        message = f"This system is too old for the built-in engine: {reason}."
        hint = "Use another server, for example llama.cpp built here, or a newer system."
    elif report.module == "xllamacpp":
        message = "The built-in engine is not installed."
        hint = f"Install it: `{install_command()}`."
        kind = "not_installed"
    else:
        message = "The built-in engine is installed, but cannot be loaded."
        hint = f"Reinstall it: `{install_command(is_reinstall=True)}`."
    return EngineUnavailable(message, hint=hint, details=report.error_text, kind=kind)


def _crashed(exit_code: int | None, log: str) -> EngineUnavailable:
    """Return the error for an end without a known reason.

    `exit_code` is negative for a signal, and None if the child runs but did not report.
    """
    if exit_code is None:
        reason = "it does not answer"
    elif exit_code < 0:
        reason = f"signal {_signal_name(-exit_code)}"
    else:
        reason = f"exit code {exit_code}"
    message = f"The built-in engine crashed ({reason})."
    return EngineUnavailable(message, hint="Try again.", kind="crashed", details=_log_end(log))


def _signal_name(number: int) -> str:
    """Return the name of a signal; its number if this system has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _log_end(log: str) -> str:
    """Return the last lines of a log, for the details of an error."""
    return "\n".join(log.strip().splitlines()[-_DETAIL_LINES:])
