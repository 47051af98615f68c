"""A model server that lmchat may start for the user: which command, and how long what it starts lives."""

from __future__ import annotations

import shlex
from enum import Enum, auto
from pathlib import PurePath

from msgspec import Struct

from lmchat.domain.server import Endpoint, Product


class Lifetime(Enum):
    """What becomes of the server when lmchat ends."""

    BRIEF = auto()
    """The command ends by itself; the server belongs to a program that runs anyway, and goes on."""
    FREE = auto()
    """The command is the server, and goes on."""
    TIED = auto()
    """The command is the server, and ends with lmchat, however lmchat ends."""


class ServerStart(Struct, frozen=True, kw_only=True):
    """A command line that starts a server; run as it stands, by no shell, and only when the user says so."""

    product: Product
    """What it starts."""
    argv: tuple[str, ...]
    """Program, as a path, and its arguments."""
    endpoint: Endpoint
    """Where the server will answer."""
    lifetime: Lifetime
    """How long the server lives."""

    @property
    def command(self) -> str:
        """The command as a person would type it; it may hold anything."""
        return shlex.join(self.argv)

    @property
    def short(self) -> str:
        """Program and verbs without folder and options, for sentences."""
        verbs = []
        for word in self.argv[1:]:
            if word.startswith("-"):
                break
            verbs.append(word)
        return " ".join((PurePath(self.argv[0]).name, *verbs))
