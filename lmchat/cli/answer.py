"""How `ask` prints an answer: text as it arrives, one object a line, or one object at the end."""

from __future__ import annotations

from typing import Any

from lmchat.cli.form import Form, Taken
from lmchat.cli.output import Output, SafeStream, failure_detail
from lmchat.domain.context import ContextPlan
from lmchat.domain.event import (
    ModelLoading,
    ModelNamed,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    StreamStalled,
    TextDelta,
)
from lmchat.domain.message import AnswerState, ChatMessage, Limit, Receipt
from lmchat.domain.server import is_other_model
from lmchat.errors import LMChatError
from lmchat.services.asking import AnswerBegun, ConversationEvent
from lmchat.text import safe_line

_NOTHING = Taken()
_SHORT_ID = 8
_KEPT = 'What had arrived is kept; go on with: lmchat ask -r {} "Go on"'
_SHOWN = "What had arrived is not saved; look at the server's log, or ask again."


class Printer:
    """Prints the events of one turn."""

    def __init__(self, output: Output, form: Form | None = None) -> None:
        self._output = output
        self._form = form
        self._stream = SafeStream()
        self._is_loading_told = self._is_stall_told = False
        self._thoughts: list[str] = []
        self._asked = ""
        self._left_out = 0
        self.sent_tokens = 0
        """Our estimate of what was sent."""

    def show(self, event: ConversationEvent) -> None:
        """Print an event, if there is anything to print about it."""
        match event:
            case TextDelta() | RefusalDelta() | ReasoningDelta() | Rethought():
                self._is_stall_told = False
                self._say(event)
            case RetryScheduled(attempt=attempt, attempts=attempts, wait_s=wait_s, reason=reason):
                self._output.note(f"lmchat: try {attempt} of {attempts} in {wait_s:.1f} s: {reason}")
            case RequestAdapted(note=note):
                self._output.note(f"lmchat: {note}")
            case ModelLoading() if not self._is_loading_told:
                self._is_loading_told = True
                self._output.note("lmchat: the server is loading the model …")
            case StreamStalled(silent_s=silent_s) if not self._is_stall_told:
                self._is_stall_told = True
                start = "" if self._stream.is_at_line_start else "\n"
                self._output.note(
                    f"{start}lmchat: nothing has come from the server for {silent_s:.0f} s; "
                    "Ctrl+C stops waiting."
                )
            case ModelNamed(model=model) if is_other_model(self._asked, model):
                served, asked = safe_line(model, limit=80), safe_line(self._asked, limit=80)
                self._output.note(f"lmchat: {served} answers; {asked} was asked for.")
            case AnswerBegun(message=message, plan=plan):
                self._asked = message.model
                self._thoughts.clear()
                self.tell_plan(plan)
            case _:
                pass

    def _say(self, event: TextDelta | RefusalDelta | ReasoningDelta | Rethought) -> None:
        match event:
            case ReasoningDelta(text=text):
                self._thoughts.append(text)
            case Rethought(is_thought=is_thought):
                self._rethought(is_thought=is_thought)
            case _:
                self._piece(event.text)

    def _rethought(self, *, is_thought: bool) -> None:
        """Say that what is printed was thought, which no pipe takes back; or print what was taken for one."""
        if not is_thought:
            self._piece("".join(self._thoughts))
        elif self._output.is_lines:
            self._output.document({"rethought": True})
        elif self._is_streaming:
            self._stream.end()
            self._stream.write("\n")
            self._output.note("lmchat: what is printed so far was the model's thought; the answer follows.")
        self._thoughts.clear()

    def tell_plan(self, plan: ContextPlan) -> None:
        """Say what is left out, unless that was said before."""
        self.sent_tokens = plan.tokens
        if plan.left_out > self._left_out:
            self._left_out = plan.left_out
            self._output.note(f"lmchat: the oldest {plan.left_out} messages do not fit and are left out.")

    def tell_repair(self, error: LMChatError) -> None:
        """Say that the model is asked once more."""
        if self._output.is_lines:
            self._output.document({"repair": error.message})
        self._output.note(f"lmchat: {error.message} It is asked once more.")

    def end(self, answer: ChatMessage, session_id: str | None, taken: Taken = _NOTHING) -> LMChatError | None:
        """Print how it ended and return what went wrong, if anything did."""
        error = _error(answer, session_id) or taken.error
        if self._output.is_lines:
            if error is None:
                self._end_lines(answer, taken)
        elif not self._output.is_json:
            self._stream.end()
            if self._form is not None and taken.has_value:
                self._form.show(taken.value, self._output)
            if error is None:
                self._tell_refusal(answer)
                self._tell_calls(answer)
                self._tell_limit(answer)
        elif answer.state is not AnswerState.FAILED:
            value = answer_json(answer, session_id, self.sent_tokens)
            if self._form is not None:
                value[self._form.name] = taken.value
            self._output.document(value if error is None else value | {"detail": failure_detail(error)})
        return error

    def _end_lines(self, answer: ChatMessage, taken: Taken) -> None:
        for call in _calls(answer):
            self._output.document({"tool_call": call})
        if answer.refusal:
            self._output.document({"refused": True})
        self._output.document({"done": True} | ({} if self._form is None else {self._form.name: taken.value}))

    @property
    def _is_streaming(self) -> bool:
        """Whether text is printed while it arrives."""
        return not self._output.is_json and self._form is None

    def _tell_refusal(self, answer: ChatMessage) -> None:
        if answer.refusal:
            self._output.note("lmchat: the model refused.")

    def _tell_calls(self, answer: ChatMessage) -> None:
        """Say what tools the model asks for: an answer that is nothing else would look like none."""
        for call in answer.tool_calls:
            name, arguments = safe_line(call.name, limit=80), safe_line(call.arguments, limit=2_000)
            self._output.note(f"lmchat: the model asks for a tool, which is not run: {name}({arguments})")

    def _tell_limit(self, answer: ChatMessage) -> None:
        """Say that the window is full; who set `max_tokens` wanted no more than that."""
        if answer.receipt is not None and answer.receipt.limit is Limit.CONTEXT:
            self._output.note(f"lmchat: the answer is cut short: {answer.receipt.limit}.")

    def _piece(self, text: str) -> None:
        if self._output.is_lines:
            self._output.document({"chunk": text})
        elif self._is_streaming:
            self._stream.write(text)


def answer_json(answer: ChatMessage, session_id: str | None, sent_tokens: int) -> dict[str, Any]:
    """Return what scripts get of an answer."""
    receipt = answer.receipt or Receipt()
    prompt_tokens = sent_tokens if receipt.prompt_tokens is None else receipt.prompt_tokens
    completion_tokens = receipt.completion_tokens or 0
    return {
        "reply": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": _calls(answer),
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
        "ttft_ms": _rounded(receipt.ttft_ms),
        "tokens_per_second": _rounded(receipt.tokens_per_second),
        "elapsed_ms": _rounded(receipt.elapsed_ms),
        "retries": receipt.retries,
        "refused": bool(answer.refusal),
    }


def _calls(answer: ChatMessage) -> list[dict[str, str]]:
    return [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
    ]


def _error(answer: ChatMessage, session_id: str | None) -> LMChatError | None:
    if answer.state is AnswerState.COMPLETE:
        return None
    if answer.failure is None:
        return LMChatError("Stopped before the answer was complete.", kind="interrupted")
    hint = answer.failure.hint
    if answer.failure.kind == "interrupted":  # the screen has keys to go on with it
        hint = _KEPT.format(session_id[:_SHORT_ID]) if session_id else _SHOWN
    return LMChatError(answer.failure.message, hint=hint, kind=answer.failure.kind)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
