"""A loopback port that stays ours while the child that listens there is being replaced."""

from __future__ import annotations

import socket
from contextlib import suppress

HOST = "127.0.0.1"


class ReservedPort:
    """Holds a free port bound without listening there.

    Nobody else gets the port while there is no child, so nobody else is ever shown the key. The child binds
    it beside us with SO_REUSEPORT, which the system grants to processes of the same user only; a socket that
    does not listen takes no connections away from it.
    """

    def __init__(self) -> None:
        """Take a free port.

        Raises:
            OSError: there is none.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.can_share = False
        """Whether the child can bind the port while we hold it."""
        with suppress(AttributeError, OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self.can_share = True
        try:
            self._socket.bind((HOST, 0))
        except OSError:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]
        """The port."""
        if not self.can_share:
            self._socket.close()

    def close(self) -> None:
        """Give it back."""
        self._socket.close()
