"""What `lmchat ask` prints at the end of an answer, as text or as JSON.

An extract is the part of the answer that `--code` or `--schema` asks for; see `extract.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmchat.cli.extract import Extract
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.errors import LMChatError
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    TokenProbabilities,
    choices_json,
)
from lmchat.terminal.output import failure_detail, rounded


def print_answer_end(
    answer: ChatMessage,
    printer: TurnPrinter,
    *,
    extract: Extract | None = None,
    session_id: str | None = None,
    error: LMChatError | None = None,
    choices: Sequence[TokenProbabilities] = (),
    sent_tokens: int = 0,
) -> None:
    """Print what follows the text of an answer, in the form that the output has.

    `printer` has printed the text while it arrived, unless the output is one JSON document or an
    extract. `session_id` is that of the saved session, None if the answer is not saved. `error` is
    why the answer is incomplete or has no extract; the caller prints it. `choices` are those of the
    tokens of the answer, if the server has reported them. `sent_tokens` is an estimate.
    """
    output = printer.output
    is_stopped = answer.state is AnswerState.STOPPED
    extracted = {} if extract is None else {extract.name: extract.value}
    if output.is_json_lines:
        if error is not None and not is_stopped:
            return  # that error is the last line
        calls = [] if is_stopped else _calls_json(answer)  # of a stopped answer, they may be cut
        for call in calls:
            output.print_json({"tool_call": call})
        if answer.refusal:
            output.print_json({"refused": True})
        finish_reason = answer.stats.finish_reason if answer.stats else ""
        if is_stopped:
            finish_reason = "cancelled"
        last_line: dict[str, Any] = {"done": True, "finish_reason": finish_reason or None}
        if session_id:
            last_line["session_id"] = session_id
        output.print_json(last_line | extracted)
    elif output.is_json:
        if answer.state is AnswerState.FAILED and not printer.steps:
            return  # it failed before any text: the error is the document
        document = answer_json(answer, session_id, sent_tokens)
        document["steps"] = printer.steps
        document |= extracted
        if choices:
            document["logprobs"] = choices_json(choices)
        if error is not None:
            document["detail"] = failure_detail(error)
        output.print_json(document)
    else:
        printer.end()
        if extract is not None and extract.text:
            output.print_safe(extract.text)
        if error is None:  # otherwise the error says what is wrong
            printer.note_unshown(answer)


def answer_json(answer: ChatMessage, session_id: str | None, sent_tokens: int) -> dict[str, Any]:
    """Return the fields of an answer that `--json` prints; times are in milliseconds.

    `session_id` is that of the saved session, None if the answer is not saved. `sent_tokens` is
    the estimated number of tokens that were sent, for servers that do not report it.
    """
    stats = answer.stats or AnswerStats()
    prompt_tokens = sent_tokens if stats.prompt_tokens is None else stats.prompt_tokens
    completion_tokens = stats.completion_tokens or 0
    return {
        "reply": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": _calls_json(answer),
        "model": answer.model,
        "asked_model": stats.asked or None,
        "endpoint": answer.endpoint,
        "session_id": session_id,
        "finish_reason": stats.finish_reason or None,
        "state": answer.state,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "estimated": stats.is_estimated or stats.prompt_tokens is None,
        },
        "ttft_ms": rounded(stats.ttft_ms),
        "tokens_per_second": rounded(stats.tokens_per_second),
        "elapsed_ms": rounded(stats.elapsed_ms),
        "retries": stats.retries,
        "refused": bool(answer.refusal),
        "sampling": stats.sampling,
    }


def _calls_json(answer: ChatMessage) -> list[dict[str, str]]:
    """Return the JSON form of the tool calls in an answer, whether they ran or not."""
    return [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in answer.tool_calls
    ]
