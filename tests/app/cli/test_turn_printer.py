from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.app.cli.turn_printer import TurnPrinter
from lmchat.app.terminal.output import Output
from lmchat.core.chat.events import AnswerStarted
from lmchat.core.servers.events import (
    ModelLoading,
    ModelNamed,
    RequestAdapted,
    Rethought,
    StreamStalled,
    TextDelta,
)
from lmchat.core.sessions.message import AnswerStats, Role, text_message


def print_events(capsys, *events, **options) -> tuple[str, str]:
    """Print the events of a turn; return stdout and stderr."""
    printer = TurnPrinter(Output(**options))
    for event in events:
        printer.print_event(event)
    captured = capsys.readouterr()
    return captured.out, captured.err


def answer_started(model: str) -> AnswerStarted:
    message = replace(text_message(Role.ASSISTANT, ""), model=model)
    return AnswerStarted(message=message)


def test_an_end_that_may_have_cut_the_answer_is_told_in_whatever_words_the_server_has(capsys):
    limit = "lmchat: the answer was cut short: the server's token limit.\n"
    for reason, words in (
        *((whole, "") for whole in ("stop", "STOP", "eos_token", "end_turn", "tool_calls")),
        *((cut, limit) for cut in ("length", "model_length", "MAX_TOKENS")),
        ("model_context_window_exceeded", limit),
        ("abort", "lmchat: the answer ended for the reason abort; it may be cut.\n"),
        ("a\x1b[1m", "lmchat: the answer ended for the reason a␛[1m; it may be cut.\n"),
    ):
        answer = replace(
            text_message(Role.ASSISTANT, "Half"), stats=AnswerStats(finish_reason=reason)
        )
        TurnPrinter(Output()).print_notes_on(answer)
        assert capsys.readouterr().err == words


def test_a_server_that_says_nothing_is_told_once(capsys):
    stalled = [StreamStalled(silent_s=5.2), StreamStalled(silent_s=6.2)]
    _, err = print_events(capsys, *stalled)
    (line,) = err.splitlines()
    assert line.startswith("lmchat: no data from the server for 5 s;")


def test_a_wait_that_a_loading_server_asks_for_is_told_once_and_a_short_one_never(capsys):
    waits = [ModelLoading(wait_s=12.0), ModelLoading(), ModelLoading(wait_s=10.0)]
    _, err = print_events(capsys, *waits)
    assert err == "lmchat: the server loads the model; asked again in 12.0 s.\n"
    _, err = print_events(capsys, ModelLoading(), ModelLoading(wait_s=1.0))
    assert err == ""


def test_what_is_told_in_the_middle_of_a_line_begins_a_line_of_its_own(capsys):
    for event in (StreamStalled(silent_s=60), RequestAdapted(note="Skipped 1 malformed event.")):
        out, err = print_events(capsys, TextDelta(text="half a"), event)
        assert (out, err.startswith("\nlmchat: ")) == ("half a", True)


def test_another_model_than_the_one_asked_for_is_told_on_stderr(capsys):
    out, err = print_events(
        capsys,
        answer_started("tiny"),
        ModelNamed(model="other\x1b[31m-model", is_other=True),
        TextDelta(text="x\n"),
    )
    assert (out, err) == ("x\n", "lmchat: other␛[31m-model answers instead of tiny.\n")


TEXT_THEN_RETHOUGHT = (TextDelta(text="2+2"), Rethought(), TextDelta(text="Four"))


@pytest.mark.rule("R-17")
def test_what_turned_out_to_be_thought_is_told_on_stderr_and_stands_apart(capsys):
    out, err = print_events(capsys, *TEXT_THEN_RETHOUGHT)
    assert out == "2+2\n\nFour"
    assert err == "lmchat: the text so far was the model's reasoning; the answer follows.\n"


@pytest.mark.rule("R-17")
def test_a_script_that_reads_lines_is_told_that_all_chunks_so_far_were_thought(capsys):
    out, err = print_events(capsys, *TEXT_THEN_RETHOUGHT, is_json_lines=True)
    assert out == '{"chunk": "2+2"}\n{"rethought": true}\n{"chunk": "Four"}\n'
    assert err == ""
