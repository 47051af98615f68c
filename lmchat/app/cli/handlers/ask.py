"""`lmchat ask`: one prompt, one answer, on pipes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, cast

from lmchat.api import (
    AnswerState,
    AnswerStats,
    Ask,
    ChatMessage,
    Home,
    NextRequest,
    RunningTurn,
    SchemaOutput,
    TokenProbabilities,
)
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import home_on
from lmchat.app.cli.read_prompt import (
    given_files,
    prompt_of,
    read_given_files,
    wanted_value,
)
from lmchat.app.cli.setup.make_toolbox import how_to_configure, start_tools
from lmchat.app.cli.setup.wiring import open_runtime
from lmchat.app.cli.tool_approval import ask_about_call, ask_about_server
from lmchat.app.cli.turn_printer import TurnPrinter, usage_json
from lmchat.app.terminal.output import SHORT_ID, failure_detail, is_utf8, to_json
from lmchat.base.errors import AnswerUnfit, LMChatError, StoreUnavailable, WrongUse
from lmchat.base.markdown.commonmark import code_blocks
from lmchat.base.safe_text import safe_json, safe_line, safe_text
from lmchat.base.units import rounded
from lmchat.core.answers.streamed_answer import StreamedAnswer

_SAVED_STEP = 'The text so far is saved. Continue with: lmchat ask -r {} "Go on"'
_UNSAVED_STEP = "The text so far is not saved. Check the server's log, or ask again."


async def ask(context: Context) -> int:
    """Send the prompt of the command line, print the answer, and return the exit code.

    It is an error if the answer is incomplete, lacks the wanted code or value, or could not be
    saved. Errors before the prompt is sent are raised.
    """
    options = context.options
    wanted = await wanted_value(context)
    if options.tools and not context.has_tools:
        raise WrongUse("No tools are configured.", next_step=how_to_configure(context))

    # before a server is looked for, so that a wrong name is an error at once
    given = given_files(context)
    files, file_sets = await read_given_files(context, given)
    prompt = await prompt_of(context, files)

    is_session = options.resume is not None if options.save is None else options.save
    is_saved = is_session and not (options.temporary or options.dry_run_form)
    async with open_runtime(context, is_saved=is_saved) as runtime:
        session_id = ""
        if options.resume is not None:
            header = await runtime.take_session(options.resume)
            session_id = header.session_id
            if options.resume == "last":  # another command may have saved one since
                context.note(f"continues “{safe_line(header.title)}”.")
        async with home_on(context, runtime) as (home, (model,)):
            for file_set in file_sets:  # now: the model's window decides which sets are large
                await given.require_consent_to(file_set, model.context_loaded)
            if options.tools:
                home.toolbox.host.ask_user = partial(ask_about_server, context=context)
                await start_tools(context, home.toolbox, model)
            prompted = Ask(
                prompt=prompt,
                session_id=session_id,
                files=files,
                system=options.system_prompt if session_id else None,  # a new one has it anyway
                model=model,
                approve=partial(ask_about_call, context=context) if options.tools else None,
                start=options.start,
                wanted=wanted,
            )
            if options.dry_run_form:
                _print_request(context, await home.next_request(prompted))
                return 0
            error = await _AskFrontEnd(context, home, is_saved=is_saved).run(prompted)
    return 0 if error is None else context.output.print_error(error)


def _print_request(context: Context, request: NextRequest) -> None:
    """Print the body of a request, or a command that sends it, as `--dry-run` says."""
    for note in request.notes:
        context.note(note)
    text = request.curl if context.options.dry_run_form == "curl" else request.json
    # outside of its JSON, the command is ASCII
    context.output.print_safe(safe_json(text, is_ascii=not is_utf8()))


class _AskFrontEnd:
    """Front end of one prompt: runs the turn, prints the answer and its end.

    With `--code` or `--schema`, only an extract is printed: code blocks, or the JSON value. A
    misfit is the error that says why a complete answer lacks it. After a misfit of the schema, a
    second turn asks the model again.
    """

    _turn: RunningTurn[Any]

    def __init__(self, context: Context, home: Home, *, is_saved: bool) -> None:
        self._context = context
        self._output = context.output
        self._home = home
        self._extract: dict[str, Any] = {}
        """The field of JSON output that `--code` or a schema adds: `code` or `value`.

        None until it is taken from the answer. Empty without these options.
        """
        self._extract_text = ""  # as printed without `--json`
        if context.options.schema is not None:
            self._extract["value"] = None
        elif context.options.code:
            self._extract["code"] = None
        self._is_saved = is_saved
        self._printer = TurnPrinter(self._output, prints_text=not self._extract)

    async def run(self, ask: Ask) -> LMChatError | None:
        """Send the prompt and print the answer; return the error to print, if any.

        That of the answer, else its misfit, else that of saving it. If a signal cancels this, it
        prints the end of what has arrived, and raises `CancelledError`.
        """
        try:
            misfit = await self._run_turn(ask)
            if isinstance(misfit, AnswerUnfit) and misfit.retry_prompt:
                if self._output.is_json_lines:
                    self._output.print_json({"repair": misfit.message})
                self._context.note(f"{misfit.message} Asking again.")
                again = Ask(
                    prompt=misfit.retry_prompt,
                    session_id=self._turn.session_id,
                    model=ask.model,
                    approve=ask.approve,
                    wanted=ask.wanted,
                )
                misfit = await self._run_turn(again)
        except asyncio.CancelledError:
            if (answer := self._turn.answer) is not None:
                self._set_extract(answer, ask.wanted)
                self._print_end(answer, None)  # Ctrl+C has its own error
            raise
        return self._print_end(self._answer, misfit)

    async def _run_turn(self, ask: Ask) -> LMChatError | None:
        """Send a prompt, print the answer, and return its misfit."""
        self._turn = turn = self._home.run(ask)
        self._answers: set[StreamedAnswer | None] = set()  # of the turn
        try:
            async with (
                self._printer.stages_shown(lambda: turn.stats),
                aclosing(turn.events) as events,
            ):
                async for event in events:
                    self._printer.print_event(event)
                    self._answers.add(turn.streamed)
        except StoreUnavailable:
            if turn.answer is None:
                raise
        return self._set_extract(self._answer, ask.wanted)

    @property
    def _answer(self) -> ChatMessage:
        """After a turn that was not refused."""
        return cast(ChatMessage, self._turn.answer)

    def _set_extract(self, answer: ChatMessage, wanted: SchemaOutput | None) -> LMChatError | None:
        """Set the extract; return the misfit of a complete answer without one.

        Of an incomplete answer, code is taken, but no JSON value.
        """
        is_complete = answer.state is AnswerState.COMPLETE
        if wanted is not None and is_complete:
            try:
                value = wanted.value_in(
                    answer.text,
                    thought=answer.reasoning,
                    finish_reason=answer.stats.finish_reason if answer.stats else "",
                    is_refusal=bool(answer.refusal),
                )
            except AnswerUnfit as error:
                return error
            self._extract["value"] = value
            self._extract_text = to_json(value, indent=2)
        elif self._context.options.code:
            # an indented block has no `markup`, and is often no code
            fences = [block.content for block in code_blocks(answer.text) if block.markup]
            code = "\n\n".join(fence.rstrip("\n") for fence in fences if fence.strip())
            self._extract["code"] = code or None
            self._extract_text = code
            if not code and is_complete:
                return LMChatError(
                    "The answer has no code block.",
                    kind="no_code",
                    next_step="Ask for code in the prompt, or leave out --code to see the answer.",
                )
        return None

    def _print_end(self, answer: ChatMessage, misfit: LMChatError | None) -> LMChatError | None:
        """Print the rest of the answer, and return the error that the caller prints.

        With `--stream-json`, these are the last lines, with `--json` the document, else the extract
        and notes, such as how to continue a new session.

        The caller prints the error on stderr, and in JSON as the last line, or as the document if
        none was printed. After Ctrl+C, it is not printed.
        """
        save_error = self._turn.save_error
        is_in_store = self._is_saved and save_error is None
        session_id = self._turn.session_id if is_in_store else None
        error = self._error_of(answer, misfit, session_id)

        output = self._output
        if output.is_json_lines:
            # An error becomes the last line in place of these; after Ctrl+C, it is not printed.
            if error is None or answer.state is AnswerState.STOPPED:
                self._print_last_lines(answer, session_id)
        elif output.is_json:
            # without text and tool calls, the error says it all
            if answer.state is not AnswerState.FAILED or self._printer.steps:
                output.print_json(self._document(answer, session_id, error))
        else:
            self._printer.end()
            if self._extract_text:
                output.print_text(self._extract_text)
            elif misfit is not None and (text := answer.text.strip()):  # it may have taken minutes
                output.note(*safe_text(text).split("\n"))
            # else the error says what is wrong, or the value stood in the thought
            if error is None and (answer.text.strip() or not self._extract_text):
                self._printer.print_notes_on(answer)
            is_new = self._context.options.resume is None
            # of an interrupted answer, the error's next step says how to continue
            if session_id and is_new and answer.state is not AnswerState.INTERRUPTED:
                command = f"lmchat ask -r {session_id[:SHORT_ID]}"
                self._context.note(f"saved; to continue: {command}")
        return error or save_error

    def _error_of(
        self, answer: ChatMessage, misfit: LMChatError | None, session_id: str | None
    ) -> LMChatError | None:
        """Return why an answer is incomplete, or the misfit of a complete one.

        `session_id` is None if it is not saved.
        """
        if answer.state is AnswerState.COMPLETE:
            return misfit
        error = self._turn.ended.error if self._turn.ended is not None else None
        if not isinstance(error, LMChatError):  # the user has stopped it
            return LMChatError("Stopped before the answer was complete.", kind="interrupted")
        if error.kind == "interrupted":  # its next step is for the screen
            error.next_step = (
                _SAVED_STEP.format(session_id[:SHORT_ID]) if session_id else _UNSAVED_STEP
            )
            if not answer.parts:
                error.next_step = "No text has arrived. Check the server's log, or ask again."
        return error

    def _print_last_lines(self, answer: ChatMessage, session_id: str | None) -> None:
        """Print tool calls, refusal, and the end, as JSON lines."""
        finish_reason = "cancelled"
        if answer.state is not AnswerState.STOPPED:  # they may be cut
            for call in _calls_json(answer):
                self._output.print_json({"tool_call": call})
            finish_reason = answer.stats.finish_reason if answer.stats else ""
        if answer.refusal:
            self._output.print_json({"refused": True})
        last_line: dict[str, Any] = {"done": True, "finish_reason": finish_reason or None}
        if session_id:
            last_line["session_id"] = session_id
        if answer.stats is not None and answer.stats.is_prompt_cut:
            last_line["prompt_cut"] = True
        self._output.print_json({**last_line, **self._faults, **self._extract})

    def _document(
        self, answer: ChatMessage, session_id: str | None, error: LMChatError | None
    ) -> dict[str, Any]:
        """Return what `--json` prints; times are in milliseconds."""
        streamed = self._turn.streamed
        stats = answer.stats or AnswerStats()
        lives = [one.stats for one in self._answers | {streamed} if one is not None]
        counts = [usage_json(one.saved(), one.estimated_prompt_tokens) for one in lives]
        usage = {name: sum(one[name] for one in counts) for name in counts[0]}
        elapsed_ms = sum(one.elapsed_ms for one in lives)
        document = {
            "reply": answer.text,
            "reasoning": answer.reasoning,
            "tool_calls": _calls_json(answer),
            "model": answer.model,
            "asked_model": stats.asked or None,
            "endpoint": answer.endpoint,
            "session_id": session_id,
            "finish_reason": stats.finish_reason or None,
            "state": answer.state,
            "usage": usage | {"estimated": bool(usage["estimated"])},
            "ttft_ms": rounded(stats.ttft_ms),
            "tokens_per_second": rounded(stats.tokens_per_second),
            "elapsed_ms": rounded(elapsed_ms or None),
            "retries": stats.retries,
            "refused": bool(answer.refusal),
            "prompt_cut": stats.is_prompt_cut,
            "sampling": stats.sampling,
            "steps": self._printer.steps,  # ended calls, with results
            **self._extract,
        }
        document.update(self._faults)
        if streamed is not None and streamed.tokens:
            document["logprobs"] = _choices_json(streamed.tokens)
        if error is not None:
            document["detail"] = failure_detail(error)
        return document

    @property
    def _faults(self) -> dict[str, object]:
        """Fields that are there only if there is something to say."""
        if (streamed := self._turn.streamed) is None:
            return {}
        faults = {
            "stuck": streamed.is_stuck,
            "part_missing": streamed.stats.is_part_missing,
            "notes": self._printer.request_notes,
        }
        return {name: value for name, value in faults.items() if value}


def _calls_json(answer: ChatMessage) -> list[dict[str, str]]:
    """Return the tool calls of an answer, whether they ran or not."""
    return [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in answer.tool_calls
    ]


def _choices_json(choices: Sequence[TokenProbabilities]) -> list[dict[str, Any]]:
    """Leave out the tokens of thoughts."""
    return [
        {
            "token": choice.token,
            "logprob": choice.logprob,
            "top": [
                {"token": alternative.token, "logprob": alternative.logprob}
                for alternative in choice.top
            ],
        }
        for choice in choices
        if not choice.is_thought
    ]
