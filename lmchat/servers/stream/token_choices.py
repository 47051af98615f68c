"""Reading of the probabilities of tokens, which come with the chunks of an answer."""

from __future__ import annotations

import math
from typing import Any

from lmchat.servers.http.json_values import (
    dict_or_empty,
    dicts_in,
    str_or_empty,
    without_surrogates,
)
from lmchat.sessions.message import LEAST_LOGPROB, MAX_ALTERNATIVES, Alternative, TokenProbabilities

_MAX_TOKEN_CHARS = 1000  # a longer token is no token of a model


class ChoiceReader:
    """Reader of the probabilities in an answer; tells for each token which text came with it.

    A server does not report all tokens. llama.cpp leaves out all but the last of the tokens that
    make up one character, and those that it adds itself. Their text belongs to the next token.
    """

    def __init__(self) -> None:
        self._text = ""  # of the answer, for which no token was reported yet
        self._is_thought = False  # whether that text is a thought

    def add_text(self, text: str, *, is_thought: bool) -> None:
        """Take a text of the answer; `read` must be called after it for the tokens of this text."""
        if is_thought != self._is_thought:
            self._text = ""  # of the other kind; its tokens are not reported any more
        self._is_thought = is_thought
        self._text += text

    def read(self, logprobs: object) -> tuple[TokenProbabilities, ...]:
        """Return the choices in the field `logprobs` of a chunk, whose text was added before.

        The tokens share the text that was added since the last reported token. If the text begins
        with a token, this token takes that much of it, otherwise nothing. The last token of the
        chunk takes all the rest.
        """
        entries = dicts_in(dict_or_empty(logprobs).get("content"))
        reported = [(entry, read_token(entry)) for entry in entries]
        tokens = [(entry, token) for entry, token in reported if token is not None]
        choices: list[TokenProbabilities] = []
        for number, (entry, token) in enumerate(tokens, 1):
            is_last = number == len(tokens)
            text = self._text
            if not is_last:
                text = token.token if text.startswith(token.token) else ""
            self._text = self._text[len(text) :]
            choice = TokenProbabilities(
                token=token.token,
                logprob=token.logprob,
                text=text,
                is_thought=self._is_thought,
                top=read_alternatives(entry),
            )
            choices.append(choice)
        return tuple(choices)


def read_alternatives(entry: dict[str, Any]) -> tuple[Alternative, ...]:
    """Return the likeliest tokens in place of a token, of which `entry` is the description.

    At most `MAX_ALTERNATIVES` are returned. Empty ones, such as the end of the answer, are left
    out.
    """
    listed = dicts_in(entry.get("top_logprobs") or entry.get("top_probs"))
    alternatives = (read_token(alternative) for alternative in listed[:MAX_ALTERNATIVES])
    return tuple(alternative for alternative in alternatives if alternative is not None)


def read_token(entry: dict[str, Any]) -> Alternative | None:
    """Return a token and its logprob; None for an empty or very long token, or without a logprob.

    With `post_sampling_probs`, llama.cpp sends probabilities as `prob`. The text is that of the
    bytes of the token: `token` leaves out bytes that are no whole character.
    """
    text = _text_of(entry)
    logprob = _logprob_of(entry)
    if not text or logprob is None or len(text) > _MAX_TOKEN_CHARS:
        return None
    return Alternative(token=text, logprob=logprob)


def _text_of(entry: dict[str, Any]) -> str:
    """Return the text of a token; bytes that are no whole character become U+FFFD."""
    values = entry.get("bytes")
    if isinstance(values, list) and values:
        try:
            return bytes(values).decode("utf-8", "replace")
        except (ValueError, TypeError):  # no list of bytes
            pass
    return without_surrogates(str_or_empty(entry.get("token")))


def _logprob_of(entry: dict[str, Any]) -> float | None:
    """Return the logprob of a token, from `LEAST_LOGPROB` to 0; None without a number."""
    logprob = _number(entry.get("logprob"))
    prob = _number(entry.get("prob"))
    if logprob is None and prob is not None:
        logprob = math.log(prob) if prob > 0 else LEAST_LOGPROB
    return None if logprob is None else min(max(logprob, LEAST_LOGPROB), 0.0)


def _number(value: object) -> float | None:
    """Return a number as a float; None for any other value, and if a float cannot hold it.

    Unlike `number_or_none`, it takes the lowest number that a float can hold, too.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
