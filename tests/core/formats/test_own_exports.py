"""lmchat's own exports, as they are read in any build."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.errors import FileRefused
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.formats.reader import read_chats
from lmchat.core.sessions.message import AnswerState, TextPart, ToolCallPart
from lmchat.core.sessions.session import MessagePath, Session, Skipped
from tests.support.chats import answer, chat, header, prompt, tool_message
from tests.support.json_of_chats import json_of_chats

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def read(data):
    """Return the sessions and what is left out."""
    found = [*read_chats("-", data if isinstance(data, bytes) else data.encode(), now=NOW)]
    return [one for one in found if isinstance(one, Session)], [
        one for one in found if isinstance(one, Skipped)
    ]


def read_one(data):
    ((session,), _) = read(data)
    return session


def refusal(data):
    with pytest.raises(FileRefused) as caught:
        read(data)
    assert caught.value.next_step
    return caught.value.message.removeprefix("stdin: ")


def changed(change, session=None):
    """The JSON export of a talk, changed by hand."""
    data = json.loads(to_json(session or chat()))
    change(data)
    return json.dumps(data)


def test_an_export_is_read_in_each_encoding_that_a_shell_gives_it():
    session = chat("Überprüfung 日本語 🙂", "ja")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        text = to_json(session).replace("\n", "\r\n")
        read_back = read_one(text.encode(encoding))
        assert read_back.header.session_id == session.header.session_id
        assert shape(read_back.messages) == shape(session.messages)


def test_what_is_no_chat_is_refused_with_the_place():
    for data, words in (
        (b"", "It is empty."),
        (b"Notes\n", "Its format cannot be imported"),
        (b"SQLite format 3\x00", "Its format cannot be imported"),
        (b"[\n{\n\xe9", "It is not valid JSON: it is cut off or damaged."),
        (b"\xff\xfe\x00\xd8", "Its format cannot be imported"),
        (b"# Notes\n\n## You", "It is Markdown, which cannot be imported;"),
        (b'[{"role": "user",\n "content": "cut', "It is not valid JSON: it is cut off or damaged."),
        (b"\0" * 50, "It is damaged: it begins with NULs, as after a crash."),
        (b'{"a": 1}', "no chat in a format that lmchat knows"),
        (b'[1, {"role": "user"}]', "no chat in a format that lmchat knows"),
        (b'{"messages": []}', "no chat in a format that lmchat knows"),
        (b'{"lmchat": 99}', "Another version of lmchat"),
        (b'{"lmchat": 1}', "It was changed after the export"),
    ):
        assert words in refusal(data)


def test_an_own_export_with_a_broken_message_is_refused():
    for change in (
        lambda message: message.pop("role"),
        lambda message: message.update(created_at="9999-12-31T23:59:59+00:00"),
        lambda message: message.update(parts=[{"type": "text", "text": 5}]),
        lambda message: message.update(parts="text"),
        lambda message: message.update(receipt={"ttft_ms": "soon"}),
    ):
        assert "It was changed after the export" in refusal(
            changed(lambda data, change=change: change(data["messages"][1]))
        )


def test_what_an_import_may_not_take_over_is_changed_and_costs_no_message():
    asked = prompt("Peas?")
    said = answer("Yes.", parent=asked)
    forked = replace(header("t"), parent_id="0" * 16)
    session = Session(header=forked, messages=MessagePath((asked, said)))

    def change(data):
        first, last = data["messages"]
        part = {"type": "file", "name": "a.md", "media_type": "text/markdown", "digest": "0" * 64}
        first["parts"].append({**part, "size": 10**15})
        first["created_at"] = "2026-11-19T10:00:00"
        last["state"] = "streaming"
        last["receipt"] = {"elapsed_ms": 1e15}

    for shown in (read_one(to_json(session)), read_one(changed(change, session))):
        assert [one.message_id for one in shown.messages] == [asked.message_id, said.message_id]
        assert shown.header.parent_id == session.header.parent_id
    first, last = shown.messages
    assert str(first.created_at) == "2026-11-19 10:00:00+00:00"
    assert (first.files[0].size, last.stats) == (0, None)
    assert last.state is AnswerState.INTERRUPTED
    call = ToolCallPart(call_id="c", name="wipe", arguments="{}")
    calling = replace(said, parts=(TextPart(text="Well."), call))
    read_back = read_one(to_json(replace(session, messages=MessagePath((asked, calling)))))
    assert read_back.messages[1].text == "Well.\n\n> Tool call: wipe()"


def test_an_own_export_whose_messages_make_no_tree_is_refused():
    assert "no readable message" in refusal(to_json(Session(header=header("t"))))

    def twin(data):
        data["messages"][1]["message_id"] = data["messages"][0]["message_id"]

    def hashed_twin(data):
        key = sha256(f"{data['session']['session_id']} x".encode()).hexdigest()[:16]
        data["messages"][0]["message_id"] = "x"
        data["messages"][1]["message_id"] = key

    for change in (twin, hashed_twin):
        assert "Two of its messages have the same id" in refusal(changed(change))
    assert "out of order" in refusal(changed(lambda data: data["messages"].reverse()))
    session = chat("a", "b")
    one = prompt("one")
    two = prompt("two", one)
    one = replace(one, parent_id=two.message_id)
    text = to_json(replace(session, tree=(*session.messages, one, two)))
    assert "form a loop" in refusal(text)


def shape(messages):
    return [
        (message.message_id, message.parent_id, message.role, message.parts) for message in messages
    ]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-1, 9), st.sampled_from(["prompt", "answer", "tool"]), st.text(min_size=1)
        ),
        min_size=1,
    ),
    end=st.integers(0, 9),
    title=st.text(),
)
def test_any_session_that_is_exported_is_the_same_after_its_import(rows, end, title):
    tree = []
    path = []
    for above, kind, text in rows:
        parent = tree[above % len(tree)] if tree and above >= 0 else None
        make = {"answer": answer, "tool": tool_message}.get(kind)
        tree.append(make(text, parent=parent) if make and parent else prompt(text, parent))
    by_id = {message.message_id: message for message in tree}
    at = tree[end % len(tree)]
    while at is not None:
        path.insert(0, at)
        at = by_id.get(at.parent_id)
    session = Session(header=header(title), messages=MessagePath(path), tree=tuple(tree))
    session = replace(session, header=replace(session.header, message_count=len(tree)))
    read_back = read_one(to_json(session))
    assert shape(read_back.messages) == shape(path)
    assert shape(read_back.tree or read_back.messages) == shape(tree)
    assert to_json(read_back) == to_json(session)


def told(data):
    """Return what a file is read as, None where it is refused; any other error is a fault."""
    with suppress(FileRefused):
        return read(data)
    return None


@given(json_of_chats)
@example({"lmchat": 1, "session": {}, "messages": 5})
@example({"lmchat": 1.0, "session": None})
@example({"messages": {"role": "user"}})
def test_whatever_json_a_file_holds_it_is_read_or_refused(value):
    found = told(json.dumps(value).encode())
    assert found is None or found[0][0].messages


def test_records_of_a_list_cost_themselves_alone_up_to_broken_json():
    first, second = (to_json(chat(text)) for text in ("Peas?", "Beans?"))
    sessions, lost = read(f"[{first}, 5, {second}]")
    assert [session.messages[0].text for session in sessions] == ["Peas?", "Beans?"]
    assert [(part.where, part.reason) for part in lost] == [("record 2", "it is damaged")]
    found = read_chats("-", f"[{first}, {{,{second}]".encode(), now=NOW)
    assert next(found).messages[0].text == "Peas?"
    with pytest.raises(FileRefused, match="Record 2 is damaged: nothing from there on is imported"):
        next(found)
