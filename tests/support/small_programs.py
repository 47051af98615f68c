"""Small programs that stand for servers and editors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HANG = """
import signal, time
signal.alarm(120)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""


def put(folder: Path, name: str, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
    file.chmod(0o755)
    if os.name == "nt":  # which runs a program by the ending of its name
        command = f'@"{sys.executable}" -IS "{file}" %*\n'
        file = folder / f"{name}.cmd"
        file.write_text(command, encoding="utf-8")
    return str(file)
