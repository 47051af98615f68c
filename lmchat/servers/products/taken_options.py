"""Sampling options of a request that depend on its product: ignored ones, and a random seed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from lmchat.errors import WrongUse
from lmchat.servers.products import UNKNOWN, product_named
from lmchat.servers.sampling_options import COMMON, EXTRA, FURTHER_OPTIONS

_SEEDS = 2**32 - 1  # seeds are 0 to one less: this number itself means "random" to llama.cpp


def refuse_ignored(product_name: str, options: Iterable[str]) -> None:
    """Raise `WrongUse` for the first option that a product would ignore.

    It is for options of the command line, and for one that is being set in a chat. The hint lists
    those that the product takes.
    """
    product = product_named(product_name)
    for option in options:
        if not product.takes_option(option):
            subject = "This server" if product is UNKNOWN else product.name
            taken = filter(product.takes_option, (*COMMON, *FURTHER_OPTIONS))
            raise WrongUse(
                f"{subject} does not take {option}, as far as lmchat knows.",
                hint=f"It takes {', '.join(taken)}; extra.{option} sends it all the same.",
            )


def drawn_seed(product_name: str, options: Mapping[str, object]) -> int | None:
    """Return a random seed for a request with these options, so that its answer can be repeated.

    Return None if the user has set a seed, or if the product takes none. Return None also for a
    gateway, because a model behind it may take none.
    """
    product = product_named(product_name)
    is_set = "seed" in options or f"{EXTRA}seed" in options
    if is_set or product.is_gateway or not product.takes_option("seed"):
        return None
    return int.from_bytes(os.urandom(8)) % _SEEDS
