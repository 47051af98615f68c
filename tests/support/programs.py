"""Child processes: programs in a clean environment, lmchat commands, and waits for other processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from unittest.mock import patch

import psutil

from lmchat.__main__ import main
from lmchat.core.attachments.shell_command import ShellCommand

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
LMCHAT = (PYTHON, "-m", "lmchat")
WAIT_S = 30


def clean_environment(home: Path | None = None) -> dict[str, str]:
    """An environment with nothing of the person's own: no servers, keys, proxies or terminal multiplexer."""
    guard = ("PYTHONPATH", "TEST_NETWORK_REPORT", "PYTEST_CURRENT_TEST")  # tests leave no machine
    names = ("PATH", "SYSTEMROOT", *guard)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    place = str(home) if home else "/nonexistent"
    return kept | {
        "HOME": place,
        "LMCHAT_HOME": f"{place}/lmchat",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


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
    out, errors = (text.decode().replace(os.linesep, "\n") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, _steady(errors))


def _steady(errors: str) -> str:
    """Leave out what depends on the load of this machine: that tool servers take their time."""
    return re.sub(r"^lmchat: starting .*\n", "", errors, flags=re.MULTILINE)


def start(
    argv: Sequence[str | Path],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the tests say what runs
        [str(word) for word in argv],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=clean_environment(home) | dict(env or {}),
        cwd=ROOT,
    )


@dataclass
class Cli:
    """Commands of one user, with one server or none."""

    home: Path  # where everything of this user is; `lmchat/` in it holds all files
    url: str = ""  # the server that is named to each command
    env: dict[str, str] = field(default_factory=dict)  # more of the environment
    wait_s: float = WAIT_S  # how long a command may take
    cwd: Path = ROOT  # where the commands run

    @property
    def folder(self) -> Path:
        return self.home / "lmchat"

    def argv(self, *words: str) -> list[str]:
        """Name the server to commands that take one."""
        import pytest  # noqa: PLC0415 - tests of start-up import this module

        parser = pytest.importorskip(
            "lmchat.app.cli.parser"
        )  # the lower rooms are tested without it
        takes_one = "--endpoint" in parser.split_line(words).command.common
        named = ["--endpoint", self.url] if self.url and takes_one else []
        return [*LMCHAT, *named, *words]

    def __call__(self, *words: str, stdin: str | bytes = b"", **env: str):
        return run(
            self.argv(*words),
            home=self.home,
            stdin=stdin,
            env=self.env | env,
            cwd=self.cwd,
            wait_s=self.wait_s,
        )

    def json(self, *words: str, stdin: str | bytes = b"", code: int = 0):
        done = self(*words, stdin=stdin)
        assert done.returncode == code, done
        return json.loads(done.stdout)

    def start(self, *words: str, **options):
        return start(self.argv(*words), home=self.home, env=self.env, **options)

    def configure(self, text: str) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config.toml").write_text(text, encoding="utf-8")

    def add_servers(self, **servers: Mapping[str, object]) -> None:
        """Let `mcp.json` have these tool servers alone."""
        self.folder.mkdir(exist_ok=True)
        text = json.dumps({"mcpServers": servers})
        (self.folder / "mcp.json").write_text(text, encoding="utf-8")


class Inside(Cli):
    """The same without a process for each command, where a test is about what it prints, sends and writes."""

    def __call__(self, *words: str, stdin: str | bytes = b"", **env: str):
        if any(name.startswith("PYTHON") for name in self.env | env):
            return super().__call__(*words, stdin=stdin, **env)
        argv = self.argv(*words)
        root = logging.getLogger()
        told = stdin.encode() if isinstance(stdin, str) else stdin
        handlers = [*root.handlers]
        levels = [(one, one.level) for one in (root, logging.getLogger("lmchat"))]
        with ExitStack() as stack:
            given = stack.enter_context(TemporaryFile())
            given.write(told)
            given.seek(0)
            files = [
                stack.enter_context(os.fdopen(os.dup(given.fileno()), encoding="utf-8", newline=""))
            ]
            files += [
                stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline=""))
                for _ in range(2)
            ]
            for name, file in zip(("stdin", "stdout", "stderr"), files, strict=True):
                stack.enter_context(patch.object(sys, name, file))
            around = clean_environment(self.home) | self.env | env
            stack.enter_context(patch.dict(os.environ, around, clear=True))
            stack.enter_context(chdir(self.cwd))
            try:
                code = main(argv[len(LMCHAT) :])
            finally:
                for handler in {*root.handlers} - {*handlers}:
                    root.removeHandler(handler)
                    handler.close()
                for logger, level in levels:
                    logger.setLevel(level)
            for file in files[1:]:
                file.seek(0)
            out, errors = (file.read() for file in files[1:])
            return subprocess.CompletedProcess(argv, code, out, _steady(errors))


FUNCTIONS = '''
def add(a: int, b: int = 2) -> int:
    """Add two numbers.\x1b[31m"""
    return a + b


def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)
'''


def write_tools(cli: Cli, text: str = FUNCTIONS, config: str = "") -> None:
    """Give a user functions that a model may call."""
    cli.configure(config)
    (cli.folder / "tools.py").write_text(text, encoding="utf-8")


SH = {**os.environ, "SHELL": "/bin/sh"}


async def ran(
    text: str, *, environ=SH, shell: str = "", time_limit_s: float = 60.0
) -> ShellCommand:
    """Run a shell command as a prompt with `!` does, to its end."""
    command = ShellCommand(text, environ, shell=shell, time_limit_s=time_limit_s)
    await command.run()
    return command


_LOOK_S = 0.01


async def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for: {what}"
        await asyncio.sleep(_LOOK_S)


def wait_until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for: {what}"
        time.sleep(_LOOK_S)


def put_script(file: Path, text: str) -> Path:
    """Write a program in the language of `/bin/sh`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # by another process: a child that a thread starts while this one writes would keep the file
    # open for a moment, and a file that is open for writing cannot be run (ETXTBSY)
    script = f"#!/bin/sh\n{text}\n".encode()
    subprocess.run(["/bin/dd", "status=none", f"of={file}"], input=script, check=True)  # noqa: S603 - ours
    file.chmod(0o755)
    return file


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def processes(*words: str) -> list[int]:
    """Return the programs whose arguments have all of these words in them."""
    return [
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if all(word in "\0".join(one.info["cmdline"] or ()) for word in words)
    ]


def children_of(parent: int) -> list[int]:
    return [one.pid for one in psutil.Process(parent).children()]
