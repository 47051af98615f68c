"""Options for loading a model, as a person types them: `context=16384 flash_attention=on`."""

from __future__ import annotations

from lmchat.errors import WrongUse
from lmchat.matching import closest_word
from lmchat.safe_text import safe_line
from lmchat.servers.products import product_named
from lmchat.servers.request import LoadOptions

CONTEXT = "context"  # size of the context window in tokens
_SWITCHES = {"on": True, "true": True, "off": False, "false": False}


def parse_load_options(typed: str, product: str) -> LoadOptions:
    """Return the options of a typed line; a number without a name is the context window.

    Raises `WrongUse` for a name that the product does not take, and for a wrong value.
    """
    values: dict[str, int | bool] = {}
    for word in typed.split():
        name, is_named, value = word.partition("=")
        if not is_named:
            name, value = CONTEXT, word
        values[name] = _value(name, value, product)
    return LoadOptions(context=values.pop(CONTEXT, None), others=values)


def form_of(product: str) -> str:
    """Return the form of the options that a product takes: `context=NUMBER  flash_attention=on`."""
    fields = product_named(product).load_fields
    switches = product_named(product).load_switches
    return "  ".join(f"{name}=on" if name in switches else f"{name}=NUMBER" for name in fields)


def _value(name: str, typed: str, product: str) -> int | bool:
    """Return the value of an option.

    Raises `WrongUse` if the product takes no such option, or not with this value.
    """
    facts = product_named(product)
    if name not in facts.load_fields:
        suggestion = closest_word(name, tuple(facts.load_fields))
        hint = f"Did you mean {suggestion}?" if suggestion else f"It takes {form_of(product)}."
        raise WrongUse(f"{product} takes no {safe_line(name, limit=40)} here.", hint=hint)
    if name in facts.load_switches:
        if typed not in _SWITCHES:
            raise WrongUse(f"{name} must be on or off.", hint=f"Type {name}=on.")
        return _SWITCHES[typed]
    if not (typed.isascii() and typed.isdigit() and int(typed) >= 1):
        hint = f"Type {name}= and a number."
        raise WrongUse(f"{name} must be a whole number of at least 1.", hint=hint)
    return int(typed)
