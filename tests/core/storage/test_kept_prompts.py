"""Files of prompts that the built-in engine has read: they go with the words that they hold."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

from lmchat.core.storage.store import Store
from tests.support.chats import Clock, prompt, start_session


async def test_files_go_with_their_session_with_purged_messages_and_with_expired_ones(tmp_path):
    folder = tmp_path / "kept"
    path = tmp_path / "sessions.db"
    clock = Clock()
    folder.mkdir()
    (folder / "mine.txt").touch()

    def left():
        return {name for name, file in files.items() if file.exists()}

    async with aclosing(Store(path, clock=clock, kept_prompts=folder)) as store:
        sessions = {}
        firsts = {}
        seconds = {}
        files = {}
        for name in ("deleted", "purged", "with messages", "expired", "stays"):
            sessions[name], firsts[name] = await start_session(store, f"Plain words {name}")
            seconds[name] = prompt("More", firsts[name])
            await store.append(sessions[name], seconds[name])
            files[name] = folder / f"{firsts[name].message_id}.{'0' * 16}.0"
            files[name].touch()
        (folder / f"{files['purged'].name}.ckpt").touch()  # llama.cpp may write more files

        await store.update_session(sessions["deleted"].session_id, {"deleted_at": clock()})
        assert left() == {*files} - {"deleted"}
        for name in ("with messages", "stays"):
            ids = [firsts[name].message_id, seconds[name].message_id]
            assert await store.are_visible(ids)
            assert not await store.are_visible([*ids, "unknown"])
        one = sessions["with messages"].session_id
        await store.delete_message(one, seconds["with messages"].message_id)
        assert not await store.are_visible([seconds["with messages"].message_id])
        assert not await store.are_visible([firsts["deleted"].message_id])
        await store.purge(sessions["purged"].session_id)
        assert left() == {"with messages", "expired", "stays"}
        await store.purge(is_with_messages=True)
        assert left() == {"expired", "stays"}
        await store.delete_message(sessions["expired"].session_id, seconds["expired"].message_id)
    clock.moment += timedelta(days=31)
    async with aclosing(Store(path, clock=clock, kept_prompts=folder)) as store:
        await store.open()
        assert {file.name for file in folder.iterdir()} == {files["stays"].name, "mine.txt"}
