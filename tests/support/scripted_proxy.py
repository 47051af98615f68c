"""A forward proxy: what is asked through it is played by itself, whatever the host."""

from __future__ import annotations

from tests.support.scripted_replies import Reply
from tests.support.scripted_server import ScriptedServer, Seen


class ScriptedProxy(ScriptedServer):
    """Takes `GET http://host/path` as `GET /path`; the host stays in the header."""

    def _choose(self, seen: Seen) -> Reply:
        if seen.path.startswith("http://"):
            seen.path = "/" + seen.path.removeprefix("http://").partition("/")[2]
        return super()._choose(seen)
