from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
from contextlib import closing
from unittest.mock import patch

import pytest

from tests.support.files_to_attach import image, pdf
from tests.support.programs import WAIT_S, Inside, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    delta,
    error_reply,
    finish,
    html_reply,
    json_reply,
    raw_reply,
    sse,
    usage,
)

Cli = Inside

_MOVED = b"HTTP/1.1 307 Go\r\nLocation: http://evil.example/v1\r\nContent-Length: 0\r\n\r\n"


def test_an_answer_of_a_real_server_begins_with_the_text_of_start_and_has_every_figure(
    real, real_server
):
    words = ("Say hello.", "--start", "Ahoy there, my  ")
    value = real.json("ask", "--json", *words)
    assert value["reply"].startswith("Ahoy there, my")
    assert value["reply"].count("Ahoy there, my") == 1
    assert (value["model"], value["asked_model"]) == (real_server.models[0], None)
    assert (value["endpoint"], value["session_id"]) == (real_server.url, None)
    assert (value["state"], value["finish_reason"]) == ("complete", "stop")
    counts = value["usage"]
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"] > 0
    assert counts["estimated"] is False
    assert 0 < value["ttft_ms"] <= value["elapsed_ms"]
    assert real("ask", *words).stdout == f"{value['reply']}\n"
    *lines, last = map(json.loads, real("ask", "--stream-json", *words).stdout.splitlines())
    assert lines[0] == {"chunk": "Ahoy there, my"}
    assert "".join(line["chunk"] for line in lines) == value["reply"]
    assert last == {"done": True, "finish_reason": "stop"}


def test_a_limit_that_cut_the_answer_is_told_kept_and_gone_on_after(cli, server):
    server.on(CHAT, sse("Half an", finish("length"), usage(5, 2), DONE))
    cli.configure("[chat]\nmax_tokens = 2\n")
    done = cli("ask", "--save", "hi")
    told, way_on = done.stderr.splitlines()
    assert (done.returncode, told) == (0, "lmchat: the answer was cut short: max tokens reached.")
    saved = cli.json("sessions", "show", "last", "--json")["messages"][-1]["receipt"]
    assert (saved["finish_reason"], saved["limit"]) == ("length", "max tokens reached")
    *way, short_id = way_on.split()[-3:]
    last = json.loads(cli(*way, short_id, "--stream-json", "Go on").stdout.splitlines()[-1])
    assert last.pop("session_id").startswith(short_id)
    assert last == {"done": True, "finish_reason": "length"}


def test_bytes_of_an_old_encoding_are_letters_or_marked_as_none(cli, server):
    cli("ask", stdin=b"caf\xe9")
    cli("ask", "caf\udce9 \udcff")
    asked = [seen.json["messages"][0]["content"] for seen in server.seen(CHAT)]
    assert asked == ["caf\u00e9", "caf\ufffd \ufffd"]


def test_what_is_piped_in_is_read_as_a_file_is(cli, server):
    config = '[prompts.sum]\ntext = "Sum up: {{input}}"\n'
    cli.configure(config)
    for stdin in (
        "\ufeffone\r\ntwo\r\n".encode(),
        "one\r\ntwo\r\n".encode("utf-16"),
        "one\ntwo".encode("utf-32"),
    ):
        cli("ask", "Explain", stdin=stdin)
        cli("ask", "--preset", "sum", stdin=stdin)
        asked = [prompt for seen in server.seen(CHAT)[-2:] for prompt in seen.json["messages"]]
        told = [message["content"] for message in asked]
        assert told == ["Explain\n\none\ntwo", "Sum up: one\ntwo"]
    for stdin, note in (
        (b"na\xefve", "taken for Windows-1252, as in naïve"),
        ("caf\u00e9 \u20ac".encode()[:-1], "not all of its bytes are UTF-8, the others are lost"),
    ):
        assert cli("ask", "Explain", stdin=stdin).stderr == f"lmchat: stdin: {note}.\n"


def test_an_image_or_a_pdf_on_stdin_is_attached_and_only_ask_takes_it(cli, server):
    done = cli("ask", stdin=image())
    assert (done.returncode, done.stderr) == (0, "")
    [part] = server.seen(CHAT)[-1].json["messages"][-1]["content"]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    pytest.importorskip("pypdf")
    done = cli("ask", "Sum up", stdin=pdf("Sow lettuce.", ""))
    assert done.stderr == "lmchat: stdin: 1 of 2 pages has no text: 2.\n"
    assert "Sow lettuce." in server.seen(CHAT)[-1].json["messages"][-1]["content"]
    for words in (["decide", "Is it spam?"], ["compare", "-m", "tiny", "-m", "tiny"]):
        done = cli(*words, stdin=pdf("Sow lettuce."))
        assert (done.returncode, done.stdout) == (2, "")
        assert "only `lmchat ask` takes" in done.stderr


def test_a_pipe_that_stays_open_is_named_on_the_terminal(cli, server, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for words, text, sees in (
        (["import", "-"], '[{"role": "user", "content": "hi"}]', "“hi” is imported"),
        (["ask", "hi"], "more", ""),
    ):
        piped = f"cat {pipe} | {shlex.join(cli.argv(*words))}"
        with PtyProgram(["sh", "-c", piped], home=cli.home) as program:
            program.wait_for(
                "lmchat: waiting for the end of stdin; add </dev/null if nothing is piped in."
            )
            assert not server.seen(CHAT)
            pipe.write_text(text)
            program.wait_for(sees)
            assert program.wait_exit() == 0
    assert server.seen(CHAT)[-1].json["messages"][-1]["content"] == "hi\n\nmore"


def test_an_answer_that_is_not_saved_is_in_no_file_and_one_that_is_has_a_copy(cli):
    cli("ask", "a secret")
    files = [path for path in cli.folder.iterdir() if path.is_file()]
    assert not any(b"a secret" in path.read_bytes() for path in files)
    for copy in cli.folder.glob("sessions.db.backup-*"):
        copy.unlink()
    session_id = cli.json("ask", "--save", "--json", "first")["session_id"]
    [copy] = cli.folder.glob("sessions.db.backup-*")
    assert session_id.encode() in copy.read_bytes()


def test_each_run_notes_that_the_sessions_are_in_use_also_a_temporary_one(cli, server):
    """Without the time of the last use, nothing in the trash expires."""
    for words in (("ask", "--save", "hi"), ("ask", "--temporary", "hi"), ("sessions",)):
        cli(*words)
        with closing(sqlite3.connect(cli.folder / "sessions.db")) as raw:
            assert len(raw.execute("select used_at from uses").fetchall()) == 1, words
            raw.execute("delete from uses")
            raw.commit()


def test_a_cut_answer_is_printed_with_the_reason_and_gone_on_with_where_it_was_saved(cli, server):
    server.on(CHAT, sse("Half an", Cut()))
    value = cli.json("ask", "--save", "--json", "hi", code=1)
    assert (value["reply"], value["state"]) == ("Half an", "interrupted")
    assert value["detail"]["message"].startswith("Streaming failed")
    saved = cli.json("sessions", "show", value["session_id"], "--json")["messages"][-1]
    assert (saved["state"], saved["parts"][0]["text"]) == ("interrupted", "Half an")
    words = cli("ask", "--save", "hi").stderr.rpartition("Continue with: lmchat ")[2]
    server.on(CHAT, sse(" hour", DONE))
    assert cli(*shlex.split(words)).returncode == 0
    said = [message["content"] for message in server.seen(CHAT)[-1].json["messages"]]
    assert said == ["hi", "Half an", "Go on"]


def test_a_refusal_is_one_document_and_an_exit_code(cli, server, alone):
    refusals = {
        html_reply(): "not_an_llm",
        json_reply({"error": {"message": "boom"}}, status=500): "server_error",
        raw_reply(_MOVED): "wrong_path",
    }
    for reply, error in refusals.items():
        server.on(CHAT, reply)
        detail = cli.json("ask", "--json", "hi", code=1)["detail"]
        assert (detail["error"], set(detail)) == (error, {"error", "message", "timestamp"})
    server.on(CHAT, error_reply(404, "model 'tinny' not found"))
    done = cli("ask", "--json", "-m", "tinny", "hi")
    assert (done.returncode, json.loads(done.stdout)["detail"]["error"]) == (1, "model_missing")
    assert "model 'tinny' not found\nDid you mean tiny?" in done.stderr
    server.on("GET /v1/models", json_reply({"object": "list", "data": []}))
    detail = cli.json("ask", "--json", "hi", code=2)["detail"]
    assert detail["message"] == "No LM Studio model selected: the server lists no model."
    done = alone("ask", "--json", "hi")
    assert (done.returncode, json.loads(done.stdout)["detail"]["error"]) == (3, "no_server")
    assert done.stderr.startswith(
        "lmchat: Nothing answers at localhost:1.\nStart the server. `lmchat doctor`"
    )


def test_a_signal_ends_in_good_order_with_what_had_come(cli, server):
    for number, form in ((signal.SIGINT, "--stream-json"), (signal.SIGTERM, "--json")):
        text = f"Half an answer before {number.name}"
        server.on(CHAT, sse(text, Hold()))
        with cli.start("ask", "--save", form, "hi") as program:
            wait_until(lambda text=text: is_on_disk(cli, text), "the answer on the disk")
            program.send_signal(number)
            out, _ = program.communicate(timeout=WAIT_S)
        assert program.returncode == 128 + number
        *lines, value = map(json.loads, out.splitlines() if form == "--stream-json" else [out])
        if lines:
            assert (lines, value["finish_reason"]) == ([{"chunk": text}], "cancelled")
        else:
            assert (value["reply"], value["state"]) == (text, "stopped")
            assert value["detail"]["error"] == "interrupted"
        assert server.seen(CHAT)[-1].client_left.wait(WAIT_S)


def is_on_disk(cli, words: str) -> bool:
    return any(
        words.encode() in file.read_bytes() for file in cli.folder.glob("sessions.db-answer-*")
    )


def test_the_wait_for_an_answer_is_shown_at_a_terminal_until_its_first_word(cli, server):
    read = Gate()
    started = Gate()
    progress = {"total": 100, "cache": 0, "processed": 40, "time_ms": 1}
    reply = sse(read, delta() | {"prompt_progress": progress}, started, "Beans.", finish(), DONE)
    server.on(CHAT, reply)
    piped = cli.start("ask", "Hi")
    with PtyProgram(cli.argv("ask", "Hi"), home=cli.home, size=(80, 10)) as program:
        program.wait_for("lmchat: waiting …")
        read.open()
        program.wait_for("lmchat: reading prompt 40\N{NO-BREAK SPACE}% …")
        started.open()
        assert program.wait_exit() == 0
        assert program.text.split() == ["Beans."]
    assert piped.communicate() == (b"Beans.\n", b"")


def test_an_unexpected_error_is_a_sentence_with_an_id_and_the_log_has_it(cli):
    with patch("lmchat.app.cli.handlers.ask.ask", side_effect=RuntimeError("words of a chat")):
        done = cli("ask", "hi", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["detail"]["error"] == "bug"
    assert "Traceback" not in done.stderr
    error_id = done.stderr.split("(id ")[1].split(")")[0]
    entry = json.loads((cli.folder / "lmchat.log").read_text())
    assert error_id in entry["message"]
    assert "words of a chat" not in json.dumps(entry)
