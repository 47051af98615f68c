from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.screen import Screen

from lmchat.servers.discovery.launcher import Installed, ServerStart
from lmchat.servers.discovery.probe_result import Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.tui.dialogs.ask_dialog import host_question, start_question
from lmchat.tui.welcome.server_rows import MachineState
from tests.support.look_data import OLLAMA, PLACES
from tests.support.look_pictures import steps
from tests.support.scripted_backend import file
from tests.support.start_desk import OFFER, bare_page, found
from tests.support.tui_host import Host, screen_text

OFF = [
    replace(one, verdict=Verdict.REFUSED) if one.verdict is Verdict.NOT_AN_LLM else one
    for one in PLACES
]
NOWHERE = [replace(one, verdict=Verdict.REFUSED) for one in OFF]
FILES = (
    replace(file("qwen3-8b"), path=Path("/home/ada/.lmstudio/models/qwen3-8b.gguf")),
    file("gemma-3-4b", size_bytes=2_400_000_000, quantization="Q4_0"),
    file(
        "Llama-3.2-1B-Instruct-Q8_0",
        size_bytes=1_300_000_000,
        source="Hugging Face",
        quantization="Q8_0",
    ),
)
OLLAMA_START = ServerStart(
    product="Ollama",
    argv=("/usr/local/bin/ollama", "serve"),
    endpoint=OLLAMA,
)
LMS_START = ServerStart(
    product="LM Studio",
    argv=("/home/ada/.lmstudio/bin/lms", "server", "start"),
    endpoint=PLACES[0].endpoint,
)
HERE = MachineState(
    installed=(
        Installed(product="LM Studio", start=LMS_START.argv),
        Installed(product="Jan", start_words="Open Jan: Settings, Local API Server, Start"),
        Installed(product="llama.cpp", start_words="llama-server -m MODEL.gguf"),
        Installed(product="Ollama", start=OLLAMA_START.argv),
    ),
    files=FILES,
    offer=OFFER,
)


def host(here: MachineState, places=NOWHERE, *, problem: str = "", **more) -> Host:
    def make() -> Screen:
        return bare_page(found(places, here, problem=problem))

    return Host(screen=make, **more)


def test_the_question_before_a_start(snap_compare):
    see = steps(sees="run this command")
    host = Host(screen=lambda: start_question(LMS_START))
    assert snap_compare(host, terminal_size=(80, 24), run_before=see)


@pytest.mark.parametrize("theme", ["lmchat-dark"])
def test_the_question_about_another_machine(snap_compare, theme):
    make = partial(host_question, Endpoint.parse("gpu-box:8000"))
    see = steps(sees='allowed_hosts = ["gpu-box:8000"]')
    assert snap_compare(Host(screen=make, theme=theme), terminal_size=(80, 24), run_before=see)


async def test_pictures_of_the_page_hold_only_ascii_where_that_is_wanted():
    async with host(HERE, is_ascii=True).run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert [line for line in screen_text(pilot.app).split("\n") if not line.isascii()] == []
