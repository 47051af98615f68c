"""Programs of this machine: installed servers, starts of them, and the holders of ports."""

from __future__ import annotations

import shlex
from itertools import takewhile
from pathlib import PurePath

from msgspec import Struct

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.server import Endpoint


class ServerStart(Struct, frozen=True, kw_only=True):
    """A command line that starts a server; run without a shell."""

    product: Product
    argv: tuple[str, ...]
    endpoint: Endpoint
    lifetime: Lifetime

    @property
    def command(self) -> str:
        return shlex.join(self.argv)

    @property
    def short(self) -> str:
        """Program and verbs, without folder and options."""
        verbs = takewhile(lambda word: not word.startswith("-"), self.argv[1:])
        return " ".join((PurePath(self.argv[0]).name, *verbs))


class PortHolder(Struct, frozen=True, kw_only=True):
    """Program that listens at a port."""

    program: str
    pid: int
    user: str


class Installed(Struct, frozen=True, kw_only=True):
    """A model server that is installed on this machine."""

    product: Product
    program: str = ""
    start: tuple[str, ...] = ()
    start_words: str = ""
