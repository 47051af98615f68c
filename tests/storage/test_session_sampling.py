"""The session's own sampling options: saved, copied and changed like title and tags."""

from __future__ import annotations

from contextlib import aclosing

from msgspec.structs import replace

from tests.support.chats import begin_session, header, prompt, store_at

OPTIONS = {"top_k": 20, "stop": ["\n\n", "ä"], "logit_bias": {"15043": -2.5}, "extra.x": None}


async def test_options_are_saved_and_copied_and_changed_for_each_session_alone(tmp_path):
    new = replace(header("Garden"), sampling=OPTIONS)
    async with aclosing(store_at(tmp_path)) as store:
        session, asked = await begin_session(store, "Which vegetables?")
        changed = await store.update_session(session.session_id, {"sampling": OPTIONS})
        assert changed.sampling == OPTIONS
        fork = (await store.fork(session.session_id, asked.message_id)).header
        assert fork.sampling == OPTIONS
        await store.update_session(fork.session_id, {"sampling": {"seed": 7}})
        first = prompt("Which herbs?")
        await store.append(new, first)
        assert (await store.open_session(new.session_id)).header.sampling == OPTIONS
        await store.update_session(new.session_id, {"sampling": {}})
        await store.append(new, prompt("And trees?", first))  # with the options of before
    async with aclosing(store_at(tmp_path)) as store:
        options = {found.session_id: found.sampling for found in await store.list_sessions()}
    assert options == {
        session.session_id: OPTIONS,
        fork.session_id: {"seed": 7},
        new.session_id: {},
    }
