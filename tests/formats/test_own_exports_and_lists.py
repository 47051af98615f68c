from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from lmchat.domain.message import (
    AnswerState,
    FilePart,
    Receipt,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import MessagePath, Session
from lmchat.domain.tool import tool_calls_text
from lmchat.errors import FileRefused
from lmchat.formats.json_format import to_json
from lmchat.tui.widgets.chat_log.layout.annotations import end_blocks, prompt_blocks
from tests.support.chat_log_app import plain_page
from tests.support.chats import (
    START,
    answer,
    chat,
    chat_with_tools,
    header,
    prompt,
    read_chats,
    tool_message,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def read_one(data):
    (session,) = read_chats(data if isinstance(data, bytes) else data.encode(), moment=NOW).sessions
    return session


def read_rows(*rows, **head):
    value = {"messages": list(rows), **head} if head else list(rows)
    found = read_chats(json.dumps(value).encode(), moment=NOW)
    return found.sessions[0].messages, found.skipped


def refusal(data):
    with pytest.raises(FileRefused) as caught:
        read_chats(data if isinstance(data, bytes) else data.encode(), moment=NOW)
    assert caught.value.hint
    return caught.value.message


def changed(change, session=None):
    """The JSON export of a talk, changed by hand."""
    data = json.loads(to_json(session or chat()))
    change(data)
    return json.dumps(data)


def test_an_export_is_read_in_each_encoding_that_a_shell_gives_it():
    for newline in (
        "\n",
        "\r\n",
    ):
        for encoding in (
            "utf-8",
            "utf-8-sig",
            "utf-16",
        ):
            session = chat("Überprüfung 日本語 🙂", "ja")
            text = to_json(session).replace("\n", newline)
            read_back = read_one(text.encode(encoding))
            assert [message.text for message in read_back.messages] == [
                "Überprüfung 日本語 🙂",
                "ja",
            ]
            assert read_back.header.session_id == session.header.session_id


def test_what_is_no_chat_is_refused_with_the_place():
    for data, words in (
        (b"", "It is empty."),
        (b" \n\t", "It is empty."),
        (b"# Notes\n", "Its format cannot be imported"),
        (b"\x00\x00\x00", "Its format cannot be imported"),
        (b"SQLite format 3\x00", "Its format cannot be imported"),
        (b"\x89PNG\r\n\x1a\n", "Line 1 is not UTF-8 text."),
        (b"[\n{\n\xe9", "Line 3 is not UTF-8 text."),
        (b"\xff\xfe\x00\xd8", "Line 1 is not UTF-16 text."),
        (b"---\ntitle: notes\n---\n", "It is Markdown, which cannot be imported."),
        (b'[{"role": "user",\n "content": "cut', "Invalid JSON at line 2, column 13."),
        (b"[" * 200_000, "It is not readable JSON."),
        (b"[" + b"9" * 10_000 + b"]", "It is not readable JSON."),
        (b'{"a": 1}', "not a chat format that lmchat knows"),
        (b'"words"', "Its format cannot be imported"),
        (b"[]", "not a chat format that lmchat knows"),
        (b'[1, {"role": "user"}]', "It has no readable messages (message 1: it is not an object)."),
        (b'{"messages": []}', "not a chat format that lmchat knows"),
        (b'{"lmchat": 99}', "Another version of lmchat"),
        (b'{"lmchat": 1}', "Its header was changed after the export."),
        (b'{"lmchat": 1, "session": []}', "Its header was changed"),
    ):
        assert words in refusal(data)


def test_values_within_values_as_deep_as_json_is_read_are_no_fault():
    for where in (
        "arguments",
        "content",
        "role",
        "parts",
        "model",
    ):
        call = '{"function": {"name": "f", "arguments": DEEP}}'
        text = {
            "arguments": f'[{{"role": "assistant", "tool_calls": [{call}]}}]',
            "model": to_json(chat()).replace('"model": "qwen3-8b"', '"model": DEEP'),
        }.get(where, f'[{{"role": "user", "content": "x", "{where}": DEEP}}]')
        for depth in range(850, 1000, 3):
            told(text.replace("DEEP", "[" * depth + "]" * depth).encode())


def test_a_broken_message_of_an_own_export_is_named():
    for change in (
        lambda message: message.pop("role"),
        lambda message: message.update(role="alien"),
        lambda message: message.update(created_at="0001-01-01T00:00:00+00:00"),
        lambda message: message.update(created_at="9999-12-31T23:59:59+00:00"),
        lambda message: message.update(parts=[{"type": "text", "text": 5}]),
        lambda message: message.update(parts=[{"type": "movie"}]),
        lambda message: message.update(parts="text"),
        lambda message: message.update(message_id=None),
        lambda message: message.update(receipt={"ttft_ms": "soon"}),
        lambda message: message.clear(),
    ):
        assert "Message 2 was changed after the export." in refusal(
            changed(lambda data, change=change: change(data["messages"][1]))
        )


def test_figures_that_cannot_be_shown_are_left_out():
    data = json.loads(to_json(chat()))
    picture = FilePart(name="a.png", media_type="image/png", digest="0" * 64, size=10**400)
    data["messages"][0]["parts"].append({"type": "file", **asdict(picture)})
    for figure in (1e308, -1e308, 1e15, float("inf"), float("nan")):
        data["messages"][1].update(
            state="failed",
            created_at="8999-12-31T23:59:59+00:00",
            receipt={"elapsed_ms": figure, "tokens_per_second": figure, "steps": 2},
            failure={"kind": "offline", "message": "It is gone."},
        )
        asked, said = read_one(json.dumps(data)).messages
        assert said.receipt == Receipt(steps=2)
        for block in (*prompt_blocks(asked), *end_blocks(said)):
            assert block.make is not None
            assert block.make(plain_page())


def test_a_head_of_other_kinds_of_values_is_refused():
    texts, others = ("title", "session_id"), ("created_at", "updated_at", "is_pinned")
    wrong = [(name, value) for name in (*texts, *others) for value in ([], 5.5)]
    for head in (dict([one]) for one in [*wrong, *((name, "0000") for name in others)]):
        text = changed(lambda data, head=head: data["session"].update(head))
        assert "Its head" in refusal(text), head


def test_a_session_without_messages_with_one_id_twice_or_with_a_loop_is_refused():
    assert "no readable message" in refusal(to_json(Session(header=header("t"))))

    def twin(data):
        data["messages"][1]["message_id"] = data["messages"][0]["message_id"]

    assert "Message 2 has a duplicate id." in refusal(changed(twin))
    session = chat("a", "b")
    one = prompt("one")
    two = prompt("two", one)
    one = replace(one, parent_id=two.message_id)
    text = to_json(replace(session, tree=(*session.messages, one, two)))
    assert "form a loop" in refusal(text)


def test_an_id_that_is_none_of_ours_becomes_one_and_always_the_same():
    data = json.loads(to_json(chat()))
    for own in (
        "last",
        "",
        "../../etc/passwd",
        "x" * 100_000,
        "a\0b",
        "ABCDEF0123456789",
        "\ud800",
    ):
        data["session"]["session_id"] = data["messages"][0]["message_id"] = own
        session, again = read_one(json.dumps(data)), read_one(json.dumps(data))
        for found in (session.header.session_id, session.messages[0].message_id):
            assert len(found) == 16
            assert set(found) <= set("0123456789abcdef")
        assert session.messages[1].parent_id == session.messages[0].message_id
        assert (again.header, again.messages) == (session.header, session.messages)


def test_a_path_is_what_the_file_shows_also_where_a_message_was_taken_out_by_hand():
    def drop(data):
        del data["messages"][1]

    session = read_one(changed(drop, chat("one", "two", "three")))
    assert [message.text for message in session.messages] == ["one", "three"]
    assert session.messages[1].parent_id == session.messages[0].message_id


def test_an_answer_that_was_arriving_arrives_no_more():
    for words, state in (
        ("half", AnswerState.INTERRUPTED),
        ("", AnswerState.FAILED),
    ):
        asked = prompt("q")
        arriving = answer(words, parent=asked, state=AnswerState.STREAMING)
        read_back = read_one(to_json(Session(header=header("t"), messages=(asked, arriving))))
        assert read_back.messages[1].state is state
        assert "exported while" in read_back.messages[1].failure.message


def with_header(**changes):
    return replace(chat(), header=replace(header("t"), **changes))


def test_the_header_of_a_session_comes_back_within_bounds():
    late = NOW.replace(year=2126)
    trashed = with_header(updated_at=late, deleted_at=START, is_pinned=True)
    found = read_one(to_json(trashed)).header
    assert (found.deleted_at, found.updated_at, found.is_pinned) == (None, NOW, True)

    found = read_one(to_json(with_header(tags=("garden", "übung")))).header
    assert found.tags == ("garden", "übung")
    odd = with_header(tags=("Two Words", "", "x" * 100, *map(str, range(99))))
    tags = read_one(to_json(odd)).header.tags
    assert (tags[:3], len(tags)) == (("two", "words", "x" * 40), 50)

    options = {"top_k": 20, "stop": ["\n"], "logit_bias": {"15043": -2.5}, "extra.x": None}
    session = with_header(sampling=options)
    assert read_one(to_json(session)).header.sampling == options
    of_older_version = changed(lambda data: data["session"].pop("sampling"), session)
    assert read_one(of_older_version).header.sampling == {}
    wrong = changed(lambda data: data["session"].update(sampling=[1]), session)
    assert refusal(wrong) == "Its header was changed after the export."

    endless = read_one(to_json(chat("word " * 100_000, "Lettuce.", title="t" * 1_000_000)))
    assert len(endless.header.title) == 1000
    assert endless.messages[0].text == "word " * 100_000


def test_a_list_of_role_and_content_is_a_session():
    messages, skipped = read_rows(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "# Which\nvegetables?"},
        {
            "role": "assistant",
            "content": "Lettuce.",
            "model": "qwen3-8b",
            "reasoning": "r",
            "reasoning_content": "Hmm.",
        },
    )
    assert skipped == ()
    assert [(message.role, message.text) for message in messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "# Which\nvegetables?"),
        (Role.ASSISTANT, "Lettuce."),
    ]
    assert (messages[2].reasoning, messages[2].model) == ("Hmm.", "qwen3-8b")
    assert [message.parent_id for message in messages] == [
        None,
        messages[0].message_id,
        messages[1].message_id,
    ]
    assert {message.created_at for message in messages} == {NOW}


def test_a_list_has_the_title_and_model_of_its_object_or_the_title_of_its_first_prompt():
    rows = [{"role": "assistant", "content": "x"}]
    session = read_one(json.dumps({"title": "Mine", "model": "m", "messages": rows}))
    assert (session.header.title, session.header.model) == ("Mine", "m")
    assert session.messages[0].model == "m"
    asked = {"role": "user", "content": "# Which\nvegetables?"}
    assert read_one(json.dumps([asked])).header.title == "Which"
    assert read_one(json.dumps(rows)).header.title == "Untitled"


def test_contents_of_several_parts_calls_of_tools_and_refusals_are_kept():
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages, skipped = read_rows(
        {"role": "user", "content": ["a", {"type": "text", "text": "b"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [call, 5, {"function": None}]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "developer", "content": "Be kind."},
    )
    assert [message.parts for message in messages] == [
        (TextPart(text="a"), TextPart(text="b")),
        (ToolCallPart(call_id="c1", name="look", arguments='{"at": 1}'),),
        (ToolCallPart(call_id="c1", name="look", arguments='{"at": 1}'), ToolResultPart(text="42")),
        (RefusalPart(text="No."),),
        (TextPart(text="Be kind."),),
    ]
    assert (messages[2].role, messages[4].role) == (Role.TOOL, Role.SYSTEM)
    assert [(left.where, left.reason) for left in skipped] == [
        ("message 1", "1 of its parts is neither text nor an image in the file")
    ]


def test_images_of_a_list_come_along():
    png = b"\x89PNG\r\n\x1a\n"
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    rows = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "input_image", "image_url": url},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            ],
        },
        {"role": "tool", "content": [{"type": "image_url", "image_url": {"url": url}}]},
    ]
    found = read_chats(json.dumps(rows).encode(), moment=NOW)
    (session,) = found.sessions
    (asked,) = session.messages
    assert asked.text == "What is it?"
    assert [part.digest for part in asked.files] == [sha256(png).hexdigest()] * 2
    assert session.files == {sha256(png).hexdigest(): png}
    left_out = "1 of its parts is neither text nor an image in the file"
    assert [(left.where, left.reason) for left in found.skipped] == [
        ("message 1", left_out),
        ("message 2", left_out),
    ]


def test_each_result_of_a_list_is_a_tool_message_with_the_call_that_it_answers():
    calls = [
        {"id": call_id, "function": {"name": name, "arguments": "{}"}}
        for call_id, name in (("c1", "a"), ("c2", "b"))
    ]
    unnamed = [{"function": {"name": name, "arguments": {"x": name}}} for name in "ab"]
    messages, skipped = read_rows(
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}]},
        {"role": "tool", "tool_call_id": "c1", "name": "files", "content": "again"},
        {"role": "assistant", "content": "", "tool_calls": unnamed},
        {"role": "tool", "tool_name": "b", "content": "of b"},
        {"role": "tool", "content": "of a"},
        {"role": "tool", "content": "of none"},
    )
    ran = [message for message in messages if message.role is Role.TOOL]
    assert [
        (tool_calls_text(message), message.tool_calls[0].call_id, message.tool_result)
        for message in ran
    ] == [
        ("b()", "c2", "two"),
        ("a()", "c1", "one"),
        ("files()", "c1", "again"),
        ('b("b")', "", "of b"),
        ('a("a")', "", "of a"),
        ("tool()", "", "of none"),
    ]
    assert (ran[1].parent_id, skipped) == (ran[0].message_id, ())


def test_a_tool_call_that_ran_during_the_export_is_interrupted():
    talk = chat_with_tools(state=AnswerState.STREAMING)
    ran = read_one(to_json(talk)).messages[2]
    assert (ran.state, ran.parts) == (AnswerState.INTERRUPTED, talk.messages[2].parts)
    assert ran.failure.message == "The session was exported before this tool call had a result."


@pytest.mark.rule("R-35")
def test_what_is_broken_in_a_list_is_left_out_and_counted():
    messages, skipped = read_rows(
        {"role": "user", "content": "kept"},
        7,
        {"role": "alien", "content": "x"},
        {"role": "user"},
        {"role": "user", "content": {"a": 1}},
        {"role": "assistant", "content": [{"type": "image_url"}, {"type": "audio"}]},
        {"role": "assistant", "content": "kept too"},
    )
    assert [message.text for message in messages] == ["kept", "kept too"]
    assert [(left.where, left.reason) for left in skipped] == [
        ("message 2", "it is not an object"),
        ("message 3", "its role is not one of system, user, assistant, tool, developer, function"),
        ("message 4", "it has no text content"),
        ("message 5", "it has no text content"),
        ("message 6", "2 of its parts are neither text nor an image in the file"),
    ]


@pytest.mark.rule("R-36")
def test_the_same_list_is_the_same_session_whenever_and_however_it_is_written():
    rows = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    one = read_chats(json.dumps(rows).encode(), moment=NOW).sessions[0]
    two = read_chats(json.dumps(rows, indent=4).encode("utf-8-sig"), moment=START).sessions[0]
    other = read_chats(json.dumps([*rows, rows[0]]).encode(), moment=NOW).sessions[0]
    assert one.header.session_id == two.header.session_id
    assert [a.message_id for a in one.messages] == [b.message_id for b in two.messages]
    assert other.header.session_id != one.header.session_id
    assert (
        one.header.session_id == "2d988f9cb38611f7"
    )  # of the words alone: another lmchat must find it again


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
)
def test_any_tree_that_is_exported_is_the_same_after_its_import(rows, end):
    tree, path = [], []
    for above, kind, text in rows:
        parent = tree[above % len(tree)] if tree and above >= 0 else None
        make = {"answer": answer, "tool": tool_message}.get(kind)
        tree.append(make(text, parent=parent) if make and parent else prompt(text, parent))
    by_id = {message.message_id: message for message in tree}
    at = tree[end % len(tree)]
    while at is not None:
        path.insert(0, at)
        at = by_id.get(at.parent_id)
    session = Session(header=header("t"), messages=MessagePath(path), tree=tuple(tree))
    read_back = read_one(to_json(session))
    assert shape(read_back.messages) == shape(path)
    assert shape(read_back.tree or read_back.messages) == shape(tree)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "messages",
                    "lmchat",
                    "session",
                    "tool_calls",
                    "text",
                    "type",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def told(data):
    """Return what a file is read as, None where it is refused; any other error is a fault."""
    with suppress(FileRefused):
        return read_chats(data, moment=NOW)
    return None


@given(anything)
@example({"lmchat": 1, "session": {}, "messages": 5})
@example({"lmchat": 1.0, "session": None})
@example({"messages": {"role": "user"}})
def test_whatever_json_a_file_holds_it_is_read_or_refused(value):
    found = told(json.dumps(value).encode())
    assert found is None or found.sessions[0].messages


@given(st.data())
def test_an_own_export_with_any_value_changed_is_read_or_refused(data):
    value = json.loads(to_json(chat()))
    row = data.draw(st.sampled_from([value, value["session"], *value["messages"]]))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(anything)
    found = told(json.dumps(value).encode())
    assert found is None or to_json(found.sessions[0])
