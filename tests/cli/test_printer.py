from __future__ import annotations

from lmchat.cli.answer import Printer
from lmchat.cli.output import Output
from lmchat.domain.event import ModelLoading, StreamStalled, TextDelta


def shown(capsys, *events, **how) -> tuple[str, str]:
    printer = Printer(Output(**how))
    for event in events:
        printer.show(event)
    captured = capsys.readouterr()
    return captured.out, captured.err


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
