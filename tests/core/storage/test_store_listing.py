from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.sessions.session import fits_filter, tags_from
from tests.support.chats import header, say


def test_words_and_tags_filter_the_list():
    for typed, found in (
        ("  über STRASSEN ", [3]),
        ("session 1", [1]),
        ("uber strassen", [3]),
        ("#PLÀNS", [0]),
        ("100%", []),
        ("#garden", [0, 1]),
        ("#garden #plans", [0]),
        ("session 1 #gard", [1]),
        ("#none", []),
        ("#GARDENING", [1]),
        ("#", [0, 1]),
        ("", [0, 1, 2, 3]),
    ):
        titles = ["Session 0", "Session 1", "Session 2", "ÜBER Straßen"]
        tags = [("garden", "plans"), ("gardening",), (), ()]
        headers = [replace(header(title), tags=tags[n]) for n, title in enumerate(titles)]
        assert [n for n, one in enumerate(headers) if fits_filter(one, typed)] == found


async def test_tags_and_options_are_changed_forked_and_taken_away(store):
    session = header("one")
    options = {"top_k": 20, "stop": ["\n\n", "ä"], "extra.x": None}
    await say(store, session, "hello")
    changes = {"tags": ("garden", "\ud83d"), "sampling": options}
    changed = await store.update_session(session.session_id, changes)
    leaf = (await store.open_session(session.session_id)).messages[-1]
    fork = (await store.fork(session.session_id, leaf.message_id)).header
    for copy in (changed, fork):
        assert (copy.tags, copy.sampling) == (changes["tags"], options)
    changed = await store.update_session(session.session_id, {"tags": (), "sampling": {}})
    assert (changed.tags, changed.sampling) == ((), {})


def test_what_is_typed_as_tags_is_cut_into_words():
    for typed, tags in (
        ("garden", ("garden",)),
        (" #Garden, plans  garden ", ("garden", "plans")),
        ("", ()),
        ("# , ##", ()),
        ("x" * 99, ("x" * 40,)),
        ("日本 a\u2003b", ("日本", "a", "b")),
    ):
        assert tags_from(typed) == tags
