"""Keys for servers of this machine: they go to programs of this user and of root only."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmchat.config.settings import McpSettings, Settings
from lmchat.domain.server import Endpoint, Verdict
from lmchat.errors import ServerRejected
from lmchat.machine.sockets import foreign_owner
from lmchat.proxy.client import ProxyClient
from lmchat.storage.credentials import Credentials
from lmchat.tools.tool_host import McpHost
from tests.support import foreign_server
from tests.support.faults import no_root
from tests.support.programs import Inside as Cli
from tests.support.programs import wait_until
from tests.support.proxy_calls import FixedKey, ask, endpoint_of, events_of
from tests.support.scripted_products import model_list, plain
from tests.support.scripted_server import AUTHORITY, ScriptedServer

KEY = "sk-marked-key-4711"
NOBODY = 65534
by_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user"
)


@contextmanager
def of_another_user(host="127.0.0.1", *, user=NOBODY, is_open=False):
    """Run a server of another user; yield its port and a function that ends it.

    The function returns what the server got.
    """
    argv = [
        sys.executable,
        str(Path(foreign_server.__file__)),
        str(user),
        host,
        *["open"] * is_open,
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None

        def keys():
            process.kill()
            return [line for line in process.stdout.read().splitlines() if line]

        try:
            yield int(process.stdout.readline()), keys
        finally:
            process.kill()


def withheld_message(port):
    return (
        f"The API key was not sent: port {port} is held by a program of another user (nobody). "
        "Stop that program, or start the server as your own user."
    )


@by_root
@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "localhost"), ("::", "[::1]")],
)
async def test_a_program_of_another_user_gets_no_key_and_the_verdict_says_why(
    make_client, host, name
):
    with of_another_user(host) as (port, keys):
        client = make_client(key=KEY)
        found = await client.check(Endpoint.parse(f"http://{name}:{port}"))
        typed = await client.try_key(Endpoint.parse(f"http://{name}:{port}"), "typed")
        _, error = await events_of(client, ask(Endpoint.parse(f"http://{name}:{port}")))
        seen = keys()
    assert (found.verdict, found.next_step, found.key_withheld) == (
        Verdict.NEEDS_KEY,
        withheld_message(port),
        withheld_message(port),
    )
    assert (typed.verdict, typed.next_step) == (Verdict.NEEDS_KEY, withheld_message(port))
    assert isinstance(error, ServerRejected)
    assert (error.kind, error.hint) == ("auth", withheld_message(port))
    assert seen
    assert set(seen) == {"none"}


@by_root
@pytest.mark.parametrize(("user", "is_foreign"), [(0, False), (NOBODY, False), (1, True)])
def test_for_a_user_root_and_this_user_may_hold_a_port_and_a_third_may_not(user, is_foreign):
    with of_another_user(user=user) as (port, _), no_root():
        assert bool(foreign_owner("127.0.0.1", port)) is is_foreign


@by_root
@pytest.mark.parametrize("source", ["stored", "endpoint", "LMCHAT_API_KEY", "[[endpoints]]"])
def test_the_command_line_sends_no_key_to_it_and_says_why(tmp_path, source):
    with of_another_user() as (port, keys):
        url = f"http://127.0.0.1:{port}"
        cli = Cli(home=tmp_path, url=url)
        cli.configure(
            {
                "endpoint": f'endpoint = "{url}"\napi_key = "{KEY}"',
                "[[endpoints]]": f'[[endpoints]]\nname = "a"\nurl = "{url}"\napi_key = "{KEY}"',
            }.get(source, "")
        )
        if source == "stored":
            Credentials(cli.folder / "credentials.toml").set(url, KEY)
        if source == "LMCHAT_API_KEY":
            cli.env[source] = KEY
        done, report = cli("ask", "Hello?"), cli("doctor").stdout
        seen = keys()
    assert done.returncode == 1
    assert withheld_message(port) in done.stderr
    assert "needs an API key; the one that is set was not sent" in report
    assert withheld_message(port) in report
    assert set(seen) == {"none"}


@by_root
def test_it_is_told_also_where_that_program_answers_without_a_key(tmp_path):
    with of_another_user(is_open=True) as (port, keys):
        cli = Cli(home=tmp_path, url=f"http://127.0.0.1:{port}", env={"LMCHAT_API_KEY": KEY})
        done, report = cli("ask", "Hello?"), cli("doctor").stdout
        seen = keys()
    assert withheld_message(port) in done.stderr
    assert withheld_message(port) in report
    assert "accepts the API key" not in report
    assert set(seen) == {"none"}


@by_root
async def test_the_headers_of_a_tool_server_are_not_sent_to_a_program_of_another_user(tmp_path):
    with of_another_user() as (port, keys):
        server = McpSettings(
            name="wiki",
            url=f"http://127.0.0.1:{port}/mcp",
            headers_env={"Authorization": "WIKI_TOKEN"},
        )
        files = {
            "functions": tmp_path / "tools.py",
            "log_file": tmp_path / "tools.log",
            "folder": tmp_path,
        }
        environ = {"WIKI_TOKEN": KEY}
        host = McpHost((server,), **files, environ=environ, check_address=lambda _: None)
        (found,) = await host.list_servers()
        await host.aclose()
        assert keys() == []
    assert found.error == (
        f"The headers of the server wiki were not sent: port {port} is held by a program of another user "
        "(nobody). Stop that program, or start the server as your own user."
    )


class Owners:
    """Says who holds a port, and notes when it was asked."""

    def __init__(self, *owners: str) -> None:
        self.owners = list(owners)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> str:
        self.asked.append((host, port))
        return self.owners.pop(0) if len(self.owners) > 1 else self.owners[0]


@pytest.fixture
async def client_of(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    clients = []

    def make(owners, *, key=KEY, **settings):
        keys = key if isinstance(key, FixedKey) else FixedKey(key)
        clients.append(ProxyClient(Settings(**settings), keys=keys, owner_of=owners))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def test_without_a_key_to_send_nobody_looks_who_holds_a_port(client_of, server):
    owners = Owners("mallory")
    client = client_of(owners, key=None)
    plain(server, "tiny")
    assert (await client.check(endpoint_of(server))).verdict is Verdict.READY
    assert (await events_of(client, ask(server)))[1] is None
    assert owners.asked == []


async def test_a_server_that_wants_no_key_is_used_without_one_whoever_holds_its_port(
    client_of, server
):
    """As an Ollama that runs as a service of the system, while a key is set for any server here."""
    plain(server, "tiny")
    client = client_of(Owners("ollama"))
    found = await client.check(endpoint_of(server))
    assert found.verdict is Verdict.READY
    assert found.key_withheld.startswith(f"The API key was not sent: port {server.port} is held by")
    assert (await events_of(client, ask(server)))[1] is None
    assert not any("authorization" in seen.headers for seen in server.requests)


async def test_the_owner_is_looked_up_for_each_connection_that_gets_a_key(client_of, server):
    plain(server, "tiny", key=KEY)
    owners = Owners("", "mallory")
    client = client_of(owners)
    assert (await client.check(endpoint_of(server))).verdict is Verdict.READY
    assert owners.asked == [("127.0.0.1", server.port)]
    server.stop()
    server.start()  # the connection is gone; another program may hold the port
    _, error = await events_of(client, ask(server))
    assert error is not None
    assert "(mallory)" in error.hint
    assert len(owners.asked) == 2
    assert sum("authorization" in seen.headers for seen in server.requests) == 1


async def test_the_owner_is_looked_up_when_the_connection_is_there_and_nothing_was_sent(
    client_of, server
):
    plain(server, "tiny", key=KEY)
    sent = []

    def owner_of(*_):
        wait_until(lambda: server.connections, "the connection")
        sent.extend(server.requests)
        return ""

    assert (await client_of(owner_of).check(endpoint_of(server))).verdict is Verdict.READY
    assert sent == []


async def test_no_key_goes_over_a_connection_that_was_made_without_one(client_of, server):
    plain(server, "tiny", key=KEY).on("GET /v1/models", model_list("tiny"))
    known = FixedKey()
    owners = Owners("")
    client = client_of(owners, key=known)
    assert (await client.check(endpoint_of(server))).verdict is Verdict.READY
    known.key = KEY
    assert (await events_of(client, ask(server)))[1] is None
    with_key = {seen.connection for seen in server.requests if "authorization" in seen.headers}
    without = {seen.connection for seen in server.requests if "authorization" not in seen.headers}
    assert with_key
    assert without
    assert not with_key & without
    assert len(owners.asked) == len(with_key)


async def test_a_certificate_proves_the_server_whoever_holds_its_port(client_of):
    owners = Owners("mallory")
    with ScriptedServer(certificate="hosts") as server:
        plain(server, "tiny", key=KEY)
        client = client_of(owners, ca_file=AUTHORITY)
        assert (await client.check(endpoint_of(server))).verdict is Verdict.READY
    assert owners.asked == []


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
OWN, OTHER, ROOT = 4711, 4712, 0
FOUR, SIX = "0100007F", "00000000000000000000000001000000"
MAPPED = "0000000000000000FFFF00000100007F"
ALL_FOUR, ALL_SIX = "0" * 8, "0" * 32


def proc_net_row(address, user, *, port=8080, state="0A"):
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0     {user}        0 1 1 0\n"
    )


@pytest.mark.skipif(sys.byteorder != "little", reason="the tables below are of such machines")
@pytest.mark.parametrize(
    ("host", "four", "six", "is_foreign"),
    [
        ("127.0.0.1", proc_net_row(FOUR, OWN), "", False),
        ("127.0.0.1", proc_net_row(FOUR, ROOT), "", False),
        ("127.0.0.1", proc_net_row(FOUR, OTHER), "", True),
        ("127.0.0.1", proc_net_row(ALL_FOUR, OTHER), "", True),
        ("127.0.0.1", "", proc_net_row(ALL_SIX, OTHER), True),
        ("127.0.0.1", "", proc_net_row(MAPPED, OTHER), True),
        ("127.0.0.1", proc_net_row(FOUR, OWN), proc_net_row(ALL_SIX, OTHER), False),
        ("127.0.0.1", proc_net_row(FOUR, OTHER), proc_net_row(ALL_SIX, OWN), True),
        ("127.0.0.1", proc_net_row(FOUR, OTHER, port=8081), "", False),
        ("127.0.0.1", proc_net_row(FOUR, OTHER, state="01"), "", False),
        ("127.0.0.1", proc_net_row(FOUR, OTHER, state="06") + proc_net_row(FOUR, OWN), "", False),
        ("127.0.0.1", "", "", False),
        ("127.0.0.2", proc_net_row(FOUR, OTHER), "", False),
        ("127.0.0.2", proc_net_row(ALL_FOUR, OTHER), "", True),
        ("::ffff:127.0.0.1", proc_net_row(FOUR, OTHER), "", True),
        ("::1", proc_net_row(FOUR, OTHER), proc_net_row(SIX, OWN), False),
        ("::1", "", proc_net_row(SIX, OTHER), True),
        ("::1", "", proc_net_row(ALL_SIX, OTHER), True),
        ("::1", proc_net_row(ALL_FOUR, OTHER), "", False),
        ("localhost", proc_net_row(FOUR, OWN), proc_net_row(SIX, OTHER), True),
        ("localhost", proc_net_row(FOUR, OTHER), proc_net_row(SIX, OWN), True),
        ("localhost", proc_net_row(FOUR, OWN), proc_net_row(SIX, OWN), False),
    ],
)
def test_the_owner_of_a_port_is_that_of_the_socket_that_takes_the_connection(
    monkeypatch, tmp_path, host, four, six, is_foreign
):
    monkeypatch.setattr(os, "getuid", lambda: OWN)
    monkeypatch.setattr(os, "geteuid", lambda: OWN)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "tcp").write_text(HEAD + four)
    (tmp_path / "tcp6").write_text(HEAD + six)
    assert foreign_owner(host, 8080, tmp_path) == (str(OTHER) if is_foreign else "")


def test_where_the_system_shows_no_sockets_the_owner_is_unknown(monkeypatch, tmp_path):
    assert foreign_owner("127.0.0.1", 8080, tmp_path / "missing") == ""
    (tmp_path / "tcp").write_text(HEAD + proc_net_row(FOUR, OTHER))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert foreign_owner("127.0.0.1", 8080, tmp_path) == ""
