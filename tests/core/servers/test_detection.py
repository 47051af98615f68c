from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import Mock

import httpx
import psutil
import pytest

from lmchat.core.servers.discovery.status import Next
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products import PRODUCTS
from lmchat.core.servers.wire.refusal_rules import STEPS
from tests.support import scripted_products as products
from tests.support.client_calls import PortMap
from tests.support.scripted_products import LLAMA, model_list
from tests.support.scripted_server import (
    Hold,
    Reply,
    ScriptedServer,
    error_reply,
    html_reply,
    json_reply,
    raw_reply,
    text_reply,
)


@pytest.fixture
def start():
    with ExitStack() as servers:

        def start(script=lambda _: None, **options) -> ScriptedServer:
            server = servers.enter_context(ScriptedServer())
            script(server, **options)
            return server

        yield start


@pytest.fixture
def detect(make_client):
    """Detect with servers at well-known ports; returns the results and the map."""

    async def run(places, *, named=(), **options):
        there = {
            (key if isinstance(key, tuple) else ("localhost", key)): value
            for key, value in places.items()
        }
        ports = PortMap(there)
        client = make_client(transport=ports, **options)
        return await client.models.detect(named=named), ports

    return run


USUAL = ["LM Studio", "Jan", "llama.cpp", "Ollama", "vLLM", "SGLang", "LiteLLM"]


@pytest.mark.rule("R-44")
async def test_nothing_found_tells_each_product_with_its_ports_and_the_step_that_helps(detect):
    found, ports = await detect({})
    assert [one.product for one in found] == USUAL
    assert {one.word for one in found} == {"refused"}
    assert {3928, 6767} & {one.endpoint.port for one in found} == set(), "spare ports"
    steps = {one.product: one.next_step for one in found}
    assert steps["Jan"] == "Open Jan: Settings, Local API Server, Start"
    assert steps["Ollama"] == "ollama serve"
    assert steps["vLLM"] == "vllm serve MODEL"
    assert all(steps.values())
    (away,) = of_llama_cpp(found)
    assert away.endpoint.port == 9931
    assert away.detail == "Nothing answers at localhost:9931."
    assert {9931, 8080} <= {port for _, port, _ in ports.asked}


def at(found, port):
    return next(one for one in found if one.endpoint.port == port)


def of_llama_cpp(found):
    return [one for one in found if one.product == "llama.cpp"]


NO_ROWS = json_reply({"object": "list", "data": []})
BASIC = {"WWW-Authenticate": 'Basic realm="Shed"'}
CHECK = "Check the port and the path of the address"
ASK_FOR_KEY = "Ask the administrator of the server for its API key"
BEHIND = "Use the address of the server behind it"
LOG = "Check the server's log, then restart it"
RIGHTS = STEPS["forbidden"].rstrip(".")
HOST = "Add the host name localhost to the server's trusted hosts, or use localhost"
NOT_AN_LLM = "not an LLM server"
NEEDS_KEY = "needs key"
SERVER_ERROR = "server error"
NO_SERVER = "The program at http://localhost:4711 is not a model server."
CLOSES = (
    "The program at http://localhost:4711 closes the connection: it may want http or https, "
    "or be no model server."
)
WORKS = "Check the server's log, then try again; if it uses https, write https:// in its address"
FOLLOWS = (
    "lmchat follows no redirects, such as to a sign-in page; use the address of the server itself"
)
ERROR = "http://localhost:4711 answers with an error: The server says: "
FAILS = "http://localhost:4711 answers with an error: The server answered with status"
WANTS_KEY = "http://localhost:4711 answers, but needs an API key."
BY_BASIC = (
    "The program at http://localhost:4711 asks for a user name and a password (Basic), "
    "which lmchat cannot send."
)


# word and step at a usual port
STRANGER = (NOT_AN_LLM, "Another program uses port 8080: stop it")
LOCKED = (NEEDS_KEY, ASK_FOR_KEY)
BROKEN = (SERVER_ERROR, LOG)


def leads_to(location: str, status: int) -> Reply:
    return text_reply("", status=status, headers={"Location": location})


# what answers; word and step at a usual port; word, sentence and step at an address that was named
HEARD = (
    (html_reply(), STRANGER, (NOT_AN_LLM, NO_SERVER, CHECK)),
    (html_reply(status=401), LOCKED, (NEEDS_KEY, WANTS_KEY, ASK_FOR_KEY)),
    (error_reply(401, "no key"), LOCKED, (NEEDS_KEY, WANTS_KEY, ASK_FOR_KEY)),
    (
        text_reply("", status=401, headers=BASIC),
        ("needs sign-in", BEHIND),
        (
            "needs sign-in",
            BY_BASIC,
            BEHIND,
        ),
    ),
    (
        leads_to("https://me:pw@login.example.net/oauth2/start?rd=1", 303),
        STRANGER,
        ("redirects", "The server redirects to https://login.example.net/oauth2/start.", FOLLOWS),
    ),
    (
        leads_to("/v1/models/", 308),
        STRANGER,
        (
            "redirects",
            "The server redirects to /v1/models/.",
            "Let it answer without the slash at the end, which lmchat does not send",
        ),
    ),
    (
        leads_to("https://[", 302),
        STRANGER,
        (
            NOT_AN_LLM,
            NO_SERVER,
            FOLLOWS,
        ),
    ),
    (
        text_reply("404 page not found", status=404),
        STRANGER,
        (NOT_AN_LLM, NO_SERVER, STEPS["wrong_path"].rstrip(".")),
    ),
    (text_reply("no", status=400), STRANGER, (NOT_AN_LLM, NO_SERVER, CHECK)),
    *(
        (json_reply({"data": data}), STRANGER, (NOT_AN_LLM, NO_SERVER, CHECK))
        for data in ("no list", ["plant-7b"], [{"name": "plant-7b"}])
    ),
    (raw_reply(b"SSH-2.0-OpenSSH_9.6\r\n"), STRANGER, (NOT_AN_LLM, CLOSES, WORKS)),
    # a proxy in front of a model server may forbid as well; only a page is that of a web server
    (
        text_reply("Forbidden", status=403),
        STRANGER,
        (SERVER_ERROR, f"{ERROR}Forbidden.", RIGHTS),
    ),
    (html_reply(status=403), STRANGER, (NOT_AN_LLM, NO_SERVER, RIGHTS)),
    # of a gateway before the server
    (
        html_reply(status=504),
        ("timed out", "Check which program uses port 8080"),
        (
            "timed out",
            "A program accepts connections at http://localhost:4711 but does not answer in time.",
            "Check which program uses port 4711",
        ),
    ),
    (html_reply(status=522), BROKEN, (SERVER_ERROR, f"{FAILS} 522: Hello.", LOG)),
    (
        text_reply("Invalid host header", status=403),
        ("host blocked", HOST),
        (
            "host blocked",
            "http://localhost:4711 does not accept the host name localhost.",
            HOST,
        ),
    ),
    (error_reply(500, "oops"), BROKEN, (SERVER_ERROR, f"{ERROR}oops.", LOG)),
    (
        json_reply({"error": "out of memory", "object": "list", "data": []}),
        BROKEN,
        (SERVER_ERROR, f"{ERROR}out of memory.", LOG),
    ),
    (
        error_reply(503, "Loading model", code=503, headers=LLAMA),
        ("loading", "Wait until the model is loaded"),
        (
            "loading",
            "llama.cpp at http://localhost:4711 answers and loads a model.",
            "Wait until the model is loaded",
        ),
    ),
    (
        NO_ROWS,
        ("no model loaded", "Load a model"),
        (
            "no model loaded",
            "http://localhost:4711 answers, but has no model yet.",
            "Load a model",
        ),
    ),
)


# what the user can do next at a usual port, and at an address that was named
OFFERED = {
    "loading": (Next.WAIT, Next.WAIT),
    NEEDS_KEY: (Next.KEY, Next.KEY),
    "no model loaded": (Next.NOTHING, Next.NAME),
    SERVER_ERROR: (Next.NOTHING, Next.NAME),
    NOT_AN_LLM: (Next.NOTHING, Next.NAME),
    "timed out": (Next.NOTHING, Next.NAME),
}


@pytest.mark.rule("R-1", "R-4")
async def test_what_answers_gets_its_word_its_sentence_and_the_step_that_helps(start, make_client):
    server = start()
    places = PortMap({("localhost", port): server for port in (8080, 4711)})

    async def told(port: int, key: str = "") -> tuple[str, str, str]:
        """Return words about what answers; check what is offered."""
        client = make_client(transport=places, endpoint="http://localhost:4711")
        row = await client.models.check(Endpoint.parse(f"localhost:{port}"), key=key)
        if not key:
            offered = OFFERED.get(row.word, (Next.NOTHING, Next.NOTHING))
            assert row.action is offered[port == 4711], row.sentence(row.name)
        return row.word, row.sentence(row.name), row.next_step

    for reply, usual, named in HEARD:
        server.unknown = reply
        word, _, step = await told(8080)
        assert (word, step) == usual
        assert await told(4711) == named
        if usual[0] == NEEDS_KEY:
            rejected = ("key rejected", named[1].replace("needs an", "rejected the"), named[2])
            assert await told(4711, key="sk-wrong") == rejected


@pytest.mark.posix  # its programs are scripts of sh
async def test_a_port_that_many_programs_use_is_a_row_only_with_a_model_server(
    start, detect, tmp_path, monkeypatch
):
    """On a Mac, AirPlay answers 403 at 5000, and so may any web server that is being written."""
    server = start()
    for reply, has_row in (
        (
            Reply((b"HTTP/1.1 403 Forbidden\r\nServer: AirTunes/1\r\nContent-Length: 0\r\n\r\n",)),
            False,
        ),
        (error_reply(401, "no key"), True),
        (error_reply(500, "oops"), False),
        (html_reply(), False),
        (raw_reply(b"SSH-2.0-OpenSSH_9.6\r\n"), False),
        (model_list("tiny"), True),
        (model_list("tiny", owned_by="tabbyAPI"), True),
    ):
        server.unknown = reply
        found, _ = await detect({5000: server})
        assert (5000 in {one.endpoint.port for one in found}) is has_row
    assert "KoboldCpp" not in {one.product for one in found}, "it is not installed"

    program = tmp_path / "koboldcpp"
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found, _ = await detect({})
    away = next(one for one in found if one.product == "KoboldCpp")
    assert (away.word, away.next_step) == ("refused", "koboldcpp --model MODEL.gguf")


@pytest.mark.rule("R-3")
@pytest.mark.parametrize("name", ["LM Studio", "lm-studio", "LM Studio.exe", "llmster", "Bionic"])
async def test_lm_studio_without_its_server_is_told_from_one_that_does_not_run(
    detect, monkeypatch, name
):
    running = [Mock(info={"name": None}), Mock(info={"name": name})]
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(running))
    found, _ = await detect({})
    row = next(one for one in found if one.product == "LM Studio")
    step = "Open LM Studio: Developer, Start server"
    assert (row.word, row.next_step) == ("server off", step)
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(running[:1]))
    found, _ = await detect({})
    assert {one.word for one in found} == {"refused"}


@pytest.mark.rule("R-6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_this_machine_is_reached_at_the_only_address_where_a_server_listens(
    make_client, host
):
    with ScriptedServer(host=host) as server:
        products.llama_cpp(server)
        found = await make_client().models.check(Endpoint.parse(f"http://0.0.0.0:{server.port}"))
    assert (found.endpoint.netloc, found.word) == (f"localhost:{server.port}", "ready")


async def test_configured_endpoints_come_first_and_are_asked_once_and_only_if_they_are_allowed(
    start, detect
):
    own = Endpoint.parse("127.0.0.1:8080")
    evil, page = (Endpoint.parse(url) for url in ("http://evil.example:8080", "localhost:4711"))
    pages = start()
    pages.unknown = html_reply()
    found, ports = await detect(
        {
            8080: start(products.llama_cpp),
            1234: start(products.lm_studio),
            4711: pages,
        },
        named=[own, evil, page],
    )
    assert (found[0].endpoint, found[0].word) == (own, "ready")
    assert len(ports.paths(8080)) == len(set(ports.paths(8080)))
    mine = {one.endpoint: one for one in found if one.is_configured}
    assert mine.keys() == {own, evil, page}
    assert mine[evil].detail.startswith("Endpoint not allowed")
    assert mine[evil].next_step == "lmchat --allow-host evil.example"
    assert not [one for one in ports.asked if one[0] == "evil.example"]
    assert mine[page].word == "not an LLM server"
    assert mine[page].next_step == "Check the port and the path of the address"


async def test_silent_ports_cost_one_time_out_together_and_hide_nobody(start, detect):
    """One time-out after the other would take longer than the time limit of a test."""
    silent = start()
    silent.unknown = raw_reply(Hold())
    places = dict.fromkeys((port for one in PRODUCTS for port in one.place.ports), silent)
    places |= {8080: start(products.llama_cpp), 4000: httpx.ConnectTimeout("")}
    del places[6767]  # of Jan; nothing answers there
    found, _ = await detect(places)
    assert (found[0].product, found[0].word) == ("llama.cpp", "ready")
    assert at(found, 1234).word == at(found, 1337).word == "timed out"
    row = at(found, 4000)
    assert (row.word, row.next_step) == ("timed out", "Check which program uses port 4000")


# it keeps the connection, as Ollama does
EMPTY_403 = Reply((b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",))


async def test_an_empty_403_is_a_host_name_that_ollama_refuses_only_where_ollama_is_expected(
    start, make_client
):
    """`own-foreign-host` of the recordings of Ollama 0.33: no words, and no headers of its own."""
    box = "box.local"
    for port, hinted, verdict, step in (
        (11434, False, "host blocked", "Use localhost, or OLLAMA_HOST=box.local ollama serv"),
        (4711, True, "host blocked", "Use localhost, or OLLAMA_HOST=box.local ollama serve"),
        (4711, False, "server error", "Check the rights of your account or API key"),
        (1234, False, "server error", "Check the rights of your account or API key"),
    ):
        server = start()
        server.unknown = EMPTY_403
        client = make_client(transport=PortMap({(box, port): server}), allowed_hosts=(box,))
        place = Endpoint.parse(f"http://{box}:{port}")
        if hinted:
            client.models.scan_also({"Ollama": place})
        for probed in (
            await client.models.check(place),
            *(await client.models.detect(named=[place]))[:1],
        ):
            assert (probed.endpoint, probed.word) == (place, verdict)
            assert probed.next_step.startswith(step)
            assert (probed.product == "Ollama") is (verdict == "host blocked")
            assert "not a model server" not in probed.sentence(probed.name)
