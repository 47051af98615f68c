"""Store of the screen, whose import takes longer than the first paint."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from lmchat.services.ports import ChatStore, Lazy

P = ParamSpec("P")
T = TypeVar("T")


def _when_ready(
    method: Callable[Concatenate[ChatStore, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[LateStore, P], Coroutine[Any, Any, T]]:
    """Return the method of `LateStore` that waits for the store and calls this method of it."""

    @wraps(method)
    async def call(late_store: LateStore, /, *args: P.args, **options: P.kwargs) -> T:
        store = await late_store.ready()
        result: T = await getattr(store, method.__name__)(*args, **options)
        return result

    return call


class LateStore:
    """Store that is made in a thread when one of its methods is first called."""

    def __init__(self, late: Lazy[ChatStore]) -> None:
        self._late = late

    async def ready(self) -> ChatStore:
        return await self._late.ready()

    async def aclose(self) -> None:
        """Close the store if it was made."""
        if self._late.made is not None:
            await self._late.made.aclose()

    open = _when_ready(ChatStore.open)
    daily_check = _when_ready(ChatStore.daily_check)

    list_sessions = _when_ready(ChatStore.list_sessions)
    find = _when_ready(ChatStore.find)
    open_session = _when_ready(ChatStore.open_session)
    update_session = _when_ready(ChatStore.update_session)
    fork = _when_ready(ChatStore.fork)
    purge = _when_ready(ChatStore.purge)
    import_session = _when_ready(ChatStore.import_session)
    search = _when_ready(ChatStore.search)

    read_back = _when_ready(ChatStore.read_back)
    has_message = _when_ready(ChatStore.has_message)
    append = _when_ready(ChatStore.append)
    append_branch = _when_ready(ChatStore.append_branch)
    begin_answer = _when_ready(ChatStore.begin_answer)
    add_entries = _when_ready(ChatStore.add_entries)
    finish = _when_ready(ChatStore.finish)
    token_choices = _when_ready(ChatStore.token_choices)
    delete_message = _when_ready(ChatStore.delete_message)
    restore_message = _when_ready(ChatStore.restore_message)
    last_deleted_message = _when_ready(ChatStore.last_deleted_message)
    set_excluded = _when_ready(ChatStore.set_excluded)

    tree = _when_ready(ChatStore.tree)
    set_leaf = _when_ready(ChatStore.set_leaf)

    save_file = _when_ready(ChatStore.save_file)
    read_file = _when_ready(ChatStore.read_file)

    prompt_history = _when_ready(ChatStore.prompt_history)
    draft = _when_ready(ChatStore.draft)
    save_draft = _when_ready(ChatStore.save_draft)
    bookmark = _when_ready(ChatStore.bookmark)
    save_bookmark = _when_ready(ChatStore.save_bookmark)

    add_turn_record = _when_ready(ChatStore.add_turn_record)
    turn_records = _when_ready(ChatStore.turn_records)
    speeds = _when_ready(ChatStore.speeds)
