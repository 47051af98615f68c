"""The engine's child with settings that lmchat itself does not use.

`varied_child.py [--think TEMPLATE TOKENS] [--sleep SECONDS] [--slots NUMBER]`: the template of a model
that thinks, with a limit for its thoughts; the time without a request after which the model is taken out
of memory; how many answers it writes at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lmchat.servers.engine import engine_program as llama_program

_parser = argparse.ArgumentParser()
_parser.add_argument("--think", nargs=2)
_parser.add_argument("--sleep", type=int)
_parser.add_argument("--slots", type=int)
_options = _parser.parse_args()
_plain = llama_program._params


def _varied(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = _plain(xllamacpp, config)
    if _options.think is not None:
        template, tokens = _options.think
        params.chat_template = Path(template).read_text()
        params.sampling.reasoning_budget_tokens = int(tokens)
    if _options.sleep is not None:
        params.sleep_idle_seconds = _options.sleep
    if _options.slots is not None:
        params.n_parallel = _options.slots
    return params


llama_program._params = _varied
llama_program.main()
