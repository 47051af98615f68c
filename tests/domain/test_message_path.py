from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Role, TextPart, text_message
from lmchat.domain.session import MessagePath


def talk(count: int, *, begin: int = 0) -> list[ChatMessage]:
    return [
        replace(
            text_message(Role.ASSISTANT if n % 2 else Role.USER, f"text {n}\n" * (n % 3)),
            model=f"model {n // 50}" if n % 2 else "",
        )
        for n in range(begin, begin + count)
    ]


def test_a_message_is_found_by_its_id():
    messages = talk(5)
    path = MessagePath(messages)
    assert [path.place(message.message_id) for message in messages] == [0, 1, 2, 3, 4]
    assert path.place("nowhere") is None


def test_each_change_is_another_path():
    earlier, later, more = talk(3), talk(4, begin=3), talk(2, begin=7)
    path = MessagePath(later).after(MessagePath(earlier))
    assert path == MessagePath([*earlier, *later])
    assert path.added(*more) == MessagePath([*earlier, *later, *more])
    fresh = replace(earlier[1], parts=(TextPart(text="another"),))
    assert path.replaced(fresh) == MessagePath([earlier[0], fresh, earlier[2], *later])
    assert path.replaced(more[0]) == path == MessagePath([*earlier, *later])
