"""Files at the command line: what the server gets of them, and what is left after a kill."""

from __future__ import annotations

import os
from base64 import b64decode
from io import BytesIO

import pytest

from tests.support.files_to_attach import Image, image
from tests.support.lmchat_screen import stored
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.scripted_server import Gate, ScriptedServer, sse

Cli = Inside


def sent(server) -> tuple[list[bytes], str]:
    """Return the images and the text of the last prompt that the server got."""
    content = server.seen(CHAT)[-1].json["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [b64decode(url.partition(",")[2]) for url in urls], content[-1]["text"]


def test_the_server_gets_each_file_byte_for_byte_or_scaled(cli, server, tmp_path):
    small, large, notes = tmp_path / "small.webp", tmp_path / "large.jpg", tmp_path / "notes.md"
    small.write_bytes(image("WEBP"))
    large.write_bytes(image("JPEG", (4096, 2048), "L"))
    notes.write_text("Lettuce likes shade.\n")
    done = cli("ask", "-f", str(small), "-f", str(large), "--file", str(notes), "What grows here?")
    assert (done.returncode, done.stderr) == (0, "")
    (first, second), text = sent(server)
    assert first == small.read_bytes()
    with Image.open(BytesIO(second)) as scaled:
        assert (scaled.format, scaled.size) == ("JPEG", (2048, 1024))
    assert text == "File notes.md:\n```\nLettuce likes shade.\n```\n\nWhat grows here?"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cut.png", "lmchat: cut.png is damaged or cut off.\nCopy or download it again.\n"),
        ("notes.png", "lmchat: notes.png is not an image, although its name says so.\n"),
        ("pipe", "lmchat: {}/pipe is not a regular file.\nSave its content to a file first.\n"),
        ("empty", "lmchat: {}/empty has no text files.\nHidden files, links and those of "),
        ("gone.png", "lmchat: {}/gone.png does not exist.\nCheck the path.\n"),
        (
            "/dev/null",
            "lmchat: /dev/null is not a regular file.\nSave its content to a file first.\n",
        ),
    ],
)
def test_what_cannot_be_attached_is_one_sentence_and_nothing_is_sent(
    cli, server, tmp_path, name, sentence
):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.png").write_bytes(image()[:-100])
    (tmp_path / "notes.png").write_text("I am a PNG.")
    done = cli("ask", "-f", str(tmp_path / name), "What is this?")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence.format(tmp_path))
    assert done.stderr.count("\n") == 2
    assert not server.seen(CHAT)


def test_an_empty_name_does_not_send_the_files_of_the_current_folder(cli, server):
    done = cli("ask", "--yes", "-f", "", "What is this?")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: -f needs the name of a file.\n")
    assert not server.seen(CHAT)


def test_a_model_that_cannot_see_is_not_asked(cli, server, tmp_path):
    llama_cpp(server)
    (tmp_path / "garden.png").write_bytes(image())
    done = cli("ask", "-f", str(tmp_path / "garden.png"), "What grows here?")
    assert done.returncode == 1
    assert done.stderr == (
        "lmchat: tiny.gguf cannot see images.\nChoose a model with vision, or remove the image.\n"
    )
    assert not server.seen(CHAT)


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


def test_the_texts_of_a_folder_or_a_pattern_are_sent_by_name(cli, server, tmp_path):
    work = tmp_path / "work"
    for name in ("src/b.py", "src/a.py", "src/sub/c.py", "src/notes.txt", "src/.hidden.py"):
        (work / name).parent.mkdir(exist_ok=True, parents=True)
        (work / name).write_text(f"# {name}\n")
    (work / "src/picture.py").write_bytes(image())
    done = cli("ask", "-f", f"{work}/src/**/*.py", "What is it?")
    assert done.stderr == (
        f"lmchat: {work}/src/**/*.py: 3 files, 37 B, ~10 tokens; "
        "left out: 1 that are no text, or too long.\n"
    )
    text = server.seen(CHAT)[0].json["messages"][-1]["content"]
    heads = [line for line in text.splitlines() if line.startswith("File ")]
    assert heads == [f"File {work}/src/{name}:" for name in ("a.py", "b.py", "sub/c.py")]
    assert cli("ask", "-f", f"{work}/src", "What is it?").returncode == 0
    assert "/src/notes.txt:" in server.seen(CHAT)[1].json["messages"][-1]["content"]


def test_many_files_are_not_sent_without_consent(cli, server, tmp_path):
    (tmp_path / "notes").mkdir()
    for number in range(51):
        (tmp_path / f"notes/{number:03}.md").write_text("Words.\n")
    done = cli("ask", "-f", f"{tmp_path}/notes", "What is it?")
    assert done.returncode == 2
    assert "These are over 50 files, or half of the context window: 51 files, 357 B" in done.stderr
    assert server.seen(CHAT) == []
    assert cli("ask", "--yes", "-f", f"{tmp_path}/notes", "What is it?").returncode == 0


def test_more_files_than_a_prompt_can_have_are_refused(cli, server, tmp_path):
    (tmp_path / "notes").mkdir()
    for number in range(101):
        (tmp_path / f"notes/{number:03}.md").write_text("Words.\n")
    done = cli("ask", "--yes", "-f", f"{tmp_path}/notes", "What is it?")
    assert (done.returncode, server.seen(CHAT)) == (1, [])
    assert "notes has more than 100 text files, or 8 MB of them." in done.stderr


def test_texts_of_half_of_the_window_are_not_sent_without_consent(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/long.md").write_text("word " * 2_500)
    with ScriptedServer() as server:
        cli = Cli(home=tmp_path, url=llama_cpp(server, n_ctx=4096).url)
        done = cli("ask", "-f", f"{tmp_path}/notes", "What is it?")
        assert (done.returncode, "half of the context window" in done.stderr) == (2, True)
        assert server.seen(CHAT) == []
