"""Sign-in (OAuth) to a server made with the SDK, with a browser that follows redirects."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest
from mcp.shared.auth import OAuthClientInformationFull
from msgspec.structs import replace
from pydantic import AnyUrl

from lmchat.base.errors import EndpointNotAllowed, LMChatError
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.settings import McpSettings
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.request import Tool
from lmchat.core.tools.calls import ToolServerState
from lmchat.core.tools.mcp_servers import McpServers
from lmchat.core.tools.questions import ServerQuestion
from lmchat.core.tools.sign_in import SignIn
from lmchat.core.tools.waiting_limits import WaitingLimits
from tests.support.oauth_server import OAuthServer
from tests.support.programs import Cli, until
from tests.support.scripted_server import ScriptedServer, json_reply, lead_here, text_reply
from tests.support.scripted_tools import ScriptedHost


@pytest.fixture
def garden():
    with OAuthServer() as server:
        yield server


class User:
    """Answers yes, and lets the browser open what is asked for."""

    def __init__(self, *, says_no=False):
        self.questions = []
        self.says_no = says_no
        self.pages = []

    async def __call__(self, question):
        self.questions.append(question)
        if self.says_no:
            return False
        if question.url:
            browsing = asyncio.create_task(self._browse(question.url))
            self.pages.append(browsing)
        return True

    async def _browse(self, url):
        async with httpx.AsyncClient(
            follow_redirects=True, trust_env=False, verify=False
        ) as browser:
            return await browser.get(url)


@asynccontextmanager
async def signing_in(tmp_path, garden, user, *, check=lambda _: None, **settings):
    host = McpServers(
        (McpSettings(name="garden", url=garden.url, **settings),),
        functions=tmp_path / "tools.py",
        folder=tmp_path,
        log_file=None,
        environ={"KEY": "Bearer wrong"},
        check_address=check,
        credentials=Credentials(tmp_path / "credentials.toml"),
        timeout_s=60.0,
    )
    host.ask_user = user
    try:
        yield host
    finally:
        await host.aclose()


async def plant(host, timeout_s=50):
    tool = Tool(server="garden", name="plant")
    return await host.call(tool, {}, timeout_s=timeout_s, tell=lambda _: None)


async def started(tmp_path, garden, user, **settings):
    async with signing_in(tmp_path, garden, user, **settings) as host:
        [state] = await host.start_servers()
        return state


async def test_one_sign_in_lasts_and_is_renewed_until_the_server_takes_it_back(tmp_path, garden):
    user = User()
    state = await started(tmp_path, garden, user)
    assert (state.state, len(state.tools)) == (ToolServerState.READY, 1)
    [question] = user.questions
    assert question.title == "Sign in to garden?"
    assert question.url.startswith(f"{garden.origin}/authorize?response_type=code")
    [page] = await asyncio.gather(*user.pages)
    assert (page.status_code, "You can close this page." in page.text) == (200, True)
    assert (page.url.host, page.url.path) == ("127.0.0.1", "/callback")
    stored = (tmp_path / "credentials.toml").read_text()
    assert "s3cret" in stored

    again = User(says_no=True)
    assert (await started(tmp_path, garden, again)).state is ToolServerState.READY
    assert (again.questions, garden.signed_in) == ([], 1)

    # an expired token is renewed without the user, also in another run
    for token in garden.tokens.values():
        token.expires_at = 1
    stored = stored.replace('\\"expires_at\\":', '\\"expires_at\\":1,\\"was\\":').replace(
        '"expires_at":', '"expires_at":1,"was":'
    )
    (tmp_path / "credentials.toml").write_text(stored)
    assert (await started(tmp_path, garden, again)).state is ToolServerState.READY
    assert (again.questions, garden.signed_in, garden.refreshed) == ([], 1, 1)

    garden.tokens.clear()
    garden.refresh_tokens.clear()
    assert (await started(tmp_path, garden, again)).problem == (
        "You are not signed in to garden. `/tools`, or `lmchat tools` in a terminal, asks you to sign in."
    )
    assert len(again.questions) == 1
    port = user.questions[0].url.partition("redirect_uri=")[2].partition("&")[0]
    assert port in again.questions[0].url  # many servers compare the address
    assert (await started(tmp_path, garden, User())).state is ToolServerState.READY
    assert garden.signed_in == 2


def expire(file):
    """Let the saved tokens be over."""
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r'(\\?"expires_at\\?":)[\d.]+', r"\g<1>1", text), encoding="utf-8")


@pytest.mark.parametrize("is_over", [False, True], ids=["refused", "over"])
async def test_a_client_that_the_server_has_forgotten_registers_anew(tmp_path, garden, is_over):
    file = tmp_path / "credentials.toml"
    assert (await started(tmp_path, garden, User(says_no=True))).state is ToolServerState.FAILED
    garden.forget_clients()  # it was not signed in
    assert (await started(tmp_path, garden, User())).state is ToolServerState.READY
    saved = file.read_text(encoding="utf-8")
    garden.forget_clients()
    if is_over:
        expire(file)
    user = User()
    assert (await started(tmp_path, garden, user)).state is ToolServerState.READY
    assert ([question.title for question in user.questions], garden.signed_in) == (
        ["Sign in to garden?"],
        2,
    )
    assert file.read_text(encoding="utf-8") != saved


async def test_of_calls_at_the_same_time_one_signs_in_for_all(tmp_path, garden):
    async with signing_in(tmp_path, garden, User()) as host:
        await host.start_servers()
        garden.forget_clients()
        garden.tokens.clear()
        garden.refresh_tokens.clear()
        results = await asyncio.gather(*(plant(host) for _ in range(3)))
    assert all("elicitation capability" in result.text for result in results)
    assert garden.signed_in == 2


@pytest.mark.parametrize("code", ["invalid_client", "invalid_grant"])
async def test_a_refused_renewal_costs_no_sign_in_until_there_is_another(tmp_path, garden, code):
    file = tmp_path / "credentials.toml"
    await started(tmp_path, garden, User())
    expire(file)
    saved = file.read_text(encoding="utf-8")
    garden.refuses_renewal = code  # for a while
    assert (await started(tmp_path, garden, None)).state is ToolServerState.FAILED
    assert file.read_text(encoding="utf-8") == saved
    garden.refuses_renewal = ""
    assert (await started(tmp_path, garden, None)).state is ToolServerState.READY
    assert (garden.signed_in, garden.refreshed) == (1, 1)


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_call_in_a_lost_session_begins_another_before_a_sign_in(tmp_path, garden, lost):
    """Some servers want a sign-in for calls alone."""
    user = User()
    garden.is_older = True
    async with signing_in(tmp_path, garden, User()) as host:
        await host.start_servers()
        host.ask_user = user
        garden.lost_calls = lost + (lost > 1)  # also with a renewed token
        result = await plant(host)
    assert "elicitation capability" in result.text
    assert (garden.signed_in, garden.refreshed, len(user.questions)) == (lost, lost - 1, lost - 1)
    await asyncio.gather(*user.pages)


@pytest.mark.parametrize("is_over", [False, True], ids=["refused", "over"])
async def test_a_window_takes_what_another_one_has_renewed(tmp_path, garden, is_over):
    garden.is_older = True
    garden.lives_s = 1 if is_over else 3600
    async with signing_in(tmp_path, garden, User()) as host:
        await host.start_servers()
        host.ask_user = nobody = User(says_no=True)
        for token in garden.tokens.values():
            token.expires_at = 1
        ends_s = time.time() + garden.lives_s
        await until(lambda: not is_over or time.time() > ends_s, "the end of its life")
        garden.lives_s = 3600
        before = garden.refreshed
        assert (await started(tmp_path, garden, None)).state is ToolServerState.READY
        result = await plant(host)
        assert "elicitation capability" in result.text
    assert (garden.refreshed - before, garden.signed_in, nobody.questions) == (1, 1, [])


async def test_two_processes_renew_a_sign_in_once(tmp_path, garden):
    cli = Cli(tmp_path)
    cli.add_servers(garden={"url": garden.url})
    await started(cli.folder, garden, User())
    expire(cli.folder / "credentials.toml")
    for token in garden.tokens.values():
        token.expires_at = 1
    garden.may_renew.clear()
    other = cli.start("tools")
    own = asyncio.create_task(started(cli.folder, garden, None))

    def waits(pid):
        return any(file.path.endswith("renewal") for file in psutil.Process(pid).open_files())

    try:
        await until(
            lambda: garden.is_renewing.is_set() and waits(other.pid) and waits(os.getpid()), "both"
        )
    finally:
        garden.may_renew.set()
        said, _ = await asyncio.to_thread(other.communicate)
    assert said.startswith(b"garden: ready, 1 tool.")
    assert (await own).state is ToolServerState.READY
    assert (garden.refreshed, garden.signed_in) == (1, 1)


async def test_a_sign_in_that_is_refused_or_leads_elsewhere_fails_with_its_reason(tmp_path, garden):
    step = "`/tools`, or `lmchat tools` in a terminal, asks you to sign in."
    garden.refuses = True
    user = User()
    state = await started(tmp_path, garden, user)
    assert state.problem == f"The sign-in to garden was refused: access_denied. {step}"
    garden.refuses = False
    for nobody in (None, User(says_no=True)):
        state = await started(tmp_path, garden, nobody)
        assert state.problem == f"You are not signed in to garden. {step}"
    assert not (tmp_path / "credentials.toml").exists()
    # a key of the user's own takes the place of a sign-in
    headers = {"Authorization": "${KEY}"}
    state = await started(tmp_path, garden, user, headers=headers)
    assert state.problem.startswith("The server garden answers 401 Unauthorized")
    assert state.problem.endswith("Check its Authorization in mcp.json.")
    # the start has no time, but the user has
    slow = User()

    async def thinking(question):
        await asyncio.sleep(2.5)
        return await slow(question)

    started_s = time.monotonic()
    state = await started(tmp_path, garden, thinking, timeout_s=2)
    assert (state.state, time.monotonic() - started_s > 2.5) == (ToolServerState.READY, True)


async def test_a_sign_in_at_a_host_that_is_not_allowed_is_asked_for(tmp_path):
    """The metadata of the server names another one, on another port."""
    with OAuthServer() as other, OAuthServer(other.origin) as server:
        server.tokens = other.tokens
        place = other.origin.replace("http://127.0.0.1", "localhost")

        def check(url):
            if place in url:
                raise EndpointNotAllowed("Endpoint not allowed.")

        user = User(says_no=True)
        state = await started(tmp_path, server, user, check=check)
        assert [question.title for question in user.questions] == [f"Connect to {place}?"]
        assert state.problem == (
            f"garden signs in at http://{place}, which is not allowed. "
            f"Add {place} to allowed_hosts, or run `lmchat tools` in a terminal."
        )
        assert other.signed_in == 0
        user = User()
        state = await started(tmp_path, server, user, check=check)
        assert state.state is ToolServerState.READY
        assert [question.title for question in user.questions] == [
            f"Connect to {place}?",
            "Sign in to garden?",
        ]
        assert other.signed_in == 1


async def test_a_server_that_registers_no_program_takes_the_client_id_of_the_user(tmp_path):
    with OAuthServer(registers=False) as garden:
        state = await started(tmp_path, garden, User())
        assert state.error.startswith("The sign-in to garden failed: Registration failed: 404")
        [address] = re.findall(
            r"If it takes only registered programs, register lmchat with the address "
            r"(http://127\.0\.0\.1:\d+/callback), and set client_id in mcp\.json\.",
            state.next_step,
        )
        client = OAuthClientInformationFull(
            client_id="mine",
            redirect_uris=[AnyUrl(address)],
            token_endpoint_auth_method="none",  # noqa: S106 - the name of a method
        )
        await garden.register_client(client)
        for expects in (1, 1):
            state = await started(tmp_path, garden, User(), client_id="mine")
            assert (state.problem, garden.signed_in) == ("", expects)
        expire(tmp_path / "credentials.toml")
        for token in garden.tokens.values():
            token.expires_at = 1
        state = await started(tmp_path, garden, User(says_no=True), client_id="mine")
        assert (state.problem, garden.signed_in, garden.refreshed) == ("", 1, 1)


NAMED = ("metadata", "issuer", "register", "token")
HOSTS = ("localhost", "127.0.0.1", "[::]", "[::1]", "[::ffff:127.0.0.1]", "nas.lan")


@pytest.mark.parametrize(
    ("named", "host"),
    [*((named, "localhost") for named in NAMED), *(("register", host) for host in HOSTS[1:])],
)
async def test_a_server_elsewhere_reaches_no_near_host_unasked(tmp_path, monkeypatch, named, host):
    """One of the addresses that its replies name is near, and among the allowed hosts."""
    lead_here(monkeypatch, "far.example", "nas.lan")
    browser = httpx.AsyncClient(trust_env=False, verify=False)

    async def user(question):
        asked.append(question.title)
        if question.url:
            sent = {
                key: values[0] for key, values in parse_qs(urlsplit(question.url).query).items()
            }
            answer = {"code": "1", "state": sent["state"]}
            pages.append(asyncio.create_task(browser.get(sent["redirect_uri"], params=answer)))
        return bool(question.url)

    asked = []
    pages = []
    with ScriptedServer() as near, ScriptedServer() as far:
        places = dict.fromkeys(NAMED, f"http://far.example:{far.port}")
        places[named] = f"http://{host}:{near.port}"
        resource = f"{places['metadata']}/resource"
        challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{resource}"'}
        far.unknown = lambda _: text_reply("", status=401, headers=challenge)
        url = f"http://far.example:{far.port}/mcp"
        issuer = f"{places['issuer']}/"
        served = {"resource": url, "authorization_servers": [issuer]}
        far.on("GET /resource", json_reply(served))
        metadata = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}authorize",
            "token_endpoint": f"{places['token']}/token",
            "registration_endpoint": f"{places['register']}/register",
            "response_types_supported": ["code"],
        }
        far.on("GET /.well-known/oauth-authorization-server", json_reply(metadata))
        far.on(
            "POST /register", lambda seen: json_reply(seen.json | {"client_id": "1"}, status=201)
        )
        allowed = AllowList(["far.example", *HOSTS])
        garden = SimpleNamespace(url=url)
        state = await started(
            tmp_path, garden, user, check=lambda text: allowed.check(Endpoint.parse(text))
        )
        origin = Endpoint.parse(places[named]).origin
        assert state.problem == (
            f"garden signs in at {origin}, which is not allowed. "
            "`lmchat tools` in a terminal asks you about it."
        )
        assert asked[-1] == f"Connect to {origin.removeprefix('http://')}?"
        assert near.requests == []
        await asyncio.gather(*pages)
    await browser.aclose()


async def test_who_stops_the_start_is_not_waited_for_again(tmp_path, garden):
    asked = asyncio.Event()

    async def user(_):
        asked.set()
        return True  # and no browser

    async with signing_in(tmp_path, garden, user) as host:
        starting = asyncio.create_task(host.start_servers())
        async with asyncio.timeout(50):
            await asked.wait()
            await asyncio.sleep(0.1)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            [state] = await host.start_servers()
        assert state.error == "You are not signed in to garden."


async def test_a_sign_in_within_a_call_has_the_users_time_and_ends_with_the_call(tmp_path, garden):
    shown = asyncio.Event()
    closed = asyncio.Event()
    browser = User()

    async def absent(_):
        shown.set()
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def thinking(question):
        await asyncio.sleep(3.5)
        return await browser(question)

    garden.is_older = True
    async with signing_in(tmp_path, garden, User()) as host:
        await host.start_servers()
        garden.tokens.clear()
        garden.refresh_tokens.clear()
        host.ask_user = thinking
        result = await plant(host, 3)
        assert (garden.signed_in, "elicitation capability" in result.text) == (2, True)

        garden.tokens.clear()
        garden.refresh_tokens.clear()
        host.ask_user = refusing = User(says_no=True)
        assert (await plant(host)).is_error
        assert len(refusing.questions) == 1
        await until(lambda: host.servers[0].state is ToolServerState.FAILED, "its end")

        host.ask_user = absent
        calling = asyncio.create_task(plant(host))
        async with asyncio.timeout(50):
            await shown.wait()
            calling.cancel()
            await closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await calling


async def test_a_limit_runs_again_once_the_user_has_answered():
    host = ScriptedHost()
    host.ask_user = User()
    limits = WaitingLimits(host)
    with pytest.raises(TimeoutError), limits.limited(0.05):
        await asyncio.sleep(5 * await limits.ask(ServerQuestion(title="Sign in?", text="")))


async def test_errors_repeat_no_secret_of_a_sign_in(tmp_path, garden):
    for garden.echoes in ("/token", "/mcp"):
        for _ in range(2):  # the second sign-in at /mcp has saved tokens
            garden.quoted.clear()
            garden.state = ""  # those of earlier sign-ins are of no use
            state = await started(tmp_path, garden, User())
            assert re.search("nope +…", state.problem)
            assert len(garden.quoted) > 2
            assert [secret for secret in garden.quoted if secret in state.problem] == []
    garden.quoted.clear()
    state = await started(tmp_path, garden, User(), headers={"Authorization": "${KEY}"})
    assert "wrong" in garden.quoted
    assert "wrong" not in state.problem


async def test_a_request_of_another_page_does_not_end_a_sign_in(tmp_path, garden):
    user = User()
    pages = []

    async def attacked(question):
        state = parse_qs(urlsplit(question.url).query)["state"][0]
        back = parse_qs(urlsplit(question.url).query)["redirect_uri"][0]
        async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
            queries = ("", "?error=x", "?code=x&state=", f"?code=x&state={state}x")
            addresses = [f"{back}{query}" for query in queries]
            addresses.append(f"{back}s?code=x&state={state}")
            pages.extend([await browser.get(address) for address in addresses])
        return await user(question)

    state = await started(tmp_path, garden, attacked)
    assert (state.state, garden.signed_in) == (ToolServerState.READY, 1)
    assert [page.status_code for page in pages] == [400] * 5
    assert pages[0].text == "This is not the answer that lmchat waits for.\n"


async def test_what_comes_before_the_yes_does_not_replace_it(tmp_path, garden):
    """Here the user opens the address, then says no in lmchat."""
    user = User(says_no=True)

    async def deciding(question):
        async with httpx.AsyncClient(
            follow_redirects=True, trust_env=False, verify=False
        ) as browser:
            await browser.get(question.url)
        return await user(question)

    state = await started(tmp_path, garden, deciding)
    assert state.error == "You are not signed in to garden."
    assert garden.signed_in == 0


async def test_a_sign_in_over_plain_http_at_the_same_host_is_asked_for(tmp_path):
    def check(_):
        raise EndpointNotAllowed("Endpoint not allowed.")

    user = User()
    settings = McpSettings(name="garden", url="https://garden.example/mcp")
    sign_in = SignIn(settings, Credentials(tmp_path / "credentials.toml"), check, user)
    await sign_in.require_allowed(Endpoint.parse("https://garden.example:443/token"))
    assert user.questions == []
    for _ in range(2):  # one yes is enough
        await sign_in.require_allowed(Endpoint.parse("http://garden.example/token"))
    [question] = user.questions
    assert question.text.endswith("lmchat has to connect to http://garden.example:80, too.")


def test_the_host_of_an_address_stands_alone_and_a_user_name_cannot_look_like_one():
    question = ServerQuestion(title="Sign in?", text="The tool server garden wants you to sign in.")
    assert question.rows == [question.text]
    url = f"https://auth.example/a?scope={'x' * 999}&end=1"
    _, host, address = replace(question, url=url).rows
    assert host == "This page is at auth.example"
    assert re.fullmatch(r"https://auth\.example/a\?scope=x+…x+&end=1", address)
    assert len(address) < 310
    foreign = replace(question, url="https://b\u0430nk.example/")  # a Cyrillic letter
    assert foreign.rows[1] == "This page is at xn--bnk-6cd.example"
    with pytest.raises(LMChatError, match="has a user name"):
        assert replace(question, url="https://bank.example@evil.example/").rows
