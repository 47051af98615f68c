"""`lmchat replay`: a saved answer, asked for again with what was kept of its request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.answer_request import AnswerRequest, refuse_unseen_images
from lmchat.chat.context import TokenEstimator
from lmchat.chat.settings import OptionValues, SamplingLayers, TurnSettings
from lmchat.chat.tool_rounds import ToolRounds
from lmchat.chat.turn_starts import regenerated
from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_without_screen
from lmchat.cli.setup.make_toolbox import how_to_configure, make_toolbox, start_tools
from lmchat.cli.setup.wiring import Runtime, open_runtime, sampling_layers
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.errors import LMChatError, StillAnswering, WrongUse
from lmchat.servers.discovery.choose import require_model
from lmchat.servers.model import BUILT_IN
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
_CHUNKS_PER_LOOK = 16  # each look splits all that has come into words
_MOST_CHARS = 60  # of a word, which is a paragraph in Chinese
_WORDS_BEFORE = 6
_PLACES = ("thought", "answer", "tool call")


class _Difference(Struct, frozen=True, kw_only=True):
    """The first word that differs; None where an answer has ended."""

    place: str
    word: int  # its number, from 1
    after: str  # the words before it
    saved: str | None
    replayed: str | None
    saved_probability: float | None
    replayed_probability: float | None


async def replay(context: Context) -> int:
    """Ask for a saved answer again; return 0 if the new one is equal, and 1 if it differs.

    At llama.cpp, the prompt cache is not used, as it changes the probabilities of tokens.
    """
    options, output = context.options, context.output
    if options.tools and not context.has_tools:
        raise WrongUse("No tools are configured.", hint=how_to_configure(context))
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(open_runtime(context, is_saved=False))
        store = runtime.saved
        session_id, path = await _path_to_answer(store, options.id)
        answer = path[-1]
        stats = answer.stats or AnswerStats()
        command_line = sampling_layers(context).command_line
        layers = SamplingLayers(command_line=command_line)
        sampling = layers.values(usable_options(stats.sampling), "")
        target = await _find_target(context, runtime, answer, stats)
        product = product_named(target.product)
        product.refuse_ignored(command_line)
        _require_seed(
            sampling, "seed" if product.takes_option("seed") else "extra.seed", options.id
        )
        if product.takes_further_options:
            sampling.setdefault("cache_prompt", False)
        if product.takes_option("logprobs") and not options.tools:  # llama.cpp refuses both
            sampling.setdefault("logprobs", _ALTERNATIVES)
        start = regenerated(path, answer.message_id, prefill="")
        refuse_unseen_images(target, start.path)
        rounds: ToolRounds | None = None
        if options.tools:
            toolbox = make_toolbox(context, runtime.settings, runtime.state)
            await stack.enter_async_context(aclosing(toolbox.host))
            await start_tools(context, toolbox, target)
            rounds = ToolRounds(toolbox, session_id)
            rounds.steps = stats.steps
        elif stats.steps or answer.tool_calls:
            output.note("lmchat: The model had tools for this answer; --tools offers them again.")
        request = AnswerRequest(
            TurnSettings(target=target, sampling=Sampling().with_options(sampling)),
            start.sent_path,
            backend=runtime.backend,
            meter=TokenEstimator(),
            store=store,
            rounds=rounds,
        )
        first = await request.first_request()
        for part in (part for message in first.messages for part in message.files):
            if part.digest not in first.files:
                output.note(f"lmchat: {part.words} is missing: the model gets only its name.")
        streamed = StreamedAnswer(target.model_id)
        await _read(context, request, streamed, answer)
        new_stats, note = request.ended(streamed.stats)
        tokens = await store.token_probabilities(answer.message_id)

    replayed = streamed.so_far(answer)
    difference = _first_difference(answer, replayed, tokens, streamed.tokens)
    notes = [note] if note else []
    if difference is not None:
        notes += _possible_causes(stats, new_stats)
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
        ending = ", as far as the saved answer goes" if _is_partial(answer) else ""
        words = counted(len(" ".join(_texts(answer)).split()), "word")
        return output.print_result(document, f"equal: {words}{ending}")
    after = f", after: {difference.after}" if difference.after else ""
    rows = [
        (
            name,
            "(end)" if word is None else to_json(word),
            "" if chance is None else f"{chance:.2f}",
        )
        for name, word, chance in (
            ("saved", difference.saved, difference.saved_probability),
            ("replayed", difference.replayed, difference.replayed_probability),
        )
    ]
    output.print_result(
        document,
        f"different at word {difference.word} of the {difference.place}{after}",
        *table(("", "WORD", "PROBABILITY"), rows),
    )
    return 1


async def _path_to_answer(store: Store, typed: str) -> tuple[str, MessagePath]:
    """Return the id of a session, and its path up to the answer that `SESSION:NUMBER` names.

    Raises `WrongUse` if there is no such answer, or no model has written it.
    """
    typed_id, colon, number = typed.partition(":")
    session = await store.open_session(await store.find_id(typed_id))
    path = session.messages
    answers = [index for index, message in enumerate(path) if message.role is Role.ASSISTANT]
    by_number = {str(number): index for number, index in enumerate(answers, 1)}
    index = by_number.get(number if colon else str(len(answers)))
    hint = f"{typed_id}:1 is the first answer of the session."
    if index is None:
        count = counted(len(answers), "answer")
        raise WrongUse(f"There is no answer {typed}: the session has {count}.", hint=hint)
    answer = path[index]
    if answer.state is AnswerState.STREAMING:
        raise StillAnswering
    if not any(_texts(answer)) or (answer.stats is not None and answer.stats.is_edited):
        problem = "There is nothing to compare: you have edited this answer, or it is empty."
        raise WrongUse(problem, hint=hint)
    return session.header.session_id, MessagePath(path[: index + 1])


def _require_seed(sampling: OptionValues, name: str, typed: str) -> None:
    """Raise `WrongUse` if only the server knew the seed; temperature 0 needs none.

    `name` is that of an option that sends the server a seed.
    """
    seed = sampling.get("seed", sampling.get("extra.seed"))
    is_known = isinstance(seed, int) and seed >= 0  # llama.cpp draws one for -1
    if not is_known and sampling.get("temperature") != 0:
        raise WrongUse(
            "This answer was made without a known seed, so it cannot be repeated.",
            hint=f"Ask again with --set {name}=NUMBER, or with --set temperature=0. To compare all "
            f"the same: lmchat replay {typed} --set {name}=1",
        )


async def _find_target(
    context: Context, runtime: Runtime, answer: ChatMessage, stats: AnswerStats
) -> Target:
    """Return the model and server of the answer, or what `-m` and `--endpoint` name.

    Raises the error that says why they cannot be asked.
    """
    options, settings = context.options, runtime.settings
    model = options.model or stats.asked or answer.model
    endpoint = options.endpoint or answer.endpoint or settings.endpoint
    try:
        if context.is_local or (stats.product == BUILT_IN and not options.endpoint):
            local = replace(settings.local, model=model)
            with_model = replace(runtime, settings=replace(settings, local=local))
            settings = await start_engine_without_screen(context, with_model)
        else:
            settings = replace(settings, endpoint=endpoint, model=model)
        finder = replace(runtime, settings=settings).finder()
        target = await finder.ready_target(note=context.output.note)
        # at an address that the user has named, any name may be sent, and another model answer
        was_listed = options.model or not stats.served
        for server in finder.servers:
            if server.endpoint == target.endpoint and was_listed:
                require_model(settings.model, server, finder.servers)
    except LMChatError as error:
        step = f"To ask another model: lmchat replay {options.id} -m MODEL --endpoint URL"
        error.hint = f"{error.hint} {step}".lstrip()
        raise
    return target


async def _read(
    context: Context, request: AnswerRequest, streamed: StreamedAnswer, answer: ChatMessage
) -> None:
    """Read the new answer as far as it takes to compare it with the saved one."""
    printer = TurnPrinter(context.output, asked_model=streamed.stats.model, prints_text=False)
    async with (
        printer.stages_shown(lambda: streamed.stats),
        aclosing(request.events(lambda _: [])) as events,
    ):
        async for event in events:
            streamed.add(event)
            printer.print_event(event)
            if not streamed.stats.chunks or streamed.stats.chunks % _CHUNKS_PER_LOOK:
                continue
            replayed = streamed.so_far(answer)
            words = _words(replayed.text)
            context.output.show_progress(f"lmchat: {counted(len(words), 'word')} …")
            difference = _first_difference(answer, replayed)
            is_decided = difference is None and _is_partial(answer)
            if difference is not None and difference.place == "answer":
                # beside a thought, text may still become a part of it
                has_thought = answer.reasoning or replayed.reasoning
                is_decided = not has_thought and len(words) > difference.word
            if is_decided:
                break
    context.output.show_progress("")
    streamed.end(AnswerState.COMPLETE)


def _is_partial(answer: ChatMessage) -> bool:
    """Whether the model would have continued the answer."""
    is_cut = answer.stats is not None and answer.stats.is_cut
    return is_cut or answer.state is not AnswerState.COMPLETE


def _texts(answer: ChatMessage) -> tuple[str, ...]:
    """Return the texts of `_PLACES`."""
    calls = "\n".join(f"{call.name} {call.arguments}" for call in answer.tool_calls)
    return answer.reasoning, answer.text, calls


def _first_difference(
    answer: ChatMessage,
    replayed: ChatMessage,
    tokens: Sequence[TokenProbabilities] = (),
    new_tokens: Sequence[TokenProbabilities] = (),
) -> _Difference | None:
    """Return None also if the new answer continues one that ended early."""
    texts, new_texts = _texts(answer), _texts(replayed)
    for index, place in enumerate(_PLACES):
        text, new_text = texts[index], new_texts[index]
        if text == new_text:
            continue
        if _is_partial(answer) and new_text.startswith(text) and not any(texts[index + 1 :]):
            return None
        words, new_words = _words(text), _words(new_text)
        equal = _common_length(words, new_words)
        word, new_word = ("".join(one[equal : equal + 1]) for one in (words, new_words))
        same_chars = _common_length(word, new_word)
        shown = slice(same_chars if same_chars > _MOST_CHARS else 0, same_chars + _MOST_CHARS)
        offset = sum(len(one) + (not one.endswith("\n")) for one in words[:equal]) + same_chars
        if word.rstrip("\n") != new_word.rstrip("\n"):
            word, new_word = word.rstrip("\n"), new_word.rstrip("\n")
        token = _token_at(offset, place, answer, tokens)
        new_token = _token_at(offset, place, replayed, new_tokens)
        return _Difference(
            place=place,
            word=equal + 1,
            after=" ".join(" ".join(words[:equal]).split()[-_WORDS_BEFORE:]),
            saved=word[shown] if equal < len(words) else None,
            replayed=new_word[shown] if equal < len(new_words) else None,
            saved_probability=_chance(token, new_token, text),
            replayed_probability=_chance(new_token, token, new_text),
        )
    return None


def _words(text: str) -> list[str]:
    """Split at each blank and behind each line end, so that no other text has the same words."""
    return text.replace("\n", "\n ").split(" ") if text else []


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _token_at(
    offset: int, place: str, answer: ChatMessage, tokens: Sequence[TokenProbabilities]
) -> tuple[TokenProbabilities, int] | None:
    """Return the token at an offset of a text, and the offset of its beginning, if it is known."""
    known = AnswerTokens(answer, tokens)
    start = {"thought": known.thought_start, "answer": known.text_start}.get(place)
    for token in tokens:
        if start is not None and token.is_thought == (place == "thought"):
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
    fitting = [one for one in token.top if one.token != token.token]
    fitting = [one for one in fitting if text.startswith(one.token, start)]
    return probability(max(fitting, key=lambda one: len(one.token)).logprob) if fitting else None


def _possible_causes(stats: AnswerStats, new_stats: AnswerStats) -> list[str]:
    causes: list[str] = []
    build, tokens = stats.build, stats.prompt_tokens
    if new_stats.build not in ("", build) and build:
        causes.append(f"The server was build {build}, and is {new_stats.build} now.")
    if new_stats.prompt_tokens not in (None, tokens) and tokens is not None:
        causes.append(
            f"The prompt had {tokens} tokens, and has {new_stats.prompt_tokens} now: the model, "
            "template, tools, files or messages are others, or the answer continued another one."
        )
    if stats.cached_tokens:
        causes.append(
            f"{counted(stats.cached_tokens, 'token')} of the saved answer's prompt came from the "
            "cache of the server, which can change an answer. At llama.cpp, --set "
            "cache_prompt=false when you ask avoids that."
        )
    return causes
