"""`lmchat batch`: each line is answered once, whatever ends the command before."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lmchat.app.leaves.batch.jobs import Progress
from lmchat.app.terminal.output import Output
from tests.support.programs import PYTHON, WAIT_S, Inside, start, wait_until
from tests.support.scripted_products import CHAT, model_list, plain, repeat
from tests.support.scripted_server import DONE, Gate, delta, finish, json_reply, sse

Cli = Inside


def repeating(server):
    return plain(server, "tiny").on(CHAT, repeat)


PRODUCT = repeating


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def to_target(tmp_path, target):
    """The words of a batch with one prompt a line, and one job; its rows go into the target."""
    source = tmp_path / "in.jsonl"

    def words(count: int) -> tuple[str, ...]:
        prompts = [json.dumps({"prompt": f"word {number + 1}"}) for number in range(count)]
        source.write_text("\n".join(prompts))
        return ("batch", str(source), "-o", str(target), "--jobs", "1")

    return words


def rows(path):
    """Return the rows of a file, without one that a kill has cut."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line[-1] == "\n"]


def numbers(path):
    return sorted(row["index"] for row in rows(path))


def prompt_of(seen) -> str:
    return seen.json["messages"][-1]["content"]


def sent_prompts(server) -> Counter[str]:
    return Counter(map(prompt_of, server.seen(CHAT)))


def is_as_long(path, count):
    return path.exists() and path.read_bytes().count(b"\n") >= count


def test_after_kills_each_line_is_done_once(cli, server, to_target, target):
    count = 160
    kills = 2
    words = (*to_target(count), "--jobs", "4")
    done_at_kill: dict[int, str] = {}
    for kill in range(kills):
        running = cli.start(*words)
        wait_until(lambda wanted=(kill + 1) * 50: is_as_long(target, wanted), "rows")
        running.kill()
        running.communicate()
        done_at_kill |= {row["index"]: row["reply"] for row in rows(target)}
    assert cli(*words).returncode == 0
    assert numbers(target) == [*range(1, count + 1)]
    replies = {row["index"]: row["reply"] for row in rows(target)}
    assert done_at_kill.items() <= replies.items()
    assert all(reply == f"word {number}" for number, reply in replies.items())
    sent = sent_prompts(server)
    assert len(sent) == count
    assert sum(sent.values()) <= count + kills * 4  # those in flight at each kill
    assert cli(*words).returncode == 0
    assert sent_prompts(server) == sent


def test_each_form_of_a_line_and_each_mistake_has_its_row(cli, server):
    body = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "three"},
        ],
        "max_completion_tokens": 7,
        "model": "tiny",
        "stream": True,
    }
    example = {"type": "json_schema", "json_schema": {"schema": {"name": "Ada"}}}
    reasons = {
        json.dumps({"prompt": "x" * 12_000_000}): "the limit is 10 MB",
        json.dumps({"body": {**body, "model": "unclear"}}): "did you mean a/unclear or b/unclear?",
        json.dumps({"body": {**body, "response_format": example}}): "no keyword that checks",
    }
    lines = [
        '{"prompt": "one", "id": 17, "label": "ignored"}',
        "",
        '{"messages": [{"role": "user", "content": "two"}], "id": "b"}',
        json.dumps({"custom_id": "c", "url": "/v1/chat/completions", "body": body}),
        *reasons,
    ]
    server.on("GET /v1/models", model_list("tiny", "a/unclear", "b/unclear"))
    done = cli("batch", stdin="\n".join(lines), LMCHAT_MODEL="tiny")
    found = {row["index"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert "3 answered, 3 failed." in done.stderr
    assert [*sorted(found)] == [1, *range(3, 8)]
    assert [found[number]["id"] for number in (1, 3, 4)] == [17, "b", "c"]
    for number, reason in enumerate(reasons.values(), start=5):
        error = found[number]["error"]
        assert reason in error["message"], found[number]
        assert {*error} == {"error", "message", "timestamp"}
    first, _, third = sorted(server.seen(CHAT), key=prompt_of)
    assert (prompt_of(first), found[1]["reply"], prompt_of(third)) == ("one", "one", "two")
    (sent,) = [seen.json for seen in server.seen(CHAT) if prompt_of(seen) == "three"]
    assert sent["max_tokens"] == 7
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    figures = {"usage", "ttft_ms", "elapsed_ms", "finish_reason", "model", "reasoning", "key"}
    assert figures <= {*found[1]}


def test_what_the_command_line_sets_holds_for_all_lines(cli, server, tmp_path):
    cli.configure('[prompts.shout]\ntext = "Shout: {{input}}"\n')
    options = ("-p", "shout", "--system", "Be loud.", "--set", "temperature=0.5")
    # editors of Windows start with a mark, which is no part of the prompt
    stdin = "\ufeffa\n\n  \nb\r\n".encode("utf-16-le")
    done = cli("batch", "--text", *options, "--jobs", "1", stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [1, 4]
    for seen, letter in zip(server.seen(CHAT), "ab", strict=True):
        assert [m["content"] for m in seen.json["messages"]] == ["Be loud.", f"Shout: {letter}"]
        assert seen.json["temperature"] == 0.5
    done = cli("batch", "--text", stdin="今天天气很好。".encode("gbk"))
    assert "Line 1 cannot be used: it is text in an unknown encoding." in done.stdout
    done = cli("batch", stdin='{"prompt": "Möhren"}'.encode("cp1252"))
    assert "it is not valid JSON: it is not UTF-8." in done.stdout
    assert len(server.seen(CHAT)) == 2
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object", "required": ["n"], "nullable": true}')
    done = cli("batch", "--text", "--schema", str(schema), stdin='{"n": 1}\n{}\n{}\n')
    first, second, third = sorted(
        map(json.loads, done.stdout.splitlines()), key=lambda row: row["index"]
    )
    assert (done.returncode, first["value"]) == (1, {"n": 1})
    for row in (second, third):  # and the third is no second attempt
        assert "does not match the schema:" in row["error"]["message"]
    assert "that check nothing: nullable." in done.stderr
    line = '{"body": {"messages": [{"role": "user", "content": "a"}], "model": "other"}}'
    cli("batch", "-m", "tiny", stdin=line)
    assert server.seen(CHAT)[-1].json["model"] == "tiny"


def test_a_file_that_has_no_lines_of_json_is_refused_with_what_it_is(cli, server, tmp_path):
    source = tmp_path / "in"
    prompts = [{"prompt": "one"}, {"prompt": "two"}]
    several = "has JSON, but not one object on each line."
    for content, sentence in (
        ("今天天气很好。\n\n一\n".encode("gbk"), "is text in an unknown encoding."),
        ("[\n" + ",\n".join(map(json.dumps, prompts)) + "\n]\n", several),
        (json.dumps(prompts[0], indent=1), several),
        (gzip.compress(json.dumps(prompts[0]).encode()), "is a gzip file."),
        (b"PK\3\4 a\n", "is a ZIP file"),
    ):
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        for done in (cli("batch", str(source)), cli("batch", stdin=source.read_bytes())):
            assert (done.returncode, done.stdout) != (0, ""), content
            assert sentence in done.stderr, (content, done.stderr)
            assert done.stderr.count("\n") == 2, done.stderr  # what it is, and the next step
    source.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert "is a gzip file." in cli("batch", "--text", str(source)).stderr
    assert server.seen(CHAT) == []
    for first in ("# my prompts", '{"prompt": "half', "3"):  # a mistake in a line is its own
        done = cli("batch", stdin=f'{first}\n\n {{"prompt": "one"}}\n')
        assert "1 answered, 1 failed." in done.stderr, done.stderr


def test_an_option_of_a_line_that_the_server_does_not_take_is_named_once(cli, server):
    line = json.dumps({"body": {"messages": [{"role": "user", "content": "a"}], "seed": 5}})
    done = cli("batch", stdin=f"{line}\n{line}")
    assert (done.returncode, done.stderr.count("does not take seed")) == (0, 1), done.stderr


def test_failed_lines_are_done_again_and_only_those(cli, server, to_target, target):
    cli.configure("[limits]\nretries = 1\n")
    failed = json_reply({"error": {"message": "boom"}}, status=500)
    thought = sse(delta(reasoning_content="Hm."), finish("length"), DONE)
    server.on(CHAT, lambda seen: failed if prompt_of(seen) > "word 3" else thought)
    words = to_target(6)
    done = cli(*words)
    assert "3 answered (3 without text), 3 failed." in done.stderr
    assert (done.returncode, f"The rows in {target} say why." in done.stderr) == (1, True)
    assert [row["index"] for row in rows(target) if "error" in row] == [4, 5, 6]
    server.on(CHAT, repeat)
    before = len(server.seen(CHAT))
    assert cli(*words).returncode == 0
    assert numbers(target) == [*range(1, 7)]
    assert not any("error" in row for row in rows(target))
    assert len(server.seen(CHAT)) - before == 3


def test_a_row_is_found_by_its_prompt_wherever_its_line_is_now(cli, server, to_target, target):
    words = to_target(4)
    source = Path(words[1])
    lines = [f"{line}\n" for line in source.read_bytes().decode().splitlines()]
    assert cli(*words).returncode == 0
    asked = 4
    new = '{"prompt": "new"}\n'
    twice = lines[1]
    for changed, more in (
        ([new, *lines], 1),
        ([*reversed(lines), new], 0),
        ([lines[0], '{"prompt": "other"}\n', *lines[2:]], 1),  # in place of the second line
        (lines[2:], 0),
        ([twice, *lines, twice], 2),  # each line has a row of its own
        (lines, 0),
    ):
        source.write_bytes("".join(changed).encode())
        assert cli(*words).returncode == 0
        asked += more
        assert len(server.seen(CHAT)) == asked, changed
        # rows without a line have no place
        replies = {row["index"]: row["reply"] for row in rows(target) if row["index"]}
        prompts = enumerate((json.loads(line)["prompt"] for line in changed), 1)
        assert replies == dict(prompts), changed
    assert len(rows(target)) == asked  # no answer is lost
    source.write_bytes(new.replace("new", "stranger").encode())
    before = target.read_bytes()
    assert "belongs to another run" in cli(*words).stderr
    assert (target.read_bytes(), len(server.seen(CHAT))) == (before, asked)


def test_no_second_batch_writes_into_the_same_file_and_ctrl_c_keeps_what_has_ended(
    cli, server, to_target, target
):
    at_three = Gate()
    server.on(
        CHAT,
        lambda seen: sse(at_three, "3", finish()) if prompt_of(seen) == "word 3" else repeat(seen),
    )
    words = to_target(10)
    # a failed row is taken out first: then the file is replaced
    target.write_text('{"index": 1, "key": "0", "error": "x"}\n')
    running = cli.start(*words, "--force")
    assert at_three.reached.wait(60)
    for options in ((), ("--force",)):
        second = cli(*words, *options)
        assert second.returncode == 2
        assert f"Another `lmchat batch` or `eval` writes {target}." in second.stderr
    assert len(server.seen(CHAT)) == 3  # only one job was asked for
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    _, told = running.communicate()
    command = shlex.join(["lmchat", *cli.argv(*words)[3:]])
    assert told.decode().splitlines()[-2:] == [
        f"lmchat: To answer the rest: {command}",
        "lmchat: Interrupted.",
    ]
    assert numbers(target) == [1, 2]
    at_three.open()
    assert cli(*words).returncode == 0
    assert numbers(target) == [*range(1, 11)]


ROW = '{"index": 9, "key": "0123456789abcdef", "reply": "x"}'


def test_only_a_row_that_was_cut_is_dropped_from_an_output_file(cli, server, to_target, target):
    words = to_target(2)
    assert cli(*words).returncode == 0
    whole = target.read_bytes()
    second = whole.splitlines(keepends=True)[1]
    zeros = b"\0" * 64
    started = b'{"index": 2, "key": "01'
    for tail in (
        zeros,
        started,
        started + zeros,
        b'{"ind',
        b'{"index": 2, "id": "a, b", "run": 1, "key": "0", "reply": "na\xc3',  # half a letter
        b'{"index": 2, "key": "0", "reply": "' + b"x" * 100_000 + zeros,
    ):
        target.write_bytes(whole + tail)
        assert cli(*words).returncode == 0, tail[:60]
        assert target.read_bytes() == whole
        if tail.startswith(b'{"index"'):  # it shows itself what it is
            target.write_bytes(tail)
            assert cli(*words).returncode == 0, tail[:60]
            assert numbers(target) == [1, 2]
    for cut in (whole[:-1], whole[:-1] + b"\0", whole[:-1] + zeros):  # a whole row stays
        target.write_bytes(cut)
        sent = len(server.seen(CHAT))
        assert cli(*words).returncode == 0
        assert (target.read_bytes(), len(server.seen(CHAT))) == (whole, sent)
    target.write_bytes(whole.replace(b"\n", b"\r\n"))
    assert cli(*words).returncode == 0
    assert numbers(target) == [1, 2]
    for tail in (b"\n", b" \r\n\n", b"  "):  # as an editor or `cat` may leave them
        target.write_bytes(whole + tail)
        assert cli(*words).returncode == 0
        assert target.read_bytes() == whole
    target.write_bytes(whole.replace(b"\n", b"\n\n"))
    assert cli(*words).returncode == 0
    assert numbers(target) == [1, 2]
    mine = b'{"index": {"by": "name"}, "note": "mine"}'
    kept = target.read_bytes()
    for content in (
        mine,
        mine + zeros,
        kept + mine,
        zeros,
        b'{"ind',
        b'{"index": 3, "note": "mine',
        b'{"index": 3, "id": "a", "note": "mine"}',
        b'{"index": {}, "key": "a", "error": "mine"}\n',
        b'{"index": 3, "key": [], "error": "mine"}\n',
        zeros + kept,
        kept + zeros + second,
        b"  \n",
        b'[{"index": 1, "key": "0"}]',
        b"\xef\xbb\xbf" + started,
        b"My notes\n\x00\xff\n",
    ):
        target.write_bytes(content)
        done = cli(*words)
        assert (done.returncode, "is not a row." in done.stderr) == (2, True), content
        assert target.read_bytes() == content
    assert cli(*words, "--force").returncode == 0
    assert numbers(target) == [1, 2]


def test_a_file_of_rows_of_another_run_keeps_those_that_failed_and_a_cut_one(
    cli, server, to_target, target, tmp_path
):
    words = to_target(2)
    linked = tmp_path / "linked.jsonl"
    linked.symlink_to(target)
    other = ROW.replace("9", "1", 1)
    failed = ROW.replace("9", "2", 1).replace("reply", "error")
    content = f'{other}\n{failed}\n{{"index": 3, "key'
    target.write_text(content)
    for file in (target, linked):
        done = cli(*(str(file) if word == str(target) else word for word in words))
        assert (done.returncode, "belongs to another run" in done.stderr) == (2, True)
        assert target.read_text() == content
    target.unlink()
    assert cli(*words).returncode == 0
    with target.open("a") as file:
        file.write(f"{ROW}\n")  # of a line that is gone
    assert cli("batch", words[1], "-o", str(linked)).returncode == 0
    assert (numbers(target), linked.is_symlink()) == ([0, 1, 2], True)


# Adds rows, and each time a failed one, so that each opening replaces the file.
ADD_ROWS = """
import asyncio
import sys
from pathlib import Path
from lmchat.app.leaves.batch.record_file import RecordFile
from lmchat.base.errors import WrongUse
first = int(sys.argv[2])
for index in range(first, first + 60):
    while True:
        try:
            with RecordFile(Path(sys.argv[1]), source=None, is_forced=False) as file:
                asyncio.run(file.add({"index": index, "key": "0"}))
                asyncio.run(file.add({"index": index, "key": "0", "error": "x"}))
            break
        except WrongUse:
            pass
"""


def test_no_name_of_the_input_is_taken_for_the_output(cli, server, to_target, tmp_path):
    _, source, *_ = to_target(2)
    cases = tmp_path / "cases.toml"
    cases.write_text('[[case]]\nprompt = "hi"\nexpect = "hi"\n')
    for command, file in (("batch", Path(source)), ("eval", cases)):
        content = file.read_bytes()
        hard = tmp_path / f"{command}-hard"
        hard.hardlink_to(file)
        for name in (file, hard):
            done = cli(command, str(file), "-o", str(name), "--force")
            assert (done.returncode, "is the input file." in done.stderr) == (2, True), done.stderr
            assert name.read_bytes() == content
    with Path(source).open(encoding="utf-8") as stdin:
        running = cli.start("batch", "-o", source, "--force", stdin=stdin.fileno())
        _, told = running.communicate(timeout=WAIT_S)
    assert (running.returncode, b"is the input file." in told) == (2, True)
    assert server.seen(CHAT) == []


def test_two_programs_that_write_one_file_lose_no_row_of_each_other(target):
    runs = [start((PYTHON, "-c", ADD_ROWS, target, str(first))) for first in (0, 1000)]
    for running in runs:
        _, told = running.communicate(timeout=120)
        assert running.returncode == 0, told
    done = [row["index"] for row in rows(target) if "error" not in row]
    assert sorted(done) == [*range(60), *range(1000, 1060)]


def test_what_cannot_be_used_is_said_in_a_sentence(cli, alone, to_target, target, tmp_path):
    _, source, *_ = to_target(2)
    endless = tmp_path / "endless.jsonl"
    with endless.open("wb") as file:
        file.truncate(10**10)  # takes no room on the disk
    too_long = (
        f"lmchat: {endless} has a line of more than 100 MB.\nCheck that it is the right file."
    )
    for words in ((str(endless),), (source, "-o", str(endless))):
        done = cli("batch", *words)
        assert (done.returncode, too_long in done.stderr) == (1, True), done.stderr
    assert alone(*to_target(2)).returncode == 3
    assert not target.exists()


def test_lines_of_a_pipe_are_answered_as_they_come(cli, server):
    running = cli.start("batch", "--text", stdin=subprocess.PIPE)
    for number, prompt in enumerate(("one", "two"), 1):
        running.stdin.write(f"{prompt}\n".encode())
        running.stdin.flush()
        row = json.loads(running.stdout.readline())
        assert (row["index"], row["reply"]) == (number, prompt)
    running.stdin.close()
    assert running.wait(30) == 0
    assert b"2 lines: 0 done before, 2 answered, 0 failed." in running.stderr.read()
    running.stdout.close()
    running.stderr.close()


def test_a_batch_of_a_pipe_goes_on_and_rows_of_another_run_are_refused(cli, server, target):
    words = ("batch", "--text", "-o", str(target), "--jobs", "1")
    assert cli(*words, stdin="one\ntwo\n").returncode == 0
    with target.open("a") as file:
        file.write('{"index": 3, "key"')  # cut by a kill
    done = cli(*words, stdin="one\ntwo\nthree\n")
    assert "3 lines: 2 done before, 1 answered" in done.stderr
    assert numbers(target) == [1, 2, 3]
    done = cli(*words, stdin="new\nmore\ntwo\nthree\nlast\n")
    assert "5 lines: 2 done before, 3 answered" in done.stderr, done.stderr
    assert [prompt_of(seen) for seen in server.seen(CHAT)[3:]] == ["new", "more", "last"]
    replies = {row["index"]: row["reply"] for row in rows(target) if row["index"]}
    assert replies == dict(enumerate(("new", "more", "two", "three", "last"), 1))
    assert len(rows(target)) == 6  # that of the first line is kept
    before = target.read_bytes()
    for changed in (("other\nstranger\n",), ("new\ntwo\n", "--system", "Be brief.")):
        done = cli(*words, *changed[1:], stdin=changed[0])
        assert (done.returncode, "belongs to another run" in done.stderr) == (2, True)
        assert target.read_bytes() == before
    assert len(server.seen(CHAT)) == 6


def test_a_pipe_is_answered_as_it_comes_once_a_line_has_its_row(cli, server, target):
    words = ("batch", "--text", "-o", str(target), "--jobs", "1")
    assert cli(*words, stdin="one\n").returncode == 0
    running = cli.start(*words, stdin=subprocess.PIPE)
    for lines, count in (("new\none\n", 2), ("two\n", 3)):
        running.stdin.write(lines.encode())
        running.stdin.flush()
        wait_until(lambda count=count: is_as_long(target, count), "the row")
    running.stdin.close()
    assert running.wait(30) == 0
    assert b"3 lines: 1 done before, 2 answered, 0 failed." in running.stderr.read()
    running.stdout.close()
    running.stderr.close()


def test_a_batch_with_the_day_in_its_preset_is_finished_on_another_day(cli, server, tmp_path):
    cli.configure('[prompts.diary]\ntext = "{{date}}: {{input}}"\n')
    source = tmp_path / "in.txt"
    target = tmp_path / "out.jsonl"
    words = ("batch", "--text", str(source), "-p", "diary", "-o", str(target))
    source.write_text("one\n")
    # a process of its own, since the zone of a running one stays; the days of these zones differ
    assert cli(*words, TZ="Etc/GMT+12", PYTHONUTF8="1").returncode == 0
    source.write_text("one\ntwo\n")
    done = cli(*words, TZ="Pacific/Kiritimati", PYTHONUTF8="1")
    assert (done.returncode, numbers(target)) == (0, [1, 2])
    first, second = (prompt_of(seen).split(": ") for seen in server.seen(CHAT))
    assert (first[1], second[1]) == ("one", "two")
    assert first[0] != second[0]


def wait_until_idle(running, server):
    process = psutil.Process(running.pid)
    used: list[float] = []

    def is_idle():
        used.append(sum(process.cpu_times()[:2]))
        return server.requests and len(used) > 20 and used[-1] == used[-20]

    wait_until(is_idle, "the program waits for the reader")


def test_an_interrupt_ends_the_wait_for_the_reader_of_a_pipe(cli, server):
    pipe = cli.home / "pipe"
    tasks = cli.home / "tasks"
    os.mkfifo(pipe)
    tasks.write_text('{"prompt": "hi"}\n')
    running = cli.start("batch", str(tasks), "-o", str(pipe))
    wait_until_idle(running, server)
    running.send_signal(signal.SIGINT)
    with running:
        assert running.wait(WAIT_S) == 130


@pytest.mark.parametrize("words", [("eval",), ("ask", "hi", "--schema"), ("health", "--config")])
def test_an_interrupt_ends_the_wait_for_a_writer_that_pauses(cli, server, words):
    pipe = cli.home / "pipe"
    ends = []
    os.mkfifo(pipe)

    def is_read():
        with suppress(OSError):  # nobody reads yet
            ends.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return ends

    running = cli.start(*words, str(pipe))
    wait_until(is_read, "the program reads the pipe")
    running.send_signal(signal.SIGINT)
    with running:
        assert running.wait(WAIT_S) == 130
    os.close(ends[0])


def test_an_interrupt_ends_the_wait_for_a_reader_that_pauses(cli, server, tmp_path):
    source = tmp_path / "in.txt"
    pipe = tmp_path / "pipe"
    source.write_text(("word " * 20_000 + "\n") * 3)  # a row does not fit into the pipe
    os.mkfifo(pipe)
    running = cli.start("batch", "--text", str(source), "-o", str(pipe), "--jobs", "2")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    wait_until(lambda: server.seen(CHAT), "the first prompt")
    wait_until_idle(running, server)
    running.send_signal(signal.SIGINT)
    with running:
        assert running.wait(WAIT_S) == 130
    os.close(reader)


def test_the_progress_of_a_row_that_took_no_time_is_shown(monkeypatch):
    """A clock with coarse steps, as of Windows; a prompt that cannot be sent fails at once."""
    monkeypatch.setattr("lmchat.app.leaves.batch.jobs.monotonic", lambda: 1.0)
    progress = Progress(Output(), 2)
    progress.count({}, is_failed=True)
    assert (progress.done, progress.failed) == (1, 1)
