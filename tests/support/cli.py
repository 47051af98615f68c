"""Runs lmchat's commands as people and scripts do: as a child process, in a home of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import LMCHAT, WAIT_S, run, start


@dataclass
class Cli:
    """Commands of one user, with one server or none."""

    home: Path
    """Where everything of this user is; `lmchat/` in it holds all files."""
    url: str = ""
    """The server that is named to each command."""
    env: dict[str, str] = field(default_factory=dict)
    """More of the environment."""
    wait_s: float = WAIT_S
    """How long a command may take."""

    @property
    def folder(self) -> Path:
        """`LMCHAT_HOME`."""
        return self.home / "lmchat"

    def argv(self, *words: str) -> list[str]:
        """Return the whole command."""
        return [*LMCHAT, *(["--endpoint", self.url] if self.url else []), *words]

    def __call__(self, *words: str, stdin: str | bytes = b"", **env: str):
        """Run a command to its end."""
        return run(self.argv(*words), home=self.home, stdin=stdin, env=self.env | env, wait_s=self.wait_s)

    def json(self, *words: str, stdin: str | bytes = b"", code: int = 0):
        """Run a command and return its one JSON document."""
        done = self(*words, stdin=stdin)
        assert done.returncode == code, done
        return json.loads(done.stdout)

    def start(self, *words: str, **options):
        """Start a command."""
        return start(self.argv(*words), home=self.home, env=self.env, **options)

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config.toml").write_text(text)
