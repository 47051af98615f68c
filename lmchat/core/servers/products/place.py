"""Where a product is, how it is recognised, and its program on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.base.json_values import JsonObject, str_or_empty
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.reply import Reply


class Clue(Struct, frozen=True, kw_only=True):
    """Sign of a product in its reply to a request for the list of models; all that is set fits."""

    header: str = ""  # pattern in "name: value"
    owners: frozenset[str] = frozenset()  # `owned_by` of each record is one of them
    created: int | None = None  # of each record
    fields: frozenset[str] = frozenset()  # of each record, exactly
    ids: str = ""  # pattern in the `id` of each record
    is_null: bool = False  # the list is `null`
    refusal: str = ""  # pattern in the body of one
    is_hint: bool = False
    """Other products may send the same: the product has to be proved."""

    def fits(self, reply: Reply, records: list[JsonObject]) -> bool:
        if self.refusal and (reply.is_good or not re.search(self.refusal, reply.text)):
            return False
        if self.is_null and reply.object.get("data", "") is not None:
            return False
        if not self.fits_headers(reply):
            return False
        if not (self.owners or self.fields or self.ids or self.created is not None):
            return bool(self.refusal or self.header or self.is_null)
        return bool(records) and all(self._fits_record(record) for record in records)

    def fits_headers(self, reply: Reply) -> bool:
        """Return True for any reply if no header is set."""
        headers = (f"{name}: {value}" for name, value in reply.headers.items())
        return not self.header or any(re.search(self.header, header) for header in headers)

    def _fits_record(self, record: JsonObject) -> bool:
        return (
            (not self.owners or str_or_empty(record.get("owned_by")) in self.owners)
            and (self.created is None or record.get("created") == self.created)
            and (not self.fields or record.keys() == self.fields)
            and (not self.ids or bool(re.search(self.ids, str_or_empty(record.get("id")))))
        )


class Proof(Struct, frozen=True):
    """Path at which only servers of one product send the pattern; asked for only once."""

    path: str
    pattern: str
    needs_hint: bool = False  # alone, any server may send it


class Place(Struct, frozen=True, kw_only=True):
    """Addresses of a product, and what recognises it there."""

    ports: tuple[int, ...] = ()  # default ports, the likeliest first
    path: str = "/v1"  # path of its OpenAI-like API
    hosts: tuple[str, ...] = ()
    """It alone answers there; no request is needed to recognise it."""
    clues: tuple[Clue, ...] = ()
    proof: Proof | None = None
    """Asked for after a hint, or where it is expected."""
    is_offered: bool = False
    """A search shows it even if nothing answers and it is not installed."""
    hides_blocked_hosts: bool = False  # a 403 without words is about the name of the host
    named_endpoint: Callable[[Mapping[str, str]], Endpoint | None] = lambda _: None
    """Reads an environment variable of the product; None if it is not usable."""
    last_port: Callable[[], int | None] = lambda: None
    """Used last on this machine, by a file of it; may block."""


class LocalProgram(Struct, frozen=True, kw_only=True):
    """Program of a product on this machine."""

    name: str = ""  # on PATH; empty: it is not looked for
    folders: tuple[str, ...] = ()  # show that it is installed; below the home folder, or absolute
    arguments: str = ""
    """Start the server; empty if the user has to choose more."""
    install_folders: Callable[[Path], list[Path]] = lambda _: []
    """Further `folders`, below that of the user; their `bin` may have the program."""
    model_folders: Callable[[Mapping[str, str], Path], list[Path]] = lambda *_: []
    """Folders of its GGUF files, by the environment and the user's folder."""
    is_open: Callable[[], bool] = lambda: False
    """It runs on this machine; asked if its server does not answer (R-3)."""
