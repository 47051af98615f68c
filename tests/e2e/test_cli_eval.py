"""`lmchat eval`: prompts of a file for several models, and each check of the answers."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.support.files_to_attach import image
from tests.support.programs import Inside, wait_until
from tests.support.scripted_products import CHAT, lm_studio, plain
from tests.support.scripted_server import finish, json_reply, sse, usage

Cli = Inside


def echo(seen):
    return sse(seen.json["messages"][-1]["content"], finish(), usage())


def echoing(server):
    return plain(server, "tiny", "small").on(CHAT, echo)


PRODUCT = echoing

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


def cases_file(folder, text):
    path = folder / "cases.toml"
    path.write_text(text)
    return str(path)


def evaluated(cli, *words, code=0):
    return cli.json("eval", *words, "--json", code=code)


def test_each_check_fails_what_it_should(cli, tmp_path):
    (tmp_path / "s.json").write_text('{"required": ["n"]}')
    found = evaluated(cli, cases_file(tmp_path, EACH_CHECK), "-m", "tiny", code=1)
    failed = {row["name"]: row["failed"] for row in found["cases"]}
    assert failed == {
        "good": [],
        "missing": ["expect"],
        "rejected": ["reject"],
        "pattern": ["regex"],
        "shape": ["schema"],
        "shaped": [],
    }
    assert {*found["cases"][0]} == {"name", "model", "run", "passed", "failed", "reply"}
    (figures,) = found["models"]
    assert (figures["model"], figures["passed"], figures["cases"]) == ("tiny", 2, 6)
    assert {*figures} == {
        *("model", "passed", "cases", "ttft_ms", "tokens_per_second", "tokens", "elapsed_ms")
    }


def test_the_table_names_what_was_missing(cli, tmp_path):
    (tmp_path / "s.json").write_text("{}")
    done = cli(
        "eval", cases_file(tmp_path, EACH_CHECK), *("-m", "tiny", "-m", "small", "-m", "tiny")
    )
    assert done.returncode == 1
    table, _, _ = done.stdout.partition("\n\n")
    rows = [line.split()[:4] for line in table.splitlines()]
    assert rows[1:] == [["tiny", "2", "of", "6"], ["small", "2", "of", "6"]]
    assert "missing · tiny · run 1: expect “Italy”" in done.stdout


def test_more_than_sixty_prompts_a_minute_are_asked(cli, tmp_path):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    found = evaluated(cli, path, "-m", "tiny", "--runs", "70")
    assert found["models"][0]["passed"] == 70
    assert [row["run"] for row in found["cases"]] == [*range(1, 71)]


def test_a_case_has_files_messages_and_settings_of_its_own(cli, server, tmp_path):
    (tmp_path / "notes.txt").write_text("carrots")
    (tmp_path / "a.png").write_bytes(image())
    path = cases_file(
        tmp_path,
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
""",
    )
    evaluated(cli, path, "-m", "tiny")
    first, second = (seen.json for seen in server.seen(CHAT))
    assert (first["temperature"], first["messages"][0]["content"]) == (0.25, "Be brief.")
    assert "carrots" in first["messages"][1]["content"]
    assert [message["content"] for message in second["messages"]] == ["a", "b", "c"]


def test_an_answer_that_breaks_off_fails_with_its_error(cli, server, tmp_path):
    cli.configure("[limits]\nretries = 1\n")
    path = cases_file(tmp_path, '[[case]]\nname = "a"\nprompt = "Hi"\nexpect = "hi"\n')
    server.on(CHAT, sse("Hi"))  # without an end
    found = evaluated(cli, path, "-m", "tiny", code=1)
    assert found["cases"][0]["failed"] == ["answer"]
    assert "connection" in found["cases"][0]["detail"]["message"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[[case]]\nprompt = "a"\nexpects = "b"',
            "line 3: case[1].expects is unknown; keys: name, prompt",
        ),
        ('title = "x"\n[[case]]\nprompt = "a"', "line 1: title is unknown"),
        (
            '[[case]]\nprompt = 1\nexpect = "b"',
            "line 2: case[1].prompt has a value of the wrong type",
        ),
        ('[[case]]\nexpect = "b"', "has no prompt, messages or file"),
        ('[[case]]\nprompt = "a"', "checks nothing"),
        ('[[case]]\nprompt = "a"\nregex = "("', "line 3: case[1].regex cannot be used"),
        (
            '[[case]]\nprompt = "a"\nschema = { type = "strange" }',
            "line 3: case[1].schema cannot be used",
        ),
        ('[[case]]\nprompt = "a"\nschema = "none.json"', "line 3: case[1].schema cannot be used"),
        ('[[case]]\nfile = "none.txt"\nexpect = "a"', "line 2: case[1].file cannot be used"),
        (
            '[[case]]\nprompt = "a"\nexpect = "a"\nset = { temprature = 1 }',
            "line 4: case[1].set cannot be used",
        ),
        (
            '[[case]]\nmessages = [{ role = "pirate", content = "a" }]\nexpect = "a"',
            "case[1].messages cannot be used",
        ),
        (
            '[[case]]\nname = "a"\nprompt = "a"\nexpect = "a"\n[[case]]\nname = "a"\nprompt = "b"\nexpect = "b"',
            "line 6: case[2].name is the name of another case",
        ),
        ("", "has no [[case]]"),
        ("[[case]", "is not valid TOML"),
        (f"case = {'[' * 9000}", "is not valid TOML: nested too deeply."),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(cli, server, tmp_path, text, sentence):
    done = cli("eval", cases_file(tmp_path, text), "-m", "tiny")
    assert (done.returncode, server.seen(CHAT)) == (2, [])
    assert sentence in done.stderr


def test_an_unknown_model_is_refused_before_anything_is_asked(cli, server, tmp_path):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    done = cli("eval", path, "-m", "tiny", "-m", "nobody")
    assert (done.returncode, server.seen(CHAT)) == (2, [])
    assert "nobody" in done.stderr


@pytest.mark.router
@pytest.mark.timeout(240)
def test_two_real_models_give_the_numbers_of_ask(tmp_path, real_router):
    cli = Cli(home=tmp_path, url=real_router.url, wait_s=120)
    names = [row["id"] for row in cli.json("models", "--json")["data"]][:2]
    kinds = ["sum", "day", "sea", "sky", "bird", "tree", "song", "stone", "river", "moon"]
    cases = "".join(
        f'[[case]]\nname = "{kind}"\nprompt = "Say a word about the {kind}."\nregex = "."\n'
        "set = { max_tokens = 12, temperature = 0, seed = 1 }\n"
        for kind in kinds
    )
    path = cases_file(tmp_path, cases)
    words = (path, *(word for name in names for word in ("-m", name)))
    done = cli("eval", *words, "--json")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert [row["cases"] for row in found["models"]] == [10, 10]
    asked = cli.json(
        "ask",
        "--json",
        "-m",
        names[-1],
        "Say a word about the bird.",
        *("--set", "max_tokens=12", "--set", "temperature=0", "--set", "seed=1"),
    )
    row = next(row for row in found["cases"] if (row["name"], row["model"]) == ("bird", names[-1]))
    assert row["reply"] == asked["reply"]
    alone = cases_file(tmp_path, cases.partition('[[case]]\nname = "day"')[0])
    (figures,) = json.loads(cli("eval", alone, "-m", names[-1], "--json").stdout)["models"]
    asked = cli.json(
        *("ask", "--json", "-m", names[-1], "Say a word about the sum."),
        *("--set", "max_tokens=12", "--set", "temperature=0", "--set", "seed=1"),
    )
    assert figures["tokens"] == asked["usage"]["completion_tokens"]
    assert figures.keys() >= {"ttft_ms", "tokens_per_second", "elapsed_ms"} <= asked.keys()


def test_an_empty_answer_passes_no_check(cli, server, tmp_path):
    server.on(CHAT, sse(finish(), usage()))
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nreject = "sorry"\nregex = "^$"\n')
    done = cli("eval", path, "-m", "tiny")
    assert done.returncode == 1
    assert "case 1 · tiny · run 1: the answer is empty" in done.stdout


def test_what_was_answered_is_reported_if_another_model_cannot_be_loaded(cli, server, tmp_path):
    lm_studio(server, loaded=["qwen3-8b"]).on(CHAT, echo)
    server.on(
        "POST /api/v1/models/load", json_reply({"error": {"message": "out of memory"}}, status=500)
    )
    names = [row["id"] for row in cli.json("models", "--json")["data"] if row["type"] == "llm"]
    other = next(name for name in names if name != "qwen3-8b")
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    found = evaluated(cli, path, "-m", "qwen3-8b", "-m", other, code=1)
    assert [row["passed"] for row in found["models"]] == [1, 0]


SLOW_PATTERN = '[[case]]\nname = "fast"\nprompt = "Hi"\nregex = "Hi"\n[[case]]\nname = "slow"\nprompt = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"\nregex = "(a+)+$"\n'


def test_a_pattern_without_end_fails_after_a_while_and_the_others_are_reported(cli, tmp_path):
    done = cli("eval", cases_file(tmp_path, SLOW_PATTERN), "-m", "tiny")
    assert done.returncode == 1
    assert "1 of 2" in done.stdout
    assert "slow · tiny · run 1: regex “(a+)+$” could not be checked within 5 s" in done.stdout


def test_ctrl_c_ends_a_slow_pattern_and_what_had_ended_is_reported(cli, server, tmp_path):
    running = cli.start("eval", cases_file(tmp_path, SLOW_PATTERN), "-m", "tiny")
    wait_until(lambda: len(server.seen(CHAT)) == 2, "the answer that is checked")
    time.sleep(0.5)  # until the search for the pattern has begun
    running.send_signal(signal.SIGINT)
    stdout, _ = running.communicate(timeout=3)
    assert running.returncode == 130
    assert b"1 of 1" in stdout
