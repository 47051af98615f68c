"""What the rows share: the server, the places to write to, and how a figure is written."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from statistics import median

from tests.benchmarks.server import PacedServer
from tests.benchmarks.terminal import Drawn

OK = "ok"
MISSED = "MISSED"
_NUMBER = re.compile(r"\d+(?:\.\d+)?|-(?=\s*/|\s*$)")
"""A number, or the dash that stands where nothing is asked."""
_OF_THE_MACHINE = (" ms", " s", " %")  # units of figures that the machine decides
_PAINT_S = 0.15  # first paint of the bare app on the machine for which such limits are set


def verdict(value: str, must: str, slowness: float) -> str:
    """Return what holds of a figure; empty where nothing is asked of it.

    On a slow machine, limits of times and of shares of a core are wider.
    """
    if not must:
        return ""
    scale = max(slowness, 1.0) if value.endswith(_OF_THE_MACHINE) else 1.0
    pairs = zip(_NUMBER.findall(value), _NUMBER.findall(must), strict=False)
    is_over = any(limit != "-" and float(found) > float(limit) * scale for found, limit in pairs)
    return MISSED if is_over else OK


Row = dict[str, str]
PAINTED = "New session"
BARE_PAINTED = "BARE-PAINTED"
PROMPTED = "ready"  # the state of the server, in the panel


class Bench:
    def __init__(self, folder: Path, runs: int) -> None:
        self.folder = folder
        self.runs = runs
        self.server = PacedServer()
        self.homes = 0

    @cached_property
    def slowness(self) -> float:
        """How many times longer the bare app takes to paint first than where the limits were set."""
        return median([self._bare_paint_s() for _ in range(5)]) / _PAINT_S

    def _bare_paint_s(self) -> float:
        drawn = self.bare()
        painted_s = drawn.wait_for(BARE_PAINTED) - drawn.started_s
        drawn.end()
        return painted_s

    def env(self, home: Path | None = None) -> dict[str, str]:
        self.homes += 1
        home = home or self.folder / f"home{self.homes}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LMCHAT_HOME": str(home),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "LMCHAT_ENDPOINT": self.server.url,
        }

    def copy_of(self, home: Path) -> Path:
        """Return a copy of a place, for what a run writes there."""
        self.homes += 1
        return Path(shutil.copytree(home, self.folder / f"copy{self.homes}"))

    def lmchat(self, *argv: str, home: Path | None = None) -> Drawn:
        return Drawn([sys.executable, "-m", "lmchat", *argv], self.env(home))

    def ready_for(self, text: str, rate: float) -> Drawn:
        """Return lmchat at its prompt; the server will answer with a text at so many pieces a second."""
        drawn = self.lmchat()
        drawn.wait_for(PROMPTED)
        self.server.text = text
        self.server.rate = rate
        self.server.done.clear()
        drawn.rest()
        return drawn

    def still(self, home: Path) -> Path:
        """Let a place move nothing on its screen by itself, not even a cursor."""
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text("[ui]\nreduced_motion = true\n")
        return home

    def bare(self, *argv: str) -> Drawn:
        return Drawn([sys.executable, "-m", "tests.benchmarks.bare", *argv], self.env())


def row(figure: str, value: str, must: str = "") -> Row:
    return {"figure": figure, "value": value, "must": must}


def ratio_row(figure: str, ours: list[float], base: list[float], must: str = "") -> Row:
    return row(figure, f"{median(ours) / median(base):.2f} x", must)


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


def cpu_of(argv: list[str], env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
