"""What `lmchat ask` prints at the end of an answer, as text or as JSON."""

from __future__ import annotations

from typing import Any

from lmchat.cli.extract import Extract
from lmchat.cli.output import Output, failure_detail, rounded
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.domain.message import AnswerState, ChatMessage, Receipt
from lmchat.errors import LMChatError


class AnswerReport:
    """The end of one answer, which a `TurnPrinter` has printed so far."""

    def __init__(
        self, output: Output, printer: TurnPrinter, extract: Extract | None = None
    ) -> None:
        self._output = output
        self._printer = printer
        self._extract = extract

    def print(self, answer: ChatMessage, session_id: str | None, error: LMChatError | None) -> None:
        """Print what of the answer is not printed yet; the caller prints the error."""
        if self._output.is_lines:
            if error is None or answer.state is AnswerState.STOPPED:
                self._print_last_lines(answer, session_id)
        elif self._output.is_json:
            if answer.state is not AnswerState.FAILED or self._printer.steps:
                self._print_document(answer, session_id, error)
        else:
            self._printer.end()
            if self._extract is not None:
                self._extract.print(self._output)
            if error is None:
                self._printer.note_oddities(answer)

    @property
    def _extracted(self) -> dict[str, Any]:
        return {} if self._extract is None else {self._extract.name: self._extract.value}

    def _print_last_lines(self, answer: ChatMessage, session_id: str | None) -> None:
        is_stopped = answer.state is AnswerState.STOPPED
        if not is_stopped:
            for call in _calls_json(answer):
                self._output.document({"tool_call": call})
        if answer.refusal:
            self._output.document({"refused": True})

        finish_reason = answer.receipt.finish_reason if answer.receipt else ""
        if is_stopped:
            finish_reason = "cancelled"
        last: dict[str, Any] = {"done": True, "finish_reason": finish_reason or None}
        if session_id:
            last["session_id"] = session_id
        self._output.document(last | self._extracted)

    def _print_document(
        self, answer: ChatMessage, session_id: str | None, error: LMChatError | None
    ) -> None:
        value = answer_json(answer, session_id, self._printer.sent_tokens)
        value["steps"] = self._printer.steps
        value |= self._extracted
        if error is not None:
            value["detail"] = failure_detail(error)
        self._output.document(value)


def answer_json(answer: ChatMessage, session_id: str | None, sent_tokens: int) -> dict[str, Any]:
    """Return the object of `--json`; `sent_tokens` is used for servers that count nothing."""
    receipt = answer.receipt or Receipt()
    prompt_tokens = sent_tokens if receipt.prompt_tokens is None else receipt.prompt_tokens
    completion_tokens = receipt.completion_tokens or 0
    return {
        "reply": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": _calls_json(answer),
        "model": answer.model,
        "asked_model": receipt.asked or None,
        "endpoint": answer.endpoint,
        "session_id": session_id,
        "finish_reason": receipt.finish_reason or None,
        "state": answer.state,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "estimated": receipt.is_estimated or receipt.prompt_tokens is None,
        },
        "ttft_ms": rounded(receipt.ttft_ms),
        "tokens_per_second": rounded(receipt.tokens_per_second),
        "elapsed_ms": rounded(receipt.elapsed_ms),
        "retries": receipt.retries,
        "refused": bool(answer.refusal),
    }


def _calls_json(answer: ChatMessage) -> list[dict[str, str]]:
    return [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in answer.tool_calls
    ]
