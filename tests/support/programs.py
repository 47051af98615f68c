"""Runs programs as real child processes with a clean environment: pipes, exit codes, signals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.pty_program import ROOT, clean_environment

PYTHON = sys.executable
LMCHAT = (PYTHON, "-m", "lmchat")
WAIT_S = 15


def run(
    argv: Sequence[str | bytes | Path],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | bytes = b"",
    cwd: Path = ROOT,
    wait_s: float = WAIT_S,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed, decoded as UTF-8."""
    done = subprocess.run(  # noqa: S603 - the tests say what runs
        [word if isinstance(word, bytes) else str(word) for word in argv],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=clean_environment(home) | dict(env or {}),
        cwd=cwd,
        timeout=wait_s,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def start(
    argv: Sequence[str | Path],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program whose stdout and stderr are pipes; the caller ends it."""
    return subprocess.Popen(  # noqa: S603 - the tests say what runs
        [str(word) for word in argv],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(home) | dict(env or {}),
        cwd=ROOT,
    )
