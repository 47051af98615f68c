"""Files of other programs: packed, damaged, limited, in use. Whole chats: test_foreign_chats.py."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import tracemalloc
import zipfile
from contextlib import closing
from hashlib import sha256

import pytest

from lmchat.base.errors import FileRefused
from lmchat.core.formats import reader
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.session import Session
from tests.core.imports.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    NOW,
    chats_of,
    foreign_file,
    left_out,
    outline,
    read_chats,
    read_data,
    read_file,
    read_to_a_hole,
    read_value,
)
from tests.support.chats import chat


def test_images_in_files_beside_a_chat_come_along(tmp_path):
    png = b"\x89PNG\r\n\x1a\n"
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(DATA / CHATGPT, "chats/conversations-000.json")
        archive.writestr("chats/file_11.png", b"another")
        archive.writestr("chats/file_1-sanitized.png", png)
    chats = tmp_path / "conversations" / "garden"
    images = tmp_path / "user-files"
    chats.mkdir(parents=True)
    images.mkdir()
    (chats / LM_STUDIO).write_bytes((DATA / LM_STUDIO).read_bytes())
    (images / "1763500000001 - 7.png").write_bytes(png)
    for path in (tmp_path / "export.zip", chats / LM_STUDIO):
        (session,) = chats_of(path)
        assert session.files == {sha256(png).hexdigest(): png}
        assert not any("image" in words for words in left_out(path))


def test_a_damaged_image_in_a_zip_costs_that_image_alone(tmp_path):
    packed = tmp_path / "export.zip"
    png = b"\x89PNG\r\n\x1a\n"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(DATA / CHATGPT, CHATGPT)
        archive.writestr("file_1-sanitized.png", png)
    packed.write_bytes(packed.read_bytes().replace(png, b"damaged!"))
    assert len(chats_of(packed)) == len(chats_of(DATA / CHATGPT))
    assert left_out(packed) == ["“Weather”: 1 image, 2 messages of other versions left out"]


def test_of_lm_studio_the_models_and_times_of_answers_come_along():
    (session,) = chats_of(DATA / LM_STUDIO)
    prompt, last = session.messages[1:3]
    assert last.model == "qwen3-8b"
    assert str(last.created_at) == "2025-11-18 21:07:03+00:00"
    assert str(prompt.created_at) == "2025-11-18 21:06:40+00:00"  # that of the chat


def test_the_same_chat_has_the_same_ids_also_in_a_zip(tmp_path):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / LM_STUDIO, f"conversations/{LM_STUDIO}")
        archive.writestr("user.json", '{"email": "a@example.org"}')
        archive.writestr("broken.json", '{"lmchat": 1')
    assert chats_of(packed) == chats_of(DATA / LM_STUDIO)
    with pytest.raises(FileRefused, match="It has chats of LM Studio, not of llm") as caught:
        read_file(DATA / LM_STUDIO, source="llm")
    assert caught.value.next_step == "Import it with --from lmstudio."
    with pytest.raises(FileRefused, match="It has no readable messages") as caught:
        read_file(packed, source="llm")
    assert caught.value.next_step.startswith("Export the chats again; if you named")
    assert left_out(packed)[1] == "broken.json: It is not valid JSON: it is cut off or damaged"
    line = (DATA / LLAMA_CPP).read_text(encoding="utf-8")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(LLAMA_CPP, f'\n{{"cut": \n{{}} 5\n \n{line}')
    assert chats_of(packed) == chats_of(DATA / LLAMA_CPP)
    lost = [f"{LLAMA_CPP}, line {number}: it is damaged" for number in (2, 3)]
    assert left_out(packed)[:2] == lost


def test_a_database_of_no_known_program_is_not_said_to_have_chats_of_llm(tmp_path):
    path = tmp_path / "plants.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table plants (name)")
    with pytest.raises(FileRefused, match="not one that lmchat knows"):
        read_file(path, source="jan")
    with pytest.raises(FileRefused, match="It has chats of llm, not of Jan"):
        read_file(foreign_file(tmp_path, "llm.sql"), source="jan")


def test_a_chat_of_another_program_is_read_in_utf_16_too(tmp_path):
    for name in (LM_STUDIO, "open-webui.json", LLAMA_CPP):
        path = tmp_path / name
        path.write_bytes((DATA / name).read_text(encoding="utf-8").encode("utf-16"))
        assert read_file(path) == read_file(DATA / name)


def test_an_older_chat_of_open_webui_has_a_list_of_messages():
    messages = [
        {"id": "m1", "role": "user", "content": "Plants for shade?"},
        {"role": "assistant", "content": "Ferns.", "model": "qwen3:8b"},
    ]
    inner = {"title": "Shade", "models": ["qwen3:8b"], "messages": messages}
    for value in ([{"id": "1", "title": "Shade", "chat": inner}], inner):
        (session,), lost = read_value(value)
        assert (session.header.title, lost) == ("Shade", [])
        assert outline(session) == [
            "*user text Plants for shade?",
            "*.assistant text Ferns.",
        ]


def test_a_file_of_which_nothing_can_be_read_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", "PK")
    packed = (tmp_path / "outer.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / "claude.json", "claude.json")
    damaged = bytearray((tmp_path / "d.zip").read_bytes())
    damaged[60] ^= 255
    for name, data, words in (
        ("a.zip", b"PK\x03\x04 no zip", "It ends too early, as a download that broke off."),
        ("a.db", b"SQLite format 3\0 cut", "cannot be read: "),
        ("a.json", b'{"versions": 1}', "no chat in a format that lmchat knows"),
        ("b.json", b"", "It is empty."),
        ("a.json.gz", gzip.compress(b"[]"), "It is packed."),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "It is packed."),
        ("d.zip", bytes(damaged), "(claude.json: it is damaged)."),
        ("b.zip", packed, "(inner.zip: it is packed: unpack it"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileRefused) as caught:
            read_file(tmp_path / name)
        assert words in caught.value.message


def test_a_list_of_many_chats_takes_the_memory_of_one_of_them(tmp_path):
    text = "x" * 40_000
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": [text]}}
    chat = {"mapping": {"a": {"parent": None, "message": message}}}
    path = tmp_path / "conversations.json"
    packed = tmp_path / "export.zip"
    with path.open("w") as file:
        file.write("[")
        for number in range(500):
            file.write(f"{',' if number else ''}{json.dumps({'id': str(number), **chat})}\n")
        file.write("]")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    assert path.stat().st_size > 20_000_000
    for file in (path, packed):
        tracemalloc.start()
        found = sum(isinstance(item, Session) for item in read_chats("x", file, now=NOW))
        assert found == 500
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
        tracemalloc.stop()


def test_a_record_of_a_zip_is_read_no_further_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LARGEST_RECORD", 4 << 20)
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / CHATGPT, CHATGPT)
        with archive.open("conversations-001.json", "w") as member:
            member.write(b'[{"mapping": {"')
            for _ in range(60):
                member.write(b"a" * (1 << 20))
    tracemalloc.start()
    assert left_out(packed)[-1] == "conversations-001.json: It is larger than 4 MB"
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_a_list_that_is_cut_off_costs_only_what_is_cut(tmp_path):
    chats = json.loads((DATA / CHATGPT).read_text(encoding="utf-8"))
    path = tmp_path / "cut.json"
    whole = json.dumps([{**chats[0], "conversation_id": key} for key in "abc"])
    for cut in (whole[:-200], whole[: whole.rindex('"title"')], whole[:-1]):
        path.write_text(cut, encoding="utf-8")
        sessions, told = read_to_a_hole(path)
        assert len(sessions) == (3 if cut == whole[:-1] else 2)
        place = len(sessions) + 1
        assert told == f"Record {place} is damaged: nothing from there on is imported."


HALVES = ("\\udf31", "\\ud83c\\ud83c\\udf31")


@pytest.mark.parametrize("halves", HALVES)
def test_half_of_an_emoji_costs_nothing_but_itself(tmp_path, halves):
    for name in (CHATGPT, LLAMA_CPP, LM_STUDIO, "open-webui.json", "jan/messages.jsonl"):
        text = (DATA / name).read_text(encoding="utf-8")
        whole = read_file(DATA / name)
        for word in ("Rain tomorrow?", "Sort this", "Three plants", "Thanks"):
            path = tmp_path / name.replace("/", "-")
            path.write_text(text.replace(word, f"{word} {halves} \\ud83c\\udf31"), encoding="utf-8")
            sessions, _ = read_file(path)
            assert len(sessions) == len(whole[0]), name
            texts = "".join(message.text for message in sessions[0].messages)
            if word in text:
                assert f"{word} \ufffd" in texts
                assert texts.count("\U0001f331") == 1 + ("83c\\udf31" in halves)
            assert texts.encode()
    half = json.loads(f'"{halves}"')
    own = to_json(chat(f"leaf {half}", "ok"))
    assert "\ufffd" in read_data(own.encode())[0][0].messages[0].text


def test_half_of_an_emoji_in_a_title_of_jan_costs_no_chat(tmp_path):
    (tmp_path / "thread.json").write_text('{"id": "a", "title": "Half \\ud83c"}', encoding="utf-8")
    message = {"thread_id": "a", "id": "1", "role": "user", "content": "Hello"}
    (tmp_path / "messages.jsonl").write_text(json.dumps(message), encoding="utf-8")
    (session,) = chats_of(tmp_path / "messages.jsonl")
    assert session.header.title == "Half \ufffd"


@pytest.mark.rule("R-35")
@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("state", ["running", "ended", "killed"])
def test_a_database_is_read_while_its_program_runs_and_stays_as_it_is(tmp_path, mode, state):
    path = foreign_file(tmp_path, "llm.sql")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(f"pragma journal_mode = {mode}")
        writer.execute("insert into threads (id, name) values ('new', 'New')")
        if state == "ended":
            writer.close()
        if state == "killed":
            (tmp_path / "left").mkdir()
            for file in tmp_path.glob("llm.db*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, tmp_path / "left")
            path = tmp_path / "left" / "llm.db"
        before = path.read_bytes()
        assert len(chats_of(path)) == 6
        assert path.read_bytes() == before


def test_a_database_that_its_program_keeps_locked_is_refused_with_the_way_out(tmp_path):
    path = foreign_file(tmp_path, "llm.sql")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        with pytest.raises(FileRefused, match="database is locked") as caught:
            chats_of(path)
    assert caught.value.next_step.startswith("Close the program that uses the file. ")
    with pytest.raises(FileRefused, match=r"none\.json does not exist") as caught:
        chats_of(tmp_path / "none.json")
    assert caught.value.next_step == "Check the path."


def test_a_list_is_told_by_its_content_and_not_by_the_name(tmp_path):
    for name in ("open-webui.json", CHATGPT):
        path = tmp_path / f"{name}l"
        path.write_bytes(b"\xef\xbb\xbf" + (DATA / name).read_bytes())
        assert read_file(path) == read_file(DATA / name)


def test_a_broken_record_of_a_list_is_not_read_to_the_end_of_the_file(tmp_path):
    path = tmp_path / "broken.json"
    with path.open("w") as file:
        file.write('[{"role": "user", "content": "Hi"}, {"role": "user", "content": "\n')
        for _ in range(40):
            file.write("x" * (1 << 20))
    tracemalloc.start()
    (session,), told = read_to_a_hole(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert session.messages[0].text == "Hi"
    assert told == "Record 2 is damaged: nothing from there on is imported."


def test_facts_about_an_image_of_lm_studio_are_not_taken_for_it(tmp_path):
    png = b"\x89PNG\r\n\x1a\n"
    packed = tmp_path / "a.zip"
    for facts, name in ((b'{"originalName": "leaf.png"}', "leaf.png"), (b"{", "image")):
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("user-files/1763500000001 - 7.png.metadata.json", facts)
            archive.writestr("user-files/1763500000001 - 7.png", png)
            text = (DATA / LM_STUDIO).read_text(encoding="utf-8").replace('- 7"', '- 7.png"')
            archive.writestr(f"conversations/{LM_STUDIO}", text)
        (session,), lost = read_file(packed)
        files = [file.name for message in session.messages for file in message.files]
        assert (files, not any("image" in words for words in lost)) == ([name], True)
