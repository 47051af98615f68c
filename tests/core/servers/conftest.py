from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from lmchat.core.config.settings import LimitSettings, Settings
from lmchat.core.servers.client import HttpServerClient
from tests.support.client_calls import FixedKey
from tests.support.scripted_server import ScriptedServer

QUICK = LimitSettings(retry_base_s=0.01, retry_max_s=0.02)


@pytest.fixture(autouse=True)
def as_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no certificates or proxies of this machine's environment."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as one:
        yield one


@pytest.fixture
async def make_client(tmp_path, monkeypatch) -> AsyncIterator[Callable[..., HttpServerClient]]:
    """Make clients that are closed at the end, in an empty home without files of LM Studio.

    They read streams as the screen does; the tests of the Python API read them at once.
    """
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path))
    clients: list[HttpServerClient] = []

    def make(
        *, key="", keys=None, limits=QUICK, transport=None, cache_file=None, **settings
    ) -> HttpServerClient:
        more = {"transport": transport, "cache_file": cache_file, "reads_per_second": 20}
        clients.append(
            HttpServerClient(
                Settings(limits=limits, **settings), keys=keys or FixedKey(key), **more
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(make_client) -> HttpServerClient:
    return make_client()
