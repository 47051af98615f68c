"""Program of the child process: the HTTP server of llama.cpp, from the extension module xllamacpp.

Run by path under the watchdog, without lmchat. One line of JSON on stdin says what to serve.
One line of JSON on stdout reports readiness or the error. All other output goes to stderr, the log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import Any

_BATCH = 256
"""Tokens read at once; the server notices a stop and reports progress only between two batches."""
_CACHE_MIB = 512  # for earlier prompts, beyond the window
_LOG_TAIL_BYTES = 512
_LAST_WORDS = b"exiting due to"
_LAST_WORDS_S = 2.0
_FAR_S = 86_400.0
_OOM_SCORE = "/proc/self/oom_score_adj"
_kept: list[Any] = []  # the server, which ends with its object


def main() -> None:
    """Serve until the process is ended."""
    config = json.loads(sys.stdin.buffer.readline())
    _offer_to_out_of_memory()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    result = _serve(config)
    report.write(json.dumps(result) + "\n")
    report.close()
    if "problem" in result:
        os._exit(3)  # threads of the library must not delay the end
    while True:
        time.sleep(_FAR_S)  # signal.pause is missing on Windows


def _serve(config: dict[str, Any]) -> dict[str, str]:
    """Return the report; the server lives as long as the process."""
    try:
        import xllamacpp  # noqa: PLC0415 - 100 MB, and it may be missing
    except ImportError as error:
        return {"problem": "import", "words": str(error), "module": error.name or ""}
    if not config["model"]:  # only the import was to be tried
        return {"address": "nowhere"}
    try:
        server = xllamacpp.Server(_params(xllamacpp, config))  # returns with the model loaded
    except Exception as error:  # noqa: BLE001 - of the library; the parent reports it
        _await_last_words()
        return {"problem": "start", "words": f"{type(error).__name__}: {error}"}
    _kept.append(server)
    return {"address": server.listening_address}


def _params(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = config["port"]
    params.api_keys = [config["key"]] if config["key"] else []
    params.n_parallel = 1
    params.n_ctx = config["context"]
    params.n_batch = _BATCH
    params.cache_ram_mib = _CACHE_MIB
    # decides what goes onto which graphics card; 0.2 s that are wasted without one
    params.fit_params = _has_graphics(xllamacpp)
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_metrics = True
    if config["threads"]:
        params.cpuparams.n_threads = config["threads"]
        params.cpuparams_batch.n_threads = config["threads"]
    return params


def _has_graphics(xllamacpp: Any) -> bool:
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != cpu for device in xllamacpp.get_device_info())


def _await_last_words() -> None:
    """Give the library's log thread time to write the reason before exit."""
    end_s = time.monotonic() + _LAST_WORDS_S
    while time.monotonic() < end_s:
        try:
            size = os.fstat(2).st_size
            os.lseek(2, max(0, size - _LOG_TAIL_BYTES), os.SEEK_SET)  # it is open for appending
            if _LAST_WORDS in os.read(2, _LOG_TAIL_BYTES):
                return
        except OSError:  # the log is no file
            return
        time.sleep(0.02)


def _offer_to_out_of_memory() -> None:
    """Let Linux kill this process first when memory runs out."""
    # only Linux has this file; `open` saves the import of pathlib
    with suppress(OSError), open(_OOM_SCORE, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("500")


if __name__ == "__main__":
    main()
