"""The engine's child with a model that thinks: `thinking_child.py TEMPLATE TOKENS`.

The template is that of such a model; its thoughts are cut after so many tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lmchat.servers.engine import engine_child

_template, _tokens = sys.argv[1:]
_plain = engine_child._params


def _thinking(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = _plain(xllamacpp, config)
    params.chat_template = Path(_template).read_text()
    params.sampling.reasoning_budget_tokens = int(_tokens)
    return params


engine_child._params = _thinking
engine_child.main()
