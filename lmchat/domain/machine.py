"""What this machine tells of itself: who holds a port, and which model servers are installed."""

from __future__ import annotations

from msgspec import Struct

from lmchat.domain.server import Endpoint, Product


class PortHolder(Struct, frozen=True, kw_only=True):
    """Who listens at a port of this machine, as far as this user may see."""

    port: int
    """Where."""
    addresses: tuple[str, ...] = ()
    """On which addresses of this machine, as `127.0.0.1` or `::`."""
    program: str = ""
    """Name of the program, never its arguments: they may hold a key. Empty where it cannot be seen."""
    pid: int | None = None
    """Its process; None where it cannot be seen."""
    user: str = ""
    """Whose it is; empty where that cannot be seen."""

    @property
    def words(self) -> str:
        """Who it is, for a sentence."""
        if self.pid is None:
            return f"a program of user {self.user}" if self.user else "a program that only root may see"
        return f"{self.program or 'a program'} (process {self.pid})"


class Installed(Struct, frozen=True, kw_only=True):
    """A model server that is on this machine, whether it runs or not."""

    product: Product
    """Which."""
    program: str = ""
    """Path of its program on the command line; empty where there is none."""
    folder: str = ""
    """Its folder of data, or where the application stands; empty where there is none."""
    start: tuple[str, ...] = ()
    """The command line that starts its server; empty where there is none, or more must be known."""
    start_words: str = ""
    """How a person starts it: a command, or where to press."""
    endpoint: Endpoint | None = None
    """Where its server will answer, if the environment says another place than the usual one."""
