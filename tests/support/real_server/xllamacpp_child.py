"""Serves a model with llama.cpp's own HTTP server inside the extension module xllamacpp.

One argument, a JSON object. Ends at SIGTERM, and when standard input ends, as it does when the parent dies in
whatever way.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    config = json.loads(sys.argv[1])
    sys.path.insert(0, config["library"])
    import xllamacpp  # noqa: PLC0415 - it is found only now

    # os._exit: a generation on its way must not delay the end
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    server = xllamacpp.Server(_params(xllamacpp, config))  # returns once the model is loaded
    print("listening on", server.listening_address, flush=True)  # noqa: T201 - what the parent waits for
    while True:
        signal.pause()


def _end_with_stdin() -> None:
    os.read(0, 1)
    os._exit(0)


def _params(xllamacpp, config):
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = config["port"]
    params.n_parallel = 1
    params.n_ctx = config["ctx"]
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.fit_params = False
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.api_keys = [config["api_key"]] if config["api_key"] else []
    if config["template"]:
        params.chat_template = Path(config["template"]).read_text()
        params.sampling.reasoning_budget_tokens = config["reasoning"]
    return params


if __name__ == "__main__":
    main()
