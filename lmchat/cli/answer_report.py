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
from lmchat.terminal.output import Output, failure_detail, rounded


class AnswerReport:
    """Printer of the end of an answer.

    The `TurnPrinter` has printed the text of the answer while it arrived, unless the output is one
    JSON document or an extract.
    """

    def __init__(
        self, output: Output, printer: TurnPrinter, extract: Extract | None = None
    ) -> None:
        self._output = output
        self._printer = printer
        self._extract = extract

    def print(
        self,
        answer: ChatMessage,
        session_id: str | None,
        error: LMChatError | None,
        choices: Sequence[TokenProbabilities] = (),
    ) -> None:
        """Print what follows the text of an answer, in the form that the output has.

        `session_id` is that of the saved session, None if the answer is not saved. `error` is why
        the answer is incomplete or has no extract, None if nothing is wrong. The caller prints it.
        `choices` are those of the tokens of the answer, if the server has reported them.
        """
        if self._output.is_json_lines:
            # The last lines say that the answer is complete, or was stopped. After any other error,
            # that error is the last line: the caller prints it.
            if error is None or answer.state is AnswerState.STOPPED:
                self._print_last_lines(answer, session_id)
        elif self._output.is_json:
            # An answer that failed before any text, and without tool calls that ran, gets no
            # document: the caller prints the error as the document.
            has_content = answer.state is not AnswerState.FAILED or self._printer.steps
            if has_content:
                self._print_document(answer, session_id, error, choices)
        else:
            self._print_text_end(answer, error)

    def _print_text_end(self, answer: ChatMessage, error: LMChatError | None) -> None:
        """End the line of the answer, print its extract, and note what its text does not show.

        There are no notes on an answer with an error, since the error says what is wrong.
        """
        self._printer.end()
        if self._extract is not None:
            self._extract.print(self._output)
        if error is None:
            self._printer.note_unshown(answer)

    @property
    def _extracted_json(self) -> dict[str, Any]:
        """The extract, as the value of the field `code` or `value`; an empty dict without one."""
        return {} if self._extract is None else {self._extract.name: self._extract.value}

    def _print_last_lines(self, answer: ChatMessage, session_id: str | None) -> None:
        """Print the JSON lines that end a stream: tool calls, a refusal, and `done`.

        The line `done` has the session id of a saved answer, and the extract if one is wanted.
        """
        is_stopped = answer.state is AnswerState.STOPPED
        if not is_stopped:  # the calls of a stopped answer may be incomplete
            for call in _calls_json(answer):
                self._output.print_json({"tool_call": call})
        if answer.refusal:
            self._output.print_json({"refused": True})

        finish_reason = answer.stats.finish_reason if answer.stats else ""
        if is_stopped:
            finish_reason = "cancelled"
        last_line: dict[str, Any] = {"done": True, "finish_reason": finish_reason or None}
        if session_id:
            last_line["session_id"] = session_id
        self._output.print_json(last_line | self._extracted_json)

    def _print_document(
        self,
        answer: ChatMessage,
        session_id: str | None,
        error: LMChatError | None,
        choices: Sequence[TokenProbabilities],
    ) -> None:
        """Print the document of `--json`.

        It has the answer, the tool calls that ran in this turn as `steps`, the choices of its
        tokens as `logprobs` if there are any, the extract if one is wanted, and the error, if there
        is one, as `detail`.
        """
        document = answer_json(answer, session_id, self._printer.sent_tokens)
        document["steps"] = self._printer.steps
        document |= self._extracted_json
        if choices:
            document["logprobs"] = choices_json(choices)
        if error is not None:
            document["detail"] = failure_detail(error)
        self._output.print_json(document)


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
