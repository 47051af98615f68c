"""The program of the child process: llama.cpp's own HTTP server, out of the extension module xllamacpp.

Run by its path, never imported: it needs nothing of lmchat, and starts faster for that. Standard input
brings one line of JSON, which says what to serve, and then stays open: at its end the child ends too, as it
does when its parent dies in whatever way. Standard output takes one line of JSON: that the server is ready,
or why not. All else that anything in here writes goes to standard error, which is the log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_LOG_LOOK_S = 1.0
_LOG_TAIL_BYTES = 512
_LAST_WORDS = b"exiting due to"
_LAST_WORDS_S = 2.0


def main() -> None:
    """Serve until nobody needs it any more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, even while a model is loaded
    config = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not config:
        os._exit(0)
    if config["is_watched"]:
        _watch_from_outside()
    else:
        _die_with(config["parent"])
    _offer_to_out_of_memory()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    threading.Thread(target=_bound_log, args=(config["log_bytes"],), daemon=True).start()
    _tell(report, _serve(config))
    while True:
        signal.pause()


def _serve(config: dict[str, Any]) -> dict[str, str]:
    """Return what the parent is told; the server lives as long as the process."""
    try:
        import xllamacpp  # noqa: PLC0415 - 100 MB, and it may be missing
    except ImportError as error:
        return {"problem": "import", "words": str(error), "module": error.name or ""}
    if not config["model"]:  # that it can be imported was all there was to know
        return {"address": "nowhere"}
    try:
        # nobody holds it: without `del`, nothing takes it away either
        globals()["server"] = xllamacpp.Server(_params(xllamacpp, config))  # returns once the model is loaded
    except Exception as error:  # noqa: BLE001 - of the library, whatever it is: the parent says it
        _await_last_words()
        return {"problem": "start", "words": f"{type(error).__name__}: {error}"}
    return {"address": globals()["server"].listening_address}


def _await_last_words() -> None:
    """Give the library's thread that writes the log time to say why; an exit would cut it short."""
    end_s = time.monotonic() + _LAST_WORDS_S
    while time.monotonic() < end_s:
        try:
            size = os.fstat(2).st_size
            if _LAST_WORDS in os.pread(2, _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)):
                return
        except OSError:
            return
        time.sleep(0.02)


def _params(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = config["port"]
    params.reuse_port = config["is_reserved"]
    params.api_keys = [config["key"]] if config["key"] else []
    params.n_parallel = 1
    params.n_ctx = config["context"]
    params.n_batch = _BATCH
    params.cache_ram_mib = config["cache_mib"]
    # what goes onto which card; 0.2 s that a processor needs not
    params.fit_params = _has_graphics(xllamacpp)
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_metrics = True
    if config["threads"]:
        params.cpuparams.n_threads = config["threads"]
        params.cpuparams_batch.n_threads = config["threads"]
    if config["template"]:
        params.chat_template = config["template"]
    if config["reasoning_budget"] is not None:
        params.sampling.reasoning_budget_tokens = config["reasoning_budget"]
    return params


_BATCH = 256
"""Tokens that are read in one go: the server hears of a stop, and tells how far it is, only between two."""


def _has_graphics(xllamacpp: Any) -> bool:
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != cpu for device in xllamacpp.get_device_info())


def _tell(report: Any, what: dict[str, str]) -> None:
    report.write(json.dumps(what) + "\n")
    report.close()
    if "problem" in what:
        os._exit(3)  # whatever has begun to run in here must not delay the end


def _die_with(parent: int) -> None:
    """End with the parent, also while the interpreter is held by a model that is loading (Linux)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only there

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(0)


def _watch_from_outside() -> None:
    """Go on as a process of its own, while this one ends it with the parent.

    Where the system has no signal for the death of a parent: the interpreter is held while a model loads, so
    no thread in here could notice.
    """
    served = os.fork()
    if not served:
        return
    signal.signal(signal.SIGTERM, lambda *_: os.kill(served, signal.SIGTERM))
    threading.Thread(target=_end_with_stdin, args=(served,), daemon=True).start()
    os.close(1)  # who waits for a report must see its end
    _, status = os.waitpid(served, 0)
    if os.WIFSIGNALED(status):  # whoever started us is to know what it died of
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def _offer_to_out_of_memory() -> None:
    """Let the system, where memory runs out, end this process rather than lmchat or the desktop (Linux)."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - saves pathlib
            file.write("500")
    except OSError:
        pass


def _end_with_stdin(other: int = 0) -> None:
    os.read(0, 1)
    if other:
        os.kill(other, signal.SIGKILL)
    os._exit(0)


def _bound_log(log_bytes: int) -> None:
    """Begin the log anew when it has grown too long; what is written is appended, wherever the end is."""
    while True:
        time.sleep(_LOG_LOOK_S)
        if os.fstat(2).st_size > log_bytes:
            os.ftruncate(2, 0)


if __name__ == "__main__":
    main()
