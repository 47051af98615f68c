"""Programs of this machine: installed servers, commands that start them."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from msgspec import Struct

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint


class ServerStart(Struct, frozen=True, kw_only=True):
    """A command line that starts a server; run without a shell."""

    product: Product
    argv: tuple[str, ...]
    endpoint: Endpoint

    @property
    def command(self) -> str:
        """The command line as a person would type it."""
        return shlex.join(self.argv)

    @property
    def short(self) -> str:
        """The command line without the folder of the program: `lms server start`."""
        return " ".join((PurePath(self.argv[0]).name, *self.argv[1:]))


class Installed(Struct, frozen=True, kw_only=True):
    """A model server that is installed on this machine."""

    product: Product
    program: str = ""  # path of its program; empty if only its app or folders were found
    start: tuple[str, ...] = ()  # command that starts the server; empty: lmchat cannot start it
    start_words: str = ""  # how a person starts it
