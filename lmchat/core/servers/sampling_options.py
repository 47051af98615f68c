"""Sampling options: their names, and the types of the values of common ones.

Each product takes some of `COMMON` (`Product.sampling_fields`), some also `FURTHER_OPTIONS`.
`extra.NAME` sends the field NAME unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lmchat.base.errors import WrongUse
from lmchat.base.matching import did_you_mean
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import EFFORT_FORM, Effort, SamplingSettings, declared, effort_of

# by all products
TAKEN_BY_ALL = ("temperature", "top_p", "max_tokens", "stop", "reasoning_effort")
EXTRA = "extra."
"""Sent as it is."""
STORED = "stored."
"""Never sent, but named: an option of a file or a saved session that does more than sample."""
_OWN_FIELDS = ("model", "messages", "stream")
"""They decide what is sent to which model. Servers in Go take them in any case of letters."""
_WINDOWS = ("num_ctx", "n_ctx", "ctx_size", "context_length")  # what people try to set
_MAX_SHOWN_CHARS = 40  # of a wrong value in a message
_MAX_NAMES_CHARS = 200  # of the options in a note
_ONLY_SAMPLING = (
    "A file or a saved session can only set options of [chat] and samplers. "
    "Set others with --set or /set."
)
_FORMS = {
    float: "a number",
    int: "a whole number",
    Effort: EFFORT_FORM,
    tuple[str, ...]: "a list of texts",
    Mapping[str, float]: "a table of token numbers and biases",
}


class SamplingOption(Struct, frozen=True):
    """Type and limits of an option, with a line of help."""

    type: Any  # a key of `_FORMS`
    meta: Meta

    @property
    def form(self) -> str:
        """Words such as `a number from 0 to 2`."""
        form = _FORMS[self.type]
        return form if self.meta.ge is None else f"{form} from {self.meta.ge} to {self.meta.le}"


COMMON: Mapping[str, SamplingOption] = {
    name: SamplingOption(kind, meta) for name, (kind, meta) in declared(SamplingSettings).items()
}
"""Options of most servers: those of the configuration."""

_SAMPLERS = (
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
    "min_keep",
    "samplers",
)

FURTHER_OPTIONS = (
    *_SAMPLERS,
    "ignore_eos",
    "n_keep",
    "n_discard",
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
"""Those of llama.cpp's `/completion`."""


def parsed_value(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text


def option_form(name: str) -> str:
    """Raise `WrongUse`."""
    if name in FURTHER_OPTIONS or _is_extra(name):
        return "any value, which is sent as it is"
    option = _common_option(name)
    return f"{option.form} ({option.meta.description})"


def checked_option(name: str, value: object) -> object:
    """Return the value in the type in which it is sent; raise `WrongUse`."""
    if _is_extra(name):
        field = name.removeprefix(EXTRA).casefold()
        if field in _OWN_FIELDS:
            raise WrongUse(
                f"{name} cannot be set: lmchat itself sets {field} in each request.",
                next_step="Leave it out; nothing was changed.",
            )
        return value
    if name in FURTHER_OPTIONS or name.startswith(STORED):
        return value
    option = _common_option(name)
    if name == "reasoning_effort":
        effort = effort_of(value)
        if effort is not None:
            return effort
    elif name == "logit_bias":  # a bias may also be False, which forbids a token of llama.cpp
        if isinstance(value, Mapping):
            return value
    else:
        given = [value] if name == "stop" and isinstance(value, str) else value
        with suppress(msgspec.ValidationError):
            return msgspec.convert(given, Annotated[option.type, option.meta])
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    raise WrongUse(
        f"{name} must be {option.form}, not {safe_line(text)[:_MAX_SHOWN_CHARS] or 'empty'}.",
        next_step=f"Use another value; nothing was changed. {EXTRA}{name} sends any value.",
    )


def usable_options(options: Mapping[str, object]) -> dict[str, object]:
    """Leave out what this version would refuse.

    Another version may have saved it, and JSON has turned tuples into lists.
    """
    usable: dict[str, object] = {}
    for name, value in options.items():
        with suppress(WrongUse):
            usable[name] = checked_option(name, value)
    return usable


def stored_options(
    options: Mapping[str, object], typed: Collection[tuple[str, object]] = ()
) -> dict[str, object]:
    """Return the options of a file or a saved session; `STORED` begins what is not sent of them.

    Anyone may have written them. So no field comes from there that a server could take for a model,
    messages, tools, an address or a key. `typed` has what the user has set in this run.
    """
    return {
        name
        if name in COMMON or name in _SAMPLERS or name.startswith(STORED) or (name, value) in typed
        else f"{STORED}{name}": value
        for name, value in options.items()
    }


def left_out_notes(options: Collection[str]) -> list[str]:
    """Return one note that names the stored options that are not sent, or none."""
    stored = [name.removeprefix(STORED) for name in options if name.startswith(STORED)]
    names = [name for name in stored if name not in options]  # the user has not set it, too
    shown = safe_line(", ".join(names), limit=_MAX_NAMES_CHARS)
    return [f"Not sent: {shown}. {_ONLY_SAMPLING}"] if names else []


def _is_extra(name: str) -> bool:
    return name.startswith(EXTRA) and len(name) > len(EXTRA)


def _common_option(name: str) -> SamplingOption:
    """Raise `WrongUse` with a similar name."""
    if name in COMMON:
        return COMMON[name]
    if name in _WINDOWS:
        raise WrongUse(
            f"{name} is no option of a request: the context window is set with the model.",
            next_step="Where the server can: lmchat models load MODEL --context TOKENS. Ollama: "
            "PARAMETER num_ctx TOKENS in the Modelfile of the model, or "
            "OLLAMA_CONTEXT_LENGTH=TOKENS ollama serve.",
        )
    ending = did_you_mean(name, (*COMMON, *FURTHER_OPTIONS))
    raise WrongUse(
        f"Unknown sampling option: {safe_line(name, limit=_MAX_SHOWN_CHARS)}{ending}",
        next_step="/set in the chat lists the options; extra.NAME sends any other field.",
    )
