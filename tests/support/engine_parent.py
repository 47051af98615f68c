"""A program that runs the built-in engine, says where as one line of JSON, and then does nothing.

Run it with the folder for its log and the model file as arguments.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from lmchat.config.settings import LocalSettings
from lmchat.domain.engine import ModelFile
from lmchat.engine.engine import LocalEngine


async def main(folder: Path, model: Path) -> None:
    engine = LocalEngine(
        LocalSettings(context=512, threads=1),
        folder=folder,
        log_file=folder / "engine.log",
        environ=os.environ,
    )
    endpoint = await engine.start(ModelFile(path=model, name="tiny", size_bytes=1))
    child = engine._child
    assert child is not None
    print(json.dumps({"pid": child.pid, "port": endpoint.port, "key": engine.key}), flush=True)  # noqa: T201 - for the test that started it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
