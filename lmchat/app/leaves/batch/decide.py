"""`lmchat decide`: one of several options, with its probability.

A label is a letter or digit in front of an option; the model answers with it. Models prefer some
labels and places, so it is asked once for each rotation of the options. The probabilities are the
means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from time import monotonic

from lmchat.api import Answer
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import open_home
from lmchat.app.cli.read_prompt import prompt_of, sampling_layers
from lmchat.app.cli.turn_printer import TurnPrinter
from lmchat.app.leaves.batch.jobs import print_note, prompt_messages
from lmchat.base.errors import AnswerUnfit, WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.sessions.tokens import probability

_ANOTHER_OPTION = 10  # exit code: not the first option
_MIN_OPTIONS = 2
_MAX_OPTIONS = 20
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "1234567890"
_LEAST_PROBABILITY = 0.1  # of all labels; below it, their proportions are noise
# of the chosen option over the next: the cache of a server alone can make a smaller difference
_LEAST_LEAD = 0.01
_PROMPT = """\
{question}

{options}

Answer with the label of the right option, and nothing else."""


async def decide(context: Context) -> int:
    """Print the option that the model chooses, and its probability.

    Return 0 for the first option, 10 for another. Sampling options of the command line are sent,
    those of the configuration are not: they are set for chats. Its system prompt is sent.

    Raises `AnswerUnfit` if the labels are unlikely, the two likeliest options are equally likely,
    or the model thinks.
    """
    options = [option.strip() for option in context.options.choices.split(",")]
    labels = _labels_for(options)  # wrong options are refused before stdin is read
    layers = sampling_layers(context)
    if not context.options.prompt.strip():
        raise WrongUse("The question is empty.", next_step='Example: lmchat decide "Is it spam?"')
    question = await prompt_of(context)

    async with open_home(context) as (home, (model,)):
        started_s = monotonic()
        means = dict.fromkeys(options, 0.0)  # by option
        for start in range(len(options)):
            rotated = [*options[start:], *options[:start]]
            # first, so that a cache holds it for all rotations
            lines = [f"{label}: {option}" for label, option in zip(labels, rotated, strict=True)]
            prompt = _PROMPT.format(question=question, options="\n".join(lines))
            messages = prompt_messages(prompt, context.settings.chat.system_prompt)
            note = partial(print_note, context.output, {})
            async with TurnPrinter(context.output).events_shown(note) as show:
                answer = await home.client.choose(
                    messages, labels, model=model, show=show, more=layers.command_line
                )
            probabilities = _label_probabilities(answer, labels)
            for option, label in zip(rotated, labels, strict=True):
                means[option] += probabilities[label] / len(options)
        elapsed_ms = (monotonic() - started_s) * 1e3

    known = {option: mean for option, mean in means.items() if not math.isnan(mean)}
    rest = 1 - sum(known.values())  # may be of any other
    choice, second = sorted(options, key=lambda option: known.get(option, rest), reverse=True)[:2]
    if unknown := " and ".join(option for option in options if option not in known):
        context.note(f"the server has not told how likely {safe_line(unknown)} is.")
    if choice not in known or known[choice] - known.get(second, rest) < _LEAST_LEAD:
        raise _undecided_error(
            f'"{safe_line(choice)}" and "{safe_line(second)}" may be equally likely'
        )
    document = {
        "choice": choice,
        "probability": known[choice],
        "probabilities": {option: known.get(option) for option in options},
        "model": model.model_id,
        "endpoint": model.endpoint.url,
        "elapsed_ms": round(elapsed_ms, 1),
    }
    context.output.print_result(document, f"{choice} {known[choice]:.2f}")
    return 0 if choice == options[0] else _ANOTHER_OPTION


def _labels_for(options: Sequence[str]) -> list[str]:
    """Return a label for each option; no label is equal to an option.

    If an option is a single letter, digits are used first. Raises `WrongUse` for equal or empty
    options, too few or too many.
    """
    taken = {option.upper() for option in options}
    pool = _LETTERS if taken.isdisjoint(_LETTERS) else _DIGITS + _LETTERS
    labels = [label for label in pool if label not in taken][: len(options)]
    has_wrong_number = len(options) not in range(_MIN_OPTIONS, _MAX_OPTIONS + 1)
    lacks_labels = len(labels) < len(options)  # options of one letter may leave too few
    has_equal_ones = len(set(options)) < len(options)
    if has_wrong_number or lacks_labels or has_equal_ones or "" in options:
        raise WrongUse(
            f"decide needs {_MIN_OPTIONS} to {_MAX_OPTIONS} different options.",
            next_step="Use words, and not many single letters: --options yes,no",
        )
    return labels


def _label_probabilities(answer: Answer, labels: Sequence[str]) -> dict[str, float]:
    """Return how likely each label is as the first token, nan if the server has not told it.

    If it has told all, their sum is 1.
    """
    # `top` has the likeliest tokens in its place
    first = answer.tokens[0]
    if first.is_thought:
        raise _undecided_error("the model began to think")

    likelihoods: dict[str, float] = {}
    logprobs = {first.token: first.logprob} | {other.token: other.logprob for other in first.top}
    for token, logprob in logprobs.items():
        label = token.strip().lstrip("▁Ġ")  # some models start with a blank, or a sign for it
        if label in labels:
            likelihoods[label] = likelihoods.get(label, 0.0) + probability(logprob)
    total = sum(likelihoods.values())
    if total < _LEAST_PROBABILITY:
        raise _undecided_error(
            f"the model answered with none of the options (all together: {total:.2f})"
        )
    whole = total if len(likelihoods) == len(labels) else 1.0
    return {label: likelihoods.get(label, math.nan) / whole for label in labels}


def _undecided_error(reason: str) -> AnswerUnfit:
    return AnswerUnfit(
        f"No decision: {reason}.",
        next_step="Ask a clearer question, name other --options, or use another model with -m.",
        kind="undecided",
    )
