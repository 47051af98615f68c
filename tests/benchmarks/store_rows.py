"""What a kill costs, and what is written for an answer."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Role, TextPart, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.storage.store import SqliteStore
from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.texts import mixed

KILLS = 40
"""For each run of five; 200 in all."""
_PIECE = 68
"""Characters that come in 170 ms at 100 tokens a second."""


def killed(bench: Bench) -> Iterator[Row]:
    """`lmchat ask --save` and SIGKILL at random moments of its answer; what the server had sent, on the disk."""
    dice, lost_ms, lost_chars = random.Random(1), [], []  # noqa: S311 - repeats
    bench.server.text, bench.server.rate = mixed(40_000), 100
    for number in range(KILLS * bench.runs):
        home = bench.folder / f"killed{number}"
        argv = [sys.executable, "-m", "lmchat", "ask", "--save", "go"]
        bench.server.written.clear()
        with subprocess.Popen(argv, env=bench.env(home), stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            time.sleep(dice.uniform(0, 2))
            killed_s = time.perf_counter()
            process.kill()
        sent = [(at_s, chars) for at_s, chars in bench.server.written if at_s <= killed_s]
        kept = len(asyncio.run(_last(home)).text)
        lost_chars.append(max(sent[-1][1] - kept, 0))
        lost_ms.append(max((killed_s - at_s for at_s, chars in sent if chars > kept), default=0) * 1e3)
    figure = f"{KILLS * bench.runs} kills in mid-answer: text lost, worst / median"
    yield row(figure, f"{max(lost_ms):.0f} / {median(lost_ms):.0f} ms", "<= 250 ms")
    yield row("  the same in characters", f"{max(lost_chars)} / {median(lost_chars):.0f}")


async def _last(home: Path) -> ChatMessage:
    store = SqliteStore(home / "sessions.db")
    session = await store.open_session((await store.list_sessions())[0].session_id)
    await store.aclose()
    return session.messages[-1]


def written(bench: Bench) -> Iterator[Row]:
    """Bytes that this process hands to the system for an answer at 100 tokens a second, 4 characters each."""
    if not Path("/proc/self/io").exists():
        return
    for chars in (2_000, 20_000, 200_000):
        came, ended = asyncio.run(_written(bench.folder / f"written{chars}.db", mixed(chars)))
        figure = f"written for an answer of {chars // 1000} kB while it comes : its text"
        yield row(figure, f"{came / chars:.2f} x", "<= 3 x")
        yield row("  for its rows, their index and the checkpoint, once", f"{ended / 1e3:.0f} kB")


async def _written(file: Path, text: str) -> tuple[int, int]:
    store = SqliteStore(file)
    header = SessionHeader(session_id=new_id(), title="Streams", created_at=now(), updated_at=now())
    prompt = text_message(Role.USER, "go")
    await store.append(header, prompt)
    answer = replace(
        text_message(Role.ASSISTANT, text, parent_id=prompt.message_id), state=AnswerState.STREAMING, parts=()
    )
    start = _handed_over()
    await store.begin_answer(header.session_id, answer)
    begun = _handed_over()
    for at in range(0, len(text), _PIECE):
        await store.add_pieces(answer.message_id, [("text", text[at : at + _PIECE])])
    came = _handed_over()
    whole = replace(answer, parts=(TextPart(text=text),), state=AnswerState.COMPLETE)
    await store.finish(header.session_id, whole)
    await store.aclose()
    return came - begun, _handed_over() - came + begun - start


def _handed_over() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
