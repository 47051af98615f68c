"""The products that lmchat knows: one file each, and the list of them in the order of detection."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.servers.base import OpenAiCompatible, Server
from lmchat.proxy.servers.hosted import Anthropic, Gemini, Mistral, OpenAi, OpenRouter
from lmchat.proxy.servers.jan import Jan
from lmchat.proxy.servers.litellm import LiteLlm
from lmchat.proxy.servers.llama_cpp import BuiltIn, LlamaCpp
from lmchat.proxy.servers.lm_studio import LmStudio
from lmchat.proxy.servers.ollama import Ollama
from lmchat.proxy.servers.sglang import SgLang
from lmchat.proxy.servers.vllm import Vllm

SERVERS: tuple[Server, ...] = (
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
    OpenAiCompatible(),
    BuiltIn(),
)

_BY_PRODUCT = {server.product: server for server in SERVERS}


def server_of(product: Product) -> Server:
    """Return what is known about a product."""
    return _BY_PRODUCT[product]
