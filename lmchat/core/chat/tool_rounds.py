"""Rounds of tool calls of a turn: all calls of one answer, approved and run at the same time.

An error of a call becomes its result, and the turn continues.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.base.processes.background import end_tasks
from lmchat.base.safe_text import safe_line
from lmchat.core.attachments.attachment import file_attachment
from lmchat.core.chat.events import ChatEvent, MessageAdded, MessageEnded
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.toolbox import Ask, Toolbox, ToolQuestion
from lmchat.core.chat.turn_starts import streaming_message
from lmchat.core.servers.request import Tool
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    FilePart,
    Role,
    ToolCallPart,
    call_text,
    new_id,
    parse_arguments,
)
from lmchat.core.storage.store import Store
from lmchat.core.tools.calls import ApprovalScope, Decision, Run, run_call

_MAX_SAME_CALLS = 3  # in a row: the last round does not run


# from the chat templates of the models that the groups name; Hermes is also Qwen3
_CALL_IN_TEXT = re.compile(
    r"""
    (?:<tool_call>|\[TOOL_CALLS\]\s?\[?|<\|python_tag\|>) # Hermes, Mistral, Llama
      \s{0,20}\{[^{}]{0,200}?"name"\s{0,9}:\s{0,9}"(?P<hermes>[^"\n]{1,200})"
    | (?:<tool_call>\s{0,20})?<function=(?P<coder>[^>\s]{1,200})>
    | <tool_call>\s{0,20}(?P<glm>[\w.-]{1,200})\s{0,20}<arg_key>
    | <minimax:tool_call>\s{0,20}<invoke\ name="(?P<minimax>[^"\n]{1,200})"
    | \[TOOL_CALLS\](?P<mistral>[\w.-]{1,200})(?:\[CALL_ID\]\w{1,50})?\[ARGS\]
    | <\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>
      (?:function<\uff5ctool\u2581sep\uff5c>)?(?P<deepseek>[\w.-]{1,200})(?:<\uff5ctool\u2581sep\uff5c>|\n)
    | <\|tool_calls_section_begin\|>\s{0,20}<\|tool_call_begin\|>\s{0,20}
      (?:functions\.)?(?P<kimi>[\w.-]{1,200}):\d
    | <\|tool_call>call:(?P<gemma>[\w.-]{1,200})\{
    """,
    re.VERBOSE,
)
_MAX_CALL_HEAD = 1_000


class ToolRounds(Struct, eq=False):
    toolbox: Toolbox
    session: OpenSession
    report: Callable[[ChatEvent], None]
    ask: Ask
    store: Store  # gets pictures of tools
    steps: int = 0
    told: dict[str, str] = {}  # what running tools said last, by message id
    _last_call: tuple[str, str] = ("", "")  # name in requests, and arguments
    _same_calls: int = 0  # in a row
    _limit: LMChatError | None = None  # why no further round may run

    @property
    def must_call(self) -> bool:
        return self.steps == 0 and self.toolbox.must_call

    async def offered(self, target: Target) -> tuple[Tool, ...]:
        """Raises the reason for which `count_round` has refused a round."""
        if self._limit is not None:
            raise self._limit
        return await self.toolbox.offered(target, self.session.session_id)

    def calls_of(self, answer: ChatMessage) -> tuple[ToolCallPart, ...]:
        """Return the calls to run, of an answer that this turn has streamed.

        Empty if another branch is shown by now. Other answers must not be passed: calls from an
        imported file only run if the user repeats one.
        """
        is_last = self.session.messages.leaf_id == answer.message_id
        return answer.tool_calls if is_last and answer.state is AnswerState.COMPLETE else ()

    def count_round(self, calls: Sequence[ToolCallPart]) -> bool:
        """Return whether this round may run.

        If not, the turn still asks for an answer, which fails with the reason: so this is saved and
        shown.
        """
        if self.steps >= self.toolbox.settings.max_steps:
            problem = f"The model called tools {self.steps} times without an answer."
            next_step = "Change the prompt, or raise max_steps under [tools]."
            self._limit = LMChatError(problem, kind="tool_limit", next_step=next_step)
            return False
        self.steps += 1
        for call in calls:
            name_and_arguments = (call.name, call.arguments)
            is_same = name_and_arguments == self._last_call
            self._same_calls = self._same_calls + 1 if is_same else 1
            self._last_call = name_and_arguments
            if self._same_calls >= _MAX_SAME_CALLS:
                shown = safe_line(call_text(self.full_name(call.name), call.arguments), limit=120)
                problem = (
                    f"The model made the same call {self._same_calls} times in a row: {shown}."
                )
                next_step = "Change the prompt: the model cannot use the result of this call."
                self._limit = LMChatError(problem, kind="tool_limit", next_step=next_step)
        return self._limit is None

    def call_in(self, text: str) -> str:
        """Return the full name of the tool of a call with which a text starts, or "".

        A model writes it if the server does not understand its calls.
        """
        call = _CALL_IN_TEXT.match(text[:_MAX_CALL_HEAD].lstrip())
        name = next(filter(None, call.groups()), "") if call else ""
        return self.full_name(name)

    def full_name(self, wire_name: str) -> str:
        """`SERVER/TOOL`; an unknown name as it is."""
        tool = self.toolbox.find(wire_name)
        return tool.full_name if tool else wire_name

    async def run(
        self,
        calls: Sequence[ToolCallPart],
        target: Target,
        *,
        copied: Sequence[ChatMessage],
        version: int,
    ) -> None:
        """Run calls side by side; each is on the disk before it runs, and when it has ended.

        `version` is that of the first call. A repeated call starts a branch with copies of
        `copied`, the other calls of its answer. Cancelling also cancels running calls.
        """
        session = self.session
        answer_stats = session.messages[-1].stats
        is_cut = answer_stats is not None and answer_stats.is_cut
        running: dict[str, ChatMessage] = {}  # without a result, by message id
        try:
            # not started yet if the turn repeats a call
            await self.toolbox.host.start_servers()
            for call in calls:
                named = replace(call, name=self.full_name(call.name))
                message = streaming_message(Role.TOOL, (named,), session.messages, target, version)
                session.add(message)
                version = 1  # calls after the first have no other version
                running[message.message_id] = message
                self.report(MessageAdded(message, session.session_id))
                await session.save_started_answer(message)  # as for an answer, before the call runs
            for ended in copied:
                copy = replace(
                    ended,
                    message_id=new_id(),
                    parent_id=session.messages.leaf_id,
                    version=1,
                    versions=1,
                )
                session.add(copy)
                self.report(MessageAdded(copy, session.session_id))
                await session.save(copy)
            await self._run_all(running, is_cut=is_cut)
        except BaseException:  # a stop, which is a cancellation, or an error
            stopped = [replace(call, state=AnswerState.STOPPED) for call in running.values()]
            for message in stopped:
                session.replace(message)
            await session.finish(session.save(*stopped))
            raise

    async def _run_all(self, running: dict[str, ChatMessage], *, is_cut: bool) -> None:
        """Ask about one call after the other, then run all at the same time.

        After a stop, those that have ended while another was saved still keep their results.
        """
        messages = tuple(running.values())
        runs = [await self._make_run(message, is_cut=is_cut) for message in messages]
        tasks = [
            asyncio.create_task(run_call(message, run, self._keep_image))
            for message, run in zip(messages, runs, strict=True)
        ]
        try:
            for ended in asyncio.as_completed(tasks):
                await self._end(running, await ended)
        finally:
            await end_tasks(*tasks)
            for task in tasks:
                has_result = not task.cancelled() and task.exception() is None
                if has_result and task.result().message_id in running:
                    await self._end(running, task.result())

    async def _keep_image(self, name: str, image: bytes) -> FilePart | None:
        with suppress(LMChatError):  # it is damaged, or the disk is full
            if attachment := await file_attachment(name, image):
                await self.store.files.save(attachment.data)
                return attachment.part
        return None

    async def _end(self, running: dict[str, ChatMessage], call: ChatMessage) -> None:
        del running[call.message_id]  # else a stop would mark it as stopped
        self.session.replace(call)
        # to its end: a stop may cancel this task, and the result must not be lost
        await self.session.finish(self.session.save(call))
        self.report(MessageEnded(call))

    async def _make_run(self, message: ChatMessage, *, is_cut: bool) -> Run | str | Decision:
        """Return what runs a call, or why it may not run."""
        call = message.tool_calls[0]
        toolbox = self.toolbox
        session_id = self.session.session_id
        tool = toolbox.find(call.name)
        if tool is None:
            names = ", ".join(one.wire_name for one in toolbox.offered_now(session_id))
            return f"There is no tool of this name. The tools are: {names}."
        arguments = parse_arguments(call.arguments)
        # some servers send nothing for a call without arguments; else they have not come
        properties = tool.schema.get("properties")
        if arguments is None or (properties and not call.arguments.strip()):
            if is_cut:
                return "The call was cut by the limit of the answer."
            fields = ", ".join(properties or ()) or "none"
            return f"The arguments are not a JSON object. Its fields are: {fields}."
        if toolbox.approval(session_id, tool) == "ask":
            decision = await self.ask(
                ToolQuestion(message=message, note=toolbox.why_asked_again(tool))
            )
            if decision.choice is ApprovalScope.NO:
                return decision
            await toolbox.allow(session_id, tool, decision.choice)
        # last, as the user may have switched it off meanwhile
        if not toolbox.is_offered(session_id, tool):
            return "This tool is switched off, or not allowed to run."
        tell = partial(self.told.__setitem__, message.message_id)
        return partial(toolbox.call, tool, arguments, tell)
