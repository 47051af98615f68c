"""`lmchat replay`: a saved answer, asked for again with what was kept of its request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.answer_request import AnswerRequest, refuse_unseen_images
from lmchat.chat.context import TokenEstimator
from lmchat.chat.settings import OptionValues, SamplingLayers, TurnSettings
from lmchat.chat.turn_starts import regenerated
from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_without_screen
from lmchat.cli.setup.wiring import Runtime, open_runtime, sampling_layers
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.errors import LMChatError, StillAnswering, WrongUse
from lmchat.servers.events import ReasoningDelta, TextDelta
from lmchat.servers.model import BUILT_IN, model_meant
from lmchat.servers.products import product_named
from lmchat.servers.request import Sampling
from lmchat.servers.sampling_options import usable_options
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage, Role
from lmchat.sessions.session import MessagePath
from lmchat.sessions.tokens import AnswerTokens, TokenProbabilities, probability
from lmchat.storage.store import Store
from lmchat.terminal.output import table, to_json
from lmchat.units import counted

_ALTERNATIVES = 20  # vLLM and OpenAI refuse to report more
_WORD = re.compile(r"\s{0,60}\S{1,60}|\s{1,60}")  # a paragraph in Chinese has no blanks
_WORDS_BEFORE = 6
_MORE_CHARS = 60  # read behind the length of the saved answer


class _Difference(Struct, frozen=True, kw_only=True):
    """The first word that differs; None where an answer has ended."""

    place: str
    word: int  # its number, from 1
    after: str  # the words before it
    saved: str | None
    replayed: str | None
    saved_probability: float | None
    replayed_probability: float | None

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        words = (
            ("saved", self.saved, self.saved_probability),
            ("replayed", self.replayed, self.replayed_probability),
        )
        return [
            (
                name,
                "(end)" if word is None else to_json(word),
                "" if chance is None else f"{chance:.2f}",
            )
            for name, word, chance in words
        ]


async def replay(context: Context) -> int:
    """Ask for a saved answer again; return 0 if the new one is equal, and 1 if it differs.

    At llama.cpp, the prompt cache is not used, as it changes the probabilities of tokens.
    """
    options, output = context.options, context.output
    async with open_runtime(context, is_saved=False) as runtime:
        store = runtime.saved
        session_id, path = await _path_to_answer(store, options.id)
        answer = path[-1]
        stats = answer.stats or AnswerStats()
        command_line = sampling_layers(context).command_line
        layers = SamplingLayers(command_line=command_line)
        sampling = layers.values(usable_options(stats.sampling), "")
        _require_seed(sampling, options.id)
        target = await _find_target(context, runtime, answer, stats)
        product = product_named(target.product)
        product.refuse_ignored(command_line)
        if product.takes_further_options:
            sampling.setdefault("cache_prompt", False)
        if product.takes_option("logprobs"):
            sampling.setdefault("logprobs", _ALTERNATIVES)
        start = regenerated(path, answer.message_id, prefill_text="")
        refuse_unseen_images(target, start.path)
        request = AnswerRequest(
            TurnSettings(target=target, sampling=Sampling().with_options(sampling)),
            start.sent_path,
            backend=runtime.backend,
            estimator=TokenEstimator(),
            store=store,
        )
        streamed = StreamedAnswer(target.model_id)
        await _read(context, request, streamed, answer)
        new_stats, note = request.ended(streamed.stats)
        tokens = await store.token_probabilities(answer.message_id)

    replayed = streamed.so_far(answer)
    difference = _first_difference(answer, replayed, tokens, streamed.tokens)
    notes = [note] if note else []
    if difference is not None:
        notes += _possible_causes(stats, new_stats)
        if stats.steps or answer.tool_calls:
            notes.append("The model had tools for this answer; a replay offers none.")
    for note in notes:
        output.note(f"lmchat: {note}")
    document = {
        "equal": difference is None,
        "difference": difference,
        "session_id": session_id,
        "message_id": answer.message_id,
        "model": replayed.model,
        "endpoint": target.endpoint.url,
        "sampling": new_stats.sampling,
        "notes": notes,
    }
    if difference is None:
        is_whole = answer.state is AnswerState.COMPLETE
        ending = "" if is_whole else ", as far as the saved answer goes"
        words = counted(len(f"{answer.reasoning} {answer.text}".split()), "word")
        return output.print_result(document, f"equal: {words}{ending}")
    heading = f"different at word {difference.word} of the {difference.place}"
    after = f", after: {difference.after}" if difference.after else ""
    output.print_result(
        document, f"{heading}{after}", *table(("", "WORD", "PROBABILITY"), difference.rows)
    )
    return 1


async def _path_to_answer(store: Store, typed: str) -> tuple[str, MessagePath]:
    """Return the id of a session, and its path up to the answer that `SESSION:NUMBER` names.

    Raises `WrongUse` if there is no such answer, or no model has written it.
    """
    typed_id, _, number = typed.partition(":")
    session = await store.open_session(await store.find_id(typed_id))
    path = session.messages
    answers = [index for index, message in enumerate(path) if message.role is Role.ASSISTANT]
    by_number = {str(number): index for number, index in enumerate(answers, 1)}
    index = by_number.get(number or str(len(answers)))
    hint = f"{typed_id}:1 is the first answer of the session."
    if index is None:
        count = counted(len(answers), "answer")
        raise WrongUse(f"There is no answer {typed}: the session has {count}.", hint=hint)
    answer = path[index]
    if answer.state is AnswerState.STREAMING:
        raise StillAnswering
    is_edited = answer.stats is not None and answer.stats.is_edited
    if is_edited or not (answer.text or answer.reasoning):
        problem = "There is nothing to compare: you have edited this answer, or it has no text."
        raise WrongUse(problem, hint=hint)
    return session.header.session_id, path.before(index + 1)


def _require_seed(sampling: OptionValues, typed: str) -> None:
    """Raise `WrongUse` if only the server knew the seed; temperature 0 needs none."""
    seed = sampling.get("seed", sampling.get("extra.seed"))
    is_known = isinstance(seed, int) and seed >= 0  # llama.cpp draws one for -1
    if not is_known and sampling.get("temperature") != 0:
        raise WrongUse(
            "This answer was made without a known seed, so it cannot be repeated.",
            hint="Ask again with --set seed=NUMBER, or with --set temperature=0. To compare all "
            f"the same: lmchat replay {typed} --set seed=1",
        )


async def _find_target(
    context: Context, runtime: Runtime, answer: ChatMessage, stats: AnswerStats
) -> Target:
    """Return the model and server of the answer, or what `-m` and `--endpoint` name.

    Raises the error that says why they cannot be asked.
    """
    options, settings = context.options, runtime.settings
    name = options.model or stats.asked or answer.model
    endpoint = options.endpoint or answer.endpoint or settings.endpoint
    local = replace(settings.local, model=name)
    runtime = replace(runtime, settings=replace(settings, endpoint=endpoint, local=local))
    is_engine = context.is_local or (stats.product == BUILT_IN and not options.endpoint)
    try:
        if is_engine:
            settings = await start_engine_without_screen(context, runtime)
            runtime, name = replace(runtime, settings=settings), settings.model
        finder = runtime.finder()
        target = await finder.ready_target(name, note=context.output.note)
        if name:  # a server may answer with another model to a name that it does not list
            listed = [model for server in finder.servers for model in server.models]
            model_meant(name, listed, is_exact=True)
    except LMChatError as error:
        step = f"To ask another model: lmchat replay {options.id} -m MODEL --endpoint URL"
        if is_engine:  # its file may be in a folder that is not searched
            step = f"To name the file of a model: lmchat replay {options.id} -m FILE"
        error.hint = f"{error.hint} {step}".lstrip()
        raise
    return target


async def _read(
    context: Context, request: AnswerRequest, streamed: StreamedAnswer, answer: ChatMessage
) -> None:
    """Read the new answer, but not far behind the length of the saved one."""
    printer = TurnPrinter(context.output, asked_model=streamed.stats.model, prints_text=False)
    chars, saved_chars = 0, len(answer.reasoning) + len(answer.text)
    async with (
        printer.stages_shown(lambda: streamed.stats),
        aclosing(request.events(lambda _: [])) as events,
    ):
        async for event in events:
            streamed.add(event)
            printer.print_event(event)
            if isinstance(event, TextDelta | ReasoningDelta):
                chars += len(event.text)
                context.output.show_progress(f"lmchat: {chars} of {saved_chars} characters …")
            if chars > saved_chars + _MORE_CHARS:
                break
    context.output.show_progress("")
    streamed.end(AnswerState.COMPLETE)


def _first_difference(
    answer: ChatMessage,
    replayed: ChatMessage,
    tokens: Sequence[TokenProbabilities],
    new_tokens: Sequence[TokenProbabilities],
) -> _Difference | None:
    """Return None also if the new answer continues one that was stopped."""
    for place, text, new_text, is_last in (
        ("thought", answer.reasoning, replayed.reasoning, not answer.text),
        ("answer", answer.text, replayed.text, True),
    ):
        is_stopped = is_last and answer.state is not AnswerState.COMPLETE
        if text == new_text or (is_stopped and new_text.startswith(text)):
            continue
        words, new_words = _WORD.findall(text), _WORD.findall(new_text)
        equal = _common_length(words, new_words)
        word, new_word = ("".join(one[equal : equal + 1]) for one in (words, new_words))
        offset = len("".join(words[:equal])) + _common_length(word, new_word)
        if word.strip() != new_word.strip():
            word, new_word = word.strip(), new_word.strip()
        token = _token_at(offset, place, answer, tokens)
        new_token = _token_at(offset, place, replayed, new_tokens)
        return _Difference(
            place=place,
            word=equal + 1,
            after="".join(words[max(equal - _WORDS_BEFORE, 0) : equal]).strip(),
            saved=word if equal < len(words) else None,
            replayed=new_word if equal < len(new_words) else None,
            saved_probability=_chance(token, new_token, text),
            replayed_probability=_chance(new_token, token, new_text),
        )
    return None


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _token_at(
    offset: int, place: str, answer: ChatMessage, tokens: Sequence[TokenProbabilities]
) -> tuple[TokenProbabilities, int] | None:
    """Return the token at an offset of a text, and the offset of its beginning, if it is known."""
    known, is_thought = AnswerTokens(answer, tokens), place == "thought"
    start = known.thought_start if is_thought else known.text_start
    for token in tokens:
        if start is not None and token.is_thought == is_thought:
            if start <= offset < start + len(token.text):
                return token, start
            start += len(token.text)
    return None


def _chance(
    own: tuple[TokenProbabilities, int] | None,
    other: tuple[TokenProbabilities, int] | None,
    text: str,
) -> float | None:
    """Return the probability of a token of `text`, or else the one that it had for the other."""
    if own is not None:
        return probability(own[0].logprob)
    if other is None:
        return None
    token, start = other
    others = (one for one in token.top if one.token != token.token)
    fitting = [one for one in others if text.startswith(one.token, start)]
    return probability(max(fitting, key=lambda one: len(one.token)).logprob) if fitting else None


def _possible_causes(stats: AnswerStats, new_stats: AnswerStats) -> list[str]:
    facts = (
        ("build of the server", stats.build, new_stats.build),
        ("tokens of the prompt", stats.prompt_tokens, new_stats.prompt_tokens),
        ("tokens of the prompt from a cache", stats.cached_tokens, new_stats.cached_tokens or 0),
    )
    return [
        f"{name.capitalize()}: {old} in the saved answer, {new} now."
        for name, old, new in facts
        if old and new not in ("", None, old)
    ]
