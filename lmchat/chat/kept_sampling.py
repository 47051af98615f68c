"""Saving of the sampling options of a session, also of one that is not on the disk yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lmchat.chat.ports import ChatStore
from lmchat.chat.save_queue import SaveQueue
from lmchat.errors import LMChatError, SessionNotFound

_DRAFT_ID = "sampling"
"""Id of the draft that holds the options of a session without messages, as JSON."""


async def save_sampling(
    save_queue: SaveQueue, session_id: str, options: Mapping[str, object]
) -> None:
    """Save the options of a session; those of a new one are kept beside its draft."""
    await save_queue.write_unsaved()  # one of these messages may create the session
    store = save_queue.store
    try:
        await store.update_session(session_id, {"sampling": options})
    except SessionNotFound:
        await store.save_draft(_DRAFT_ID, json.dumps(options) if options else "")


async def kept_sampling(store: ChatStore) -> dict[str, Any]:
    """Return the options that an earlier run has kept; an empty dict without any.

    Damaged ones count as none.
    """
    text = await store.draft(_DRAFT_ID)
    options: Any = {}
    with suppress(ValueError, RecursionError):  # damaged; an empty text is no JSON either
        options = json.loads(text)
    return options if isinstance(options, dict) else {}


async def forget_sampling(store: ChatStore) -> None:
    """Remove the kept options, once their session is on the disk.

    If that fails, the next new session has them, too.
    """
    with suppress(LMChatError):
        await store.save_draft(_DRAFT_ID, "")
