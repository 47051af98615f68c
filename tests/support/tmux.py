"""A second terminal: tmux, fed with the bytes that a program wrote to the first one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest

_CONFIG = """
set -g status off
set -g default-terminal tmux-256color
set -g history-limit 1000
"""


class Tmux:
    """One pane that shows what is fed to it; `folder` gets its socket."""

    def __init__(self, folder: Path, columns: int, lines: int) -> None:
        program = shutil.which("tmux")
        if program is None:
            pytest.skip("tmux is not installed here")
        fifo = folder / "bytes"
        config = folder / "tmux.conf"
        os.mkfifo(fifo)
        config.write_text(_CONFIG, encoding="utf-8")
        self._tmux = (program, "-u", "-S", str(folder / "socket"), "-f", str(config))
        size = ("-x", str(columns), "-y", str(lines))
        self._run("new-session", "-d", *size, f"stty raw -echo; exec cat '{fifo}'")
        self._bytes = fifo.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bytes.close()
        self._run("kill-server")

    def feed(self, data: bytes) -> None:
        while data:
            data = data[self._bytes.write(data) or 0 :]

    def resize(self, columns: int, lines: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def rows(self) -> str:
        """Return the rows of the screen, with the colours of their cells as control sequences."""
        return self._run("capture-pane", "-p", "-e", "-N")

    def _run(self, *words: str) -> str:
        environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(  # noqa: S603 - as above
            [*self._tmux, *words], env=environ, capture_output=True, check=False
        )
        return done.stdout.decode()
