"""A log that takes many turns, one after the other: `python -m tests.benchmarks.soak_child TURNS TOKENS`; JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.event import TextDelta
from lmchat.domain.message import AnswerState, TextPart
from tests.benchmarks.texts import KINDS
from tests.support.chat_log_app import LogApp, question, streaming

TOKEN_CHARS = 4
FRAME_TOKENS = 16
"""Tokens between two frames: 400 a second at 25 frames."""
ENDS = 20
"""So many turns at the beginning and at the end are compared."""


async def soak(turns: int, tokens: int) -> dict[str, float]:
    """Return CPU for 1k tokens at the beginning and the end, and memory for the text between them."""
    costs: list[float] = []
    sizes: dict[int, int] = {}
    async with LogApp().run_test(size=(120, 40)) as pilot:
        log = pilot.app.log_view
        for turn in range(turns):
            text = f"Turn {turn}.\n\n" + KINDS["mixed"](tokens * TOKEN_CHARS)
            begun_s = time.process_time()
            await _turn(log, text)
            costs.append((time.process_time() - begun_s) / tokens * 1_000)
            if turn + 1 in (ENDS, turns):
                await pilot.pause()
                gc.collect()
                sizes[turn + 1] = _resident_bytes()
        lines = log.document.total
    added = (turns - ENDS) * len(KINDS["mixed"](tokens * TOKEN_CHARS).encode())
    return {
        "first_s": sorted(costs[:ENDS])[ENDS // 2],
        "last_s": sorted(costs[-ENDS:])[ENDS // 2],
        "ratio": (sizes[turns] - sizes[ENDS]) / added,
        "text_mb": added / 1e6,
        "lines": lines,
    }


async def _turn(log, text: str) -> None:
    log.append(question("And what else?"))
    message = streaming()
    log.begin_answer(message)
    for number, start in enumerate(range(0, len(text), TOKEN_CHARS)):
        await log.apply(TextDelta(text=text[start : start + TOKEN_CHARS]))
        if number % FRAME_TOKENS == FRAME_TOKENS - 1:
            log.flush()
            log.render_lines(log.size.region)
    log.finish(replace(message, parts=(TextPart(text=text),), state=AnswerState.COMPLETE))
    await asyncio.sleep(0)


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(soak(*map(int, sys.argv[1:])))))
