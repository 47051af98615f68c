"""Text of `/details`: everything that is known of an answer, and why it was slow, if it was.

A figure that was not measured or reported is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState, ChatMessage, Receipt
from lmchat.sessions.stats import LedgerRow, Slowness, slow_speed, slow_wait

_NAME_CHARS = 200  # of a model or a server
_VALUE_CHARS = 2000  # of a sampling option, such as a grammar
_LABEL_WIDTH = 14
_NEARLY_FULL = 0.9  # share of the context window
_LEAST_SHARE = 0.2  # of the time beyond the median that a cause must have taken to be named
_TIME = "{time}"  # place of the time in the words of a cause

DetailRow = tuple[str, str]
"""A label and its value."""
Cause = tuple[str, float | None]
"""Words, in which `{time}` is replaced, and this time in milliseconds; None if it is not known."""


def details_text(answer: ChatMessage, ledger: Sequence[LedgerRow]) -> str:
    """Return the details of an answer, a line each; `ledger` has the turns before it."""
    rows = [*_server_rows(answer)]
    if answer.receipt is not None:
        rows += [*_token_rows(answer.receipt), *_time_rows(answer.receipt)]
        rows += _sampling_rows(answer.receipt)
    lines = [f"{label:<{_LABEL_WIDTH}}{value}" for label, value in rows]
    return "\n".join([*_why_slow(answer, ledger), *lines])


def _server_rows(answer: ChatMessage) -> Iterator[DetailRow]:
    """Yield the model, its server, the time, and how the answer came to its end."""
    receipt = answer.receipt or Receipt()
    if answer.model:
        yield "Model", safe_line(answer.model, limit=_NAME_CHARS)
    if receipt.asked:  # the requested model, where another one has answered
        yield "Asked for", safe_line(receipt.asked, limit=_NAME_CHARS)
    server = " at ".join(filter(None, (receipt.product, answer.endpoint)))
    if server:
        yield "Server", safe_line(server, limit=_NAME_CHARS)
    # llama.cpp built without git calls its build `b0-unknown`
    if receipt.build and "unknown" not in receipt.build:
        yield "Build", safe_line(receipt.build, limit=_NAME_CHARS)
    yield "Begun", f"{answer.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
    yield "End", _end_words(answer, receipt)
    if receipt.steps:
        yield "Steps", units.tokens(receipt.steps)
    if receipt.retries:
        yield "Retries", units.tokens(receipt.retries)


def _end_words(answer: ChatMessage, receipt: Receipt) -> str:
    """Return the state of an answer, the reason of the server or of a failure, and notes."""
    reason = receipt.ending or receipt.finish_reason
    if answer.state is not AnswerState.COMPLETE:
        reason = answer.failure.message if answer.failure else ""
    notes = ["edited"] if receipt.is_edited else []
    notes += ["continued while you were away"] if receipt.was_away else []
    words = (answer.state.value, safe_line(reason, limit=_NAME_CHARS), *notes)
    return ", ".join(filter(None, words))


def _token_rows(receipt: Receipt) -> Iterator[DetailRow]:
    """Yield the tokens of prompt and answer, the speeds, and how many drafted tokens were accepted.

    Some servers let a small model draft the next tokens, of which the model accepts those that fit.
    """
    if receipt.prompt_tokens is not None:
        yield "Prompt", _prompt_words(receipt)
    if receipt.prompt_tokens is not None and receipt.context:
        window = units.tokens(receipt.context)
        yield "Window", f"{window} tokens"
    if receipt.prompt_tokens_per_second is not None:
        yield "Read at", units.rate(receipt.prompt_tokens_per_second)
    if receipt.completion_tokens is not None:
        yield "Answer", _answer_words(receipt, receipt.completion_tokens)
    if receipt.tokens_per_second is not None:
        yield "Written at", units.rate(receipt.tokens_per_second)
    if receipt.draft_tokens is not None and receipt.accepted_tokens is not None:
        accepted = units.tokens(receipt.accepted_tokens)
        yield "Drafts", f"{accepted} of {units.tokens(receipt.draft_tokens)} tokens accepted"


def _prompt_words(receipt: Receipt) -> str:
    """Return the tokens of the prompt: all, those from the cache, and those that were read."""
    prompt_tokens = receipt.prompt_tokens or 0
    words = f"{units.tokens(prompt_tokens)} tokens"
    if receipt.cached_tokens is None:
        return words
    read_tokens = max(prompt_tokens - receipt.cached_tokens, 0)
    cached = units.tokens(receipt.cached_tokens)
    return f"{words}: {cached} cached, {units.tokens(read_tokens)} read"


def _answer_words(receipt: Receipt, tokens: int) -> str:
    """Return the tokens of the answer; of one with a thought, also those of both parts."""
    words = f"{units.tokens(tokens, is_estimated=receipt.is_estimated)} tokens"
    if not receipt.thought_tokens:
        return words
    thought = units.tokens(min(receipt.thought_tokens, tokens), is_estimated=True)
    answer = units.tokens(max(tokens - receipt.thought_tokens, 0), is_estimated=True)
    return f"{words}: {thought} thought, {answer} answer"


def _time_rows(receipt: Receipt) -> Iterator[DetailRow]:
    """Yield the times that were measured, roughly in the order in which they begin."""
    # 0 ms stands for a wait or a whole time that was not measured, None for the other times
    times = (
        ("Waited", receipt.queue_ms or None),
        ("Loading", receipt.load_ms),
        ("First token", receipt.ttft_ms),
        ("Thought", receipt.reasoning_ms),
        ("First word", receipt.wait_ms),
        ("All", receipt.elapsed_ms or None),
    )
    for label, time_ms in times:
        if time_ms is not None:
            yield label, units.exact_time(time_ms / 1e3)


def _sampling_rows(receipt: Receipt) -> Iterator[DetailRow]:
    """Yield a row for each sampling option that was sent."""
    label = "Sampling"
    for name, value in sorted(receipt.sampling.items()):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words = safe_line(f"{name} {text}", limit=_VALUE_CHARS)
        is_drawn = name == "seed" and receipt.has_drawn_seed
        yield label, f"{words} (drawn by lmchat)" if is_drawn else words
        label = ""


def _why_slow(answer: ChatMessage, ledger: Sequence[LedgerRow]) -> Iterator[str]:
    """Yield a line that says why an answer was slow, and one with the median it is compared with.

    Yield nothing for an answer of normal speed. If both the wait and the speed were slow, only the
    wait is explained.
    """
    receipt = answer.receipt
    wait = slow_wait(answer.message_id, ledger)
    speed = slow_speed(answer.message_id, ledger)
    if receipt is None or (wait is None and speed is None):
        return
    causes: list[Cause] = []
    comparison = ""
    if wait is not None:
        excess_ms = wait.value - wait.median
        causes = [
            (words, time_ms)
            for words, time_ms in _wait_causes(receipt)
            if time_ms is None or time_ms >= _LEAST_SHARE * excess_ms
        ]
        comparison = f"First word after {_time(wait.value)}; {_median(wait, _time(wait.median))}"
    elif speed is not None:
        rate = units.rate(speed.value)
        comparison = f"{rate}; {_median(speed, units.rate(speed.median))}"
    causes += _window_causes(receipt)
    reasons = [words.replace(_TIME, _time(time_ms or 0.0)) for words, time_ms in causes]
    yield f"Slow because {'; '.join(reasons)}." if reasons else "Slow; no cause was measured."
    yield f"{comparison}.\n"


def _median(slowness: Slowness, words: str) -> str:
    return f"the median of {slowness.turns} earlier answers is {words}"


def _wait_causes(receipt: Receipt) -> Iterator[Cause]:
    """Yield what has taken time before the first word, as far as it was measured or counted."""
    if receipt.was_loaded:
        words = "the server was asleep" if receipt.was_asleep else "the model was loaded first"
        yield (words if receipt.load_ms is None else f"{words} ({_TIME})"), receipt.load_ms
    if receipt.queue_ms:
        yield f"it waited for another answer ({_TIME})", receipt.queue_ms
    if receipt.retries:
        yield f"it was sent {receipt.retries + 1} times", None
    yield from _reading_causes(receipt)
    if receipt.reasoning_ms:
        yield f"it thought for {_TIME}", receipt.reasoning_ms


def _reading_causes(receipt: Receipt) -> Iterator[Cause]:
    """Yield the estimated time for prompt tokens that the server has read."""
    speed = receipt.prompt_tokens_per_second
    if receipt.prompt_tokens is None or receipt.cached_tokens is None or speed is None:
        return
    tokens = receipt.prompt_tokens - receipt.cached_tokens
    if tokens > 0:
        yield f"{units.tokens(tokens)} prompt tokens were read ({_TIME})", tokens / speed * 1e3


def _window_causes(receipt: Receipt) -> Iterator[Cause]:
    """Yield that the context window was nearly full, if it was.

    The more tokens are in the window, the longer a server takes for the next one. How much longer
    is not measured.
    """
    if not receipt.context or receipt.prompt_tokens is None:
        return
    used = receipt.prompt_tokens + (receipt.completion_tokens or 0)
    if used >= _NEARLY_FULL * receipt.context:
        share = f"{units.tokens(used)} of {units.tokens(receipt.context)} tokens"
        yield f"the window was nearly full ({share})", None


def _time(time_ms: float) -> str:
    return units.elapsed(time_ms / 1e3)
