"""`lmchat serve` as a program: started at a free port, and ended with its exit code."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.programs import WAIT_S, Cli

CHAT_PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]


@dataclass
class Serving:
    """A running `lmchat serve`."""

    process: subprocess.Popen[bytes]
    url: str  # without `/v1`
    home: Path
    http: httpx.Client

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options) -> httpx.Response:
        return self.http.get(self.url + path, **options)

    def post(self, path: str, value: object = None, **options) -> httpx.Response:
        if value is not None:
            options["content"] = json.dumps(value)
        return self.http.post(self.url + path, **options)

    def chat(self, path: str = CHAT_PATH, **fields):
        return self.post(path, {"model": "tiny", "messages": HI, **fields})

    def stream(self):
        """Ask for an answer that is read while it arrives."""
        return self.http.stream(
            "POST", self.url + CHAT_PATH, json={"model": "tiny", "messages": HI}
        )


@contextmanager
def serving(
    home: Path,
    *,
    url: str = "",
    config: str = "",
    env: dict[str, str] | None = None,
) -> Iterator[Serving]:
    """Run `lmchat serve` while the block runs; `url` is the only server, without it all are found."""
    cli = Cli(home=home, url=url, env=env or {})
    cli.configure(config)
    process = cli.start("serve", "--port", "0")
    try:
        line = process.stdout.readline().decode()
        found = re.search(r"http://\S+?(?=/v1;)", line)
        assert found, (line, process.stderr.read())
        with httpx.Client(timeout=WAIT_S, trust_env=False, verify=False) as http:
            yield Serving(process=process, url=found[0], home=home, http=http)
    finally:
        process.kill()
        process.communicate()
