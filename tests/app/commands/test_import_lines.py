"""Words for the outcome of an import."""

from __future__ import annotations

from lmchat.app.commands.import_lines import loss_lines, result_lines
from lmchat.core.library.importer import ImportedChat, ImportOutcome
from tests.support.chats import chat


def told(outcome, *, new=2, title="Garden", **facts):
    header = chat("Peas?", title=title).header
    return ImportedChat(file="a.json", header=header, outcome=outcome, new_messages=new, **facts)


def test_each_chat_has_a_line_and_several_a_sum():
    one = told("imported")
    assert result_lines(ImportOutcome(chats=[one])) == ["a.json: “Garden” is imported, 2 messages"]
    chats = [
        told("continued"),
        told("continued", new=1, is_shown=False),
        told("present", new=0),
        told("in trash", new=0),
        one,
    ]
    lines = result_lines(ImportOutcome(chats=chats))
    assert [line.removeprefix("a.json: “Garden” ").split(", as ")[0] for line in lines] == [
        "is continued by 2 new messages",
        "is continued by 1 new message, on another branch or below a deleted message",
        "already exists",
        f"is in the trash; `lmchat sessions restore {chats[3].header.session_id[:8]}` restores it.",
        "is imported, 2 messages",
        "3 chats, 5 messages imported, 2 already existed.",
    ]
    assert loss_lines(ImportOutcome(unknown_count=1)) == [
        "1 other file without chats that lmchat can read."
    ]
