"""Reply of a server that was read as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct

from lmchat.servers.http.error_body import is_error
from lmchat.servers.http.json_values import JsonObject, NotJsonError, decode, dict_or_empty

MAX_REPLY_BYTES = 16 * 1024 * 1024
_SUCCESSES = range(200, 300)


class Reply(Struct, frozen=True, kw_only=True, dict=True):
    """Whole reply; its status alone does not tell whether it is an error (R-1)."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    elapsed_ms: float  # from sending the request to the last byte

    @cached_property
    def value(self) -> Any:
        """None if the body is not JSON."""
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def object(self) -> JsonObject:
        """Empty if the body is no JSON object."""
        return dict_or_empty(self.value)

    @property
    def is_good(self) -> bool:
        """Whether the status is a success, and the body is JSON and no error."""
        if self.status not in _SUCCESSES or self.value is None:
            return False
        return not is_error(self.value)

    @property
    def is_bare_ok(self) -> bool:
        """Whether it says only that an order was carried out, as llama-swap does."""
        return self.status in _SUCCESSES and self.body.strip() in (b"", b"OK")

    @property
    def is_unknown_path(self) -> bool:
        """Whether the server does not have the path; LM Studio says so with status 200."""
        has_path_status = self.status in (404, 405, 501)
        return has_path_status or "Unexpected endpoint" in str(self.object.get("error", ""))
