"""Files at the command line: what the server gets of them, and what is left after a kill."""

from __future__ import annotations

import os
from base64 import b64decode

import pytest

from tests.support.files_to_attach import image, pdf
from tests.support.lmchat_screen import stored
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.scripted_server import Gate, sse

Cli = Inside


def test_the_server_gets_each_file_byte_for_byte(cli, server, tmp_path):
    picture = tmp_path / "small.png"
    notes = tmp_path / "notes.md"
    picture.write_bytes(image())
    notes.write_text("Lettuce likes shade.\n")
    done = cli("ask", "-f", str(picture), "--file", str(notes), "What grows here?")
    assert (done.returncode, done.stderr) == (0, "")
    content = server.seen(CHAT)[-1].json["messages"][-1]["content"]
    assert b64decode(content[0]["image_url"]["url"].partition(",")[2]) == picture.read_bytes()
    assert content[-1]["text"] == (
        "File notes.md:\n```\nLettuce likes shade.\n```\n\nWhat grows here?"
    )


def test_what_a_shell_pipes_in_is_read_once(cli, server, tmp_path):
    cli.cwd = tmp_path
    (tmp_path / "~.txt").write_text("Kale.")
    for name in ("-", "/dev/stdin"):
        assert cli("ask", "-f", name, "Sum up", stdin="Peas.").returncode == 0
        assert server.seen(CHAT)[-1].json["messages"][0]["content"] == "Sum up\n\nPeas."
    source, end = os.pipe()
    os.write(end, b"Leeks.")
    os.close(end)
    cli("ask", "-f", f"/dev/fd/{source}", "-f", "~.txt", "Sum up")
    os.close(source)
    sent = server.seen(CHAT)[-1].json["messages"][0]["content"]
    assert "Leeks." in sent
    assert "Kale." in sent


def test_the_pages_of_a_pdf_that_have_no_text_are_named_before_it_is_sent(cli, server, tmp_path):
    pytest.importorskip("pypdf")
    plan = tmp_path / "plan.pdf"
    plan.write_bytes(pdf("Sow lettuce.", "", "Water it.", ""))
    missing = "2 of 4 pages have no text: 2, 4"
    done = cli("ask", "-f", str(plan), "Sum up")
    assert (done.returncode, done.stderr) == (0, f"lmchat: {plan}: {missing}.\n")
    done = cli("--plain", stdin=f"/file {plan}\nSum up\n")
    assert (
        f"Your next prompt begins with plan.pdf (59 B of text; {missing})."
        in done.stdout + done.stderr
    )
    for seen in server.seen(CHAT):
        assert f"[{missing}]\n\nSow lettuce.\n\nWater it." in str(seen.json["messages"]).replace(
            "\\n", "\n"
        )
    assert len(server.seen(CHAT)) == 2


def test_what_a_library_warns_of_is_in_the_log_and_not_on_the_terminal(cli, server, tmp_path):
    photo = image("JPEG")
    odd = b"\xff\xe2\x00\x14MPF\0II*\0\x08\0\0\0" + bytes(6)  # looks like a file of two images
    (tmp_path / "odd.jpg").write_bytes(photo[:2] + odd + photo[2:])
    done = cli("ask", "-f", str(tmp_path / "odd.jpg"), "Hi", PYTHONWARNINGS="default")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.seen(CHAT)) == 1
    assert "malformed MPO" in (cli.folder / "lmchat.log").read_text()


def test_a_kill_right_after_the_prompt_keeps_its_file(cli, server, tmp_path):
    server.on(CHAT, sse(Gate()))
    (tmp_path / "garden.png").write_bytes(image())
    process = cli.start("ask", "--save", "-f", str(tmp_path / "garden.png"), "What grows here?")
    server.wait_for(CHAT, timeout_s=15)
    process.kill()
    process.communicate()
    asked = stored(tmp_path).messages[0]
    assert (asked.text, asked.files[0].name) == ("What grows here?", "garden.png")
    kept = tmp_path / "lmchat" / "attachments" / asked.files[0].digest
    assert kept.read_bytes() == image()
    server.on(CHAT, chat_reply())
    assert cli("ask", "-r", "last", "And there?").returncode == 0
    messages = server.seen(CHAT)[-1].json["messages"]
    assert messages[0]["content"][0]["type"] == "image_url"


def test_files_that_fill_half_of_the_window_are_not_sent_without_consent(cli, server, tmp_path):
    llama_cpp(server, n_ctx=4096)
    (tmp_path / "long.md").write_text("word " * 2_500)
    done = cli("ask", "-f", f"{tmp_path}/*.md", "What is it?")
    problem = "More than 50 files, or half of the context window, need --yes: 1 file, 12 kB"
    assert (done.returncode, problem in done.stderr) == (2, True)
    assert server.seen(CHAT) == []
    assert cli("ask", "--yes", "-f", f"{tmp_path}/*.md", "What is it?").returncode == 0
