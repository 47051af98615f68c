"""What `lmchat ask` prints at the end of an answer, as text or as JSON."""

from __future__ import annotations

from typing import Any

from lmchat.cli.extract import Extract
from lmchat.cli.output import Output, failure_detail, rounded
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.domain.message import AnswerState, ChatMessage, Receipt
from lmchat.errors import LMChatError


class AnswerReport:
    """Printer of the end of an answer; a `TurnPrinter` has printed its text while it arrived."""

    def __init__(
        self, output: Output, printer: TurnPrinter, extract: Extract | None = None
    ) -> None:
        self._output = output
        self._printer = printer
        self._extract = extract

    def print(self, answer: ChatMessage, session_id: str | None, error: LMChatError | None) -> None:
        """Print what of the answer is not printed yet; the caller prints the error.

        `session_id` is that of the saved session, None if the answer is not saved.
        """
        if self._output.is_json_lines:
            # the last line of an answer that failed is the error
            if error is None or answer.state is AnswerState.STOPPED:
                self._print_last_lines(answer, session_id)
        elif self._output.is_json:
            # for an answer that failed at once, the document is the error
            has_content = answer.state is not AnswerState.FAILED or self._printer.steps
            if has_content:
                self._print_document(answer, session_id, error)
        else:
            self._print_text_end(answer, error)

    def _print_text_end(self, answer: ChatMessage, error: LMChatError | None) -> None:
        """Print what was extracted of the answer, and notes on what its text does not show."""
        self._printer.end()
        if self._extract is not None:
            self._extract.print(self._output)
        if error is None:
            self._printer.note_oddities(answer)

    @property
    def _extracted_json(self) -> dict[str, Any]:
        """The extracted code or value, under its name; empty without `--code` and `--schema`."""
        return {} if self._extract is None else {self._extract.name: self._extract.value}

    def _print_last_lines(self, answer: ChatMessage, session_id: str | None) -> None:
        """Print the JSON lines that end a stream: tool calls, a refusal, and `done`."""
        is_stopped = answer.state is AnswerState.STOPPED
        if not is_stopped:
            for call in _calls_json(answer):
                self._output.print_json({"tool_call": call})
        if answer.refusal:
            self._output.print_json({"refused": True})

        finish_reason = answer.receipt.finish_reason if answer.receipt else ""
        if is_stopped:
            finish_reason = "cancelled"
        last_line: dict[str, Any] = {"done": True, "finish_reason": finish_reason or None}
        if session_id:
            last_line["session_id"] = session_id
        self._output.print_json(last_line | self._extracted_json)

    def _print_document(
        self, answer: ChatMessage, session_id: str | None, error: LMChatError | None
    ) -> None:
        """Print the document of `--json`: answer, tool calls that ran, extract and error."""
        document = answer_json(answer, session_id, self._printer.sent_tokens)
        document["steps"] = self._printer.steps
        document |= self._extracted_json
        if error is not None:
            document["detail"] = failure_detail(error)
        self._output.print_json(document)


def answer_json(answer: ChatMessage, session_id: str | None, sent_tokens: int) -> dict[str, Any]:
    """Return an answer as `--json` prints it.

    `sent_tokens` is the estimated length of the prompt, for servers that report no tokens.
    """
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
