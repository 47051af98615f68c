"""`python -m tests.support.arrival_child FOLDER` finds a server; prints which of our modules that took."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.support.desktop import desktop


async def arrive(folder: Path) -> list[str]:
    """Run the app until there is a server and a model."""
    async with desktop(folder) as desk:
        await desk.ready()
        return sorted(name for name in sys.modules if name.startswith("lmchat."))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(arrive(Path(sys.argv[1])))))  # noqa: T201 - for the test
