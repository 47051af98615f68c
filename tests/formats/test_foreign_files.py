"""Files of other programs: packed, damaged, limited, in use. Whole chats: test_foreign_chats.py."""

from __future__ import annotations

import shutil
import sqlite3
import tracemalloc
import zipfile
from contextlib import closing
from hashlib import sha256

import pytest

from lmchat.errors import FileRefused
from lmchat.formats.imports import reader
from lmchat.formats.imports.foreign_chat import ForeignChat
from lmchat.formats.imports.format import DatabaseFormat
from lmchat.formats.imports.programs import llm
from lmchat.formats.imports.sources import LARGEST_BYTES
from tests.support.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    chats_of,
    foreign_file,
    left_out,
    outline,
    read_file,
    read_value,
)
from tests.support.hostile_files import deep_folder


def test_images_in_files_beside_a_chat_come_along(tmp_path):
    png = b"\x89PNG\r\n\x1a\n"
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(DATA / CHATGPT, "chats/conversations-000.json")
        archive.writestr("chats/file_11.png", b"another")
        archive.writestr("chats/file_1-sanitized.png", png)
    chats, images = tmp_path / "conversations" / "garden", tmp_path / "user-files"
    chats.mkdir(parents=True)
    images.mkdir()
    (chats / LM_STUDIO).write_bytes((DATA / LM_STUDIO).read_bytes())
    (images / "1763500000001 - 7.png").write_bytes(png)
    for path in (tmp_path / "export.zip", chats / LM_STUDIO):
        (session,) = chats_of(path)
        assert session.files == {sha256(png).hexdigest(): png}
        assert left_out(path) == []


def test_chats_in_very_deep_folders_are_found():
    with deep_folder() as top:
        top.joinpath("e", "a.json").write_text('[{"role": "user", "content": "Hi"}]')
        top.joinpath(*["e"] * 1050, "b.json").write_text('[{"role": "user", "content": "Deep"}]')
        assert [session.header.title for session in read_file(top)[0]] == ["Hi", "Deep"]


def test_a_damaged_image_in_a_zip_costs_that_image_alone(tmp_path):
    packed, png = tmp_path / "export.zip", b"\x89PNG\r\n\x1a\n"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(DATA / CHATGPT, CHATGPT)
        archive.writestr("file_1-sanitized.png", png)
    packed.write_bytes(packed.read_bytes().replace(png, b"damaged!"))
    assert len(chats_of(packed)) == len(chats_of(DATA / CHATGPT))
    assert left_out(packed) == ["“Weather”: 1 image left out"]


def test_of_lm_studio_the_models_and_times_of_answers_come_along():
    (session,) = chats_of(DATA / LM_STUDIO)
    last = session.messages[-2]
    assert last.model == "qwen3-8b"
    assert str(last.created_at) == "2025-11-18 21:07:03+00:00"
    assert (
        next(message.model for message in session.branch_messages if message.text == "Ferns.")
        == "qwen3-4b"
    )


def test_the_same_chat_has_the_same_ids_also_in_a_zip(tmp_path):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / LM_STUDIO, f"conversations/{LM_STUDIO}")
        archive.writestr("user.json", '{"email": "a@example.org"}')
        archive.writestr("broken.json", '{"lmchat": 1')
    assert chats_of(packed) == chats_of(DATA / LM_STUDIO)
    with pytest.raises(FileRefused, match="It has chats of LM Studio, not of llm") as caught:
        read_file(DATA / LM_STUDIO, source="llm")
    assert caught.value.hint == "Import it with --from lmstudio."
    with pytest.raises(FileRefused, match="It has no readable messages") as caught:
        read_file(packed, source="llm")
    assert caught.value.hint.startswith("Export the chats again; if you named")
    assert left_out(packed)[1] == "broken.json: It is not valid JSON: Input data was truncated"


def test_a_database_of_no_known_program_is_not_said_to_have_chats_of_llm(tmp_path):
    path = tmp_path / "plants.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table plants (name)")
    with pytest.raises(FileRefused, match="not one that lmchat knows"):
        read_file(path, source="jan")
    with pytest.raises(FileRefused, match="It has chats of llm, not of Jan"):
        read_file(foreign_file(tmp_path, "llm.sql"), source="jan")


def test_a_database_that_does_not_fit_the_first_format_is_read_by_the_next(tmp_path, monkeypatch):
    path = tmp_path / "plants.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table plants (name)")
    chat = ForeignChat(key="a")
    chat.add("1", "user", ["Which ferns?"], parent=None)
    plants = DatabaseFormat(
        versions="Plants 1", fits=lambda other: other == path, read=lambda _: iter([lambda: chat])
    )
    monkeypatch.setattr(reader, "_formats", lambda: [("llm", llm.FORMAT), ("plants", plants)])
    (session,) = chats_of(path)
    assert session.messages[0].text == "Which ferns?"
    assert session.header.tags == ("plants",)
    assert chats_of(foreign_file(tmp_path, "llm.sql"))
    shutil.copy(path, tmp_path / "others.db")
    with pytest.raises(FileRefused, match="not one that lmchat knows") as caught:
        read_file(tmp_path / "others.db")
    assert caught.value.hint == ("lmchat imports the database of llm 0.36 and later, Plants 1.")


def test_a_chat_of_another_program_is_read_in_utf_16_too(tmp_path):
    for name in (LM_STUDIO, "open-webui.json", LLAMA_CPP):
        path = tmp_path / name
        path.write_bytes((DATA / name).read_text().encode("utf-16"))
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
    for name, data in (
        ("a.zip", b"PK\x03\x04 no zip"),
        ("a.db", b"SQLite format 3\0 cut"),
        ("a.json", b'{"versions": 1}'),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileRefused):
            read_file(tmp_path / name)

    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(FileRefused, match="it is larger than 256 MB") as refused:
        read_file(big)
    assert refused.value.hint == "Split it into smaller files."


def test_a_member_of_a_zip_is_read_no_further_than_its_limit(tmp_path):
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / CHATGPT, CHATGPT)
        with archive.open("conversations-001.json", "w") as member:
            member.write(b'[{"mapping": {"')
            for _ in range(LARGEST_BYTES // (1 << 20) + 1):
                member.write(b"a" * (1 << 20))
    tracemalloc.start()
    assert left_out(packed)[1:] == ["conversations-001.json: it is larger than 256 MB"]
    assert tracemalloc.get_traced_memory()[1] < LARGEST_BYTES // 10
    tracemalloc.stop()


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
    assert caught.value.hint.startswith("Close the program that uses the file. ")
    with pytest.raises(FileRefused, match="No such file") as caught:
        chats_of(tmp_path / "none.json")
    assert caught.value.hint == "Check the path."
