from __future__ import annotations

import signal

import pytest

from tests.support.programs import PYTHON, WAIT_S, run, start
from tests.support.pty_program import ROOT
from tests.support.reference import api_page
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, Hold, finish, sse

_EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


_TALKING = [path for path in _EXAMPLES if path.name in ("ask.py", "ask_sync.py")]


@pytest.mark.parametrize("example", _TALKING, ids=lambda path: path.name)
def test_an_example_asks_a_server(example, tmp_path, server):
    done = run(
        [PYTHON, example, server.url], home=tmp_path, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Hello there.") == 2
    assert len(server.seen(CHAT)) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_what_is_wrong_where_no_server_is(example, tmp_path):
    words = [PYTHON, example, "http://127.0.0.1:1"]
    done = run(words, home=tmp_path, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (['{"title": "Emma", "year": 1815}'], "Emma (1815)\n"),
        (
            ["Emma."],
            (
                "The model cannot: The answer does not match the schema, also at the second attempt: "
                "it has no JSON value.\n"
            ),
        ),
    ],
)
def test_the_example_of_json_asks_until_it_has_a_value_or_tells_why_not(
    said, shown, tmp_path, server
):
    server.on(CHAT, *(sse(words, finish(), DONE) for words in said))
    words = [PYTHON, ROOT / "docs" / "examples" / "ask_json.py", server.url]
    done = run(words, home=tmp_path, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown)
    assert server.seen(CHAT)[0].json["response_format"]["json_schema"]["name"] == "book"


def test_each_example_is_in_the_reference():
    page = api_page()
    assert _EXAMPLES
    assert all(example.read_text(encoding="utf-8") in page for example in _EXAMPLES)


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)
def test_ctrl_c_ends_an_example_and_its_request(example, tmp_path, server):
    server.on(CHAT, sse("one", Hold()))
    words = [PYTHON, example, server.url]
    with start(words, home=tmp_path, env={"PYTHONPATH": str(ROOT)}) as program:
        seen = server.wait_for(CHAT, timeout_s=WAIT_S)
        program.send_signal(signal.SIGINT)
        assert seen.client_left.wait(WAIT_S)
        assert program.wait(WAIT_S) != 0
