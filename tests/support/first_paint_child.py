"""lmchat's own screen, which ends with its first paint and writes down what was imported until then.

`python -m tests.support.first_paint_child FILE` takes no further arguments.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path


def main(file: Path) -> int:
    from lmchat.cli import main as cli  # noqa: PLC0415 - as `lmchat` imports it
    from lmchat.tui.app.lmchat_app import LMChatApp  # noqa: PLC0415 - after it

    def end(app: LMChatApp) -> None:
        found = {"modules": sorted(sys.modules), "dataclasses": _dataclasses()}
        file.write_text(json.dumps(found), encoding="utf-8")
        app.exit()

    LMChatApp.on_ready = end
    return cli.main([])


def _dataclasses() -> list[str]:
    return sorted(
        f"{name}.{thing.__qualname__}"
        for name, module in list(sys.modules.items())
        if name.startswith("lmchat.")
        for thing in vars(module).values()
        if isinstance(thing, type) and thing.__module__ == name and dataclasses.is_dataclass(thing)
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
