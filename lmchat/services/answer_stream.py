"""Stream of one answer: what of the session is sent for it, and what is sent after a refusal."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from msgspec import Struct, field

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.message import ChatMessage, FilePart, Role, SentThoughts, text_message
from lmchat.domain.request import AnyText, ChatRequest, Sampling, WantedOutput
from lmchat.domain.server import Target
from lmchat.domain.session import MessagePath
from lmchat.domain.tool import MAX_TOOLS, Tool, tool_in_request
from lmchat.errors import LMChatError, RequestInvalid, ServerRejected
from lmchat.services.context_meter import (
    ContextMeter,
    ContextPlan,
    cut_note,
    estimate_tokens,
    plan_context,
)
from lmchat.services.continuation import CONTINUE, Continuation, can_prefill, last_words
from lmchat.services.ports import ServerClient
from lmchat.services.save_queue import SaveQueue
from lmchat.services.tool_loop import ToolLoop
from lmchat.services.tools import Toolbox

_TOKENS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
_PREFILL_REFUSED = ("bad_request", "server_error", "unsupported")
"""Kinds of errors by which servers refuse prefill, as for models that think."""
_MAX_IMAGE_BYTES = 20_000_000
"""Send at most 20 MB of images, newest first; older ones by name."""
_NEARLY_FULL = 0.8  # share of the window beyond which an estimate may be wrong about what fits


class TurnSettings(Struct, frozen=True, kw_only=True):
    """Settings of a turn; a change applies from the next turn on."""

    target: Target
    sampling: Sampling = field(default_factory=Sampling)
    is_truncating: bool = True
    output: WantedOutput = field(default_factory=AnyText)
    toolbox: Toolbox | None = None  # tools that the model may call


class AnswerStream:
    """The stream of one answer, and the plan of what is sent for it."""

    def __init__(
        self,
        settings: TurnSettings,
        path: MessagePath,
        *,
        backend: ServerClient,
        meter: ContextMeter,
        save_queue: SaveQueue,
        continued: ChatMessage | None = None,
        loop: ToolLoop | None = None,
    ) -> None:
        """Raises `RequestInvalid` if too much is to be sent and nothing may be left out.

        Args:
            settings: Settings of the turn.
            path: The messages before the answer.
            backend: Access to the server.
            meter: Estimates, which learn from this answer.
            save_queue: Access to attached files.
            continued: The unfinished answer to continue.
            loop: Rounds of tool calls of this turn.
        """
        self.settings = settings
        self.path = path
        self.continued = continued
        self.loop = loop
        self.tools: tuple[Tool, ...] = ()
        self.tool_tokens = 0
        self.reported_left_out = 0
        self.cut_note = ""
        self._backend = backend
        self._meter = meter
        self._save_queue = save_queue
        self._files: dict[str, bytes] = {}
        self._is_prefilled = continued is not None and can_prefill(
            settings.target.product, continued
        )
        self._is_shortened = False
        self._continuation: Continuation | None = None
        self.plan = self._planned()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield events; after a refusal, retry without prefill or with fewer messages."""
        for note in await self._prepare():
            yield RequestAdapted(note=note)
        has_begun = False
        while True:
            for note in self._new_notes():
                yield RequestAdapted(note=note)
            try:
                async with aclosing(self._attempt()) as events:
                    async for event in events:
                        has_begun |= isinstance(event, _TOKENS)
                        yield event
            except ServerRejected as error:
                if has_begun or not self._adapt(error):
                    raise
            else:
                return

    def withheld(self) -> tuple[StreamEvent, ...]:
        """Return what came and was not yielded when the stream ended."""
        return self._continuation.close() if self._continuation else ()

    async def _attempt(self) -> AsyncGenerator[StreamEvent, None]:
        """Send one request; a continued answer is yielded without what the model repeats."""
        if self.continued is not None:
            self._continuation = Continuation(self.continued, is_prefilled=self._is_prefilled)
        async with aclosing(self._backend.stream(self._request())) as events:
            async for event in events:
                if self._continuation is None:
                    yield event
                    continue
                for joined in self._continuation.feed(event):
                    yield joined

    def _adapt(self, error: ServerRejected) -> bool:
        """Change the request after a refusal; return whether another attempt makes sense."""
        if self._is_prefilled and error.kind in _PREFILL_REFUSED:
            self._is_prefilled = False
            self.plan = self._planned()
            return True
        if self._is_shortened:
            return False
        self._is_shortened = self._shorten(error)
        return self._is_shortened

    def _shorten(self, error: ServerRejected) -> bool:
        """Learn from a refusal; return whether the plan leaves out more now."""
        # a server that names no count has at least said that it is more than the window
        least = error.needed_tokens or error.room_tokens or self.plan.limit
        if error.kind != "context_overflow" or not least:
            return False
        before = self.plan
        counted = max(least - self.tool_tokens, 1)
        self._meter.learn_refusal(self.settings.target, before.messages, counted)
        if self.settings.is_truncating:
            self.plan = self._planned(error.room_tokens)
        return self.plan.left_out > before.left_out

    # The plan

    async def _prepare(self) -> list[str]:
        """Complete the plan; return notes about tools and files that are left out."""
        notes: list[str] = []
        if self.loop is not None:
            notes += await self._offer_tools(self.loop)
        await self._count()
        for name in await self._read_files():
            notes.append(f"{name} is missing on this disk; its name is sent instead.")
        return notes

    async def _offer_tools(self, loop: ToolLoop) -> list[str]:
        """Add the tools to the plan; return notes about what is missing."""
        offered = await loop.offered(self.settings.target)
        self.tools = offered[:MAX_TOOLS]
        forms = [json.dumps(tool_in_request(tool), ensure_ascii=False) for tool in self.tools]
        self.tool_tokens = sum(map(estimate_tokens, forms))
        self.plan = self._planned()

        notes = []
        left_out = len(offered) - len(self.tools)
        if left_out and not loop.steps:
            notes.append(f"{left_out} tools are left out. Switch off others with /tools.")
        return notes + loop.host_notes()

    async def _count(self) -> None:
        """Let the server count a prompt that may not fit, and plan once more."""
        if not self._may_be_too_long():
            return
        await self._read_files()
        try:
            counted = await self._backend.count_tokens(self._request())
        except LMChatError:
            return
        if counted is not None:
            in_messages = counted - self.tool_tokens
            self._meter.learn(self.settings.target, self.plan.size, in_messages, is_exact=True)
            self.plan = self._planned()

    def _may_be_too_long(self) -> bool:
        """Whether a count of the server could change the plan."""
        plan = self.plan
        if self.continued is not None or not self.settings.is_truncating:
            return False
        if plan.size.has_images:
            return False
        is_nearly_full = plan.limit is not None and plan.tokens >= _NEARLY_FULL * (
            plan.limit - plan.reserve
        )
        return is_nearly_full or bool(plan.left_out)

    def _planned(self, limit: int | None = None) -> ContextPlan:
        target = self.settings.target
        plan = plan_context(
            self.path.added(self.continued) if self.continued else self.path,
            limit=limit or target.context,
            max_tokens=self.settings.sampling.max_tokens,
            factor=self._meter.factor(target),
            tool_tokens=self.tool_tokens,
            sent_thoughts=self._sent_thoughts,
            is_continued=self._is_prefilled,
        )
        if plan.fits or self.settings.is_truncating:
            return plan
        raise RequestInvalid(
            f"The session needs about {plan.needed_tokens} tokens, plus {plan.reserve} for "
            f"the answer; the context window has {plan.limit}.",
            hint="Start a new session, set auto_truncate = true, or use a larger context window.",
            kind="context_overflow",
        )

    @property
    def _sent_thoughts(self) -> SentThoughts:
        """The thoughts to plan for; a prompt that asks to go on follows all of them."""
        sent = self.settings.target.sent_thoughts
        ends_with_prompt = self.continued is not None and not self._is_prefilled
        if ends_with_prompt and sent is SentThoughts.SINCE_PROMPT:
            return SentThoughts.NONE
        return sent

    async def _read_files(self) -> list[str]:
        """Read the files of the plan, newest first; return the names of those that are missing."""
        model = self.settings.target.model
        is_blind = model is not None and model.is_blind
        image_bytes = 0
        missing = []
        for part in self._files_of_plan():
            if part.is_image and (is_blind or image_bytes >= _MAX_IMAGE_BYTES):
                self._files.setdefault(part.digest, b"")
                continue
            try:
                self._files[part.digest] = await self._save_queue.read_file(part.digest)
            except LMChatError:
                missing.append(part.name)
            if part.is_image:
                image_bytes += part.size
        return missing

    def _files_of_plan(self) -> Iterator[FilePart]:
        """Yield the files, those of the newest message first."""
        for message in reversed(self.plan.messages):
            yield from message.files

    def _new_notes(self) -> Iterator[str]:
        """Yield what does not fit; messages left out only when their number has doubled."""
        plan = self.plan
        if plan.left_out > 2 * self.reported_left_out:
            self.reported_left_out = plan.left_out
            oldest = "message is" if plan.left_out == 1 else f"{plan.left_out} messages are"
            yield f"The context window is full: the oldest {oldest} left out."
        if plan.limit is None or self.cut_note:
            return
        if plan.tokens > plan.limit:
            self.cut_note = cut_note(self.settings.target, plan.tokens, plan.limit)
            yield self.cut_note

    def _request(self) -> ChatRequest:
        messages = self.plan.messages
        continued = self.continued
        if continued is not None and continued.text and not self._is_prefilled:
            words = f"{CONTINUE}\n\n{last_words(continued.text)}"
            messages = (*messages, text_message(Role.USER, words))
        settings = self.settings
        return ChatRequest(
            endpoint=settings.target.endpoint,
            product=settings.target.product,
            model=settings.target.model_id,
            messages=messages,
            sampling=settings.sampling,
            output=settings.output,
            tools=self.tools,
            files=self._files,
            must_call=self.loop is not None and self.loop.must_call,
        )
