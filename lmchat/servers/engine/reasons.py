"""Reasons for a failure of the child process, from its report, its exit code and its log."""

from __future__ import annotations

import signal
from pathlib import Path

from lmchat.errors import EngineUnavailable
from lmchat.servers.engine.download import install_command
from lmchat.servers.engine.engine_process import Report
from lmchat.servers.engine.memory import shortage_text
from lmchat.servers.engine.model_files import ModelFile

_OUT_OF_MEMORY = (
    "failed to allocate",
    "unable to allocate",
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
)
"""Words in the log of llama.cpp, in small letters."""
_DETAIL_LINES = 8  # of the end of the log
_KILLED = 9  # number of the signal SIGKILL, which Windows does not name
_TAIL_BYTES = 16_384  # of the log


def why_failed(
    model: ModelFile | None, report: Report | None, exit_code: int | None, log_file: Path
) -> EngineUnavailable:
    """Return why a child never became ready, or has ended.

    `model` is None for a test of the engine without a model. `report` is None if the child ended
    without one, or was ready. `exit_code` is None if it still runs, and negative if a signal ended
    it.
    """
    try:
        log = log_file.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        log = ""
    details = "\n".join(log.strip().splitlines()[-_DETAIL_LINES:])
    if report is not None and report.module == "xllamacpp":
        return EngineUnavailable(
            "The built-in engine is not installed.",
            hint=f"Install it: `{install_command()}`.",
            details=report.error_text,
            kind="not_installed",
        )
    is_short = exit_code == -_KILLED or any(words in log.lower() for words in _OUT_OF_MEMORY)
    if model is not None and is_short:
        return EngineUnavailable(
            f"There is not enough memory for {model.name}{shortage_text(model)}.",
            hint="Choose a smaller model, or a smaller context window under [local] in the "
            "configuration.",
            details=details,
            kind="memory",
        )
    hint = f"Read its log, {log_file}."
    if report is None:  # errors in the log may then be those of requests
        end = f"exit code {exit_code}"
        if exit_code is None:
            end = "it does not answer"
        elif exit_code < 0:
            names = {number.value: number.name for number in signal.Signals}
            end = f"signal {names.get(-exit_code, -exit_code)}"
        message = f"The built-in engine crashed ({end})."
        return EngineUnavailable(message, hint=hint, details=details)
    reason = report.error_text
    for line in log.splitlines():
        # time, level, and place with message, as in "0.01.123.456 E srv load: out of space"
        fields = line.split(maxsplit=2)
        if fields[1:2] == ["E"]:
            reason = fields[-1].partition(": ")[2]
            break  # the later errors only say that it cannot load the model, and exits
    work = "start" if model is None else f"serve {model.name}"
    message = f"The built-in engine could not {work}: {reason.rstrip('.')}."
    return EngineUnavailable(message, hint=hint, details=details)
