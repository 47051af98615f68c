"""One module for one product: its facts, its words and how it is spoken to.

A new product is a module with a class, and a row of `PRODUCTS`. Must not know: who asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from lmchat.errors import WrongUse
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo
from lmchat.servers.products.hosted import Anthropic, Gemini, Mistral, OpenAi, OpenRouter
from lmchat.servers.products.jan import Jan
from lmchat.servers.products.litellm import LiteLlm
from lmchat.servers.products.llama_cpp import BuiltIn, LlamaCpp
from lmchat.servers.products.lm_studio import LmStudio
from lmchat.servers.products.ollama import Ollama
from lmchat.servers.products.product import Product
from lmchat.servers.products.server_api import ServerApi
from lmchat.servers.products.vllm import SgLang, Vllm
from lmchat.servers.sampling_options import COMMON, EXTRA, FURTHER_OPTIONS
from lmchat.sessions.message import SentThoughts

UNKNOWN = Product()  # any other OpenAI-compatible server
PRODUCTS: tuple[Product, ...] = (
    LmStudio(),
    Jan(),
    LlamaCpp(),
    Ollama(),
    Vllm(),
    SgLang(),
    LiteLlm(),
    OpenAi(),
    Mistral(),
    Anthropic(),
    Gemini(),
    OpenRouter(),
    UNKNOWN,
    BuiltIn(),
)
"""All products, in the order of detection."""
_BY_NAME = {product.name: product for product in PRODUCTS}
_SEEDS = 4_294_967_295  # number of seeds, from 0 on; this one means "random" to llama.cpp


def product_named(name: str) -> Product:
    """Return the product of this name, or that of an unknown server if there is none."""
    return _BY_NAME.get(name, UNKNOWN)


def product_at(endpoint: Endpoint) -> Product:
    """Return the product to which the host of an address belongs, else its port, else `UNKNOWN`."""
    for product in PRODUCTS:
        if endpoint.host in product.hosts:
            return product
    for product in PRODUCTS:
        if endpoint.port in product.ports:
            return product
    return UNKNOWN


def named_endpoints(environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the addresses that the environment names, by the name of the product."""
    found = {product.name: product.named_endpoint(environ) for product in PRODUCTS if product.ports}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


async def identify(api: ServerApi, expected: Product) -> Product | None:
    """Return the first product that says that it answers, the expected one first; else None."""
    for product in (expected, *PRODUCTS):
        if await product.recognises(api):
            return product
    return None


def sent_thoughts_of(product: str, model: ModelInfo | None) -> SentThoughts:
    """Return which thoughts a request to a model gives back.

    `NONE` if the product has no field for them, `ALL` if the model keeps the thoughts of all its
    answers, else `SINCE_PROMPT`. `model` is None if it is not known.
    """
    if not product_named(product).thought_fields:
        return SentThoughts.NONE
    keeps_all = model is not None and model.keeps_thoughts
    return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT


def drawn_seed(product: str, options: Mapping[str, object]) -> int | None:
    """Return a random seed for a request with these options, so that its answer can be repeated.

    Return None if the user has set a seed, or if the product takes none. Return None also for a
    gateway, because a model behind it may take none.
    """
    row = product_named(product)
    is_set = "seed" in options or f"{EXTRA}seed" in options
    if is_set or row.is_gateway or not row.takes_option("seed"):
        return None
    return int.from_bytes(os.urandom(8)) % _SEEDS


def refuse_ignored(product: str, names: Iterable[str]) -> None:
    """Raise `WrongUse` for the first option that a product would ignore, with those it takes."""
    row = product_named(product)
    for name in names:
        if not row.takes_option(name):
            subject = "This server" if row is UNKNOWN else row.name
            taken = filter(row.takes_option, (*COMMON, *FURTHER_OPTIONS))
            raise WrongUse(
                f"{subject} does not take {name}, as far as lmchat knows.",
                hint=f"It takes {', '.join(taken)}; extra.{name} sends it all the same.",
            )
