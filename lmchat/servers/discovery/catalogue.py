"""List of the models of all servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from lmchat.config.state import State
from lmchat.errors import LMChatError
from lmchat.servers.discovery.status import ServerStatus, usable_of
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo, ModelList


class ModelSource(Protocol):
    """All model servers, asked for their models; every coroutine may raise `LMChatError`."""

    async def detect(
        self, *, named: Sequence[Endpoint] = (), is_counted: bool = True
    ) -> tuple[ServerStatus, ...]:
        """Probe all usual addresses and the `named` ones at once; best result first.

        `is_counted` is False for a search that no user has asked for, as by `lmchat serve`. It is
        then left out of `cache_misses`.
        """

    async def models(
        self, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> tuple[ModelInfo, ...]:
        """List the models of one server, from a fresh cache unless `is_refresh`."""

    def cached_models(self) -> ModelList: ...


class ModelRow(Struct, frozen=True, kw_only=True):
    """A model as the picker shows it."""

    model: ModelInfo
    tokens_per_second: float | None = None  # median of earlier turns
    recent_index: int | None = None
    """0 for the model used last; None if not used recently, and for a remote model.

    A remote model is chosen by its row or its name, and not by a number.
    """
    server_name: str = ""  # the user's name for its server; empty: its product is shown

    @property
    def key(self) -> tuple[str, str]:
        return self.model.server_id, self.model.model_id


class Catalogue:
    """List of models: at once from the cache, and from the servers on request."""

    def __init__(
        self,
        source: ModelSource,
        read_speeds: Callable[[], Awaitable[Mapping[tuple[str, str], float]]],
        *,
        named: Sequence[Endpoint] = (),
        server_names: Mapping[str, str] | None = None,
    ) -> None:
        """Start with an empty list.

        Args:
            source: All servers.
            read_speeds: Returns the speeds of earlier turns, in tokens per second by server and
                model; may raise `LMChatError`.
            named: Addresses that the user has named.
            server_names: The user's names of servers, by their origin (http://HOST:PORT).
        """
        self._source = source
        self._read_speeds = read_speeds
        self._named = tuple(named)
        self._server_names = server_names or {}
        self._speeds: Mapping[tuple[str, str], float] = {}  # by `ModelRow.key`
        self.results: tuple[ServerStatus, ...] = ()  # results of the last search

    def cached_rows(self, state: State) -> tuple[tuple[ModelRow, ...], float]:
        """Return the rows without asking servers, and the age of the oldest list in seconds.

        `state` has the recently used models, which come first.
        """
        listed = self._source.cached_models()
        return self._rows(listed.models, state), listed.age_s

    def add_named(self, endpoint: Endpoint) -> None:
        """Probe one more address from now on, unless the last search has found it anyway."""
        searched = (server.endpoint for server in self.results)
        if endpoint not in (*self._named, *searched):
            self._named = (endpoint, *self._named)

    async def probe_all(self) -> tuple[ServerStatus, ...]:
        self.results = await self._source.detect(named=self._named)
        return self.results

    async def refresh(self, state: State) -> tuple[ModelRow, ...]:
        """Probe all addresses, and return a row for each model of the usable servers.

        Speeds are left out if they cannot be read.
        """
        await self.probe_all()
        try:
            self._speeds = await self._read_speeds()
        except LMChatError:
            self._speeds = {}
        models = [model for server in usable_of(self.results) for model in server.models]
        return self._rows(models, state)

    def _rows(self, models: Sequence[ModelInfo], state: State) -> tuple[ModelRow, ...]:
        """Return a row for each model.

        Recently used models come first, the last used one at the top. Remote ones come behind the
        others, and those that cannot chat come last.
        """
        recent_indexes = {
            (used.endpoint, used.model): index for index, used in enumerate(state.recent)
        }
        rows: list[ModelRow] = []
        for model in models:
            key = (model.server_id, model.model_id)
            row = ModelRow(
                model=model,
                tokens_per_second=self._speeds.get(key),
                recent_index=None if model.is_remote else recent_indexes.get(key),
                server_name=self._server_names.get(model.endpoint.origin, ""),
            )
            rows.append(row)
        behind_recent = len(state.recent)
        rows.sort(
            key=lambda row: (
                not row.model.can_chat,  # False is less than True
                row.model.is_remote,
                behind_recent if row.recent_index is None else row.recent_index,
            )
        )
        return tuple(rows)


def recent_by_number(rows: Sequence[ModelRow]) -> dict[str, ModelInfo]:
    """Return the recent models of the rows by their numbers: "1" is the one used last.

    The user chooses by such a number. The picker has these models in its first rows; those that are
    not listed any more, or cannot chat, are not there, and get no number.
    """
    recent = [row.model for row in rows if row.recent_index is not None and row.model.can_chat]
    return {str(number): model for number, model in enumerate(recent, start=1)}
