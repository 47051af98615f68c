"""How a turn ended, as values to keep."""

from __future__ import annotations

import logging

from lmchat.domain.event import UsageReported
from lmchat.domain.message import ChatMessage, Failure, Receipt, new_id
from lmchat.domain.server import Target
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import Turn
from lmchat.errors import LMChatError
from lmchat.services.asking import HowToAsk

log = logging.getLogger(__name__)


def failure_of(error: Exception) -> Failure:
    """Return what went wrong, for the message that it cut short; the log has it under the same id."""
    failure_id = new_id()[:4]
    if isinstance(error, LMChatError):
        log.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
        return Failure(
            kind=error.kind,
            message=error.message,
            hint=error.hint,
            details=error.details,
            failure_id=failure_id,
        )
    log.error("an answer ended in an error of lmchat itself, id %s", failure_id, exc_info=error)
    return Failure(
        kind="bug",
        message="Something in lmchat itself went wrong.",
        hint="Try again; the log file has the details under this id.",
        details=type(error).__name__,
        failure_id=failure_id,
    )


def receipt_of(turn: Turn, how: HowToAsk, begun: Receipt | None = None) -> Receipt:
    """Return the figures of a turn, given what it was asked with, and what it went on with."""
    context = how.target.model.context if how.target.model else None
    return turn.receipt(context=context, max_tokens=how.sampling.max_tokens).after(begun)


def ledger_row(answer: ChatMessage, turn: Turn, target: Target) -> LedgerRow:
    """Return the figures of a turn as the ledger keeps them: no content."""
    receipt = turn.receipt()
    usage: UsageReported | None = turn.usage
    return LedgerRow(
        message_id=answer.message_id,
        endpoint=target.place,
        product=target.product,
        model=answer.model,
        quantization=target.model.quantization if target.model else "",
        state=answer.state,
        ttft_ms=receipt.ttft_ms,
        prompt_tokens_per_second=usage.prompt_tokens_per_second if usage else None,
        tokens_per_second=receipt.tokens_per_second,
        prompt_tokens=receipt.prompt_tokens,
        completion_tokens=receipt.completion_tokens,
        is_estimated=receipt.is_estimated,
        stalls=turn.stalls,
        retries=turn.retries,
        elapsed_ms=receipt.elapsed_ms,
        finish_reason=receipt.finish_reason,
    )
