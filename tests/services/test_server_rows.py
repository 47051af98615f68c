from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Endpoint, Verdict
from lmchat.services.server_rows import MachineState, RowAction, server_rows
from tests.support.scripted_backend import candidate

OLLAMA = Installed(
    product=Product.OLLAMA,
    program="/usr/bin/ollama",
    start=("/usr/bin/ollama", "serve"),
    start_words="ollama serve",
)
LMS = Installed(
    product=Product.LM_STUDIO,
    program="/h/lms",
    start=("/h/lms", "server", "start"),
    start_words="lms server start",
)
LLAMA = Installed(
    product=Product.LLAMA_CPP,
    program="/usr/bin/llama-server",
    start_words="llama-server -m MODEL.gguf",
)
JAN = Installed(product=Product.JAN, start_words="Open Jan")
FAR = Endpoint.parse("http://gpu-box:11434")


def found(
    product: Product, verdict: Verdict = Verdict.REFUSED, here: MachineState | None = None, **more
):
    here = here or MachineState(installed=(OLLAMA, LMS, LLAMA, JAN))
    (place,) = server_rows(
        [candidate(verdict, product=product, next_step="Its own step", **more)], here
    )
    return place


def test_what_is_installed_and_known_to_start_is_offered_to_be_started():
    place = found(Product.OLLAMA)
    assert (place.result, place.next_step, place.action) == (
        "not running",
        "ollama serve",
        RowAction.START,
    )
    assert place.start.argv == ("/usr/bin/ollama", "serve")


def test_an_application_whose_server_is_off_is_switched_on_by_its_command():
    place = found(Product.LM_STUDIO, Verdict.SERVER_OFF)
    assert (place.result, place.next_step, place.action) == (
        "server off",
        "lms server start",
        RowAction.START,
    )


def test_without_its_command_the_step_of_the_look_stays():
    place = found(Product.LM_STUDIO, Verdict.SERVER_OFF, MachineState(installed=()))
    assert (place.next_step, place.action, place.is_here) == (
        "Its own step",
        RowAction.NOTHING,
        True,
    )


def test_an_application_tells_where_to_press():
    assert (found(Product.JAN).next_step, found(Product.JAN).action) == (
        "Open Jan",
        RowAction.NOTHING,
    )


def test_the_command_of_llama_cpp_is_copied_as_it_needs_a_file():
    place = found(Product.LLAMA_CPP)
    assert (place.next_step, place.action) == ("llama-server -m MODEL.gguf", RowAction.COPY)


@pytest.mark.parametrize("product", [one for one in Product if one.facts.where_to_get])
def test_what_is_not_installed_says_where_to_get_it(product):
    place = found(product, here=MachineState(installed=()))
    assert (place.result, place.action, place.is_here) == ("refused", RowAction.NOTHING, False)
    assert place.next_step == product.facts.where_to_get


def test_a_program_that_is_found_relative_to_the_folder_of_lmchat_is_not_started():
    relative = replace(OLLAMA, program="./server", start=("./server", "serve"))
    here = MachineState(installed=(relative,))
    assert found(Product.OLLAMA, here=here).action is RowAction.NOTHING


def test_before_anybody_has_looked_nothing_is_said_of_it():
    place = found(Product.OLLAMA, here=MachineState())
    assert (place.result, place.next_step) == ("refused", "Its own step")


@pytest.mark.parametrize("verdict", [Verdict.NOT_AN_LLM, Verdict.TIMED_OUT, Verdict.SERVER_ERROR])
def test_where_something_else_is_in_the_way_nothing_is_started(verdict):
    place = found(Product.OLLAMA, verdict)
    assert (place.next_step, place.action) == ("Its own step", RowAction.NOTHING)


def test_another_machine_is_not_started_from_here():
    assert found(Product.OLLAMA, endpoint=FAR).action is RowAction.NOTHING


@pytest.mark.parametrize("verdict", [one for one in Verdict if one.is_server])
def test_a_server_that_answers_can_be_chosen(verdict):
    assert found(Product.OLLAMA, verdict).action is RowAction.CHOOSE


def test_what_was_started_says_so_until_it_answers():
    start = ServerStart(
        product=Product.OLLAMA,
        argv=("/usr/bin/ollama", "serve"),
        endpoint=candidate().endpoint,
    )
    here = MachineState(installed=(OLLAMA,), starting=(start,))
    place = found(Product.OLLAMA, here=here)
    assert (place.result, place.next_step, place.action) == (
        "starting",
        "ollama serve runs",
        RowAction.WAIT,
    )
    assert found(Product.OLLAMA, Verdict.READY, here).action is RowAction.CHOOSE


def test_what_can_be_helped_comes_first_and_the_order_of_the_look_decides_among_equals():
    here = MachineState(installed=(OLLAMA, JAN))
    look = [
        candidate(Verdict.REFUSED, product=Product.VLLM),
        candidate(Verdict.REFUSED, product=Product.JAN),
        candidate(Verdict.SERVER_OFF, product=Product.LM_STUDIO),
        candidate(Verdict.REFUSED, product=Product.SGLANG),
        candidate(Verdict.REFUSED, product=Product.OLLAMA),
    ]
    assert [place.candidate.product for place in server_rows(look, here)] == [
        *(Product.LM_STUDIO, Product.JAN, Product.OLLAMA, Product.VLLM, Product.SGLANG)
    ]


def test_a_command_is_written_as_a_shell_would_need_it_and_shortened_for_sentences():
    start = ServerStart(
        product=Product.LM_STUDIO, argv=("/opt/b in/lms", "server", "start"), endpoint=FAR
    )
    assert start.command == "'/opt/b in/lms' server start"
    assert start.short == "lms server start"
