from __future__ import annotations

from msgspec.structs import replace

from lmchat.cli.answer import Printer
from lmchat.cli.output import Output
from lmchat.domain.context import ContextPlan
from lmchat.domain.event import ModelLoading, ModelNamed, StreamStalled, TextDelta
from lmchat.domain.message import Role, text_message
from lmchat.services.asking import AnswerBegun


def shown(capsys, *events, **how) -> tuple[str, str]:
    printer = Printer(Output(**how))
    for event in events:
        printer.show(event)
    captured = capsys.readouterr()
    return captured.out, captured.err


PLAN = ContextPlan(messages=(), left_out=0, tokens=3, needed_tokens=3, limit=None, reserve=0)


def begun(model: str) -> AnswerBegun:
    message = replace(text_message(Role.ASSISTANT, ""), model=model)
    return AnswerBegun(message=message, plan=PLAN)


def test_a_server_that_says_nothing_is_told_once_and_again_after_it_said_something(capsys):
    stalled = [StreamStalled(silent_s=5.2), StreamStalled(silent_s=6.2)]
    _, told = shown(capsys, ModelLoading(), ModelLoading(), *stalled)
    assert [line.startswith("lmchat: ") for line in told.splitlines()] == [True, True]
    assert "nothing has come from the server for 5 s" in told
    out, told = shown(capsys, *stalled, TextDelta(text="some\n"), *stalled)
    assert (out, len(told.splitlines())) == ("some\n", 2)


def test_what_is_told_in_the_middle_of_a_line_begins_a_line_of_its_own(capsys):
    out, told = shown(capsys, TextDelta(text="half a"), StreamStalled(silent_s=60))
    assert (out, told.startswith("\nlmchat: ")) == ("half a", True)


def test_a_script_gets_its_lines_and_nothing_else_on_stdout(capsys):
    out, told = shown(capsys, StreamStalled(silent_s=5), TextDelta(text="x"), is_lines=True)
    assert out == '{"chunk": "x"}\n'
    assert "nothing has come" in told


def test_another_model_than_the_one_asked_for_is_told_on_stderr(capsys):
    out, told = shown(capsys, begun("tiny"), ModelNamed(model="other\x1b[31m-model"), TextDelta(text="x\n"))
    assert (out, told) == ("x\n", "lmchat: other␛[31m-model answers; tiny was asked for.\n")


def test_the_same_model_in_other_words_is_not_worth_a_line(capsys):
    _, told = shown(capsys, begun("tiny"), ModelNamed(model="/models/tiny.gguf"))
    assert told == ""
