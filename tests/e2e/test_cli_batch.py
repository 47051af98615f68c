"""`lmchat batch`: each line is answered once, whatever ends the command before."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from tests.support.programs import Inside, run, wait_until
from tests.support.scripted_products import CHAT, plain
from tests.support.scripted_server import Gate, Hold, finish, sse, usage

Cli = Inside


def echo(seen):
    return sse(seen.json["messages"][-1]["content"], finish(), usage())


def echoing(server):
    return plain(server, "tiny").on(CHAT, echo)


PRODUCT = echoing


QUICK = "[limits]\nretries = 2\nretry_base_s = 0.01\n"


def prompts(path, count):
    path.write_text(
        "".join(json.dumps({"prompt": f"word {n}"}) + "\n" for n in range(1, count + 1))
    )
    return path


def rows(path):
    """Return the rows of a file, without one that a kill has cut."""
    if not path.exists():
        return []
    return [
        json.loads(line) for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]


def is_as_long(path, count):
    return path.exists() and path.read_bytes().count(b"\n") >= count


def sent_prompts(server) -> Counter[str]:
    return Counter(seen.json["messages"][-1]["content"] for seen in server.seen(CHAT))


@pytest.mark.timeout(180)
def test_after_kills_each_line_is_done_once(cli, server, tmp_path):
    source, target = prompts(tmp_path / "in.jsonl", 1000), tmp_path / "out.jsonl"
    words = ("batch", str(source), "-o", str(target), "--jobs", "4")
    done_at_kill: dict[int, str] = {}
    for kill in range(20):
        running = cli.start(*words)
        wait_until(lambda wanted=(kill + 1) * 45: is_as_long(target, wanted), "rows")
        running.kill()
        running.communicate()
        done_at_kill |= {row["index"]: row["reply"] for row in rows(target)}
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    finished = rows(target)
    assert sorted(row["index"] for row in finished) == [*range(1, 1001)]
    replies = {row["index"]: row["reply"] for row in finished}
    assert done_at_kill.items() <= replies.items()
    assert all(f"word {number}" in reply for number, reply in replies.items())
    sent = sent_prompts(server)
    assert len(sent) == 1000
    assert sum(sent.values()) <= 1000 + 20 * 4  # those in flight at each kill
    assert cli(*words).returncode == 0
    assert sent_prompts(server) == sent


def test_each_form_of_a_line_and_each_mistake_has_its_row(cli, server, tmp_path):
    body = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "three"},
        ],
        "max_completion_tokens": 7,
        "model": "tiny",
        "stream": True,
    }
    lines = [
        '{"prompt": "one", "id": 17, "label": "ignored"}',
        "",
        '{"messages": [{"role": "user", "content": "two"}], "id": "b"}',
        json.dumps(
            {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": body}
        ),
        '{"prompt": "half',
        json.dumps({"prompt": "x" * 12_000_000}),
        '{"custom_id": "e", "url": "/v1/embeddings", "body": {"input": "x"}}',
        '{"messages": [{"role": "pirate", "content": "arr"}]}',
        json.dumps({"body": {**body, "tools": []}}),
        json.dumps({"body": {**body, "model": "unknown"}}),
        '["prompt"]',
        '{"question": "which?", "id": "l"}',
        json.dumps({"body": {**body, "temperature": "hot"}}),
    ]
    done = cli("batch", stdin="\n".join(lines))
    found = {row["index"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert [*sorted(found)] == [1, *range(3, 14)]
    assert (found[1]["id"], found[1]["reply"], found[3]["id"], found[4]["id"]) == (
        17,
        "one",
        "b",
        "c",
    )
    reasons = {
        5: "Line 5 is not valid JSON",
        6: "Line 6 is longer than 10 MB",
        7: "/v1/embeddings",
        8: "role",
        9: "tools",
        10: "unknown",
        11: "not a JSON object",
        12: "no prompt",
        13: "temperature",
    }
    for number, reason in reasons.items():
        assert reason in found[number]["error"]["message"], found[number]
        assert {*found[number]["error"]} == {"error", "message", "timestamp"}
    assert (found[7]["id"], found[12]["id"]) == ("e", "l")
    assert len(server.seen(CHAT)) == 3
    sent = next(
        seen.json for seen in server.seen(CHAT) if seen.json["messages"][-1]["content"] == "three"
    )
    assert (sent["max_tokens"], sent["messages"][0]) == (
        7,
        {"role": "system", "content": "Be kind."},
    )
    assert {"usage", "ttft_ms", "elapsed_ms", "finish_reason", "model", "reasoning", "key"} <= {
        *found[1]
    }


def test_what_the_command_line_sets_holds_for_all_lines(cli, server, tmp_path):
    cli.configure('[prompts.shout]\ntext = "Shout: {{input}}"\n')
    done = cli(
        "batch",
        "--text",
        "-p",
        "shout",
        "--system",
        "Be loud.",
        "--set",
        "temperature=0.5",
        stdin="a\n\n  \nb\r\n",
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [1, 4]
    for seen, letter in zip(server.seen(CHAT), "ab", strict=True):
        assert [m["content"] for m in seen.json["messages"]] == ["Be loud.", f"Shout: {letter}"]
        assert seen.json["temperature"] == 0.5


def test_with_a_schema_each_row_has_its_value(cli, server, tmp_path):
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object", "required": ["n"]}')
    done = cli(
        "batch", "--schema", str(schema), stdin='{"prompt": "{\\"n\\": 1}"}\n{"prompt": "{}"}\n'
    )
    first, second = sorted(map(json.loads, done.stdout.splitlines()), key=lambda row: row["index"])
    assert (done.returncode, first["value"]) == (1, {"n": 1})
    assert "does not match the schema" in second["error"]["message"]


def test_failed_lines_are_done_again_and_only_those(cli, server, tmp_path):
    cli.configure(QUICK)
    source, target = prompts(tmp_path / "in.jsonl", 30), tmp_path / "out.jsonl"
    words = ("batch", str(source), "-o", str(target), "--jobs", "1")
    running = cli.start(*words)
    wait_until(lambda: is_as_long(target, 5), "rows")
    server.stop()
    assert running.wait(60) == 1
    running.communicate()
    assert any("error" in row for row in rows(target))
    done_before = {row["index"] for row in rows(target) if "error" not in row}
    server.start()
    before = sum(sent_prompts(server).values())
    assert cli(*words).returncode == 0
    assert sorted(row["index"] for row in rows(target)) == [*range(1, 31)]
    assert not any("error" in row for row in rows(target))
    assert sum(sent_prompts(server).values()) - before == 30 - len(done_before)


def test_ctrl_c_keeps_what_has_ended(cli, server, tmp_path):
    source, target = prompts(tmp_path / "in.jsonl", 10), tmp_path / "out.jsonl"

    def stuck_at_four(seen):
        return sse(Hold()) if seen.json["messages"][-1]["content"] == "word 4" else echo(seen)

    server.on(CHAT, stuck_at_four)
    words = ("batch", str(source), "-o", str(target), "--jobs", "1")
    running = cli.start(*words)
    wait_until(lambda: is_as_long(target, 3), "rows")
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    running.communicate()
    assert [row["index"] for row in rows(target)] == [1, 2, 3]
    server.on(CHAT, echo)
    assert cli(*words).returncode == 0
    assert [row["index"] for row in rows(target)] == [*range(1, 11)]


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.parametrize(
    "content", ["", '{"index": 1, "key": "0", "error": "x"}\n'], ids=["empty", "failed"]
)
def test_no_second_batch_writes_into_the_same_file(cli, server, tmp_path, content, options):
    source, target = prompts(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    target.write_text(content)  # a failed row is taken out first: then the file is replaced
    at_three = Gate()

    def waiting_at_three(seen):
        is_third = seen.json["messages"][-1]["content"] == "word 3"
        return sse(at_three, "3", finish(), usage()) if is_third else echo(seen)

    server.on(CHAT, waiting_at_three)
    words = ("batch", str(source), "-o", str(target), "--jobs", "1")
    running = cli.start(*words)
    assert at_three.reached.wait(60)
    second = cli(*words, *options)
    assert second.returncode == 2
    assert f"Another `lmchat batch` writes {target}." in second.stderr
    assert len(server.seen(CHAT)) == 3
    at_three.open()
    assert running.wait(60) == 0
    running.communicate()
    assert [row["index"] for row in rows(target)] == [1, 2, 3]
    assert cli(*words, *options).returncode == 0


def test_a_full_disk_ends_it_with_whole_rows(cli, server, tmp_path):
    source, target = prompts(tmp_path / "in.jsonl", 60), tmp_path / "out.jsonl"
    words = ("batch", str(source), "-o", str(target))
    limited = ("sh", "-c", 'ulimit -f 8; exec "$0" "$@"', *cli.argv(*words))
    done = run(limited, home=cli.home)
    assert done.returncode == 1
    assert f"{target} cannot be written: File too large." in done.stderr
    assert 0 < len(rows(target)) < 60
    assert target.read_bytes().endswith(b"\n")
    assert cli(*words).returncode == 0
    assert sorted(row["index"] for row in rows(target)) == [*range(1, 61)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"index": 1, "key": "0123456789abcdef", "reply": "x"}\n', "belongs to another run"),
        ('{"index": 99, "key": "0123456789abcdef", "reply": "x"}\n', "belongs to another run"),
        ('{"index": [1], "key": "0", "reply": "x"}\n', "is no output of `lmchat batch`"),
        ("My notes\n", "is no output of `lmchat batch`"),
        ("\x00\xff\n", "is no output of `lmchat batch`"),
        ('{"token": "x"}', "is no output of `lmchat batch`: line 1 is not a row."),
        ('{"index": 1, "key": "0123456789abcdef", "repl', "is no output of `lmchat batch`"),
        ('{"index": 1, "error": "disk full"}\n', "is no output of `lmchat batch`"),
    ],
)
def test_a_file_of_something_else_is_not_touched(cli, server, tmp_path, content, sentence):
    source, target = prompts(tmp_path / "in.jsonl", 2), tmp_path / "out.jsonl"
    target.write_text(content, encoding="latin-1")
    done = cli("batch", str(source), "-o", str(target))
    assert (done.returncode, server.seen(CHAT)) == (2, [])
    assert sentence in done.stderr
    assert "--force" in done.stderr
    assert target.read_text(encoding="latin-1") == content
    assert cli("batch", str(source), "-o", str(target), "--force").returncode == 0
    assert sorted(row["index"] for row in rows(target)) == [1, 2]


@pytest.mark.parametrize("cut", [1, 100])
def test_a_row_that_a_kill_has_cut_is_done_again(cli, tmp_path, cut):
    source, target = prompts(tmp_path / "in.jsonl", 2), tmp_path / "out.jsonl"
    words = ("batch", str(source), "-o", str(target), "--jobs", "1")
    assert cli(*words).returncode == 0
    first, second = target.read_bytes().splitlines(keepends=True)
    for kept in (b"", first):
        target.write_bytes(kept + second[:cut])
        assert cli(*words).returncode == 0
        assert sorted(row["index"] for row in rows(target)) == [1, 2]


def test_other_settings_are_another_run(cli, tmp_path):
    source, target = prompts(tmp_path / "in.jsonl", 2), tmp_path / "out.jsonl"
    words = ("batch", str(source), "-o", str(target))
    assert cli(*words).returncode == 0
    assert cli(*words, "--set", "temperature=1").returncode == 2
    assert cli(*words, "--system", "Be brief.").returncode == 2
    assert cli(*words).returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("batch", "{in}", "-o", "{in}"), 2, "The output file is the input file."),
        (("batch", "{in}.missing"), 2, "cannot be read: No such file"),
        (("batch", "{in}", "--schema", "{in}"), 2, "is not valid JSON"),
        (("batch", "{in}", "--jobs", "0"), 2, "--jobs"),
        (
            ("batch", "{in}", "-o", "/dev/full"),
            1,
            "/dev/full cannot be written: No space left on device.",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(cli, tmp_path, words, code, sentence):
    source = prompts(tmp_path / "in.jsonl", 2)
    before = source.read_text()
    done = cli(*(word.replace("{in}", str(source)) for word in words))
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert source.read_text() == before


def test_without_a_server_nothing_begins(alone, tmp_path):
    source, target = prompts(tmp_path / "in.jsonl", 2), tmp_path / "out.jsonl"
    done = alone("batch", str(source), "-o", str(target))
    assert done.returncode == 3
    assert not target.exists()


def test_more_than_sixty_lines_a_minute_go_to_a_server_on_this_machine(cli, tmp_path):
    done = cli("batch", str(prompts(tmp_path / "in.jsonl", 90)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"reply"') == 90


def test_no_more_jobs_run_than_are_asked_for(cli, server, tmp_path):
    gate = Gate()
    server.on(CHAT, lambda seen: sse("a", gate, "b", finish()))
    running = cli.start("batch", str(prompts(tmp_path / "in.jsonl", 4)), "--jobs", "1")
    wait_until(gate.reached.is_set, "the first request")
    assert len(server.seen(CHAT)) == 1
    gate.open()
    assert running.wait(30) == 0
    running.communicate()


def test_hostile_answers_reach_the_output_as_json_only(cli, server, tmp_path):
    server.on(CHAT, sse("\x1b[31mred\x07 \u202e\x9b1m", finish()))
    done = cli("batch", "--text", stdin="Hi")
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert json.loads(done.stdout)["reply"] == "\x1b[31mred\x07 \u202e\x9b1m"
