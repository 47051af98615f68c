"""A whole answer of a server to a question that is not a chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lmchat.proxy.error_bodies import is_error
from lmchat.proxy.json_values import NotJsonError, decode, mapping

_OK = range(200, 300)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers and body; a status alone proves nothing (R-1)."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """All of it."""
    elapsed_ms: float
    """From asking to the last byte."""

    @cached_property
    def value(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        return mapping(self.value)

    @property
    def is_good(self) -> bool:
        """Whether status and body tell of success."""
        return self.status in _OK and self.value is not None and not is_error(self.value)

    @property
    def is_unknown_path(self) -> bool:
        """Whether the server does not know what was asked, as LM Studio says it (status 200) or others do."""
        return self.status in (404, 405) or "Unexpected endpoint" in str(self.object.get("error", ""))
