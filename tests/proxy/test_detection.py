from __future__ import annotations

import json
import time
from contextlib import ExitStack

import httpx
import pytest

from lmchat.cli.server_variables import endpoints_of_variables
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, LoadState, Verdict
from lmchat.errors import ServerUnavailable
from lmchat.proxy.servers import SERVERS, llama_cpp
from tests.support import scripted_products as products
from tests.support.proxy_calls import PortMap, endpoint_of
from tests.support.scripted_products import LLAMA, model_list
from tests.support.scripted_server import (
    Cut,
    Hold,
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

        def begin(script=lambda _: None, **options) -> ScriptedServer:
            server = servers.enter_context(ScriptedServer())
            script(server, **options)
            return server

        yield begin


def sglang(server):
    server.on("GET /v1/models", model_list("qwen", owned_by="sglang", max_model_len=1000))


def litellm(server):
    rows = {"object": "list", "data": [{"id": "gpt", "owned_by": "openai"}]}
    server.on("GET /v1/models", json_reply(rows, headers={"x-litellm-version": "1.0"}))


def become(server, script):
    """Let another product stand where one stood."""
    server.forget()
    server.unknown = text_reply("404", status=404)
    script(server)


USUAL = {
    1234: (Product.LM_STUDIO, products.lm_studio),
    1337: (Product.JAN, products.jan),
    9931: (Product.LLAMA_CPP, products.llama_cpp),
    8080: (Product.LLAMA_CPP, products.llama_cpp),
    11434: (Product.OLLAMA, products.ollama),
    8000: (Product.VLLM, products.vllm),
    30000: (Product.SGLANG, sglang),
    4000: (Product.LITELLM, litellm),
}
PORTS = {port: product for port, (product, _) in USUAL.items()}


@pytest.fixture
def detect(make_client):
    """Detect with servers at well-known ports; returns the candidates and the map."""

    async def run(places, *, expected=(), **options):
        there = {
            (key if isinstance(key, tuple) else ("127.0.0.1", key)): value
            for key, value in places.items()
        }
        ports = PortMap(there)
        client = make_client(transport=ports, **options)
        return await client.detect(expected=expected), ports

    return run


@pytest.mark.rule("R-2")
async def test_all_products_at_once_are_told_apart_with_three_questions_each(start, detect):
    places = {port: start(script) for port, (_, script) in USUAL.items()}
    started = time.perf_counter()
    found, ports = await detect(places)
    assert time.perf_counter() - started < 4
    assert {one.endpoint.port: one.product for one in found} == PORTS
    assert all(len(ports.paths(port)) <= 3 for port in places), ports.asked
    verdicts = {one.product: one.verdict for one in found}
    assert verdicts.pop(Product.OLLAMA) is Verdict.NO_MODEL, (
        "its model is on the disk, not in memory"
    )
    assert set(verdicts.values()) == {Verdict.READY}
    assert [one.product for one in found][-1] is Product.OLLAMA


@pytest.mark.rule("R-2")
@pytest.mark.parametrize(("product", "script"), dict(USUAL.values()).items())
async def test_a_product_is_recognised_at_the_port_of_another(start, detect, product, script):
    places = dict.fromkeys((*USUAL, 6767), start(script))
    found, ports = await detect(places)
    assert {one.endpoint.port: one.product for one in found} == dict.fromkeys(places, product)
    assert all(one.verdict.is_usable for one in found)
    assert all(len(ports.paths(port)) <= 3 for port in places), ports.asked


@pytest.mark.rule("R-44")
async def test_nothing_found_tells_each_product_with_its_ports_and_the_step_that_helps(detect):
    found, ports = await detect({})
    assert {one.product for one in found} == set(PORTS.values())
    assert {one.verdict for one in found} == {Verdict.REFUSED}
    assert {3928, 6767} & {one.endpoint.port for one in found} == set(), "spare ports"
    steps = {one.product: one.next_step for one in found}
    assert steps[Product.JAN] == "Settings, Local API Server, Start"
    assert steps[Product.OLLAMA] == "ollama serve"
    assert steps[Product.VLLM] == "vllm serve MODEL"
    assert all(steps.values())
    (away,) = _of_llama_cpp(found)
    assert (away.endpoint.port, away.other_ports) == (9931, (8080,))
    assert away.detail == "Nothing answers at 127.0.0.1:9931 or at port 8080."
    assert {9931, 8080} <= {port for _, port, _ in ports.asked}


def at(found, port):
    return next(one for one in found if one.endpoint.port == port)


def _of_llama_cpp(found):
    return [one for one in found if one.product is Product.LLAMA_CPP]


@pytest.mark.rule("R-44")
@pytest.mark.parametrize("port", [9931, 8080])
async def test_llama_cpp_is_found_at_the_port_of_its_newer_and_of_its_older_versions(
    start, detect, port
):
    found, _ = await detect({port: start(products.llama_cpp)})
    only = _of_llama_cpp(found)
    assert [(one.endpoint.port, one.verdict) for one in only] == [(port, Verdict.READY)]


@pytest.mark.rule("R-44")
async def test_another_server_at_the_port_of_older_versions_is_told_beside_the_newer_port(
    start, detect
):
    found, _ = await detect({8080: start(products.plain)})
    (away,) = _of_llama_cpp(found)
    assert (away.endpoint.port, away.other_ports) == (9931, ())
    assert (found[0].endpoint.port, found[0].product) == (8080, Product.OPENAI_COMPATIBLE)


@pytest.mark.rule("R-44")
@pytest.mark.parametrize("port", [9931, 8080])
async def test_a_host_that_a_variable_names_without_a_port_is_asked_at_both(
    start, make_client, port
):
    ports = PortMap({("127.0.0.2", port): start(products.llama_cpp)})
    client = make_client(transport=ports)
    client.expect(endpoints_of_variables({"LLAMA_ARG_HOST": "127.0.0.2"}))
    found = await client.detect()
    assert (found[0].endpoint.netloc, found[0].product) == (f"127.0.0.2:{port}", Product.LLAMA_CPP)


STEPS = {
    Verdict.NOT_AN_LLM: "Another program uses port 8080: stop it",
    Verdict.SERVER_ERROR: "Check the server's log, then restart it",
    Verdict.LOADING: "Wait until the model is loaded",
    Verdict.NEEDS_KEY: "Use the API key given to llama-server --api-key",
    Verdict.NO_MODEL: "Load a model",
    Verdict.HOST_BLOCKED: "Add the host name 127.0.0.1 to the server's trusted hosts, or use 127.0.0.1",
}


@pytest.mark.rule("R-1")
@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (html_reply(), Verdict.NOT_AN_LLM),
        (html_reply(status=401), Verdict.NOT_AN_LLM),
        (html_reply(status=500), Verdict.NOT_AN_LLM),
        (text_reply("404 page not found", status=404), Verdict.NOT_AN_LLM),
        (json_reply({"data": "no list"}), Verdict.NOT_AN_LLM),
        (
            json_reply({"error": "out of memory", "object": "list", "data": [{"id": "tiny"}]}),
            Verdict.SERVER_ERROR,
        ),
        (json_reply([]), Verdict.NOT_AN_LLM),
        (raw_reply(b"SSH-2.0-OpenSSH_9.6\r\n"), Verdict.NOT_AN_LLM),
        (raw_reply(Cut(is_reset=True)), Verdict.NOT_AN_LLM),
        (
            error_reply(503, "Loading model", code=503, headers=LLAMA),
            Verdict.LOADING,
        ),
        (error_reply(401, "no key"), Verdict.NEEDS_KEY),
        (error_reply(500, "oops"), Verdict.SERVER_ERROR),
        (json_reply({"object": "list", "data": []}), Verdict.NO_MODEL),
        (text_reply("Invalid host header", status=403), Verdict.HOST_BLOCKED),
    ],
)
async def test_what_stands_at_a_port_gets_its_verdict_and_step(start, detect, reply, verdict):
    server = start()
    server.unknown = reply
    found, ports = await detect({8080: server})
    row = at(found, 8080)
    assert row.verdict is verdict, row.detail
    assert row.next_step == STEPS[verdict]
    assert len(ports.paths(8080)) <= 3


@pytest.mark.rule("R-4")
@pytest.mark.parametrize(
    ("port", "script", "where"),
    [
        (1234, products.lm_studio, "Manage tokens"),
        (1337, products.jan, "Local API Server"),
        (8080, products.llama_cpp, "--api-key"),
    ],
)
async def test_a_server_that_wants_a_key_says_where_it_shows_it(start, detect, port, script, where):
    places = {port: start(script, key="right")}
    without, _ = await detect(places)
    wrong, _ = await detect(places, key="wrong")
    right, _ = await detect(places, key="right")
    assert (without[0].verdict, where in without[0].next_step) == (Verdict.NEEDS_KEY, True)
    assert (wrong[0].verdict, where in wrong[0].next_step) == (Verdict.KEY_REJECTED, True)
    assert right[0].verdict is Verdict.READY
    assert {without[0].product, wrong[0].product, right[0].product} == {PORTS[port]}


@pytest.mark.rule("R-2")
@pytest.mark.parametrize(
    ("script", "product"),
    [
        (products.lm_studio, Product.LM_STUDIO),
        (products.jan, Product.JAN),
        (products.llama_cpp, Product.LLAMA_CPP),
        (products.plain, Product.OPENAI_COMPATIBLE),
    ],
)
async def test_a_kept_key_costs_no_more_than_three_questions_either(start, detect, script, product):
    places = dict.fromkeys((1234, 1337, 8080, 8000), start(script, key="right"))
    found, ports = await detect(places, key="right")
    ready = {one.endpoint.port: one.product for one in found if one.verdict is Verdict.READY}
    assert ready == dict.fromkeys(places, product)
    assert all(len(ports.paths(port)) <= 3 for port in places), ports.asked


@pytest.mark.rule("R-5", "R-12")
@pytest.mark.parametrize("port", [1234, 1337, 8080, 8000])
async def test_who_stands_behind_a_locked_door_is_known_once_it_is_open(start, make_client, port):
    """What is usual at that port is no proof, however often it was looked at without a key."""
    client = make_client(
        transport=PortMap({("127.0.0.1", port): start(products.plain, key="right")})
    )
    endpoint = Endpoint.parse(f"127.0.0.1:{port}")
    for _ in range(2):
        assert (await client.detect())[0].verdict is Verdict.NEEDS_KEY
        assert (await client.check(endpoint)).verdict is Verdict.NEEDS_KEY
    opened = await client.try_key(endpoint, "right")
    assert (opened.product, opened.verdict) == (Product.OPENAI_COMPATIBLE, Verdict.READY)
    assert {model.product for model in opened.models} == {Product.OPENAI_COMPATIBLE}


async def test_a_key_is_tried_without_being_kept(start, make_client):
    server = start(products.llama_cpp, key="right")
    client = make_client()
    endpoint = endpoint_of(server)
    assert (await client.try_key(endpoint, "wrong")).verdict is Verdict.KEY_REJECTED
    assert (await client.try_key(endpoint, "right")).verdict is Verdict.READY
    assert (await client.check(endpoint)).verdict is Verdict.NEEDS_KEY


@pytest.mark.rule("R-3")
async def test_lm_studio_without_its_server_is_told_from_one_that_does_not_run(start, detect):
    program = start(products.lm_studio)
    found, _ = await detect({41343: program})
    row = next(one for one in found if one.product is Product.LM_STUDIO)
    assert (row.verdict, row.next_step) == (
        Verdict.SERVER_OFF,
        "Open its Developer tab, then Start server",
    )


async def test_the_hint_file_of_lm_studio_names_its_port(start, detect, tmp_path):
    folder = tmp_path / ".lmstudio" / ".internal"
    folder.mkdir(parents=True)
    (folder / "http-server-config.json").write_text(json.dumps({"port": 4711}))
    found, _ = await detect({4711: start(products.lm_studio)})
    assert (found[0].endpoint.port, found[0].product) == (4711, Product.LM_STUDIO)
    assert [one.endpoint.port for one in found if one.product is Product.LM_STUDIO] == [4711]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"port": "x"}', '{"port": 99999999}', '{"port": -1}', "\0"]
)
async def test_a_broken_hint_file_is_no_hint(detect, tmp_path, text):
    folder = tmp_path / "elsewhere" / ".internal"
    folder.mkdir(parents=True)
    (tmp_path / ".lmstudio-home-pointer").write_text(str(tmp_path / "elsewhere"))
    (folder / "http-server-config.json").write_text(text)
    found, _ = await detect({})
    assert [one.endpoint.port for one in found if one.product is Product.LM_STUDIO] == [1234]


@pytest.mark.rule("R-6")
async def test_a_server_on_ipv6_only_is_found_and_its_literal_kept(start, detect):
    found, _ = await detect({("::1", 8080): start(products.llama_cpp)})
    assert (found[0].endpoint.host, found[0].verdict) == ("::1", Verdict.READY)
    assert found[0].endpoint.url == "http://[::1]:8080"


@pytest.mark.rule("R-6")
@pytest.mark.parametrize("literal", ["127.0.0.1", "::1"])
async def test_localhost_that_refuses_is_looked_for_at_the_literals(start, make_client, literal):
    ports = PortMap({(literal, 8123): start(products.llama_cpp)})
    client = make_client(transport=ports)
    named = Endpoint.parse("http://localhost:8123")
    found = await client.check(named)
    assert (found.endpoint.host, found.verdict) == (literal, Verdict.READY), "the literal is kept"
    again = await client.check(found.endpoint)
    assert (again.verdict, len(ports.paths(8123, literal))) == (Verdict.READY, 4)
    tried = await client.try_key(named, "k")
    assert (tried.endpoint.host, tried.verdict) == (literal, Verdict.READY)


async def test_a_literal_is_looked_at_where_it_is_and_nowhere_else(start, make_client):
    ports = PortMap({("::1", 8123): start(products.llama_cpp)})
    found = await make_client(transport=ports).check(Endpoint.parse("http://127.0.0.1:8123"))
    assert found.verdict is Verdict.REFUSED
    assert {host for host, _, _ in ports.asked} == {"127.0.0.1"}


async def test_localhost_where_nobody_is_keeps_its_name(make_client):
    found = await make_client(transport=PortMap({})).check(Endpoint.parse("http://localhost:8123"))
    assert (found.endpoint.host, found.verdict) == ("localhost", Verdict.REFUSED)


async def test_spare_ports_are_told_only_where_a_server_answers(start, detect):
    found, _ = await detect({3928: start(products.plain), 6767: start(products.jan)})
    assert {one.endpoint.port for one in found if one.verdict.is_server} == {3928, 6767}


async def test_own_endpoints_come_first_and_are_not_asked_twice(start, detect):
    own = Endpoint.parse("localhost:8080")
    server = start(products.llama_cpp)
    found, ports = await detect(
        {("localhost", 8080): server, 1234: start(products.lm_studio)}, expected=[own]
    )
    assert (found[0].endpoint, found[0].is_own) == (own, True)
    assert ports.paths(8080) == []
    assert [one.is_own for one in found].count(True) == 1


async def test_an_own_endpoint_that_is_not_allowed_is_not_asked(detect):
    found, ports = await detect({}, expected=[Endpoint.parse("http://evil.example:8080")])
    row = next(one for one in found if one.is_own)
    assert row.detail.startswith("Endpoint not allowed")
    assert row.next_step == "lmchat --allow-host evil.example"
    assert not [one for one in ports.asked if one[0] == "evil.example"]


async def test_a_page_at_a_named_address_means_that_the_address_is_looked_at_again(start, detect):
    server = start()
    server.unknown = html_reply()
    found, _ = await detect({4711: server}, expected=[Endpoint.parse("http://127.0.0.1:4711")])
    row = next(one for one in found if one.is_own)
    assert row.verdict is Verdict.NOT_AN_LLM
    assert row.next_step == "Check the port and the path of the address"


async def test_of_an_ollama_at_another_port_a_first_look_tells_what_is_loaded(start, make_client):
    client = make_client(
        transport=PortMap({("127.0.0.1", 4711): products.ollama(start(), "a", "b")})
    )
    assert (await client.check(Endpoint.parse("http://127.0.0.1:4711"))).verdict is Verdict.NO_MODEL


async def test_an_address_of_the_environment_is_marked_and_one_elsewhere_only_listed(
    start, make_client
):
    ports = PortMap({("127.0.0.1", 11434): products.ollama(start())})
    client = make_client(transport=ports)
    client.expect({Product.OLLAMA: Endpoint.parse("http://gpu-box:11434")})
    rows = {
        one.endpoint.host: one for one in await client.detect() if one.product is Product.OLLAMA
    }
    assert (rows["gpu-box"].is_hinted, rows["gpu-box"].next_step) == (
        True,
        "lmchat --allow-host gpu-box",
    )
    assert (rows["127.0.0.1"].is_hinted, rows["127.0.0.1"].verdict) == (False, Verdict.NO_MODEL)
    assert "gpu-box" not in {host for host, *_ in ports.asked}


async def test_a_server_that_names_no_product_on_another_machine_is_called_none(start, detect):
    far = Endpoint.parse("http://gpu-box:8000")
    places = {("gpu-box", 8000): start(products.plain, key="k")}
    found, _ = await detect(places, expected=[far], allowed_hosts=["gpu-box"])
    assert (found[0].verdict, found[0].product) == (Verdict.NEEDS_KEY, Product.OPENAI_COMPATIBLE)


async def test_a_silent_port_costs_one_time_out_and_hides_nobody(start, detect):
    silent = start()
    silent.unknown = raw_reply(Hold())
    started = time.perf_counter()
    found, _ = await detect({1234: silent, 8080: start(products.llama_cpp)})
    assert time.perf_counter() - started < 4
    assert (found[0].product, found[0].verdict) == (Product.LLAMA_CPP, Verdict.READY)
    assert at(found, 1234).verdict is Verdict.TIMED_OUT


@pytest.mark.rule("R-44")
async def test_where_every_port_is_silent_the_scan_ends_after_one_time_out(start, detect):
    silent = start()
    silent.unknown = raw_reply(Hold())
    started = time.perf_counter()
    found, _ = await detect(dict.fromkeys((port for one in SERVERS for port in one.ports), silent))
    assert time.perf_counter() - started < 4, "2 s on a machine that does nothing else"
    shown = {one.endpoint.port for one in found if one.verdict is Verdict.TIMED_OUT}
    assert {9931, 8080} <= shown


async def test_a_port_that_does_not_let_connect_timed_out(detect):
    found, _ = await detect({4000: httpx.ConnectTimeout("")})
    row = at(found, 4000)
    assert (row.verdict, row.next_step) == (Verdict.TIMED_OUT, "Check which program uses port 4000")


@pytest.mark.rule("R-5")
async def test_a_check_of_a_known_server_is_one_question(start, make_client):
    for script in (products.lm_studio, products.jan, products.llama_cpp, products.vllm):
        server, client = start(script), make_client()
        await client.check(endpoint_of(server))
        before = len(server.seen())
        again = await client.check(endpoint_of(server))
        assert (again.verdict, len(server.seen()) - before) == (Verdict.READY, 1), again
        assert again.latency_ms is not None


@pytest.mark.rule("R-5")
async def test_a_check_follows_a_server_that_goes_and_another_that_comes(start, make_client):
    server, client = start(products.llama_cpp), make_client()
    endpoint = endpoint_of(server)
    assert (await client.check(endpoint)).product is Product.LLAMA_CPP
    server.stop()
    away = await client.check(endpoint)
    for one in (away, await client.check(endpoint)):
        assert (one.verdict, one.product) == (Verdict.REFUSED, Product.LLAMA_CPP)
    become(server, products.vllm)
    server.start()
    back = await client.check(endpoint)
    assert (back.verdict, back.product) == (Verdict.READY, Product.VLLM)


@pytest.mark.rule("R-5")
@pytest.mark.parametrize(
    ("before", "after", "product"),
    [
        (products.llama_cpp, products.vllm, Product.VLLM),
        (products.vllm, products.llama_cpp, Product.LLAMA_CPP),
        (products.llama_cpp, products.plain, Product.OPENAI_COMPATIBLE),
        (products.router, products.lm_studio, Product.LM_STUDIO),
    ],
)
async def test_a_server_that_gave_way_to_another_between_two_checks_is_not_called_by_the_old_name(
    start, make_client, before, after, product
):
    server, client = start(before), make_client()
    endpoint = endpoint_of(server)
    await client.check(endpoint)
    become(server, after)
    now = await client.check(endpoint)
    assert (now.product, now.verdict) == (product, Verdict.READY)
    assert {model.product for model in now.models} == {product}


async def test_a_list_of_models_follows_a_server_that_gave_way_to_another(start, make_client):
    server, client = start(products.llama_cpp), make_client()
    endpoint = endpoint_of(server)
    (model,) = (await client.models(endpoint)).models
    assert model.product is Product.LLAMA_CPP
    become(server, products.plain)
    (model,) = (await client.models(endpoint, is_refresh=True)).models
    assert (model.product, model.state) == (Product.OPENAI_COMPATIBLE, LoadState.UNKNOWN)


@pytest.mark.parametrize(("api", "known"), [("v1", True), ("v0", True), ("none", False)])
async def test_each_age_of_lm_studio_tells_what_it_can(start, make_client, api, known):
    server, client = start(products.lm_studio, api=api), make_client()
    models = (await client.models(endpoint_of(server))).models
    model = models[0]
    assert [one.model_id for one in models] == ["qwen3-8b", "gemma-3-4b", "nomic-embed"]
    assert (model.quantization, model.context_loaded, model.context_max) == (
        ("Q4_K_M", 8192, 32768) if known else ("", None, None)
    )
    assert model.state is (LoadState.LOADED if known else LoadState.UNKNOWN)
    assert models[2].is_embedding is known


@pytest.mark.rule("R-2")
@pytest.mark.parametrize(("api", "most"), [("v1", 3), ("v0", 3), ("none", 4)])
async def test_lm_studio_of_any_age_can_be_used_at_any_port(start, detect, api, most):
    places = dict.fromkeys((1234, 8080, 1337, 11434), start(products.lm_studio, api=api))
    found, ports = await detect(places)
    ready = {one.endpoint.port: one for one in found if one.verdict is Verdict.READY}
    assert ready.keys() == places.keys()
    for port, one in ready.items():
        assert one.product is Product.LM_STUDIO
        assert "qwen3-8b" in [model.model_id for model in one.models]
        assert len(ports.paths(port)) == len(set(ports.paths(port))) <= most, ports.paths(port)


async def test_what_the_oldest_lm_studio_lacks_is_asked_for_once(start, make_client):
    ports = PortMap({("127.0.0.1", 1234): start(products.lm_studio, api="none")})
    client = make_client(transport=ports)
    await client.detect()
    before = len(ports.paths(1234))
    again = (await client.detect())[0]
    assert again.verdict is Verdict.READY
    assert ports.paths(1234)[before:] == ["/lmstudio-greeting", "/v1/models"]


async def test_a_server_that_was_started_again_is_asked_anew_for_what_it_lacked(start, make_client):
    server, client = start(products.lm_studio, api="none"), make_client()
    endpoint = endpoint_of(server)
    assert (await client.check(endpoint)).models[0].quantization == ""
    server.stop()
    assert (await client.check(endpoint)).verdict is Verdict.REFUSED
    products.lm_studio(server)  # a newer version
    server.start()
    assert (await client.check(endpoint)).models[0].quantization == "Q4_K_M"


@pytest.mark.rule("R-4")
async def test_a_refusal_of_lm_studio_is_no_reason_to_ask_an_older_api(start, make_client):
    server, client = start(products.lm_studio, key="right"), make_client()
    assert (await client.check(endpoint_of(server))).verdict is Verdict.NEEDS_KEY
    assert [one.path for one in server.seen()] == ["/v1/models", "/api/v1/models"]


async def test_a_product_is_looked_for_first_where_its_variable_says(start, make_client):
    hinted = {Product.OLLAMA: Endpoint.parse("http://127.0.0.1:11500")}
    ports = PortMap({("127.0.0.1", 11500): start(products.ollama, loaded=("llama3.2:3b",))})
    client = make_client(transport=ports)
    client.expect(hinted)
    best, *others = await client.detect()
    assert (best.endpoint, best.product) == (hinted[Product.OLLAMA], Product.OLLAMA)
    assert Product.OLLAMA not in {one.product for one in others}, (
        "its usual port is told where it answers"
    )
    ports.places.clear()
    client = make_client(transport=ports)
    client.expect(hinted)
    away = await client.check(hinted[Product.OLLAMA])
    assert (away.product, away.next_step) == (Product.OLLAMA, "ollama serve")


async def test_a_variable_hides_no_server_at_the_usual_port(start, make_client):
    hinted = {Product.LM_STUDIO: Endpoint.parse("http://127.0.0.2:1234")}
    ports = PortMap({("127.0.0.1", 1234): start(products.lm_studio)})
    client = make_client(transport=ports)
    client.expect(hinted)
    best = (await client.detect())[0]
    assert (best.endpoint.host, best.verdict) == ("127.0.0.1", Verdict.READY)


async def test_one_look_that_fails_in_an_unknown_way_hides_nobody(
    start, detect, monkeypatch, caplog
):
    def fail(*_: object) -> None:
        raise ValueError("sk-words of a server")

    monkeypatch.setattr(llama_cpp.LlamaCpp, "model_from_row", fail)
    candidates, _ = await detect({8080: start(products.llama_cpp), 1337: start(products.jan)})
    found = {one.product: one.verdict for one in candidates}
    assert candidates[0].product is Product.JAN
    assert candidates[0].verdict.is_usable
    assert found[Product.LLAMA_CPP] is Verdict.SERVER_ERROR
    assert "ValueError" in caplog.text
    assert "sk-words" not in caplog.text


async def test_a_failed_list_of_models_says_nothing_about_the_product(start, make_client):
    """vLLM is expected at this port; first nothing answers there, then another product."""
    ports = PortMap({})
    client, endpoint = make_client(transport=ports), Endpoint.parse("http://127.0.0.1:8000")
    with pytest.raises(ServerUnavailable):
        await client.models(endpoint)
    ports.places["127.0.0.1", 8000] = start(products.plain)
    (model,) = (await client.models(endpoint)).models
    assert (model.product, model.state) == (Product.OPENAI_COMPATIBLE, LoadState.UNKNOWN)
    assert (await client.check(endpoint)).product is Product.OPENAI_COMPATIBLE


async def test_an_address_of_an_earlier_run_is_looked_at_in_the_same_scan_and_is_not_ones_own(
    start, make_client
):
    usual, elsewhere, away = (f"http://127.0.0.1:{port}" for port in (1234, 5555, 5556))
    server = start(products.plain)
    ports = PortMap({("127.0.0.1", 1234): start(products.lm_studio), ("127.0.0.1", 5555): server})
    client = make_client(transport=ports)
    client.expect({}, used=[Endpoint.parse(url) for url in (usual, elsewhere, away)])
    found = {one.endpoint.port: one for one in await client.detect()}
    assert len(server.seen()) == 1
    assert (found[5555].verdict, found[5555].is_own) == (Verdict.READY, False)
    assert (found[5556].verdict, found[5556].is_own) == (Verdict.REFUSED, False)
    assert found[1234].product is Product.LM_STUDIO
    named = await client.detect(expected=[Endpoint.parse(elsewhere)])
    assert [one.is_own for one in named if one.endpoint.port == 5555] == [True]
