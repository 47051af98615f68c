"""`lmchat ask`: one prompt, one answer, on pipes."""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.cli.commands import Options
from lmchat.cli.context import Parts
from lmchat.cli.input import read_pipe
from lmchat.cli.output import Output, SafeStream, failure_detail
from lmchat.cli.target import find_target
from lmchat.cli.wiring import World, open_world
from lmchat.config.settings import Settings
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
from lmchat.domain.request import AnyText
from lmchat.domain.request import Output as Wish
from lmchat.domain.server import is_other_model
from lmchat.errors import AnswerUnfit, LMChatError, WrongUse
from lmchat.files import path_of, read_plain
from lmchat.services.asking import AnswerBegun, ConversationEvent, HowToAsk
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import OpenSessions
from lmchat.structured.fences import code_blocks
from lmchat.structured.wanted import second
from lmchat.text import safe_line

MAX_FILE_BYTES = 1 << 20


class Taken(Struct, frozen=True, kw_only=True):
    """What was taken out of an answer."""

    value: Any = None
    """It; also JSON's `null` is one."""
    has_value: bool = False
    """Whether there is one."""
    error: LMChatError | None = None
    """Why there is none, where the answer itself is whole."""


class Form(ABC):
    """One form of answers."""

    name: str
    """What it is called in JSON."""
    output: Wish
    """What a server is asked for."""

    @abstractmethod
    async def take(self, answer: ChatMessage) -> Any:
        """Take it out of a whole answer.

        Raises:
            LMChatError: it is not in there.
        """

    def rest(self, answer: ChatMessage) -> Taken:  # noqa: ARG002 - for those that override it
        """Take out of an answer that broke off what is of use."""
        return Taken()

    def repair(self, error: LMChatError) -> str:  # noqa: ARG002 - for those that override it
        """Return what to say to a model whose answer lacks it; empty where that would not help."""
        return ""

    @abstractmethod
    def show(self, value: Any, output: Output) -> None:
        """Print it alone."""


class CodeForm(Form):
    """The code that stands between fences."""

    name = "code"
    output = AnyText()

    async def take(self, answer: ChatMessage) -> str:
        """Join the blocks by an empty line."""
        code = "\n\n".join(code_blocks(answer.text))
        if not code:
            raise LMChatError(
                "The answer has no code between fences.",
                kind="no_code",
                hint="Ask for code, or leave out --code to see the answer.",
            )
        return code

    def rest(self, answer: ChatMessage) -> Taken:
        """What came of the code is as good as what came of an answer."""
        code = "\n\n".join(code_blocks(answer.text))
        return Taken(value=code, has_value=True) if code else Taken()

    def show(self, value: str, output: Output) -> None:
        """Print it as text."""
        output.text(value)


class ValueForm(Form):
    """The JSON value that fits a schema."""

    name = "value"

    def __init__(self, schema: object, name: str) -> None:
        from lmchat.structured.wanted import WantedValue

        self._wanted = WantedValue(schema, name=name)
        self.output = self._wanted.output

    async def take(self, answer: ChatMessage) -> Any:
        """Find it, and hold it against the schema."""
        return await self._wanted.value_in(
            answer.text,
            thought=answer.reasoning,
            finish_reason=answer.receipt.finish_reason if answer.receipt else "",
            is_refusal=bool(answer.refusal),
        )

    def repair(self, error: LMChatError) -> str:
        """Say what does not fit."""
        return self._wanted.repair(error) if isinstance(error, AnswerUnfit) else ""

    def show(self, value: Any, output: Output) -> None:
        """Print it as JSON."""
        output.document(value)


def form_of(options: Options) -> Form | None:
    """Return what of an answer is wanted; None: all of it.

    Raises:
        WrongUse, FileRefused, RequestInvalid: that cannot be had.
    """
    if options.schema is None:
        return CodeForm() if options.code else None
    if options.code:
        raise WrongUse(
            "--schema and --code each want something else of the answer.", hint="Give one of them."
        )
    path = path_of(options.schema)
    return ValueForm(_schema_in(options.schema), path.stem)


def _schema_in(name: str) -> object:
    from lmchat.structured.json_text import UnfitError, strict_json

    try:
        text = read_plain(path_of(name), limit=MAX_FILE_BYTES, may_stream=True).decode("utf-8-sig")
        return strict_json(text)
    except OSError as error:
        raise WrongUse(f"The schema {name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise WrongUse(f"The schema {name} is no text in UTF-8.") from None
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise WrongUse(f"The schema {name} is no JSON: {why}.") from None
    except UnfitError as error:
        raise WrongUse(f"The schema {name} cannot be used: {error}.") from None


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


_WRONG_USE = ("bad_request", "not_allowed")


def ask(parts: Parts) -> Coroutine[None, None, int]:
    """Ask, print the answer while it arrives, and return how that went."""
    form = form_of(parts.options)
    # Before there is an event loop: Ctrl-C could not end a thread that waits for a pipe.
    return _ask(parts, _prompt(parts), form)


async def _ask(parts: Parts, prompt: str, form: Form | None) -> int:
    async with open_world(parts, is_kept=_is_kept(parts)) as world:
        open_sessions = OpenSessions(chat=world.settings.chat, backend=world.backend, store=world.store)
        await _open_session(parts, world, open_sessions)
        settings = await _settings(parts, world)
        open_sessions.target = await find_target(world.backend, settings, world.remembered, parts.output.note)
        error = await _answered(parts, open_sessions, prompt, form)
    if error is not None:
        parts.output.failure(error)
        return 2 if error.kind in _WRONG_USE else 1
    return 0


async def _settings(parts: Parts, world: World) -> Settings:
    if not parts.is_local:
        return world.settings
    from lmchat.cli.local import serve

    return await serve(parts, world)


async def _answered(
    parts: Parts, open_sessions: OpenSessions, prompt: str, form: Form | None
) -> LMChatError | None:
    """Print the answer; cut short by a signal, print what came and let the signal go on."""
    conversation = open_sessions.shown.conversation
    printer = Printer(parts.output, form)
    how = open_sessions.how_to_ask()
    try:
        await _show(
            printer, conversation.send(prompt, how if form is None else replace(how, output=form.output))
        )
        taken = await _taken(form, printer, conversation, how)
    except asyncio.CancelledError:
        if conversation.turn is not None:
            _end(
                parts,
                open_sessions,
                printer,
                Taken() if form is None else form.rest(conversation.messages[-1]),
            )
        raise
    return _end(parts, open_sessions, printer, taken)


async def _show(printer: Printer, incoming: AsyncGenerator[ConversationEvent, None]) -> None:
    async with aclosing(incoming) as events:
        async for event in events:
            printer.show(event)


async def _taken(form: Form | None, printer: Printer, conversation: Conversation, how: HowToAsk) -> Taken:
    """Take out of the answer what is wanted; where it is not in there, ask for it once more."""
    if form is None:
        return Taken()
    try:
        return await _take(form, conversation.messages[-1])
    except LMChatError as error:
        again = form.repair(error)
        if not again:
            return Taken(error=error)
        printer.tell_repair(error)
    await _show(printer, conversation.send(again, replace(how, output=form.output)))
    try:
        return await _take(form, conversation.messages[-1])
    except LMChatError as error:
        return Taken(error=second(error) if isinstance(error, AnswerUnfit) else error)


async def _take(form: Form, answer: ChatMessage) -> Taken:
    if answer.state is not AnswerState.COMPLETE:
        return form.rest(answer)
    return Taken(value=await form.take(answer), has_value=True)


def _end(parts: Parts, open_sessions: OpenSessions, printer: Printer, taken: Taken) -> LMChatError | None:
    conversation, unsaved = open_sessions.shown.conversation, open_sessions.save_queue.warning
    is_saved = _is_kept(parts) and unsaved is None
    if conversation.sent is not None:  # less than at first, where the server found it too long
        printer.tell_plan(conversation.sent)
    session_id = conversation.header.session_id if is_saved else None
    error = printer.end(conversation.messages[-1], session_id, taken)
    return error or (unsaved if _is_kept(parts) else None)


async def _open_session(parts: Parts, world: World, open_sessions: OpenSessions) -> None:
    """Go on with a session, where one is named; a new system prompt becomes part of it."""
    options = parts.options
    if options.resume is None:
        return
    opened = await open_sessions.open(await world.store.find(options.resume))
    if options.system is not None:
        await opened.conversation.set_system_prompt(options.system)


def _is_kept(parts: Parts) -> bool:
    """Whether prompt and answer are saved: if asked for, and in a session that is gone on with."""
    options = parts.options
    if options.temporary:
        return False
    return options.resume is not None if options.save is None else options.save


def _prompt(parts: Parts) -> str:
    """Return what to ask: the argument, and below it what comes through a pipe."""
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        piped = read_pipe(sys.stdin.fileno()).decode("utf-8", "replace")
    prompt = "\n\n".join(text for text in (parts.options.prompt, piped.rstrip("\n")) if text.strip())
    if not prompt:
        raise WrongUse("There is nothing to ask.", hint='Give a prompt: lmchat ask "PROMPT", or pipe one in.')
    return prompt
