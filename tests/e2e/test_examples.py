from __future__ import annotations

import runpy
import signal
import sys

from tests.support.programs import PYTHON, ROOT, WAIT_S, start
from tests.support.reference import DOCS
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Hold, sse

_FOLDER = ROOT / "docs" / "examples"
_EXAMPLES = sorted(_FOLDER.glob("*.py"))
_MISFIT = "The model cannot: The answer does not match the schema: it has no JSON value.\n"


def run_example(name, url, monkeypatch, capsys):
    """Run an example in this process; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", [name, url])
    code = 0
    try:
        runpy.run_path(str(_FOLDER / name), run_name="__main__")
    except SystemExit as error:
        code = error.code or 0
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_each_example_asks_a_server_and_says_what_is_wrong_where_none_is(
    monkeypatch, capsys, tmp_path, server
):
    monkeypatch.chdir(tmp_path)
    for name in ("ask.py", "ask_sync.py"):
        server.requests.clear()
        code, out, err = run_example(name, server.url, monkeypatch, capsys)
        assert (code, out.count("Hello there."), err) == (0, 2, "")
        assert len(server.seen(CHAT)) == 2
    code, out, err = run_example("find_servers.py", server.url, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert f"{server.url}: OpenAI-compatible, ready\n" in out
    assert out.endswith("tiny: unknown, None tokens\n")
    for said, shown in (('{"title": "Emma", "year": 1815}', "Emma (1815)\n"), ("Emma.", _MISFIT)):
        server.on(CHAT, chat_reply(said))
        told = run_example("ask_json.py", server.url, monkeypatch, capsys)
        assert told == (0, shown, "")
        assert server.seen(CHAT)[-1].json["response_format"]["json_schema"]["name"] == "book"
    for example in _EXAMPLES:
        code, out, err = run_example(example.name, "http://127.0.0.1:1", monkeypatch, capsys)
        told = code if isinstance(code, str) else out + err
        assert code not in (0, None)
        assert told.strip()
    assert list(tmp_path.iterdir()) == []


def test_each_example_is_in_the_reference():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert _EXAMPLES
    assert all(example.read_text(encoding="utf-8") in page for example in _EXAMPLES)


def test_ctrl_c_ends_an_example_and_its_request(tmp_path, server):
    server.on(CHAT, sse("one", Hold()))
    words = [PYTHON, _FOLDER / "ask_sync.py", server.url]
    with start(words, home=tmp_path, env={"PYTHONPATH": str(ROOT)}) as program:
        seen = server.wait_for(CHAT, timeout_s=WAIT_S)
        program.send_signal(signal.SIGINT)
        assert seen.client_left.wait(WAIT_S)
        assert program.wait(WAIT_S) != 0
