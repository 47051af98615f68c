from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.matching import without_accents
from lmchat.core.sessions.message import TextPart
from lmchat.core.storage import message_records
from lmchat.core.storage.opening import connect
from lmchat.core.storage.record_values import searchable_text, storable
from lmchat.core.storage.search import parse_terms, search
from tests.support.chats import header, prompt

_ODD = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from('"*:()^-+{}%_\\ \t\n\0漢字🙂éßAİ\ud800'),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A connection to texts of which some are indexed."""
    connection = connect(tmp_path_factory.mktemp("odd") / "sessions.db")
    connection.execute(
        "insert into sessions (session_id, created_at, updated_at) values ('s', '2026-11-20', '2026-11-20')"
    )
    yield connection
    connection.close()


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=_ODD, inside=_ODD, after=_ODD)
def test_whatever_stands_in_a_text_is_found_and_nothing_is_a_syntax_error(
    big, before, inside, after
):
    big.execute("begin")
    try:
        big.execute(
            "insert into messages (message_id, session_id, role, state, created_at) "
            "values ('m', 's', 'user', 'complete', '2026-11-20T00:00:00+00:00')"
        )
        big.execute(
            "insert into parts (number, kind, text) values (last_insert_rowid(), 'text', ?)",
            (storable(before + inside + after),),
        )
        hits = search(big, inside, 5)
        terms = parse_terms(inside)
        is_plain = without_accents(before + inside + after) == without_accents(
            before
        ) + without_accents(inside) + without_accents(after)
        if terms == (searchable_text(inside),) and without_accents(inside).strip() and is_plain:
            assert [hit.message_id for hit in hits] == ["m"]
    finally:
        big.execute("rollback")


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["say", "again", "delete"]), st.integers(0, 5)), max_size=15
    )
)
def test_after_any_changes_a_search_finds_the_texts_that_are_there(tmp_path_factory, steps):
    words = ("Gartenbau", "Überbau", "bauen", "漢字", "c++ bau", "nichts")
    chats = [(header(), prompt(word)) for word in words]
    texts = {}
    with closing(connect(tmp_path_factory.mktemp("any") / "sessions.db")) as connection:
        for name, number in steps:
            session, message = chats[number]
            if name == "delete":
                by_id = "delete from sessions where session_id = ?"
                connection.execute(by_id, (session.session_id,))
                texts.pop(message.message_id, None)
            else:
                said = texts[message.message_id] = words[number if name == "say" else number - 1]
                message_records.put_session(connection, session)
                again = replace(message, parts=(TextPart(text=said),))
                message_records.put_message(connection, session.session_id, again)
            for query in ("bau", "bergarten", "au", "字", "c++"):
                found = {hit.message_id for hit in search(connection, query, 50)}
                assert found == {
                    message_id
                    for message_id, text in texts.items()
                    if query in without_accents(text)
                }
        connection.execute("insert into trigrams (trigrams) values ('integrity-check')")
