"""The engine's child with a model that thinks: `thinking_child.py TEMPLATE TOKENS`.

The template is that of such a model; its thoughts are cut after so many tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lmchat.core.servers.local import engine_child

_template, _tokens = sys.argv[1:]
_plain = engine_child.new_params


def _thinking(xllamacpp: Any) -> Any:
    params = _plain(xllamacpp)
    params.chat_template = Path(_template).read_text(encoding="utf-8")
    params.sampling.reasoning_budget_tokens = int(_tokens)
    return params


engine_child.new_params = _thinking
del sys.argv[1:]  # they name no program
engine_child.main()
