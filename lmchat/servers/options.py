"""Sampling options: their names, and the type and range of the values of common ones.

The common options are those of `COMMON`; each product takes some of them
(`Product.sampling_fields`). llama.cpp also takes `LLAMA_CPP_OPTIONS`, and checks their values.
The name `extra.NAME` sends the field NAME as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from msgspec import Struct

from lmchat.config.file import MODEL
from lmchat.config.settings import EFFORTS, effort_of
from lmchat.errors import WrongUse
from lmchat.matching import closest_word
from lmchat.safe_text import safe_line

TAKEN_BY_ALL = ("temperature", "top_p", "max_tokens", "stop", "reasoning_effort")
EXTRA = "extra."
"""Beginning of the name of an option that is sent as it is."""
_OWN_FIELDS = ("model", "messages", "stream")
"""Fields that decide what is sent to which model: no option, perhaps of a file, replaces them."""
_MAX_SHOWN_CHARS = 40  # of a wrong value in a message


class ValueKind(StrEnum):
    """Type of the value of an option; the value is how messages call it."""

    NUMBER = "a number"
    WHOLE = "a whole number"
    EFFORT = f"one of {', '.join(EFFORTS)}, or a number of tokens"
    TEXTS = "a list of texts"
    BIAS = "a table of token numbers and biases"


class SamplingOption(Struct, frozen=True):
    """Type and range of the value of an option, and a line of help."""

    kind: ValueKind
    help: str
    least: float | None = None
    most: float | None = None

    @property
    def form(self) -> str:
        """What a value must be, as "a number from 0 to 2"."""
        if self.least is None:
            return self.kind.value
        return f"{self.kind} from {self.least:,} to {self.most:,}"


_KINDS = {
    float: ValueKind.NUMBER,
    int: ValueKind.WHOLE,
    str: ValueKind.EFFORT,
    tuple[str, ...]: ValueKind.TEXTS,
    Mapping[str, float]: ValueKind.BIAS,
}
"""Kinds of values by the types of settings."""

COMMON: Mapping[str, SamplingOption] = {
    name: SamplingOption(_KINDS[row.type], row.help, row.meta.ge, row.meta.le)
    for name, row in MODEL.rows.items()
}
"""Options of most servers: those of the configuration."""

LLAMA_CPP_OPTIONS = (
    "dynatemp_range",
    "dynatemp_exponent",
    "top_n_sigma",
    "xtc_probability",
    "xtc_threshold",
    "repeat_last_n",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "adaptive_target",
    "adaptive_decay",
    "ignore_eos",
    "n_keep",
    "n_discard",
    "min_keep",
    "samplers",
    "n_probs",
    "post_sampling_probs",
    "backend_sampling",
    "grammar",
    "json_schema",
    "lora",
    "cache_prompt",
    "id_slot",
    "n_cache_reuse",
    "n_indent",
    "t_max_predict_ms",
)
"""Further options of llama.cpp, as its `/completion` takes them."""


def parsed_value(text: str) -> object:
    """Return the value of a typed text: JSON or TOML where it can be read so, else the text.

    A value that JSON cannot send, such as a date or `nan`, stays a text.
    """
    import tomllib  # noqa: PLC0415 - only a typed option needs it

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            return text
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        return text
    return value


def option_form(name: str) -> str:
    """Return what the value of an option may be, with its help in brackets.

    Raises `WrongUse` for an unknown name.
    """
    if name in LLAMA_CPP_OPTIONS or _is_extra(name):
        return "any value, which is sent as it is"
    option = COMMON.get(name)
    if option is None:
        raise _unknown_name(name)
    return f"{option.form} ({option.help})"


def checked_option(name: str, value: object) -> object:
    """Return the value of an option in the type in which it is sent.

    Raises `WrongUse` for an unknown name, for `extra.` with one of `_OWN_FIELDS`, and for a value
    of a common option that has another type or is out of range.
    """
    if _is_extra(name):
        field = name.removeprefix(EXTRA)
        if field in _OWN_FIELDS:
            message = f"{name} cannot be set: lmchat itself sets {field} in each request."
            raise WrongUse(message, hint="Nothing is changed.")
        return value
    if name in LLAMA_CPP_OPTIONS:
        return value
    option = COMMON.get(name)
    if option is None:
        raise _unknown_name(name)
    checked = _in_type(option.kind, value)
    if checked is None or not _is_in_range(option, checked):
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        shown = safe_line(text)[:_MAX_SHOWN_CHARS]
        raise WrongUse(
            f"{name} must be {option.form}, not {shown}.",
            hint="Nothing is changed.",
        )
    return checked


def usable_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return saved options as they are sent, without those that this version would refuse.

    Another version of lmchat may have saved them, and JSON has turned tuples into lists.
    """
    usable: dict[str, object] = {}
    for name, value in options.items():
        with suppress(WrongUse):
            usable[name] = checked_option(name, value)
    return usable


def _is_extra(name: str) -> bool:
    """Return whether a name is `extra.NAME`."""
    return name.startswith(EXTRA) and len(name) > len(EXTRA)


def _unknown_name(name: str) -> WrongUse:
    suggestion = closest_word(name, (*COMMON, *LLAMA_CPP_OPTIONS))
    ending = f"; did you mean {suggestion}?" if suggestion else "."
    return WrongUse(
        f"Unknown sampling option: {safe_line(name, limit=_MAX_SHOWN_CHARS)}{ending}",
        hint=f"The options are {', '.join(COMMON)}; extra.NAME sends any other field.",
    )


def _in_type(kind: ValueKind, value: object) -> object:
    """Return a value in the type of a kind; None if it cannot be that."""
    match kind:
        case ValueKind.TEXTS:
            return _texts(value)
        case ValueKind.EFFORT:
            return effort_of(value)
        case ValueKind.NUMBER:
            is_fitting = _is_whole(value) or isinstance(value, float)
        case ValueKind.WHOLE:
            is_fitting = _is_whole(value)
        case _:
            is_fitting = _is_bias(value)
    return value if is_fitting else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: object) -> tuple[str, ...] | None:
    """Return a text, or a list of texts that are not empty, as a tuple; None for other values."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts:
        return None
    are_texts = all(isinstance(text, str) and text for text in texts)
    return tuple(texts) if are_texts else None


def _is_bias(value: object) -> bool:
    """Return whether a value gives tokens, by their numbers, a bias of -100 to 100, or false.

    false forbids the token. To Python it is also the number 0, so it is not tested for; true, which
    is the number 1, is refused.
    """
    if not isinstance(value, Mapping) or not value:
        return False
    for token, bias in value.items():
        is_number = isinstance(bias, int | float) and -100 <= bias <= 100  # noqa: PLR2004
        if not str(token).isdecimal() or not is_number or bias is True:
            return False
    return True


def _is_in_range(option: SamplingOption, value: object) -> bool:
    """Return whether a value of the right type is in the range of its option, if it has one."""
    if option.least is None or option.most is None or not isinstance(value, int | float):
        return True
    return option.least <= value <= option.most
