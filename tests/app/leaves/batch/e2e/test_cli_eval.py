"""`lmchat eval`: prompts of a file for several models, and each check of the answers."""

from __future__ import annotations

import json

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, model_list, plain, repeat

Cli = Inside


def repeating(server):
    return plain(server, "tiny", "small").on(CHAT, repeat)


PRODUCT = repeating


EACH_CHECK = r"""
[[case]]
name = "good"
prompt = "Paris is in France"
expect = ["paris", "France"]
reject = "sorry"
regex = "^Paris"

[[case]]
name = "missing"
prompt = "Rome"
expect = ["rome", "Italy"]

[[case]]
name = "rejected"
prompt = "Sorry, no"
reject = ["sorry"]

[[case]]
name = "pattern"
prompt = "none"
regex = '\d+'

[[case]]
name = "shape"
prompt = "no JSON"
schema = { type = "object" }

[[case]]
name = "shaped"
prompt = '{"n": 1}'
schema = "s.json"
"""
HI = '[[case]]\nprompt = "Hi"\nexpect = "hi"\n'


@pytest.fixture
def cases(tmp_path):
    """Write cases into a file, and return its name."""

    def write(text: str) -> str:
        path = tmp_path / "cases.toml"
        path.write_text(text)
        return str(path)

    return write


def evaluated(cli, *words, code=0):
    return cli.json("eval", *words, "--json", code=code)


def test_each_check_fails_what_it_should_and_the_table_names_it(cli, cases, tmp_path):
    (tmp_path / "s.json").write_text('{"required": ["n"]}')
    found = evaluated(cli, cases(EACH_CHECK), "-m", "tiny", code=1)
    failed = {row["name"]: row["failed"] for row in found["cases"]}
    assert failed == {
        "good": [],
        "missing": ["expect"],
        "rejected": ["reject"],
        "pattern": ["regex"],
        "shape": ["schema"],
        "shaped": [],
    }
    fields = {"name", "model", "run", "passed", "failed", "prompt_cut", "reply"}
    assert {*found["cases"][0]} == fields
    (figures,) = found["models"]
    assert (figures["model"], figures["passed"], figures["cases"]) == ("tiny", 2, 6)
    assert {*figures} == {
        *("model", "passed", "cases", "ttft_ms", "tokens_per_second", "tokens", "elapsed_ms")
    }
    few = HI + '[[case]]\nname = "missing"\nprompt = "Rome"\nexpect = ["rome", "Italy"]\n'
    done = cli("eval", cases(few), *("-m", "tiny", "-m", "small", "-m", "tiny"))
    assert done.returncode == 1
    table, _, _ = done.stdout.partition("\n\n")
    rows = [line.split()[:4] for line in table.splitlines()]
    assert rows[1:] == [["tiny", "1", "of", "2"], ["tiny", "instead", "of", "small"]]
    assert "missing · tiny · run 1: expect “Italy”" in done.stdout


def test_a_case_has_files_messages_and_settings_of_its_own_and_is_asked_as_often_as_wanted(
    cli, server, cases, tmp_path
):
    (tmp_path / "notes.txt").write_text("carrots")
    path = cases(
        """
[[case]]
name = "file"
file = "notes.txt"
expect = "carrots"
system = "Be brief."
set = { temperature = 0.25 }

[[case]]
name = "messages"
messages = [{ role = "user", content = "a" }, { role = "assistant", content = "b" }, { role = "user", content = "c" }]
expect = "c"
"""
    )
    assert cli("eval", path, "-m", "tiny").stderr == "", "nothing of the file is left out"
    found = evaluated(cli, path, "-m", "tiny", "--runs", "35")
    assert found["models"][0]["passed"] == 70  # more than sixty a minute
    assert {row["run"] for row in found["cases"]} == {*range(1, 36)}
    sent = {len(seen.json["messages"]): seen.json for seen in server.seen(CHAT)}
    assert (sent[2]["temperature"], sent[2]["messages"][0]["content"]) == (0.25, "Be brief.")
    assert "carrots" in sent[2]["messages"][1]["content"]
    assert [message["content"] for message in sent[3]["messages"]] == ["a", "b", "c"]


def test_answers_in_a_file_are_not_asked_for_again_but_checked_again(cli, server, cases, tmp_path):
    target = tmp_path / "answers.jsonl"
    words = ("-m", "tiny", "--runs", "2", "-o", str(target))
    first = evaluated(cli, cases(HI), *words)
    rows = target.read_text().splitlines(keepends=True)
    assert [json.loads(row)["reply"] for row in rows] == ["Hi", "Hi"]
    target.write_text(rows[0] + rows[1][:40])
    assert evaluated(cli, cases(HI), *words)["cases"] == first["cases"]
    assert len(server.seen(CHAT)) == 3
    stricter = HI.replace('"hi"', '["hi", "there"]')
    found = evaluated(cli, cases(stricter), *words, code=1)
    assert [row["failed"] for row in found["cases"]] == [["expect"], ["expect"]]
    assert len(server.seen(CHAT)) == 3
    other = HI.replace("Hi", "Ho")
    assert "belongs to another run" in cli("eval", cases(other), *words).stderr
    more = stricter + '[[case]]\nname = "new"\nprompt = "Ha"\nexpect = "ha"\n'
    found = evaluated(cli, cases(more), "-m", "small", *words, code=1)
    assert len(server.seen(CHAT)) == 3 + 4 + 2  # two cases of another model, and a new case
    assert sum(row["passed"] for row in found["cases"]) == 4


_CASE = '[[case]]\nprompt = "a"\n'


def test_a_row_of_batch_that_answers_the_same_prompt_counts(cli, server, cases, tmp_path):
    target = str(tmp_path / "rows.jsonl")
    assert cli("batch", "--text", "-m", "tiny", "-o", target, stdin="Hi\n").returncode == 0
    (case,) = evaluated(cli, cases(HI), "-m", "tiny", "-o", target)["cases"]
    assert (case["name"], case["run"], case["passed"]) == ("case 1", 1, True)
    assert len(server.seen(CHAT)) == 1


def test_a_wrong_file_or_model_is_refused_before_anything_is_asked(cli, server, cases):
    for text, sentence in (
        (f"{_CASE}schema = {{ }}", "it has no keyword that checks anything"),
        (f'{_CASE}expect = [""]', "cannot be used: expect[0]: expected text that is not empty"),
        ("\0", "is UTF-16 or no text: save it as UTF-8."),
    ):
        done = cli("eval", cases(text), "-m", "tiny")
        assert (done.returncode, sentence in done.stderr) == (2, True), (text, done.stderr)
    server.on("GET /v1/models", model_list("tiny", "a/nobody", "b/nobody"))
    done = cli("eval", cases(HI), "-m", "tiny", "-m", "nobody")
    assert (done.returncode, "nobody" in done.stderr) == (2, True)
    done = cli("eval", cases(HI), "-m", "tiny", "--set", "seed=5")
    assert (done.returncode, "does not take seed" in done.stderr) == (2, True)
    assert server.seen(CHAT) == []
    _, hint = cli("eval", cases(""), "-m", "tiny").stderr.splitlines()
    assert cli("eval", cases(hint.removeprefix("Example: ")), "-m", "tiny").stderr == ""
    assert len(server.seen(CHAT)) == 1
    done = cli("eval", cases(f'{_CASE}schema = {{ type = "object", requird = [] }}'), "-m", "tiny")
    assert "lmchat: case 1: The schema has names" in done.stderr


SLOW_PATTERN = (
    '[[case]]\nname = "fast"\nprompt = "Hi"\nregex = "Hi"\n'
    f'[[case]]\nname = "slow"\nprompt = "{"a" * 40}!"\nregex = "(a+)+$"\n'
)


def test_a_pattern_that_would_take_forever_ends(cli, cases):
    done = cli("eval", cases(SLOW_PATTERN), "-m", "tiny")
    assert (done.returncode, "1 of 2" in done.stdout) == (1, True)
