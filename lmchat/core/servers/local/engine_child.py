"""Program of the engine's child process: llama.cpp's HTTP server with one model.

It is run by its path, and imports nothing of lmchat. The environment variables of `llama-server`
say what to serve; xllamacpp serves it, or the program that the argument names. When stdin is
closed, both end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

_LOG_S = 0.5  # for the library's log thread
_READ_BYTES = 1024
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "LLAMA_ARG_MODEL": ("model.path", str),
    "LLAMA_ARG_ALIAS": ("model_alias", lambda value: {value}),
    "LLAMA_ARG_HOST": ("hostnames", lambda value: [value]),
    "LLAMA_ARG_PORT": ("port", int),
    "LLAMA_API_KEY": ("api_keys", lambda value: [value]),
    "LLAMA_ARG_CTX_SIZE": ("n_ctx", int),
    "LLAMA_ARG_N_PARALLEL": ("n_parallel", int),
    "LLAMA_ARG_BATCH": ("n_batch", int),
    "LLAMA_ARG_CACHE_RAM": ("cache_ram_mib", int),
    "LLAMA_ARG_THREADS": ("cpuparams.n_threads", int),
    "LLAMA_ARG_SLOT_SAVE_PATH": ("slot_save_path", str),
    "LLAMA_ARG_UI": ("ui", lambda value: value != "0"),
}
"""Fields of the library's `CommonParams`, by the variables of `llama-server`."""


def main() -> None:
    """Serve until stdin is closed or the server ends; then this process ends as the server has."""
    os.umask(0o077)  # for kept prompts
    if sys.argv[1:]:
        _run(sys.argv[1])
    else:
        _serve()


def _run(program: str) -> None:
    """Run `llama-server` in the environment of this process."""
    server = subprocess.Popen(  # noqa: S603 - an absolute path, without a shell
        [program],
        stdin=subprocess.DEVNULL,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
    )
    _when_input_ends(partial(_kill, server))
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # it ends before this process
    exit_code = server.wait()
    if exit_code < 0:  # a signal ended it: end by the same one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)


def _kill(server: subprocess.Popen[bytes]) -> None:
    """Kill the program, with what a script has started, then this process."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    server.kill()


def _end_with_parent() -> None:
    """Have the system kill the program even if this process is killed."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _serve() -> None:
    input_end = _when_input_ends(lambda: None)
    try:
        import xllamacpp  # noqa: PLC0415 - 100 MB; it may need a library that is missing

        server = xllamacpp.Server(new_params(xllamacpp))  # returns with the model loaded
    except Exception:  # noqa: BLE001 - of the library
        traceback.print_exc()
        time.sleep(_LOG_S)
        os._exit(1)  # threads of the library must not delay the end
    input_end.join()
    del server  # it ends without this reference


def new_params(xllamacpp: Any) -> Any:
    params = xllamacpp.CommonParams()
    for variable, (field, convert) in _FIELDS.items():
        if variable in os.environ:
            owner, _, name = field.rpartition(".")
            part = getattr(params, owner) if owner else params
            setattr(part, name, convert(os.environ[variable]))
    params.cpuparams_batch.n_threads = params.cpuparams.n_threads
    # decides which parts of the model go onto which graphics card; without a card, 0.2 s are wasted
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    params.fit_params = any(device["type"] != cpu for device in xllamacpp.get_device_info())
    return params


def _when_input_ends(action: Callable[[], object]) -> threading.Thread:
    """Run `action` in a thread and end this process when its parent ends."""

    def wait() -> None:
        while os.read(0, _READ_BYTES):
            pass
        action()
        os._exit(0)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    main()
