"""The engine's child with the template of a model that thinks: `thinking_child.py TEMPLATE TOKENS`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lmchat.engine import child

_plain = child._params


def _thinking(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = _plain(xllamacpp, config)
    params.chat_template = Path(sys.argv[1]).read_text()
    params.sampling.reasoning_budget_tokens = int(sys.argv[2])
    return params


child._params = _thinking
child.main()
