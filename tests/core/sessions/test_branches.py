from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.core.sessions.message import ChatMessage, Role, TextPart, text_message
from lmchat.core.sessions.session import MessagePath, branches


def said(message_id: str, parent_id: str | None = None, role: Role = Role.USER):
    return replace(text_message(role, message_id, parent_id=parent_id), message_id=message_id)


def told(messages):
    return [(one.depth, "".join(m.message_id for m in one.messages)) for one in branches(messages)]


def test_each_choice_begins_branches_that_stand_below_what_they_go_off_from():
    tree = [
        said("a"),
        said("b", "a"),
        said("c", "b"),
        said("d", "a"),
        said("e", "b"),
        said("f", "e"),
    ]
    assert told(tree) == [(0, "a"), (1, "b"), (2, "c"), (2, "ef"), (1, "d")]


def test_several_beginnings_stand_side_by_side_and_an_orphan_begins_too():
    assert told([said("a"), said("b"), said("c", "lost"), said("d", "b")]) == [
        (0, "a"),
        (0, "bd"),
        (0, "c"),
    ]


def test_what_a_branch_is_about_is_not_the_system_prompt():
    (one,) = branches([said("system", role=Role.SYSTEM), said("prompt", "system")])
    assert (one.branch_id, one.opening.message_id) == ("system", "prompt")
    (alone,) = branches([said("system", role=Role.SYSTEM)])
    assert alone.opening.message_id == "system"


@given(st.lists(st.integers(min_value=0, max_value=40), max_size=40))
def test_every_message_is_in_one_branch_behind_its_parent(parents):
    tree = [
        said(str(number), str(parent) if parent < number else None)
        for number, parent in enumerate(parents)
    ]
    found = branches(tree)
    order = [message.message_id for one in found for message in one.messages]
    assert sorted(order) == sorted(message.message_id for message in tree)
    for message in tree:
        if message.parent_id is not None:
            assert order.index(message.parent_id) < order.index(message.message_id)


def test_a_branch_of_ten_thousand_messages_and_as_many_choices_need_no_recursion():
    long = [said("0")] + [said(str(n), str(n - 1)) for n in range(1, 10_000)]
    assert [len(one.messages) for one in branches(long)] == [10_000]
    forked = [*long, *(said(f"x{n}", str(n)) for n in range(9_999))]
    assert len(branches(forked)) == 2 * 9_999 + 1


def talk(count: int, *, start: int = 0) -> list[ChatMessage]:
    return [
        replace(
            text_message(Role.ASSISTANT if n % 2 else Role.USER, f"text {n}\n" * (n % 3)),
            model=f"model {n // 50}" if n % 2 else "",
        )
        for n in range(start, start + count)
    ]


def test_a_message_is_found_by_its_id():
    messages = talk(5)
    path = MessagePath(messages)
    assert [path.index_of(message.message_id) for message in messages] == [0, 1, 2, 3, 4]
    assert path.index_of("nowhere") is None


def test_each_change_is_another_path():
    earlier = talk(3)
    later = talk(4, start=3)
    more = talk(2, start=7)
    path = MessagePath(later).after(MessagePath(earlier))
    assert path == MessagePath([*earlier, *later])
    assert path.added(*more) == MessagePath([*earlier, *later, *more])
    fresh = replace(earlier[1], parts=(TextPart(text="another"),))
    assert path.replaced(fresh) == MessagePath([earlier[0], fresh, earlier[2], *later])
    assert path.replaced(more[0]) == path == MessagePath([*earlier, *later])
