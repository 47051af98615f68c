"""Models are found on the hub by their names, and downloaded for the built-in engine."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

import httpx
import pytest

from lmchat.base.errors import EngineUnavailable, LMChatError, WrongUse
from lmchat.core.servers.http.connections import Connections
from lmchat.core.servers.local.gguf import find_named_model, gguf_models
from lmchat.core.servers.local.hub import Hub
from tests.support.faults import no_room
from tests.support.scripted_hub import REPO, ScriptedHub
from tests.support.scripted_server import ScriptedServer, body_reply, json_reply, raw_reply

FILE = b"GGUF" + os.urandom(10_240)
NAME = "alder-Q4_K_M.gguf"
SPLIT = {f"Q8_0/alder-Q8_0-0000{part}-of-00002.gguf": os.urandom(900) for part in (1, 2)}
FIRST = next(iter(SPLIT))
TOKEN = "hf_secret"  # noqa: S105 - of no user


@pytest.fixture
async def connections():
    made = Connections()
    yield made
    await made.aclose()


@pytest.fixture
def scripted():
    with ScriptedServer() as hub, ScriptedServer() as store:
        one = ScriptedHub(hub, store)
        one.put({NAME: FILE})
        yield one


@pytest.fixture
def hub(scripted, connections):
    return Hub(connections, {"HF_ENDPOINT": f"{scripted.hub.url}/", "HF_TOKEN": TOKEN})


async def got(hub, folder, name=REPO, told=lambda _: None):
    return await hub.download(await hub.find(name), folder, told)


def is_empty(folder):
    return not any(one.stat().st_size for one in folder.rglob("*") if one.is_file())


FILES = [
    *(NAME, "alder-IQ4_XS.gguf", "alder-UD-Q4_K_XL.gguf", "alder.f16.gguf", "mmproj-F16.gguf"),
    *("alder-Q2_K-00001-of-00002.gguf", "../alder-Q5_K_M.gguf", "imatrix.dat", *SPLIT),
]


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        ("", [NAME]),
        (":q4_k_m", [NAME]),
        (f":{NAME}", [NAME]),
        (":Q4_K_XL", ["alder-UD-Q4_K_XL.gguf"]),
        (":UD-Q4_K_XL", ["alder-UD-Q4_K_XL.gguf"]),
        (":F16", ["alder.f16.gguf"]),
        (":Q8_0", [*SPLIT]),
        (":Q8_0/alder-Q8_0-00001-of-00002.gguf", [*SPLIT]),
    ],
)
async def test_a_file_or_a_quantization_is_named_and_else_it_is_q4_k_m(
    scripted, hub, wanted, files
):
    scripted.put({path: path.encode() for path in FILES})
    assert [file.path for file in await hub.find(f"{REPO}{wanted}")] == files


@pytest.mark.parametrize(
    ("wanted", "files", "message", "named"),
    [
        (":Q3_K", FILES, "has no files for Q3_K", ": F16, IQ4_XS, Q4_K_M, Q4_K_XL, Q8_0"),
        (":Q2_K", FILES, "has no files for Q2_K", ""),  # a part of it is missing
        (":Q5_K_M", FILES, "has no files for Q5_K_M", ""),
        ("", ["a-Q8_0.gguf", "b-Q8_0.gguf", "c.gguf"], "has no files for Q4_K_M", ": Q8_0, c.gguf"),
        ("", [NAME, "b-Q4_K_M.gguf"], "has 2 files for Q4_K_M", ": alder-Q4_K_M.gguf, b-Q4_K_M"),
        ("", ["mmproj-F16.gguf", "model.safetensors"], "has no GGUF file of a chat model", ""),
        ("", [], "has no GGUF file of a chat model", ""),
    ],
)
async def test_without_a_single_file_of_a_name_those_that_are_there_are_shown(
    scripted, hub, wanted, files, message, named
):
    scripted.put({path: path.encode() for path in files})
    with pytest.raises(WrongUse) as failed:
        await hub.find(f"{REPO}{wanted}")
    assert message in failed.value.message
    assert named in failed.value.next_step


async def test_the_only_model_of_a_repository_needs_no_quantization(scripted, hub):
    scripted.put({"alder.gguf": FILE, "mmproj-F16.gguf": b"x"})
    assert [file.path for file in await hub.find(REPO)] == ["alder.gguf"]


async def test_all_parts_are_downloaded_and_the_key_goes_to_the_hub_alone(scripted, hub, tmp_path):
    scripted.put(SPLIT)
    files = await hub.find(REPO)
    told = []
    question = (await hub.question(files, tmp_path)).replace("\u00a0", " ")
    host = scripted.hub.url.removeprefix("http://")
    assert f"Q8_0/alder-Q8_0-00001-of-00002.gguf (2 kB) of {REPO} from {host} into " in question
    assert scripted.store.seen() == [], "no other host is asked before the user has agreed"
    path = await hub.download(files, tmp_path, told.append)
    assert [one.read_bytes() for one in sorted(path.parent.iterdir())] == [*SPLIT.values()]
    assert (told[-1].done_bytes, told[-1].total_bytes) == (1800, 1800)
    assert {seen.headers.get("authorization") for seen in scripted.hub.seen()} == {
        f"Bearer {TOKEN}"
    }
    assert not any("authorization" in seen.headers for seen in scripted.store.seen())
    model = find_named_model(f"{REPO}:Q8_0", [*gguf_models({tmp_path: "lmchat"})])
    assert (model.path, model.parts, model.name) == (path, 2, "alder-Q8_0")


async def test_what_has_come_stays_when_it_breaks_off_or_is_stopped_and_the_rest_follows(
    scripted, hub, tmp_path
):
    scripted.sent_bytes = 5000
    with pytest.raises(EngineUnavailable, match="broke off") as failed:
        await got(hub, tmp_path)
    assert "continues where it stopped" in failed.value.next_step
    assert "received 5000 bytes" in failed.value.details
    scripted.sent_bytes = 1000
    started = asyncio.Event()
    task = asyncio.create_task(got(hub, tmp_path, told=lambda _: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.rglob("*.gguf")) == [], "a part is no model"
    scripted.sent_bytes = None
    assert (await got(hub, tmp_path)).read_bytes() == FILE
    assert scripted.ranges == ["", "bytes=5000-", "bytes=6000-"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [NAME]


async def test_a_part_that_is_whole_is_not_downloaded_again_and_a_store_may_end_without_an_error(
    scripted, hub, tmp_path
):
    scripted.put(SPLIT)
    second = [*SPLIT.values()][1]
    path = f"GET /xet-bridge-us/{hashlib.sha256(second).hexdigest()}"
    scripted.store.on(path, raw_reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + second[:7]))
    with pytest.raises(EngineUnavailable, match="broke off") as failed:
        await got(hub, tmp_path)
    assert failed.value.details == "7 bytes came."
    scripted.put(SPLIT)
    assert (await got(hub, tmp_path)).read_bytes() == SPLIT[FIRST]
    assert scripted.ranges == ["", "", "bytes=7-"]


async def test_without_ranges_or_with_another_version_no_part_is_continued(scripted, hub, tmp_path):
    for has_ranges, data in ((False, FILE), (True, FILE[::-1])):
        scripted.put({NAME: FILE})
        scripted.sent_bytes = 5000
        folder = tmp_path / f"{has_ranges}"
        with pytest.raises(EngineUnavailable):
            await got(hub, folder)
        scripted.sent_bytes = None
        scripted.has_ranges = has_ranges
        scripted.put({NAME: data})
        assert (await got(hub, folder)).read_bytes() == data


async def test_bytes_that_were_not_asked_for_are_deleted_and_the_next_run_is_right(
    scripted, hub, tmp_path
):
    scripted.sent_bytes = 5000
    with pytest.raises(EngineUnavailable):
        await got(hub, tmp_path)
    scripted.sent_bytes = None
    scripted.first_byte = 4000
    with pytest.raises(EngineUnavailable, match="sent another part of"):
        await got(hub, tmp_path)
    assert is_empty(tmp_path)
    (file,) = await hub.find(REPO)
    right = scripted.store.seen()[0].route
    for wrong in (FILE[::-1], FILE + b"more"):
        scripted.store.on(right, body_reply(wrong))
        with pytest.raises(EngineUnavailable, match="has another SHA-256") as failed:
            await hub.download([file], tmp_path, lambda _: None)
        assert failed.value.next_step
        assert is_empty(tmp_path)
    scripted.put({NAME: FILE})
    assert (await got(hub, tmp_path)).read_bytes() == FILE


@pytest.mark.posix
async def test_a_disk_that_fills_is_told_as_such_and_the_download_continues_with_room(
    scripted, hub, tmp_path
):
    large = FILE * 40  # more than Python keeps before it writes
    scripted.put({NAME: large})
    with no_room(len(FILE)), pytest.raises(EngineUnavailable) as failed:
        await got(hub, tmp_path)
    assert f"cannot be written to {tmp_path}" in failed.value.message
    assert "Check the free space" in failed.value.next_step
    assert (await got(hub, tmp_path)).read_bytes() == large


async def test_a_model_that_no_disk_has_room_for_is_not_asked_about(scripted, hub, tmp_path):
    scripted.put({NAME: FILE})
    lfs = {"sha256": "0" * 64, "size": 10**15, "pointerSize": 134}
    row = {"rfilename": NAME, "size": 10**15, "lfs": lfs}
    scripted.hub.on(f"GET /api/models/{REPO}", json_reply({"siblings": [row]}))
    files = await hub.find(REPO)
    with pytest.raises(EngineUnavailable, match="on the disk, and") as failed:
        await hub.question(files, tmp_path)
    assert failed.value.kind == "no_space"


async def test_of_two_that_download_a_file_one_is_told_so(scripted, hub, tmp_path):
    files = await hub.find(REPO)
    results = await asyncio.gather(
        *(hub.download(files, tmp_path, lambda _: time.sleep(0.001)) for _ in range(2)),
        return_exceptions=True,
    )
    (refused,) = [result for result in results if isinstance(result, Exception)]
    assert f"Another lmchat downloads {NAME}." in str(refused)
    (path,) = [result for result in results if not isinstance(result, Exception)]
    assert path.read_bytes() == FILE


def refusal(status, code, words):
    """Return a refusal of the hub: its words are in a header, too."""
    headers = {"X-Error-Code": code, "X-Error-Message": words}
    return json_reply({"error": words}, status=status, headers=headers)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(401, "RepoNotFound", "Invalid username or password."), f"refuses {REPO}: Invalid"),
        (refusal(403, "GatedRepo", "Access to model a is restricted."), "Access to model a is"),
        (raw_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "breaks HTTP"),
        (body_reply(b"", status=429), "status 429"),
        (
            body_reply(b"<!doctype html><title>Hi</title>", content_type="text/html"),
            "cannot be read",
        ),
        (
            json_reply({"siblings": [{"rfilename": NAME, "lfs": {"sha256": "../a", "size": 1}}]}),
            "cannot be read",
        ),
    ],
)
async def test_what_the_hub_refuses_is_told_in_its_words(scripted, hub, reply, words):
    scripted.hub.on(f"GET /api/models/{REPO}", reply)
    with pytest.raises(EngineUnavailable) as failed:
        await hub.find(REPO)
    assert words in failed.value.message
    assert failed.value.next_step
    assert failed.value.kind == "fetch"


async def test_without_a_network_the_next_step_is_said_and_what_still_works(scripted, hub):
    scripted.hub.stop()
    with pytest.raises(EngineUnavailable, match="Nothing answers at localhost") as failed:
        await hub.find(REPO)
    assert failed.value.exit_code == 1
    assert "Check the network" in failed.value.next_step
    assert "`lmchat models --local` lists" in failed.value.next_step


async def asked_through(play, endpoint):
    """Ask a hub that `play` answers for; return the error and the hosts that were asked, with keys."""
    asked = []

    def answer(request):
        asked.append((request.url.host, request.headers.get("authorization", "")))
        return play(request)

    connections = Connections(httpx.MockTransport(answer))
    try:
        hub = Hub(connections, {"HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN})
        with pytest.raises(LMChatError) as failed:
            await hub.find(REPO)
    finally:
        await connections.aclose()
    return failed.value, asked


@pytest.mark.parametrize(
    ("endpoint", "location"),
    [
        ("http://models.example", "http://localhost:8080/a"),
        ("http://models.example", "http://[::1]:8080/a"),
        ("http://models.example", "http://[::ffff:127.0.0.1]/a"),
        ("http://models.example", "http://0.0.0.0/a"),
        ("http://models.example", "http://169.254.169.254/a"),
        ("http://models.example", "http://100.100.100.200/a"),
        ("http://models.example", "//router.lan/a"),
        ("http://models.example", "//ada.localhost/a"),
        ("http://192.168.1.7", "http://127.0.0.1:8080/a"),
        ("http://models.example", "http://[::"),
        ("http://models.example", "file:///etc/passwd"),
        ("http://models.example", "http://2130706433/a"),
        ("http://models.example", "http://ada:secret@x.example/a"),
        ("https://models.example", "http://models.example/a"),
    ],
)
async def test_a_redirect_into_this_network_or_without_https_is_not_followed(endpoint, location):
    def play(_):
        return httpx.Response(302, headers={"Location": location})

    error, asked = await asked_through(play, endpoint)
    assert "redirects to an address that lmchat does not follow" in error.message
    assert "secret" not in error.message_with_next_step
    assert asked == [(endpoint.rpartition("/")[2], f"Bearer {TOKEN}")]


async def test_a_redirect_within_the_hub_is_followed_with_the_key_and_five_are_enough():
    def play(request):
        headers = {"Location": f"{request.url.path}a"}
        return httpx.Response(307, headers=headers, stream=httpx.ByteStream(b"Moved"))

    error, asked = await asked_through(play, "https://models.example/mirror")
    assert f"models.example refuses {REPO}: Moved." in error.message
    assert asked == [("models.example", f"Bearer {TOKEN}")] * 6


@pytest.mark.parametrize(
    "wrong", ["models.example", "ftp://a.example", "http://[x", "http://a:secret@b"]
)
def test_a_wrong_address_of_the_hub_is_refused_without_being_quoted(connections, wrong):
    with pytest.raises(WrongUse, match="HF_ENDPOINT") as failed:
        Hub(connections, {"HF_ENDPOINT": wrong})
    assert "secret" not in failed.value.message_with_next_step
