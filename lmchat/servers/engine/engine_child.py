"""Program of the child process: the HTTP server of llama.cpp, from the extension module xllamacpp.

It is run by its path, and imports nothing of lmchat. One line of JSON on stdin says what to serve;
when stdin is closed, the process ends. One line of JSON on stdout reports readiness or the error.
All other output goes to stderr, the log.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

_BATCH = 256
"""Tokens read at once; the server notices a stop and reports progress only between two batches."""
_CACHE_MIB = 512  # memory that keeps earlier prompts, beyond the window
_LOG_S = 0.5  # time for the log thread of the library to write why a start failed
_SLEEP_S = 86_400.0
_STDOUT = 1
_STDERR = 2  # the log
_EXIT_PROBLEM = 3  # exit code after a report of a problem
_servers: list[Any] = []  # holds the server, which would end when its object is freed


def main() -> None:
    """Start the server that stdin orders, report on stdout, and serve until the process is ended.

    If the start fails, the process exits with `_EXIT_PROBLEM` after the report.
    """
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()

    # only the report goes to stdout: what the library prints there goes to the log
    report_file = os.fdopen(os.dup(_STDOUT), "w")
    os.dup2(_STDERR, _STDOUT)

    report = _start_server(order)
    report_file.write(json.dumps(report) + "\n")
    report_file.close()
    if "address" not in report:
        os._exit(_EXIT_PROBLEM)  # threads of the library must not delay the end
    while True:
        time.sleep(_SLEEP_S)  # signal.pause is missing on Windows


def _end_with_input() -> None:
    """End this process when its parent ends, even if that is killed."""
    sys.stdin.buffer.read()
    os._exit(0)


def _start_server(order: dict[str, Any]) -> dict[str, str]:
    """Start the server, which lives as long as the process, and return the report.

    `order` has the fields of `ServeOrder`, the report those of `Report`.
    """
    try:
        import xllamacpp  # noqa: PLC0415 - 100 MB, and it may be missing
    except ModuleNotFoundError as error:
        return {"error_text": str(error), "module": error.name or ""}
    except ImportError as error:  # it is installed, but cannot be loaded, as without libgomp
        return {"error_text": str(error)}
    try:
        server = xllamacpp.Server(_params(xllamacpp, order))  # returns with the model loaded
    except Exception as error:  # noqa: BLE001 - of the library; the parent reports it
        time.sleep(_LOG_S)  # the exit of this process would cut the log off
        return {"error_text": f"{type(error).__name__}: {error}"}
    _servers.append(server)  # keeps it alive
    return {"address": server.listening_address}


def _params(xllamacpp: Any, order: dict[str, Any]) -> Any:
    """Return the settings of the library for a server of one model, as the order asks for it."""
    params = xllamacpp.CommonParams()
    params.model.path = order["model"]
    params.model_alias = {order["alias"]}  # the library takes a set of names
    params.hostnames = ["127.0.0.1"]
    params.port = order["port"]
    params.api_keys = [order["key"]]
    params.n_parallel = 1  # one answer at a time, with the whole window
    params.n_ctx = order["context"]
    params.n_batch = _BATCH
    params.cache_ram_mib = _CACHE_MIB
    # decides which parts of the model go onto which graphics card; without a card, 0.2 s are wasted
    params.fit_params = _has_graphics_card(xllamacpp)
    params.ui = False
    if order["threads"]:
        params.cpuparams.n_threads = order["threads"]
        params.cpuparams_batch.n_threads = order["threads"]
    return params


def _has_graphics_card(xllamacpp: Any) -> bool:
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != cpu for device in xllamacpp.get_device_info())


if __name__ == "__main__":
    main()
