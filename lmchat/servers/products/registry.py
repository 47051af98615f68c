"""All products. A new product is a module with a class, a row here, and a row of `PRODUCTS`.

Optional: a variable of the environment that holds its address (`cli/server_variables.py`).
"""

from __future__ import annotations

from lmchat.servers.products.base import OpenAiCompatible, Server
from lmchat.servers.products.hosted import Anthropic, Gemini, Mistral, OpenAi, OpenRouter
from lmchat.servers.products.jan import Jan
from lmchat.servers.products.litellm import LiteLlm
from lmchat.servers.products.llama_cpp import BuiltIn, LlamaCpp
from lmchat.servers.products.lm_studio import LmStudio
from lmchat.servers.products.ollama import Ollama
from lmchat.servers.products.product import PRODUCTS
from lmchat.servers.products.vllm import SgLang, Vllm

_CLASSES: tuple[type[Server], ...] = (
    BuiltIn,
    LmStudio,
    Jan,
    LlamaCpp,
    Ollama,
    Vllm,
    SgLang,
    LiteLlm,
    OpenAi,
    Anthropic,
    Gemini,
    Mistral,
    OpenRouter,
    OpenAiCompatible,
)
_BY_PRODUCT = {server_class.product: server_class() for server_class in _CLASSES}
SERVERS: tuple[Server, ...] = tuple(_BY_PRODUCT[product.name] for product in PRODUCTS)
"""All products, in the order of detection."""


def server_of(product: str) -> Server:
    """Return the one `Server` object of a product."""
    return _BY_PRODUCT[product]
