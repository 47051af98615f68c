"""Chats of other programs, as these wrote them: their trees, thoughts, tool calls, times and models."""

from __future__ import annotations

import json
from datetime import UTC
from zipfile import ZipFile

import pytest

from lmchat.core.formats.programs import OWN, program_names
from lmchat.core.imports import PROGRAMS
from lmchat.core.sessions.message import AnswerState
from tests.core.imports.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    chats_of,
    foreign_file,
    left_out,
    lines_of,
    outline,
    read_text,
    read_value,
)

FOUND = '> Tool call: find("shade")\n\n> Result: hosta, fern\n\nHosta and fern.'
COLOUR = ["*.assistant text You said: Name a colour"]
CHATS = {
    LM_STUDIO: (
        ("Shade garden", "qwen3-8b", "lmstudio", "2025-11-18 21:06:40", "2025-11-18 21:08:10"),
        [
            "*system text Be brief.",
            "*.user text Three plants for shade?",
            f"*..assistant reas Look it up. | text {FOUND}",
            "*...user text Thanks",
        ],
        ["“Shade garden”: 2 messages of other versions, 1 image left out"],
    ),
    CHATGPT: (
        (
            "Weather",
            "gpt-5-thinking",
            "chatgpt",
            "2025-11-21 04:40:00.500000",
            "2025-11-21 04:41:30.250000",
        ),
        [
            "*user text Rain tomorrow?",
            (
                "*.assistant reas **Looking**\n\nBern it is. | text "
                '> Tool call: web.run("Bern")\n\n> Result: Rain, 9 °C\n\nYes, rain.'
            ),
        ],
        ["“Weather”: 1 image, 2 messages of other versions left out"],
    ),
    LLAMA_CPP: (
        ("Sorting", "qwen3-8b", "llamacpp", "2025-11-22 08:26:40", "2025-11-22 08:26:49"),
        [
            "*system text Be brief.",
            "*.user file b.png image/png 8 | text a.txt (3 bytes):\n```\n2\n1\n```\n\n\nSort this",
            (
                "*..assistant reas Use the tool. | text "
                "> Tool call: sort([2, 1])\n\n> Result: [1, 2]\n\n1, 2"
            ),
        ],
        ["line 9: it is damaged", "“Sorting”: 1 message of other versions left out"],
    ),
    "llm.sql": (
        (
            "Why is the sky blue?",
            "tiny",
            "llm",
            "2026-11-19 15:32:23.374780",
            "2026-11-19 15:32:23.723780",
        ),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant text You said: Why is the sky blue?",
        ],
        [],
    ),
    "open-webui.json": (
        ("Shade garden", "qwen3:8b", "openwebui", "2025-11-18 21:06:40", "2025-11-18 21:07:20"),
        [
            "*system text Be brief.",
            "*.user file image image/png 8 | text Plants for shade?",
            f"*..assistant reas Look it up. | text {FOUND}",
            "*...user text Thanks",
        ],
        ["“Shade garden”: 1 code interpreter, 1 message of other versions left out"],
    ),
    "claude.json": (
        ("Shade garden", "", "claude", "2025-11-18 21:06:40", "2025-11-18 21:08:10.500000"),
        [
            (
                "*user text note.txt (8 bytes):\n```\nDry soil\n```\n\n\n"
                "pasted text (4 bytes):\n```\nEast\n```\n\n\nPlants for shade?"
            ),
            (
                f"*.assistant reas Look it up. | text {FOUND}\n\n**Beds**\n\n# Beds\n\n- Hosta"
                "\n\n> Result: OK\n\n**Plan**\n\n```python\na = 1\n```"
            ),
            "*..user text Thanks",
        ],
        [
            "“Shade garden”: 1 attachment, 1 file, 1 voice note, 1 message of other versions left out"
        ],
    ),
    "jan/messages.jsonl": (
        ("Shade garden", "qwen3-8b", "jan", "2025-11-18 21:06:40", "2025-11-18 21:08:10.500000"),
        [
            "*system text Be brief.",
            "*.user file image image/png 8 | text Plants for shade?",
            f"*..assistant reas Look it up. | text {FOUND}",
            "*...user text Thanks\n\nnote.txt (8 bytes):\n```\nDry soil\n```\n",
            "*....assistant text Welcome.",
        ],
        ["“Shade garden”: 1 message of other versions left out"],
    ),
}


# With another id, a chat that was imported once would come again.
IDS = {
    LM_STUDIO: ["0c73a364295f398b"],
    CHATGPT: ["ac7d370a54292fdd"],
    LLAMA_CPP: ["1371afaff61914b9"],
    "llm.sql": [
        "ed01f2e6ba153fb9",
        "b4e9e555a7aa06e3",
        "30e465e68ed4fa66",
        "2390e4be41cfb608",
        "c249231b1d644405",
        "50ee817a79b16f80",
    ],
    "open-webui.json": ["4276f71a1bbad8b7"],
    "claude.json": ["65f888a41be805bc"],
    "jan/messages.jsonl": ["93d462f061ee9eb2"],
}


def facts(session):
    """Return title, model, tag and both times, which are in UTC."""
    header = session.header
    assert header.created_at.tzinfo is header.updated_at.tzinfo is UTC
    times = [str(time).removesuffix("+00:00") for time in (header.created_at, header.updated_at)]
    return header.title, header.model, *header.tags, *times


def test_there_is_a_chat_of_each_program_that_the_command_line_offers():
    assert {OWN, *(head[2] for head, _, _ in CHATS.values())} == set(program_names(PROGRAMS))


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_comes_with_all_that_its_program_keeps(tmp_path, name):
    head, lines, lost = CHATS[name]
    path = foreign_file(tmp_path, name)
    session = chats_of(path)[0]
    assert facts(session) == head
    assert outline(session) == lines
    assert left_out(path) == lost
    assert [chat.header.session_id for chat in chats_of(path)] == IDS[name]


@pytest.mark.parametrize(
    ("name", "old", "new", "marks"),
    [
        (LM_STUDIO, "{", '{"pinned": true,', (True, False, "lmstudio")),
        ("claude.json", '"name"', '"is_starred": true, "name"', (True, False, "claude")),
        (
            "claude.json",
            '"name"',
            '"project": {"uuid": "5f3c", "name": "Front bed"}, "name"',
            (False, False, "claude", "front-bed"),
        ),
        (CHATGPT, '"is_archived": false', '"is_archived": true', (False, True, "chatgpt")),
        (CHATGPT, '"is_archived"', '"is_starred": true, "is_archived"', (True, False, "chatgpt")),
        (LLAMA_CPP, '"name"', '"pinned": true, "name"', (True, False, "llamacpp")),
        ("open-webui.json", '"pinned": false', '"pinned": true', (True, False, "openwebui")),
        ("open-webui.json", '"archived": false', '"archived": true', (False, True, "openwebui")),
        (
            "open-webui.json",
            '"tags": []',
            '"tags": [{"name": "Front bed"}, "#wild", 5, {}]',
            (False, False, "openwebui", "front-bed", "wild"),
        ),
        (
            "open-webui.json",
            '"meta": {}',
            '"meta": {"tags": ["bed"]}',
            (False, False, "openwebui", "bed"),
        ),
    ],
)
def test_pins_archive_and_tags_of_a_chat_come_along(tmp_path, name, old, new, marks):
    text = (DATA / name).read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    header = chats_of(path)[0].header
    assert (header.is_pinned, header.is_archived, *header.tags) == marks


def test_a_favourite_of_jan_is_pinned_and_its_project_is_a_tag(tmp_path):
    kept = '"is_favorite": true, "project": {"id": "5f3c", "name": "Front bed"}'
    for name in ("messages.jsonl", "thread.json"):
        text = (DATA / "jan" / name).read_text(encoding="utf-8")
        text = text.replace('"is_favorite": false', kept)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (session,) = chats_of(tmp_path / "messages.jsonl")
    assert (session.header.is_pinned, session.header.tags) == (True, ("jan", "front-bed"))


def test_folders_of_lm_studio_are_tags_of_their_chats(tmp_path):
    path = tmp_path / "conversations" / "Front bed" / "Peas" / LM_STUDIO
    path.parent.mkdir(parents=True)
    path.write_bytes((DATA / LM_STUDIO).read_bytes())
    with ZipFile(tmp_path / "chats.zip", "w") as archive:
        archive.write(path, path.relative_to(tmp_path))
    for file in (path, tmp_path / "chats.zip"):
        (session,) = chats_of(file)
        assert session.header.tags == ("lmstudio", "front-bed", "peas")


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("open-webui.json", '"folder_id": null', '"folder_id": "5f3c"', "1 folder"),
        (CHATGPT, '"is_archived"', '"gizmo_id": "g-p-676875", "is_archived"', "1 project"),
    ],
)
def test_a_folder_whose_name_is_not_in_the_file_is_counted(tmp_path, name, old, new, words):
    text = (DATA / name).read_text(encoding="utf-8")
    assert old in text
    _, lost = read_text(text.replace(old, new))
    assert words in lost[0]


def test_of_llm_come_tools_fragments_thoughts_and_forks(tmp_path):
    chats = [outline(chat) for chat in chats_of(foreign_file(tmp_path, "llm.sql"))[1:]]
    assert chats == [
        [
            "*user text Which version?",
            "*.assistant text > Tool call: llm_version()\n\n> Result: 0.36\n\nYou said: 0.36",
        ],
        [
            "*user file image image/png 8 | text A long fragment text that is borrowed.\nSummarise it",
            "*.assistant text You said: A long fragment text that is borrowed.\nSummarise it ",
        ],
        [
            "*user text Name a colour",
            *COLOUR,
            "*..user text And another",
            "*...assistant text You said: And another",
        ],
        [
            "*user text Name a colour",
            *COLOUR,
            "*..user text A warm one",
            "*...assistant text You said: A warm one",
        ],
        ["*user text Think", "*.assistant reas Hm. | text Done."],
    ]


def test_a_chat_of_llama_cpp_from_before_june_2026_is_read_like_one_of_today():
    session, *rows = map(json.loads, lines_of(LLAMA_CPP))
    ((today,), others) = read_value([session, *rows])
    messages = [row["message"] for row in rows]
    for value in (
        [{"conv": session, "messages": messages}],
        {"conv": session, "messages": messages[::-1]},
    ):
        ((before,), lost) = read_value(value)
        assert (facts(before), lost) == (facts(today), others)
        assert before.header.session_id == today.header.session_id
        assert (before.messages, before.files) == (today.messages, today.files)
    # the page exported only the shown branch of the chat that was open, without the root
    path = [row for row in messages if row["id"] in ("s", "m1", "m2", "m3", "m4")]
    ((open_chat,), _) = read_value([{"conv": session, "messages": path}])
    ids = [message.message_id for message in today.messages]
    assert [message.message_id for message in open_chat.messages] == ids
    # a damaged head costs the title only; it is no plain list, which would lay out the branches
    ((headless,), _) = read_value([{"conv": None, "messages": messages}])
    assert headless.header.tags == ("llamacpp",)
    assert len(headless.messages) < len(messages)


def test_of_the_oldest_page_of_llama_cpp_ids_are_numbers():
    conversation = {"id": "conv-17", "name": "Peas", "lastModified": 1740000009000, "currNode": 5}
    root = {"id": 1, "convId": "conv-17", "type": "root", "role": "system", "content": ""}
    rows = [
        {**root, "parent": -1},
        {**root, "id": 2, "parent": 1, "role": "user", "content": "Sow"},
        {**root, "id": 3, "parent": 2, "role": "assistant", "content": "May"},
        {
            **root,
            "id": 4,
            "parent": 1,
            "role": "user",
            "content": "Sow peas",
            "extra": [
                {"type": "context", "content": "peas"},
                {"type": "pdfFile", "name": "b.pdf", "content": "", "images": [PNG, "x"]},
                {"type": "audioFile", "name": "c.wav", "base64Data": "AA=="},
            ],
        },
        {**root, "id": 5, "parent": 4, "role": "assistant", "content": "<think>Hm</think>April"},
    ]
    (session,), lost = read_value({"conv": conversation, "messages": rows})
    assert outline(session) == [
        "*user file b.pdf image/png 8 | text context (4 bytes):\n```\npeas\n```\n\n\nSow peas",
        "*.assistant reas Hm | text April",
    ]
    assert lost == ["“Peas”: 1 image, 1 audio, 2 messages of other versions left out"]


PNG = "data:image/png;base64,iVBORw0KGgo="
FAILED = AnswerState.FAILED
BROKEN = AnswerState.INTERRUPTED


def open_webui(answer):
    rows = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "Hi"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", **answer},
    }
    return {"id": "c", "chat": {"history": {"messages": rows, "currentId": "b"}}}


def jan(answer):
    row = {"thread_id": "t", "role": "user", "content": [{"type": "text", "text": "Hi"}]}
    return [{**row, "id": "a"}, {**row, "id": "b", "role": "assistant", **answer}]


@pytest.mark.parametrize(
    ("chat", "state", "text", "words"),
    [
        (
            open_webui({"content": "", "error": {"content": "500: model not found"}}),
            FAILED,
            "",
            "500: model not found",
        ),
        (open_webui({"content": "May", "error": {"content": "cut"}}), BROKEN, "May", "cut"),
        (open_webui({"error": {"content": {"detail": "no"}}}), FAILED, "", "no"),
        (open_webui({"error": {"content": {"error": {"message": "m"}}}}), FAILED, "", "m"),
        (open_webui({"error": {"content": {"x": 1}}}), FAILED, "", '{"x": 1}'),
        (open_webui({"content": "older", "error": True}), FAILED, "", "older"),
        (open_webui({"content": "", "error": True}), FAILED, "", "The answer failed."),
        (open_webui({"content": "", "error": "words"}), FAILED, "", "words"),
        (
            open_webui({"content": "x", "output": [{"type": "message", "content": "May"}]})
            | {"x": 1},
            AnswerState.COMPLETE,
            "May",
            None,
        ),
        (open_webui({"content": "Half", "error": {"detail": "boom"}}), BROKEN, "Half", "boom"),
        (jan({"content": [], "status": "error", "error_code": "quota"}), FAILED, "", "quota"),
        (jan({"status": "error"}), BROKEN, "Hi", "Jan had an error."),
    ],
)
def test_the_error_of_an_answer_is_kept_as_its_failure(chat, state, text, words):
    (session,), lost = read_value(chat)
    assert lost == []
    answer = session.messages[-1]
    assert (len(session.messages), answer.state, answer.text) == (2, state, text)
    assert (answer.failure.message if answer.failure else None) == words


def test_what_is_not_read_of_a_chat_is_counted():
    webui = {
        "content": {"type": "text", "text": "May"},
        "sources": [{}, {}],
        "code_executions": {"id": 1},
        "embeds": [],
        "merged": {"status": True, "content": "x"},
    }
    studio = json.loads((DATA / LM_STUDIO).read_text(encoding="utf-8"))
    studio |= {"notes": ["n"], "clientInput": "unsent"}
    studio["messages"][1]["versions"][1]["steps"].append({"type": "citationBlock", "source": {}})
    gpt = json.loads((DATA / CHATGPT).read_text(encoding="utf-8"))
    message = gpt[0]["mapping"]["q2"]["message"]
    message["metadata"] = {"attachments": [{"mime_type": "text/csv"}, {"mime_type": "image/png"}]}
    for chat, words in (
        (open_webui(webui), "“Hi”: 2 sources, 1 code execution, 1 merged answer left out"),
        (jan({"content": {"type": "video"}}), "“Hi”: 1 video left out"),
        (jan({"metadata": {"tool_calls": {"id": 1}}}), "“Hi”: 1 tool call left out"),
        (
            studio,
            (
                "“Shade garden”: 1 note, 1 draft, 2 messages of other versions, "
                "1 image, 1 citationBlock left out"
            ),
        ),
        (gpt, "“Weather”: 1 file, 1 image, 2 messages of other versions left out"),
    ):
        assert read_value(chat)[1] == [words]
    (session,), _ = read_value(open_webui(webui))
    assert session.messages[-1].text == "May"


def test_the_system_prompt_of_lm_studio_is_found_in_both_places():
    chat = json.loads((DATA / LM_STUDIO).read_text(encoding="utf-8"))
    for config in (None, {"fields": []}, {"fields": [{"key": "llm.prediction.systemPrompt"}]}):
        chat["perChatPredictionConfig"] = config
        (session,), _ = read_value(chat)
        assert session.messages[0].text == "old place of the system prompt"


def test_the_ids_of_lists_depend_on_their_content():
    rows = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Lettuce."}]
    values = (rows, {"messages": rows}, {"title": "T", "model": "m", "messages": rows})
    ids = [read_value(value)[0][0].header.session_id for value in values]
    assert ids == ["623b28282121f2d4", "623b28282121f2d4", "bca991cd95ea0c8e"]


def chatgpt(*messages, **head):
    """A chat of ChatGPT: each message is its role, its content, and other fields."""
    nodes = {"root": {"parent": None, "message": None}}
    for number, (role, content, fields) in enumerate(messages):
        parts = (
            content if isinstance(content, dict) else {"content_type": "text", "parts": [content]}
        )
        message = {"author": {"role": role}, "content": parts, **fields}
        nodes[str(number)] = {"parent": str(number - 1) if number else "root", "message": message}
    return [{"id": "c", "mapping": nodes, **head}]


def mark(*words):
    return "\ue200" + "\ue202".join(words) + "\ue201"


CITED = mark("cite", "turn0search1")
REFERENCES = [
    {"matched_text": " ", "type": "sources_footnote", "alt": "x"},
    {"matched_text": CITED, "alt": "([a.org](https://a.org))"},
    {
        "matched_text": mark("cite", "b"),
        "alt": None,
        "items": [{"url": "https://b.org", "title": "B"}],
    },
    {"matched_text": "【8†source】", "alt": "([d.org](https://d.org))"},
    {"matched_text": mark("filecite", "c"), "type": "file", "name": "notes.pdf"},
    {"matched_text": mark("entity", '["place", "Bern"]'), "type": "alt_text", "alt": "Bern"},
]
MARKED = {
    f"Rain {CITED} here.": "Rain ([a.org](https://a.org)) here.",
    f"Rain {mark('cite', 'b')}.": "Rain ([B](https://b.org)).",
    f"Rain {mark('filecite', 'c')}.": "Rain notes.pdf.",
    "In " + mark("entity", '["place", "Bern"]'): "In Bern",
    "In " + mark("product_entity", '["plant", "Fern"]'): "In Fern",
    f"In {mark('entity', 'no list')}.": "In .",
    f"See {mark('url', 'this', 'https://u.org')}": "See [this](https://u.org)",
    f"{mark('navlist', 'x')}Rain{mark('memcite')} {mark('never heard of', 'x')}.": "Rain .",
    "A \ue203span\ue204 of words": "A span of words",
    "Rain 【8†source】 or 【2】.": "Rain ([d.org](https://d.org)) or 【2】.",
    "Rain \ue200cite\ue202turn0": "Rain",
    "Rain \ue200cite\ue202turn0 and\nsun": "Rain citeturn0 and\nsun",
}


@pytest.mark.parametrize("text", MARKED)
def test_marks_of_chatgpt_become_links_names_or_nothing(text):
    facts = {"metadata": {"content_references": REFERENCES}}
    (session,), lost = read_value(chatgpt(("user", "Rain?", {}), ("assistant", text, facts)))
    assert (session.messages[-1].text.rstrip(), lost) == (MARKED[text], [])


def test_of_chatgpt_come_documents_reports_ends_and_the_model_of_the_chat():
    document = json.dumps({"name": "Plan", "type": "document", "content": "# Beds\n\n- Peas"})
    code = json.dumps({"name": "plan.py", "type": "code/python", "content": "a = 1"})
    update = {"updates": [{"pattern": ".*", "replacement": "# Beds\n\n- Beans"}]}
    report = {"content": {"parts": ["# Soil", "Loam."]}}
    widget = {"chatgpt_sdk": {"widget_state": json.dumps({"report_message": report})}}
    call = {"content_type": "code", "text": document}
    said = {"content_type": "audio_transcription", "text": "Soil?"}
    spoken = {"parts": [said, {"content_type": "audio_asset_pointer"}]}
    stopped = {"metadata": {"finish_details": {"type": "interrupted"}, "model_slug": "auto"}}
    (session,), lost = read_value(
        chatgpt(
            ("user", "Plan", {}),
            ("assistant", call, {"recipient": "canmore.create_textdoc"}),
            ("tool", "Done", {}),
            ("assistant", "There.", {"metadata": {"model_slug": "gpt-8"}}),
            ("user", "Again", {}),
            ("assistant", json.dumps(update), {"recipient": "canmore.update_textdoc"}),
            ("assistant", code, {"recipient": "canmore.create_textdoc"}),
            ("assistant", "There.", {}),
            ("user", spoken, {}),
            ("tool", "", {"metadata": widget}),
            ("user", "Peas?", {}),
            ("assistant", "In spr", stopped),
            ("user", "Peas?", {}),
            ("assistant", "Something went wrong", {"status": "finished_with_error"}),
            default_model_slug="gpt-9-mini",
        )
    )
    answers = [message for message in session.messages if message.role == "assistant"]
    assert [answer.text for answer in answers] == [
        "**Plan**\n\n# Beds\n\n- Peas\n\n> Result: Done\n\nThere.",
        "# Beds\n\n- Beans\n\n**plan.py**\n\n```python\na = 1\n```\n\nThere.",
        "# Soil\nLoam.",
        "In spr",
        "Something went wrong",
    ]
    assert [answer.model for answer in answers] == ["gpt-8", *["gpt-9-mini"] * 4]
    assert [answer.state for answer in answers[-2:]] == [AnswerState.STOPPED, BROKEN]
    assert (session.header.model, lost) == ("gpt-9-mini", [])


def test_a_message_whose_parent_is_lost_follows_the_one_before_it():
    rows = {
        "a": {"parentId": None, "role": "user", "content": "Hi"},
        "b": {"parentId": "a", "role": "assistant", "content": "Hello"},
        "c": {"parentId": "lost", "role": "user", "content": "Peas?"},
        "d": {"parentId": None, "role": "assistant", "content": "In May"},
        "e": {"parentId": 5, "role": "assistant", "content": "Or June"},
    }
    (session,), lost = read_value({"id": "c", "history": {"messages": rows, "currentId": "e"}})
    assert [m.text for m in session.messages] == ["Hi", "Hello", "Peas?", "In May", "Or June"]
    assert lost == []


def test_of_lm_studio_come_the_ends_errors_and_names_of_answers():
    def step(text, **fields):
        return {"type": "contentBlock", "content": [{"type": "text", "text": text}], **fields}

    failed = {"status": {"type": "toolCallFailed", "error": "timeout"}}
    call = {"type": "toolCallRequest", "name": "find", "parameters": {"a": 1, "b": 2}}
    texts = json.dumps([{"type": "text", "text": "fern"}])
    result = {"type": "toolCallResult", "content": texts}
    answers = [
        [step("Ferns", genInfo={"stats": {"stopReason": "userStopped"}})],
        [
            {"type": "contentBlock", "content": [call]},
            {"type": "contentBlock", "content": [result]},
            {"type": "toolStatus", "statusState": failed},
            step("None."),
        ],
        [{"type": "status", "statusState": {"status": "error", "text": "out of memory"}}],
    ]
    rows = []
    for steps in answers:
        sender = {"senderName": "qwen"}
        answer = {"role": "assistant", "senderInfo": sender, "steps": steps}
        prompt = {"role": "user", "content": [{"type": "text", "text": "Plants?"}]}
        rows += [
            {"versions": [prompt], "currentlySelected": 3},
            {"versions": [answer, answer], "currentlySelected": 1},
        ]
    (session,), lost = read_value({"name": "Shade", "createdAt": 1763500000000, "messages": rows})
    found = [message for message in session.messages if message.role == "assistant"]
    assert [(answer.state, answer.text) for answer in found] == [
        (AnswerState.STOPPED, "Ferns"),
        (
            AnswerState.COMPLETE,
            "> Tool call: find(a=1, b=2)\n\n> Result: fern\n\n> Result: timeout\n\nNone.",
        ),
        (FAILED, ""),
    ]
    assert found[2].failure.message == "out of memory"
    assert {answer.model for answer in found} == {"qwen"}
    assert lost == ["“Shade”: 3 messages of other versions left out"]


def test_of_open_webui_come_texts_of_files_stopped_answers_and_older_calls():
    attached = {"type": "text", "name": "a.txt", "file": {"data": {"content": "Dry soil"}}}
    photo = {"type": "file", "content_type": "image/png", "name": "b.png", "url": "1f2e"}
    stopped = {"type": "message", "status": "incomplete", "content": "In spr"}
    old = (
        '<details type="tool_calls" done="true" name="find" arguments="&quot;{\\&quot;a\\&quot;: 1}'
        '&quot;" result="&quot;fern&quot;">\n<summary>Tool</summary>\n</details>\nFern.'
    )
    rows = {
        "a": {"role": "user", "content": "Hi", "files": [attached, photo]},
        "b": {"parentId": "a", "role": "assistant", "content": "In spr", "output": [stopped]},
        "c": {"parentId": "b", "role": "user", "content": "Hi"},
        "d": {"parentId": "c", "role": "assistant", "content": old},
    }
    (session,), lost = read_value({"id": "c", "history": {"messages": rows, "currentId": "d"}})
    assert session.messages[0].text == "a.txt (8 bytes):\n```\nDry soil\n```\n\n\nHi"
    assert session.messages[1].state == AnswerState.STOPPED
    assert session.messages[3].text == "> Tool call: find(1)\n\n> Result: fern\n\nFern."
    assert lost == ["“a.txt (8 bytes):”: 1 image left out"]


@pytest.mark.parametrize("lost_parent", [{}, {"parentId": None}])
def test_of_jan_comes_the_version_that_is_shown(lost_parent):
    def row(key, role, text, created_at, **metadata):
        content = [{"type": "text", "text": {"value": text}}]
        return {
            "thread_id": "t",
            "id": key,
            "role": role,
            "content": content,
            "created_at": created_at,
            "metadata": metadata,
        }

    rows = [
        row("a", "user", "Plants?", 1, parentId=None, activeChildId="b"),
        row("b", "assistant", "Ferns.", 2, parentId="a"),
        row("c", "assistant", "Hosta.", 3, parentId="a"),
        row("d", "user", "Thanks", 4, parentId="b"),
        row("e", "assistant", "Welcome.", 5, **lost_parent),
        row("f", "user", "Bye", 6, parentId="d"),
        row("g", "user", "More", 7, parentId="c"),
    ]
    for chosen, texts in (
        ("b", ["Plants?", "Ferns.", "Thanks", "Welcome.", "Bye"]),
        ("c", ["Plants?", "Hosta.", "More"]),
        ("no such", ["Plants?", "Hosta.", "More"]),
        (5, ["Plants?", "Hosta.", "More"]),
    ):
        rows[0]["metadata"]["activeChildId"] = chosen
        (session,), lost = read_value(rows)
        assert [message.text for message in session.messages] == texts
        assert lost == [f"“Plants?”: {7 - len(texts)} messages of other versions left out"]
    (loop,), _ = read_value(
        [row("a", "user", "x", 1, parentId="b"), row("b", "user", "y", 2, parentId="a")]
    )
    assert [message.text for message in loop.messages] == ["x", "y"]


def test_of_jan_come_ends_and_tools_of_all_its_versions():
    image = {"type": "image", "data": "iVBORw0KGgo="}
    output = {"content": [{"type": "text", "text": "hosta"}, image]}
    call = {"type": "tool_call", "tool_name": "find", "input": {"q": "shade"}, "output": output}
    older = {"tool": {"function": {"name": "add", "arguments": '{"a": 1}'}}, "response": "3"}
    for answer, text in (
        ({"content": [call]}, '> Tool call: find("shade")\n\n> Result: hosta\n> [image]'),
        (
            {"content": [], "metadata": {"tool_calls": [older]}},
            "> Tool call: add(1)\n\n> Result: 3",
        ),
    ):
        (session,), lost = read_value(jan({**answer, "status": "stopped"}))
        assert (session.messages[1].text, session.messages[1].state, lost) == (
            text,
            AnswerState.STOPPED,
            [],
        )


def test_private_characters_of_a_prompt_stay_as_they_are():
    asked = "what does \ue200 mean, and \ue203 in my font?"
    (session,), _ = read_value(chatgpt(("user", asked, {}), ("assistant", "No \ue200 idea", {})))
    assert [message.text for message in session.messages] == [asked, "No  idea"]


@pytest.mark.parametrize("end", ["root", "no such", None, 5, ""])
def test_a_chat_of_chatgpt_without_a_shown_end_ends_with_its_newest_message(end):
    rows = [("user", "Rain?", {"create_time": 1}), ("assistant", "No.", {"create_time": 2})]
    (whole,) = chatgpt(*rows, current_node=end)
    whole["mapping"] = dict(reversed(whole["mapping"].items()))
    (session,), lost = read_value([whole])
    assert ([message.text for message in session.messages], lost) == (["Rain?", "No."], [])


def test_half_of_an_emoji_in_the_json_of_a_text_costs_nothing_but_itself():
    half = '{"name": "Plan", "content": "leaf \\ud83c", "type": "document"}'
    for recipient, words in (("canmore.create_textdoc", "**Plan**"), ("find", "> Tool call: find")):
        (session,), _ = read_value(
            chatgpt(("user", "Plan", {}), ("assistant", half, {"recipient": recipient}))
        )
        assert session.messages[1].text.startswith(words)
        assert session.messages[1].text.encode()


def test_a_damaged_element_of_open_webui_costs_nothing_but_itself():
    old = (
        '<details type="tool_calls" name="find" arguments="&quot;a" done="false"></details>\nFern.'
    )
    (session,), _ = read_value(open_webui({"content": old}))
    assert session.messages[1].text == '> Tool call: find("a)\n\nFern.'
