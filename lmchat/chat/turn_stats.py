"""Figures of turns: sums for each model, tokens by second, and the row that is saved of a turn.

The rows of all turns are the turn records. `AnswerStats` are saved with an answer.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from lmchat.errors import LMChatError
from lmchat.servers.answer import Turn
from lmchat.servers.model import Target
from lmchat.sessions.message import AnswerStats, ChatMessage, Failure, new_id
from lmchat.sessions.stats import TurnRecord

_FIELDS_OF_STATS = [
    name for name in TurnRecord.__struct_fields__ if name in AnswerStats.__struct_fields__
]
"""Fields of a turn record that are copied from the stats."""
_log = logging.getLogger(__name__)


def failure_of(error: Exception) -> Failure:
    """Log an error in which an answer ended, and return it as the failure of the message.

    Both have the same id, under which the user finds the details in the log.
    """
    failure_id = new_id()[:4]
    if isinstance(error, LMChatError):
        _log.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
        return Failure(
            kind=error.kind,
            message=error.message,
            hint=error.hint,
            details=error.details,
            failure_id=failure_id,
        )
    _log.error("an answer ended in an error of lmchat itself, id %s", failure_id, exc_info=error)
    return Failure(
        kind="bug",
        message="lmchat had an internal error.",
        hint="Try again. The log file has details under this id.",
        details=type(error).__name__,
        failure_id=failure_id,
    )


def turn_record(answer: ChatMessage, turn: Turn, target: Target) -> TurnRecord:
    """Return the figures of a turn, without any text of the user or the model."""
    stats = replace(turn.stats(), product=target.product)
    return TurnRecord(
        message_id=answer.message_id,
        endpoint=target.server_id,
        model=answer.model,
        quantization=target.model.quantization if target.model else "",
        state=answer.state,
        stalls=turn.stalls,
        **{name: getattr(stats, name) for name in _FIELDS_OF_STATS},
    )
