from __future__ import annotations

import json
import re
from base64 import b64encode
from contextlib import suppress
from datetime import UTC
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmchat.base.errors import FileRefused
from lmchat.core.sessions.message import FilePart, RefusalPart, Role, TextPart
from tests.core.imports.foreign_chats import NOW, read_data, read_text
from tests.support.json_of_chats import json_of_chats


def read_rows(*rows, **head):
    value = {"messages": list(rows), **head} if head else list(rows)
    (session, *_), lost = read_data(json.dumps(value).encode(), moment=NOW)
    return session.messages, lost


def test_what_is_no_list_is_refused_with_the_place():
    for data, words in (
        (b'[1, {"role": "user"}]', "It has no readable messages (record 1: it is damaged)."),
        (b'{"messages": []}', "no chat in a format that lmchat knows"),
    ):
        with pytest.raises(FileRefused, match=re.escape(words)):
            read_data(data, moment=NOW)


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
    assert skipped == []
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


def test_lines_with_titles_and_times_are_sessions_with_these():
    rows = [
        {"role": "user", "content": "Peas?", "created_at": "2025-11-18T22:06:40+01:00"},
        {"role": "assistant", "content": "In May.", "created_at": 1763500090},
        {"role": "user", "content": "Beans?", "created_at": "soon"},
    ]
    chats = ({"title": "Peas", "messages": rows}, {"title": "Beds", "messages": rows[1:]})
    lines = "\n".join(json.dumps(chat) for chat in chats)
    (first, second), _ = read_text(lines)
    assert [first.header.title, second.header.title] == ["Peas", "Beds"]
    assert [f"{message.created_at.astimezone(UTC):%H:%M:%S}" for message in first.messages] == [
        *("21:06:40", "21:08:10", "21:08:10")
    ]
    assert (first.header.created_at, first.header.updated_at) == (
        first.messages[0].created_at,
        first.messages[1].created_at,
    )


def test_contents_of_several_parts_calls_of_tools_and_refusals_are_kept():
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    png = b"\x89PNG\r\n\x1a\n"
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    photo = {"type": "image_url", "image_url": {"url": url}}
    digest = sha256(png).hexdigest()
    image = FilePart(name="image", media_type="image/png", digest=digest, size=len(png))
    messages, skipped = read_rows(
        {
            "role": "user",
            "content": ["a", {"type": "text", "text": "b"}, {"type": "image_url"}, photo],
        },
        {"role": "assistant", "content": None, "tool_calls": [call, 5, {"function": None}]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "developer", "content": "Be kind."},
    )
    assert [message.parts for message in messages] == [
        (image, TextPart(text="a\n\nb")),
        (TextPart(text="> Tool call: look(1)\n\n> Result: 42"), RefusalPart(text="No.")),
        (TextPart(text="Be kind."),),
    ]
    assert [message.role for message in messages] == [Role.USER, Role.ASSISTANT, Role.SYSTEM]
    assert skipped == ["“a”: 1 image, 2 tool calls left out"]


PNG_URL = "data:image/png;base64,iVBORw0KGgo="
TEXT = {"type": "text", "text": "Sow peas"}
# Fields of a prompt; what is read of it, and what is said to be left out of the session.
CONTENTS = (
    ({"content": TEXT}, ["Sow peas"], ""),
    ({"content": {"text": "Sow peas"}}, ["Sow peas"], ""),
    ({"content": [[TEXT], None]}, ["Sow peas"], ""),
    ({"content": {"type": "text", "text": {"value": "Sow peas", "x": []}}}, ["Sow peas"], ""),
    ({"content": {"type": "input_text", "text": "Sow peas"}}, ["Sow peas"], ""),
    ({"content": None, "parts": [{"text": "Sow peas"}]}, ["Sow peas"], ""),
    ({"parts": TEXT}, ["Sow peas"], ""),
    ({"content": {"type": "image_url", "image_url": {"url": PNG_URL}}}, ["image"], ""),
    ({"content": {"type": "image_url", "image_url": PNG_URL, "text": "x"}}, ["image"], ""),
    ({"content": TEXT, "images": [PNG_URL.partition(",")[2]]}, ["image", "Sow peas"], ""),
    ({"content": "Sow peas", "images": PNG_URL}, ["image", "Sow peas"], ""),
    ({"content": {"type": "weather", "text": "Rain"}}, [], "1 weather left out"),
    ({"content": {"role": "user", "content": "Rain"}}, [], "1 unknown part left out"),
    ({"content": [{"type": "tool_result", "content": [TEXT]}]}, [], "1 tool_result left out"),
    ({"content": {"type": "text", "text": 5}}, [], "1 unknown part left out"),
    ({"content": 5}, [], "1 unknown part left out"),
    ({"content": True}, [], "1 unknown part left out"),
    ({"content": [5, TEXT]}, ["Sow peas"], "1 unknown part left out"),
    ({"content": "Sow peas", "audio": {"id": "a"}}, ["Sow peas"], "1 recording left out"),
    ({"content": "Sow peas", "attachments": [{}, {}]}, ["Sow peas"], "2 attachments left out"),
    ({"content": "Sow peas", "error": "no"}, ["Sow peas"], "1 error left out"),
)


def test_a_content_of_any_form_is_read_as_what_it_is_or_counted():
    for fields, parts, left_out in CONTENTS:
        messages, lost = read_rows({"role": "user", **fields}, {"role": "user", "content": "Done"})
        found = [getattr(part, "text", None) or part.name for part in messages[0].parts]
        assert found == (parts or ["Done"]), fields
        assert lost == [f"“{'Sow peas' if 'Sow peas' in parts else 'Done'}”: {left_out}"] * bool(
            left_out
        ), fields


def test_an_answer_of_any_form_is_read_as_what_it_is_or_counted():
    sort = {"name": "sort", "arguments": "[2, 1]"}
    for fields, outline in (
        ({"content": [{"type": "thinking", "thinking": "Hm."}, TEXT]}, ("Hm.", "Sow peas")),
        ({"content": {"type": "reasoning", "text": "Hm."}}, ("Hm.", "")),
        ({"content": "1", "reasoning": [{"text": "Hm."}]}, ("Hm.", "1")),
        ({"content": "1", "reasoning_details": [{"type": "x", "text": "Hm."}]}, ("Hm.", "1")),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, ("", "No.")),
        ({"content": None, "function_call": sort}, ("", "> Tool call: sort([2, 1])")),
        ({"tool_calls": {"function": sort}}, ("", "> Tool call: sort([2, 1])")),
        ({"content": None, "error": {"message": "overloaded"}}, ("", "")),
    ):
        messages, lost = read_rows(
            {"role": "user", "content": "2 1"}, {"role": "assistant", **fields}
        )
        assert (messages[1].reasoning, messages[1].text) == outline, fields
        assert lost == []
    assert messages[1].failure.message == "overloaded"
    messages, _ = read_rows(
        {"role": "user", "content": "2 1"}, {"role": "tool", "content": TEXT}, system=[TEXT]
    )
    assert [message.text for message in messages] == ["Sow peas", "2 1", "> Result: Sow peas"]


keyed = st.recursive(
    st.none() | st.integers() | st.just("words"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"type": st.just("text"), "text": inner})
        | st.dictionaries(st.sampled_from(["type", "content", "parts", "name"]), inner)
    ),
    max_leaves=8,
)


@given(keyed, st.sampled_from(["user", "assistant"]))
def test_the_name_of_a_field_is_never_read_as_text(content, role):
    rows = [{"role": role, "content": content}, {"role": "user", "content": "words"}]
    (session,), lost = read_data(json.dumps(rows).encode(), moment=NOW)
    assert "".join(message.text for message in session.messages).replace("words", "").strip() == ""
    is_message_left_out = len(session.messages) < len(rows)
    assert lost or not is_message_left_out or "words" not in json.dumps(content)


def told(data):
    """Return what a file is read as, None where it is refused; any other error is a fault."""
    with suppress(FileRefused):
        return read_data(data, moment=NOW)
    return None


@given(json_of_chats)
@example({"messages": {"role": "user"}})
def test_whatever_json_a_file_holds_it_is_read_or_refused(value):
    found = told(json.dumps(value).encode())
    assert found is None or found[0][0].messages
