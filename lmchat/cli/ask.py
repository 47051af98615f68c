"""`lmchat ask`: one prompt, one answer, on pipes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from io import BufferedReader
from typing import Any

from msgspec.structs import replace

from lmchat.cli.commands import ParsedOptions
from lmchat.cli.context import Context
from lmchat.cli.output import SHORT_ID, Output, SafeStream, failure_detail, rounded
from lmchat.cli.questions import from_stdin
from lmchat.cli.target import find_target
from lmchat.cli.tools import (
    decide,
    how_to_configure,
    make_toolbox,
    start_tools,
    step_json,
    step_note,
)
from lmchat.cli.wiring import open_runtime
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
from lmchat.domain.message import AnswerState, ChatMessage, Receipt, Role
from lmchat.domain.model_names import is_other_model
from lmchat.domain.request import AnyText
from lmchat.errors import LMChatError, WrongUse
from lmchat.files import path_of, read_plain
from lmchat.services.attachments import Attachment, read_attachment
from lmchat.services.conversation import AnswerBegun, Conversation, ConversationEvent
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.tool_loop import ApprovalAsked, MessageEnded
from lmchat.structured.json_schema import WantedValue
from lmchat.structured.json_text import UnfitError, code_blocks, strict_json
from lmchat.text import safe_line, text_of
from lmchat.threads import run_abandonable

MAX_FILE_BYTES = 1 << 20
_PATIENCE_S = 2.0
_KEPT = 'The text so far is saved. Continue with: lmchat ask -r {} "Go on"'
_SHOWN = "The text so far is not saved. Check the server's log, or ask again."


class Extract:
    """Extract of an answer that is printed in its place: its code, or a value that fits a schema."""

    def __init__(self, schema: WantedValue | None = None) -> None:
        self._schema = schema
        self.name = "value" if schema else "code"
        self.output = schema.output if schema else AnyText()
        self.value: Any = None  # may be JSON's `null`
        self.has_value = False

    async def read(self, answer: ChatMessage) -> LMChatError | None:
        """Read it from an answer; return the reason why a whole answer has none."""
        self.read_code(answer)
        if answer.state is not AnswerState.COMPLETE or self.has_value:
            return None
        if self._schema is None:
            hint = "Ask for code in the prompt, or leave out --code to see the answer."
            return LMChatError("The answer has no code block.", kind="no_code", hint=hint)
        reason = answer.receipt.finish_reason if answer.receipt else ""
        try:
            self.value = await self._schema.value_in(
                answer.text,
                thought=answer.reasoning,
                finish_reason=reason,
                is_refusal=bool(answer.refusal),
            )
        except LMChatError as error:
            return error
        self.has_value = True
        return None

    def read_code(self, answer: ChatMessage) -> None:
        """Read the code, also of a stopped answer; a cut value cannot be used."""
        if self._schema is None:
            self.value = "\n\n".join(code_blocks(answer.text)) or None
            self.has_value = bool(self.value)

    def repair(self) -> str:
        """Return the prompt for a second answer; empty where asking again would not help."""
        return self._schema.repair() if self._schema else ""


async def ask(context: Context) -> int:
    """Ask and print the answer while it arrives."""
    extract = await _extract(context.options)
    if context.options.tools and not context.has_tools:
        raise WrongUse("No tools are configured.", hint=how_to_configure(context))
    options = context.options
    files = [await read_attachment(path_of(name)) for name in options.files]
    prompt = await prompt_of(context)
    is_kept = options.resume is not None if options.save is None else options.save
    is_kept = is_kept and not options.temporary
    async with open_runtime(context, is_kept=is_kept) as runtime:
        settings = runtime.settings
        sessions = OpenSessions(chat=settings.chat, backend=runtime.backend, store=runtime.store)
        if options.resume is not None:
            opened = sessions.show(await sessions.load(await runtime.store.find(options.resume)))
            if options.system_prompt is not None:
                await opened.conversation.set_system_prompt(options.system_prompt)
        if context.is_local:
            from lmchat.cli.local import serve

            settings = await serve(context, runtime)
        sessions.next_turn.target = await find_target(
            runtime.backend, settings, runtime.remembered, context.output.note
        )
        toolbox = make_toolbox(context, settings, runtime.remembered)
        async with aclosing(toolbox.host):
            if options.tools:
                sessions.next_turn.toolbox = toolbox
                await start_tools(context, toolbox, sessions.next_turn.target)
            error = await _Asking(context, sessions, extract, is_kept=is_kept).ask(prompt, files)
    return 0 if error is None else context.output.failure(error)


class _Asking:
    """One question: the turn, a second one where the answer does not fit, and how it ended."""

    def __init__(
        self, context: Context, sessions: OpenSessions, extract: Extract | None, *, is_kept: bool
    ) -> None:
        self._sessions = sessions
        self._conversation: Conversation = sessions.shown.conversation
        self._context = context
        self._printer = Printer(context.output, extract)
        self._extract = extract
        self._is_kept = is_kept

    async def ask(self, prompt: str, files: Sequence[Attachment]) -> LMChatError | None:
        """Print the answer, or the part that came before a signal."""
        try:
            error = await self._turn(prompt, files)
            if error is not None and self._extract and (again := self._extract.repair()):
                self._printer.note_repair(error)
                error = await self._turn(again)
        except asyncio.CancelledError:
            if self._conversation.turn is not None:
                if self._extract:
                    self._extract.read_code(self._answer)
                self._end(None)
            raise
        return self._end(error)

    async def _turn(self, prompt: str, files: Sequence[Attachment] = ()) -> LMChatError | None:
        how = self._sessions.next_turn.settings()
        if self._extract is not None:
            how = replace(how, output=self._extract.output)
        async with aclosing(self._conversation.send(prompt, how, files)) as events:
            async for event in events:
                self._printer.show(event)
                if isinstance(event, ApprovalAsked):
                    await decide(event, self._context)
        return await self._extract.read(self._conversation.messages[-1]) if self._extract else None

    def _end(self, error: LMChatError | None) -> LMChatError | None:
        unsaved = self._sessions.save_queue.warning if self._is_kept else None
        if (
            self._conversation.sent is not None
        ):  # less than at first, where the server found it too long
            self._printer.sent_tokens = self._conversation.sent.tokens
        is_saved = self._is_kept and unsaved is None
        session_id = self._conversation.header.session_id if is_saved else None
        answer = self._answer
        error = self._failure(answer, session_id) or error
        self._printer.end(answer, session_id, error)
        is_told = self._context.output.is_json or answer.state is AnswerState.INTERRUPTED
        if session_id and self._context.options.resume is None and not is_told:
            self._context.output.note(
                f"lmchat: saved; to continue: lmchat ask -r {session_id[:SHORT_ID]}"
            )
        return error or unsaved

    @property
    def _answer(self) -> ChatMessage:
        """The last answer; it is stopped if its tool calls were."""
        messages = self._conversation.messages
        last = next(one for one in reversed(messages) if one.role is not Role.TOOL)
        return last if last is messages[-1] else replace(last, state=AnswerState.STOPPED)

    def _failure(self, answer: ChatMessage, session_id: str | None) -> LMChatError | None:
        if answer.state is AnswerState.COMPLETE:
            return None
        if answer.failure is None:
            return LMChatError("Stopped before the answer was complete.", kind="interrupted")
        hint = answer.failure.hint
        if answer.failure.kind == "interrupted":  # the screen has keys to go on with it
            hint = _KEPT.format(session_id[:SHORT_ID]) if session_id else _SHOWN
        error = LMChatError(answer.failure.message, hint=hint, kind=answer.failure.kind)
        if self._conversation.error is not None:
            error.exit_code = self._conversation.error.exit_code
        return error


class Printer:
    """Prints the events of one turn: text as it arrives, one object a line, or one object at the end."""

    def __init__(self, output: Output, extract: Extract | None = None) -> None:
        self._output = output
        self._steps: list[dict[str, Any]] = []
        self._extract = extract
        self._is_streaming = not output.is_json and extract is None
        self._stream = SafeStream()
        self._is_loading_noted = self._is_stall_noted = False
        self._thoughts: list[str] = []
        self._asked = ""
        self.sent_tokens = 0

    def show(self, event: ConversationEvent) -> None:
        if isinstance(event, TextDelta | RefusalDelta | ReasoningDelta | Rethought):
            self._is_stall_noted = False
        match event:
            case TextDelta() | RefusalDelta():
                self._piece(event.text)
            case ReasoningDelta():
                self._thoughts.append(event.text)
            case Rethought():
                self._rethought(is_thought=event.is_thought)
            case RetryScheduled(attempt=attempt, attempts=attempts, wait_s=wait_s, reason=reason):
                self._output.note(
                    f"lmchat: retry {attempt} of {attempts} in {wait_s:.1f} s: {reason}"
                )
            case RequestAdapted(note=note):
                self._output.note(f"lmchat: {note}")
            case ModelLoading() if not self._is_loading_noted:
                self._is_loading_noted = True
                self._output.note("lmchat: the server is loading the model …")
            case StreamStalled(silent_s=silent_s) if not self._is_stall_noted:
                self._is_stall_noted = True
                start = "" if self._stream.is_at_line_start else "\n"
                self._output.note(
                    f"{start}lmchat: no data from the server for {silent_s:.0f} s; "
                    "press Ctrl+C to stop waiting."
                )
            case ModelNamed(model=model) if is_other_model(self._asked, model):
                served, asked = safe_line(model, limit=80), safe_line(self._asked, limit=80)
                self._output.note(f"lmchat: {served} answers instead of {asked}.")
            case AnswerBegun(message=message, plan=plan):
                self._asked = message.model
                self._thoughts.clear()
                self.sent_tokens = plan.tokens
            case MessageEnded(message=message):
                self._stream.end()
                self._add_step(message)
            case _:
                pass

    def _add_step(self, message: ChatMessage) -> None:
        if message.role is Role.TOOL:
            self._steps.append(step_json(message))
            if self._output.is_lines:
                self._output.document({"tool": self._steps[-1]})
            self._output.note(step_note(message))

    def note_repair(self, error: LMChatError) -> None:
        if self._output.is_lines:
            self._output.document({"repair": error.message})
        self._output.note(f"lmchat: {error.message} Asking again.")

    def end(self, answer: ChatMessage, session_id: str | None, error: LMChatError | None) -> None:
        extracted = {} if self._extract is None else {self._extract.name: self._extract.value}
        if self._output.is_lines:
            is_stopped = answer.state is AnswerState.STOPPED
            if error is None or is_stopped:
                for call in () if is_stopped else _calls(answer):
                    self._output.document({"tool_call": call})
                if answer.refusal:
                    self._output.document({"refused": True})
                reason = answer.receipt.finish_reason if answer.receipt else ""
                last = {
                    "done": True,
                    "finish_reason": "cancelled" if is_stopped else reason or None,
                }
                self._output.document(
                    last | ({"session_id": session_id} if session_id else {}) | extracted
                )
        elif self._output.is_json:
            if answer.state is not AnswerState.FAILED or self._steps:
                detail = {} if error is None else {"detail": failure_detail(error)}
                value = answer_json(answer, session_id, self.sent_tokens) | {"steps": self._steps}
                self._output.document(value | extracted | detail)
        else:
            self._stream.end()
            if self._extract is not None and self._extract.has_value:
                is_code = self._extract.name == "code"
                (self._output.text if is_code else self._output.document)(self._extract.value)
            if error is None:
                self._remark(answer)

    def end_text(self) -> None:
        """End the line of what was printed of an answer."""
        self._stream.end()

    def _piece(self, text: str) -> None:
        if self._output.is_lines:
            self._output.document({"chunk": text})
        elif self._is_streaming:
            self._stream.write(text)

    def _rethought(self, *, is_thought: bool) -> None:
        """Say that what is printed was thought, which no pipe takes back; or print what was taken for one."""
        if not is_thought:
            self._piece("".join(self._thoughts))
        elif self._output.is_lines:
            self._output.document({"rethought": True})
        elif self._is_streaming:
            self._stream.end()
            self._stream.write("\n")
            self._output.note(
                "lmchat: the text so far was the model's reasoning; the answer follows."
            )
        self._thoughts.clear()

    def _remark(self, answer: ChatMessage) -> None:
        if answer.refusal:
            self._output.note("lmchat: the model refused to answer.")
        for call in answer.tool_calls:  # an answer that is nothing else would look like none
            name, arguments = safe_line(call.name, limit=80), safe_line(call.arguments, limit=2_000)
            self._output.note(f"lmchat: the model called a tool (not run): {name}({arguments})")
        if answer.receipt is not None and answer.receipt.is_cut:
            limit = answer.receipt.limit or "the server's token limit"
            self._output.note(f"lmchat: the answer was cut short: {limit}.")
        elif answer.receipt is not None and answer.receipt.finish_reason == "content_filter":
            self._output.note("lmchat: the server filtered the answer.")
        elif not (answer.text or answer.refusal or answer.tool_calls):
            self._output.note("lmchat: the answer is empty.")


def answer_json(answer: ChatMessage, session_id: str | None, sent_tokens: int) -> dict[str, Any]:
    """Return the object of `--json`; `sent_tokens` is an estimate for servers that count nothing."""
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
        "ttft_ms": rounded(receipt.ttft_ms),
        "tokens_per_second": rounded(receipt.tokens_per_second),
        "elapsed_ms": rounded(receipt.elapsed_ms),
        "retries": receipt.retries,
        "refused": bool(answer.refusal),
    }


def _calls(answer: ChatMessage) -> list[dict[str, str]]:
    return [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in answer.tool_calls
    ]


async def prompt_of(context: Context) -> str:
    """Return the prompt of the arguments and of stdin; raises `WrongUse` for none."""
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        wait = asyncio.get_running_loop().call_later(_PATIENCE_S, _say_waiting, context.output)
        piped = text_of(await run_abandonable(lambda: from_stdin(BufferedReader.read)))
        wait.cancel()
    prompt = "\n\n".join(
        text for text in (context.options.prompt, piped.rstrip("\n")) if text.strip()
    )
    if (name := context.options.preset) is not None:
        prompt = await preset_prompt(context, name, prompt)
    if not prompt and not context.options.files:
        raise WrongUse(
            "The prompt is empty.", hint='Pass a prompt: lmchat ask "PROMPT", or pipe one in.'
        )
    return prompt


def _say_waiting(output: Output) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        output.note(
            "lmchat: reading standard input until it ends; add </dev/null to ask without it."
        )


async def preset_prompt(context: Context, name: str, typed: str) -> str:
    """Return the prompt that a preset makes of what was typed; raises `WrongUse` if it cannot."""
    from lmchat.services.prompts import filled
    from lmchat.terminal.clipboard import Clipboard

    clipboard = Clipboard(
        environ=context.environ_of_programs, write=lambda _: False, file=context.copied_file
    )
    return await filled(context.settings.prompts, name, typed, clipboard.paste)


async def _extract(options: ParsedOptions) -> Extract | None:
    """Return what to extract of an answer; None for all of it."""
    if options.schema is None:
        return Extract() if options.code else None
    wanted = WantedValue(_schema_in(options.schema), name=path_of(options.schema).stem)
    await wanted.require_valid()
    return Extract(wanted)


def _schema_in(name: str) -> object:
    hint = "Correct the schema file."
    try:
        text = read_plain(path_of(name), limit=MAX_FILE_BYTES, may_stream=True).decode("utf-8-sig")
        return strict_json(text)
    except OSError as error:
        why, hint = f"cannot be read: {error.strerror or error}", "Check the path."
    except UnicodeDecodeError:
        why = "is not UTF-8 text"
    except json.JSONDecodeError as error:
        why = f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    except UnfitError as error:
        why = f"cannot be used: {error}"
    raise WrongUse(f"The schema {name} {why}.", hint=hint)
