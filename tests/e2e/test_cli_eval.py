"""`lmchat eval`: prompts of a file for several models, each check, and answers that are kept."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.files_to_attach import image
from tests.support.programs import Cli, wait_until
from tests.support.scripted_products import CHAT, llama_cpp, plain
from tests.support.scripted_server import Hold, finish, sse, usage


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


def test_run_again_it_asks_nothing_unless_the_answers_shall_be_fresh(cli, server, tmp_path):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    first = evaluated(cli, path, "-m", "tiny", "--runs", "3")
    assert len(server.seen(CHAT)) == 3
    assert [row["run"] for row in first["cases"]] == [1, 2, 3]
    assert evaluated(cli, path, "-m", "tiny", "--runs", "3") == first
    assert len(server.seen(CHAT)) == 3
    evaluated(cli, path, "-m", "tiny", "--runs", "3", "--fresh")
    assert len(server.seen(CHAT)) == 6
    evaluated(cli, path, "-m", "tiny", "--set", "temperature=1")
    evaluated(cli, path, "-m", "small")
    assert len(server.seen(CHAT)) == 8


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"reply": 5}', "[" * 100_000])
def test_a_damaged_answer_in_the_cache_is_asked_for_again(cli, server, tmp_path, content):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    first = evaluated(cli, path, "-m", "tiny")["cases"][0]
    (kept,) = cli.home.rglob("eval/*.json")
    kept.write_text(content)
    assert evaluated(cli, path, "-m", "tiny")["cases"][0]["reply"] == first["reply"]
    assert len(server.seen(CHAT)) == 2


def test_more_than_sixty_prompts_a_minute_are_asked(cli, tmp_path):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    assert evaluated(cli, path, "-m", "tiny", "--runs", "70")["models"][0]["passed"] == 70


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
    (tmp_path / "notes.txt").write_text("peas")
    evaluated(cli, path, "-m", "tiny", code=1)
    assert len(server.seen(CHAT)) == 3  # only the case whose file has changed is asked again


def test_an_answer_that_fails_is_asked_for_again(cli, server, tmp_path):
    cli.configure("[limits]\nretries = 1\n")
    path = cases_file(tmp_path, '[[case]]\nname = "a"\nprompt = "Hi"\nexpect = "hi"\n')
    server.on(CHAT, sse("Hi"), echo)  # without an end
    found = evaluated(cli, path, "-m", "tiny", code=1)
    assert found["cases"][0]["failed"] == ["answer"]
    assert "connection" in found["cases"][0]["detail"]["message"]
    assert evaluated(cli, path, "-m", "tiny")["models"][0]["passed"] == 1


def test_after_ctrl_c_what_had_ended_is_not_asked_again(cli, server, tmp_path):
    cases = "".join(
        f'[[case]]\nname = "{n}"\nprompt = "word {n}"\nexpect = "word"\n' for n in range(5)
    )
    path = cases_file(tmp_path, cases)

    def stuck_at_three(seen):
        return sse(Hold()) if seen.json["messages"][-1]["content"] == "word 3" else echo(seen)

    server.on(CHAT, stuck_at_three)
    running = cli.start("eval", path, "-m", "tiny")
    wait_until(lambda: len(server.seen(CHAT)) == 4, "the prompt that hangs")
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    running.communicate()
    server.on(CHAT, echo)
    assert evaluated(cli, path, "-m", "tiny")["models"][0]["passed"] == 5
    assert len(server.seen(CHAT)) == 6


HOSTILE = "<script>alert(1)</script> |\n```\n\x1b[31m & </pre>"


@pytest.mark.parametrize("ending", ["md", "html"])
def test_a_report_has_the_table_and_the_failures_and_is_safe(cli, server, tmp_path, ending):
    server.on(CHAT, sse(HOSTILE, finish()))
    path = cases_file(tmp_path, '[[case]]\nname = "x | <b>"\nprompt = "Hi"\nexpect = "hi"\n')
    report = tmp_path / f"report.{ending}"
    assert cli("eval", path, "-m", "tiny", "-o", str(report)).returncode == 1
    text = report.read_text()
    assert "0 of 1" in text
    assert "\x1b" not in text
    if ending == "html":
        assert "<script>" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "<b>" not in text
    else:
        assert "\n````\n" in text  # a longer fence than that of the answer
    again = cli("eval", path, "-m", "tiny", "-o", str(report))
    assert (again.returncode, "already exists" in again.stderr) == (1, True)
    assert len(server.seen(CHAT)) == 1
    assert cli("eval", path, "-m", "tiny", "-o", str(report), "--force").returncode == 1


@pytest.mark.parametrize("ending", ["md", "html"])
def test_a_report_has_the_name_of_a_model_without_escape_sequences(cli, server, tmp_path, ending):
    plain(server, "ti\x1b[31m\u202eny").on(CHAT, echo)
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "bye"\n')
    report = tmp_path / f"report.{ending}"
    assert cli("eval", path, "-o", str(report)).returncode == 1
    text = report.read_text()
    assert text.count("ti␛[31m") == 2  # in the table, and above the failed answer
    assert "\x1b" not in text
    assert "\u202e" not in text


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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("-o", "report.txt"), "A report is Markdown or HTML."), (("--judge", "nobody"), "nobody")],
)
def test_wrong_options_are_refused_before_anything_is_asked(cli, server, tmp_path, words, sentence):
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\nexpect = "hi"\n')
    done = cli("eval", path, "-m", "tiny", *words)
    assert (done.returncode, server.seen(CHAT)) == (2, [])
    assert sentence in done.stderr


def test_a_server_that_cannot_judge_is_an_error_and_no_failed_case(cli, server, tmp_path):
    llama_cpp(server, model="tiny.gguf").on(CHAT, echo)
    path = cases_file(tmp_path, '[[case]]\nprompt = "Hi"\njudge = "Is it polite?"\n')
    done = cli("eval", path)
    assert done.returncode == 1
    assert "probabilities" in done.stderr
    assert "0 of 1" not in done.stdout


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
    cases += 'judge = "Is the answer about the moon?"\n'
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
    cases_file(tmp_path, cases)
    again = cli("eval", *words, "--json")
    assert json.loads(again.stdout) == found
