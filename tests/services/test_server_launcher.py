from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import ServerStart
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError
from lmchat.services.server_launcher import ServerLauncher
from tests.support.scripted_backend import candidate

FREE = ServerStart(
    product=Product.OLLAMA,
    argv=("/usr/bin/ollama", "serve"),
    endpoint=Endpoint.parse("http://127.0.0.1:11434"),
    lifetime=Lifetime.FREE,
)
BRIEF = replace(
    FREE, product=Product.LM_STUDIO, argv=("/lms", "server", "start"), lifetime=Lifetime.BRIEF
)


class Program:
    pid, log_file = 7, Path("/log/server.log")

    def __init__(self, line=""):
        self.exit_code, self.line, self.ends = None, line, 0

    async def last_line(self):
        return self.line

    async def end(self):
        self.ends += 1
        self.exit_code = 143


def starts_of(*programs):
    left = list(programs)

    def find():
        return ()

    def run(start):
        program = left.pop(0)
        program.start = start
        return program

    def free_port(first):
        return first + 3

    return ServerLauncher(find=find, run=run, free_port=free_port)


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (1, "Error: no GPU.", "ollama serve ended with exit code 1: Error: no GPU."),
        (3, "", "ollama serve ended with exit code 3."),
        (0, "bye", "ollama serve ended with exit code 0: bye."),
        (1, "x" * 500, f"ollama serve ended with exit code 1: {'x' * 159}…."),
        (1, "a\x1b[2Jb\x9bc", "ollama serve ended with exit code 1: a␛[2Jb\ufffdc."),
    ],
)
async def test_an_end_that_nobody_asked_for_is_one_sentence(code, line, words):
    program = Program(line)
    starts = starts_of(program)
    run = await starts.begin(FREE)
    program.exit_code = code
    with pytest.raises(LMChatError) as caught:
        await starts.watch(run)
    assert caught.value.message == words
    assert caught.value.hint == "Its output: /log/server.log"
    assert starts.running == ()


async def test_a_command_that_ends_by_itself_has_done_its_work():
    program = Program("Success")
    starts = starts_of(program)
    run = await starts.begin(BRIEF)
    program.exit_code = 0
    await starts.watch(run)


async def test_what_runs_is_not_started_twice_and_what_has_ended_is():
    first, second = Program(), Program()
    starts = starts_of(first, second)
    run = await starts.begin(FREE)
    assert await starts.begin(FREE) is run
    first.exit_code = 1
    again = await starts.begin(FREE)
    assert again is second
    assert starts.running == (again,)


async def test_at_the_end_what_is_tied_ends_once_and_nothing_else():
    free, tied = Program(), Program()
    starts = starts_of(free, tied)
    await starts.begin(FREE)
    await starts.begin(replace(BRIEF, lifetime=Lifetime.TIED))
    await starts.aclose()
    await starts.aclose()
    assert (free.ends, tied.ends) == (0, 1)


async def test_a_model_file_is_served_at_a_free_port_of_this_machine_alone():
    place = candidate(endpoint=Endpoint.parse("http://127.0.0.1:9931"), product=Product.LLAMA_CPP)
    start = await starts_of().prepare_with_file(
        place, "/usr/bin/llama-server", Path("/m/-a b.gguf")
    )
    assert start.argv == (
        *("/usr/bin/llama-server", "-m", "/m/-a b.gguf"),
        *("--host", "127.0.0.1", "--port", "9934"),
    )
    assert (start.endpoint.netloc, start.lifetime) == ("127.0.0.1:9934", Lifetime.TIED)
