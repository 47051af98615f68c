"""The products that lmchat knows: one file each, and the list of them in the order of detection."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.servers.anthropic import Anthropic
from lmchat.proxy.servers.base import Server
from lmchat.proxy.servers.built_in import BuiltIn
from lmchat.proxy.servers.gemini import Gemini
from lmchat.proxy.servers.jan import Jan
from lmchat.proxy.servers.litellm import LiteLlm
from lmchat.proxy.servers.llama_cpp import LlamaCpp
from lmchat.proxy.servers.lm_studio import LmStudio
from lmchat.proxy.servers.mistral import Mistral
from lmchat.proxy.servers.ollama import Ollama
from lmchat.proxy.servers.openai import OpenAi
from lmchat.proxy.servers.openai_compatible import OpenAiCompatible
from lmchat.proxy.servers.openrouter import OpenRouter
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
