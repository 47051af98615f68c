"""The request for one answer: which messages are sent for it, and what is sent after a refusal.

A *plan* (`ContextPlan`) has the messages that are sent. It is made at the start, and again when the
tools or a refusal have changed what fits. A *refusal* is a `ServerRejected` before the answer has
begun. `turn_starts.py` says what a beginning and prefill are.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from itertools import chain

from msgspec.structs import replace

from lmchat.answers.answer_figures import AnswerFigures
from lmchat.chat.context import (
    ContextMeter,
    ContextPlan,
    cut_note,
    has_images,
    larger_window_step,
    plan_context,
)
from lmchat.chat.settings import TurnSettings
from lmchat.chat.tool_rounds import ToolRounds, call_in_text
from lmchat.chat.turn_starts import (
    CONTINUE,
    QUOTED_END_CHARS,
    Beginning,
    needs_blank,
    require_prefill,
)
from lmchat.errors import FileRefused, LMChatError, RequestInvalid, ServerRejected
from lmchat.safe_text import safe_line
from lmchat.servers.events import (
    ModelNamed,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.servers.products import product_named, sent_thoughts_to
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.request import (
    ChatRequest,
    FittingValue,
    Tool,
    tool_in_request,
)
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    AnswerStats,
    ChatMessage,
    Role,
    SentThoughts,
    text_message,
)
from lmchat.sessions.session import MessagePath
from lmchat.storage.store import Store
from lmchat.token_estimate import estimate_tokens

_ANSWER_EVENTS = (TextDelta, RefusalDelta, ToolCallDelta)
_CONTENT_EVENTS = (*_ANSWER_EVENTS, ReasoningDelta)
"""Events after which a request is not sent again: the answer has begun."""
_PREFILL_REFUSED = ("bad_request", "template", "server_error", "unsupported")
"""Kinds of errors by which servers refuse prefill, as for models that think."""
_TOO_LONG = ("context_overflow", "answer_limit")
"""Kinds of errors that a shorter prompt helps with: the answer needs room beside it."""
_MOST_TEXTS = 20  # messages in which words are looked for
_MAX_IMAGE_BYTES = 20_000_000
"""Images are read, newest first, up to about this sum of sizes; the others are only named."""


def refuse_unseen_images(target: Target, prompts: Sequence[ChatMessage]) -> None:
    """Raise `FileRefused` if a prompt has an image and the model cannot see images."""
    if target.is_blind and has_images(prompts):
        problem = f"{safe_line(target.model_id, limit=80)} cannot see images."
        hint = "Choose a model with vision, or remove the image."
        raise FileRefused(problem, hint=hint, kind="no_vision")


class AnswerRequest:
    """The request for one answer, which a refusal may change, and the stream of its events.

    A `Turn` makes one for each answer, reads `events`, and calls `ended` at the end of the answer.
    """

    def __init__(
        self,
        settings: TurnSettings,
        path: MessagePath,
        *,
        backend: AnswerSource,
        meter: ContextMeter,
        store: Store,
        rounds: ToolRounds | None = None,
        beginning: Beginning | None = None,
    ) -> None:
        """Make the first plan for the answer to a path; nothing is sent.

        Without `rounds`, the model gets no tools. Raises `RequestInvalid` if the messages do not
        fit and none may be left out, or if the server cannot continue words of the user. After
        calls of tools, `events` raises the first of these errors instead, so that it ends an
        answer.
        """
        self.settings = settings
        self.target = target = settings.target
        self.path = path
        self.rounds = rounds
        self.beginning = beginning
        self._backend = backend
        self._meter = meter
        self._store = store
        self._product = product = product_named(target.product)

        if beginning is not None and beginning.is_exact:
            require_prefill(target, beginning)
        self._is_prefilled = beginning is not None and beginning.can_prefill(target)
        """Whether there is a beginning, and it is sent as the last message (prefill).

        Without prefill, a prompt asks for what follows the beginning.
        """
        self._tools: tuple[Tool, ...] = ()  # offered to the model
        self._tool_tokens = 0  # estimate for the descriptions of these tools
        self.plan = self._make_plan()  # which reads the attributes above
        # After calls of tools, the error comes from `events`, which plans again. It is then shown
        # and saved with an answer; raised here, it would end the turn without one.
        if rounds is None or rounds.steps == 0:
            self._require_fit()

        self.sampling = settings.sampling
        """Options of all requests; with a random seed, which lets the user repeat the answer."""
        self._has_drawn_seed = False
        seed = product.drawn_seed(self.sampling.options)
        if seed is not None:
            self._has_drawn_seed = True
            self.sampling = replace(self.sampling, seed=seed)
        self._has_noted_length = False  # whether a note has said that the prompt is too long
        self._files: dict[str, bytes] = {}
        """Content by digest; b"" for images that are not sent. Missing files have no entry."""
        self._must_end_thought = False  # `answer_now` was called; the server was not asked yet
        self.can_answer_now = product.can_prefill_thought
        """Whether `answer_now` was not called yet, and the server may be able to end a thought."""
        self._was_shortened = False  # whether a refusal has made the plan shorter
        self._most_tokens: int | None = None  # room for a plan after a prompt was cut

    def for_path(self, path: MessagePath, beginning: Beginning | None = None) -> AnswerRequest:
        """Return the request for another answer of the same turn."""
        return AnswerRequest(
            self.settings,
            path,
            backend=self._backend,
            meter=self._meter,
            store=self._store,
            rounds=self.rounds,
            beginning=beginning,
        )

    async def events(
        self, note_left_out: Callable[[int], list[str]]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Complete the plan, send it, and yield the events of the answer.

        Notes about messages that are not sent come first, as `RequestAdapted`; the one about their
        number is made by `note_left_out`. After a refusal, the request is sent again without
        prefill or with fewer messages. If neither is possible, `ServerRejected` is raised. After
        `answer_now`, the server is asked to end the thought when the next piece of it arrives.
        """
        await self._prepare()
        can_adapt = True
        while True:  # each round sends one request
            for note in self._note_what_does_not_fit(note_left_out):
                yield RequestAdapted(note=note)
            request = self._make_request()
            try:
                prompt_tokens: int | None = None
                has_text = False
                has_answer = False  # whether more than a thought has come
                answer_id = ""  # the server's name of the answer
                async with aclosing(self._backend.stream(request)) as events:
                    async for event in events:
                        if isinstance(event, ModelNamed):
                            answer_id = event.answer_id
                        if isinstance(event, UsageReported):
                            prompt_tokens = event.prompt_tokens or prompt_tokens
                        is_first = not has_text and isinstance(event, TextDelta)
                        if isinstance(event, TextDelta | Rethought):  # then no text came so far
                            has_text = isinstance(event, TextDelta)
                        has_answer |= isinstance(event, _ANSWER_EVENTS)
                        if isinstance(event, _CONTENT_EVENTS):
                            can_adapt = False  # the user has seen a part of this answer
                        yield self._with_blank(event) if is_first else event
                        if self._must_end_thought and isinstance(event, ReasoningDelta):
                            self._must_end_thought = False
                            if not await self._backend.end_thought(request, answer_id):
                                yield RequestAdapted(note=self._no_thought_end_note)
                self._require_whole_prompt(prompt_tokens, has_answer=has_answer)
            except ServerRejected as error:
                if not (can_adapt and self._adapt_request(error)):
                    raise
            else:
                return

    def answer_now(self) -> str:
        """End the thought that the model is writing, or its next one, so that it answers at once.

        Return why the server cannot do that, or an empty text. A second call does nothing.
        """
        # the servers that can continue a thought are also those that can end one: llama.cpp and the
        # engine that is built on it
        if not self._product.can_prefill_thought:
            return self._no_thought_end_note
        if self.can_answer_now:  # the first call
            self._must_end_thought = True
            self.can_answer_now = False
        return ""

    @property
    def _no_thought_end_note(self) -> str:
        """What the user is told if the server cannot end a thought."""
        subject = self._product.subject
        return f"{subject} cannot end a thought: wait, or stop it and choose a lower /effort."

    async def first_request(self) -> ChatRequest:
        """Complete the plan and return the request that `events` would send, without sending it."""
        await self._prepare()
        return self._make_request()

    def call_in(self, text: str) -> str:
        """Return the full name of the tool that a text calls; "" without tools, and if none."""
        name = call_in_text(text) if self._tools else ""
        return self.rounds.full_name(name) if name and self.rounds is not None else ""

    def ended(self, figures: AnswerFigures) -> tuple[AnswerStats, str]:
        """Return the stats of the answer, with those of the answer that it continues.

        The estimates of tokens are corrected by the server's count of the prompt. Return also a
        note for the user if the server has left out a part of the prompt, else "".
        """
        figures.estimated_prompt_tokens = self.plan.tokens
        stats, counted, target = self._stats(figures), figures.usage.prompt_tokens, self.target
        if counted is None:
            return stats, ""
        is_cut = self._is_prompt_cut(counted)  # before the estimates are corrected by this count
        self._meter.learn(target, self.plan, counted - self._tool_tokens)
        note = ""
        if is_cut and not self._has_noted_length:
            window = self._meter.window(target)
            note = cut_note(target, tokens=self.plan.tokens, window=window, read_tokens=counted)
        return replace(stats, is_prompt_cut=stats.is_prompt_cut or is_cut), note

    def _stats(self, figures: AnswerFigures) -> AnswerStats:
        # window and limit are saved with the answer: they show which of them cut it short
        stats = figures.stats(
            product=self.target.product,
            context=self._meter.window(self.target),
            max_tokens=self.settings.sampling.max_tokens,
        )
        if not self._product.names_build:
            # such products have something else in the field (`system_fingerprint`)
            stats = replace(stats, build="")
        return stats.after(self.beginning.message.stats if self.beginning is not None else None)

    def _with_blank(self, event: StreamEvent) -> StreamEvent:
        """Return the first text of an answer, with the blank that it lacks behind its beginning.

        With prefill, the model continues the very tokens, and writes the blank itself.
        """
        if not isinstance(event, TextDelta) or self.beginning is None or self._is_prefilled:
            return event
        begun_text = self.beginning.message.text
        texts = (message.text for message in self.plan.messages[-_MOST_TEXTS:])
        is_missing = needs_blank(begun_text, event.text, (begun_text, *texts))
        return replace(event, text=f" {event.text}") if is_missing else event

    def _is_prompt_cut(self, prompt_tokens: int) -> bool:
        """Whether the server's count shows that it has left out a part of the prompt."""
        # about the tokens of the messages alone, as the meter learns and compares only these
        counted = prompt_tokens - self._tool_tokens
        return self._meter.is_cut(self.target, self.plan, counted)

    def _require_whole_prompt(self, prompt_tokens: int | None, *, has_answer: bool) -> None:
        """Raise `ServerRejected` if the answer is worth nothing, as the server has cut the prompt.

        An answer to a part of the prompt is worth something, unless it is empty, or has to match a
        schema: then its values are invented. The count alone is too rough for an error: the product
        has to be known to cut prompts.
        """
        is_of_use = has_answer and not isinstance(self.settings.output, FittingValue)
        target, tokens, product = self.target, self.plan.tokens, self._product
        if prompt_tokens is None or is_of_use or not product.cuts_prompts:
            return
        if not self._is_prompt_cut(prompt_tokens):
            return
        error = ServerRejected(
            f"{product.subject} has left out a part of the prompt: it has "
            f"about {tokens} tokens, and {prompt_tokens} were read.",
            kind="context_overflow",
            hint=larger_window_step(target, tokens),
        )
        error.needed_tokens = tokens
        window = self._meter.window(target)
        # what was read says nothing of the window: Ollama keeps the half of it
        self._most_tokens = window if window and window < tokens else prompt_tokens
        raise error

    def _adapt_request(self, error: ServerRejected) -> bool:
        """Change what is sent after a refusal, and return whether to send the request again.

        There are two changes. If the server refuses prefill, the beginning is sent without it,
        unless it has to be continued exactly. If the prompt was too long, the plan leaves out more
        messages, at most once in an answer.
        """
        beginning = self.beginning
        if beginning is not None and self._is_prefilled and error.kind in _PREFILL_REFUSED:
            if beginning.is_exact:  # it is sent with prefill or not at all
                return False
            self._is_prefilled = False
            self.plan = self._make_plan()
            self._require_fit()
            return True
        if error.kind not in _TOO_LONG:
            return False
        if error.room_tokens:
            self._meter.learn_window(self.target, error.room_tokens)
        if self._was_shortened:
            return False
        if error.kind == "answer_limit" and not error.needed_tokens:
            return False  # it says nothing about the prompt
        # The refusal gives a lower bound for the tokens of the prompt. It is the server's count if
        # the server has named one, else the window: as the server has named it, or that of the plan
        least_tokens = error.needed_tokens or error.room_tokens or self.plan.limit
        if not least_tokens:
            return False
        refused_plan = self.plan
        # learned also if nothing may be left out: later plans and the figures are nearer the truth
        factor = self._meter.learn_refusal(self.target, refused_plan, least_tokens)
        if self.settings.is_truncating:
            self.plan = self._make_plan(error.room_tokens or self._most_tokens, factor=factor)
        self._was_shortened = self.plan.left_out > refused_plan.left_out
        return self._was_shortened

    # The plan

    async def _prepare(self) -> None:
        """Plan again with the tokens of the tools, and read the files.

        Raises the error of `ToolRounds.offered` if no further round of calls is allowed. Raises
        `RequestInvalid` if the messages do not fit beside the tools, and none may be left out.
        """
        if self.rounds is not None:
            self._tools = await self.rounds.offered(self.target)
            self._tool_tokens = sum(
                estimate_tokens(json.dumps(tool_in_request(tool), ensure_ascii=False))
                for tool in self._tools
            )
            self.plan = self._make_plan()
            self._require_fit()
        # A model that cannot see gets no image. Any other model gets the newest images until their
        # sizes reach the limit; the last of these images may exceed it.
        image_room = 0 if self.target.is_blind else _MAX_IMAGE_BYTES
        newest_first = reversed(self.plan.messages)
        for part in chain.from_iterable(message.files for message in newest_first):
            if part.digest in self._files:  # a newer message has the same one
                continue
            if part.is_image:
                if image_room <= 0:
                    self._files[part.digest] = b""  # the model gets only its name
                    continue
                image_room -= part.size
            with suppress(LMChatError):  # the model gets the name, and a note that it is missing
                self._files[part.digest] = await self._store.read_file(part.digest)

    def _make_plan(self, limit: int | None = None, *, factor: float | None = None) -> ContextPlan:
        """Return the plan: the messages of the path, without the oldest if they do not fit.

        After a refusal, `limit` is the context window that the server has named, in tokens, and
        `factor` is what `learn_refusal` has returned. None stands for the window of the target, or
        for the factor that the meter has for it.
        """
        target, path = self.target, self.path
        sent_thoughts = sent_thoughts_to(target)
        if self.beginning is not None:
            path = path.added(self.beginning.message)
            # without prefill, the last prompt is the one that asks for the continuation: no answer
            # follows it whose thought could be sent
            if not self._is_prefilled and sent_thoughts is SentThoughts.SINCE_PROMPT:
                sent_thoughts = SentThoughts.NONE
        return plan_context(
            path,
            limit=limit or self._meter.window(target),
            max_tokens=self.settings.sampling.max_tokens,
            factor=factor or self._meter.factor(target),
            tool_tokens=self._tool_tokens,
            sent_thoughts=sent_thoughts,
            is_continued=self._is_prefilled,
        )

    def _require_fit(self) -> None:
        """Raise `RequestInvalid` if the messages do not fit, and none may be left out."""
        plan = self.plan
        if plan.fits or self.settings.is_truncating:
            return
        raise RequestInvalid(
            f"The session needs about {plan.needed_tokens} tokens, plus {plan.reserve} for "
            f"the answer; the context window has {plan.limit}.",
            hint="Start a new session, set auto_truncate = true, or use a larger context window.",
            kind="context_overflow",
        )

    def _note_what_does_not_fit(self, note_left_out: Callable[[int], list[str]]) -> list[str]:
        """Return notes about messages that are left out, and about a prompt that is too long.

        A prompt is too long if the messages that are always sent do not fit. It is noted once.
        """
        plan = self.plan
        notes = note_left_out(plan.left_out)
        if plan.limit is not None and plan.tokens > plan.limit and not self._has_noted_length:
            self._has_noted_length = True
            notes.append(cut_note(self.target, tokens=plan.tokens, window=plan.limit))
        return notes

    def _make_request(self) -> ChatRequest:
        """Return the request for the plan; without prefill, a prompt asks for the continuation."""
        messages = self.plan.messages
        begun_text = self.beginning.message.text if self.beginning is not None else ""
        # Without prefill, a prompt quotes the end of the beginning, from which the model continues.
        # A beginning that is only a thought cannot be continued in this way: the model answers the
        # last prompt again.
        if begun_text and not self._is_prefilled:
            text = f"{CONTINUE}\n\n{begun_text.rstrip()[-QUOTED_END_CHARS:]}"
            messages = (*messages, text_message(Role.USER, text))
        settings = self.settings
        return ChatRequest(
            target=self.target,
            messages=messages,
            sampling=self.sampling,
            has_drawn_seed=self._has_drawn_seed,
            output=settings.output,
            tools=self._tools,
            files=self._files,
            must_call=self.rounds is not None and self.rounds.must_call,
        )
