"""The products that lmchat knows: one row each with its words, traces and abilities.

How a product is asked over HTTP is written in a class in `proxy/servers/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field


class Product(StrEnum):
    """Kinds of servers, in the order of detection."""

    LM_STUDIO = "LM Studio"
    JAN = "Jan"
    LLAMA_CPP = "llama.cpp"
    OLLAMA = "Ollama"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    LITELLM = "LiteLLM"
    OPENAI = "OpenAI"
    MISTRAL = "Mistral"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"
    OPENROUTER = "OpenRouter"
    OPENAI_COMPATIBLE = "OpenAI-compatible"
    BUILT_IN = "built-in"

    @property
    def facts(self) -> ProductFacts:
        """The row of this product."""
        return FACTS[self]

    @property
    def subject(self) -> str:
        """Name of a server of this product at the beginning of a sentence."""
        return "The server" if self is Product.OPENAI_COMPATIBLE else self.value

    def in_text(self, text: str) -> str:
        """Return a sentence about LM Studio with the name of this product in place of that name.

        Sentences whose wording scripts rely on are written for LM Studio, in one of two spellings.
        For an unknown product, they stay as they are.
        """
        if self in (Product.LM_STUDIO, Product.OPENAI_COMPATIBLE):
            return text
        return text.replace("LMStudio", self.value).replace("LM Studio", self.value)


class Traces(Struct, frozen=True, kw_only=True):
    """Traces of an installed product on this machine, and the command that starts its server."""

    program: str  # name on PATH
    folders: tuple[str, ...] = ()  # below the home folder, or absolute
    start: str = ""  # arguments that start the server; empty if the user has to choose more
    start_words: str = ""  # the start, for a person; empty: the command
    start_words_app: str = ""  # the same if only the app is installed; empty: `start_words`


class ProductFacts(Struct, frozen=True, kw_only=True):
    """Words, traces and abilities of a product; the defaults are those of an unknown server."""

    where_to_get: str = ""  # next step if it is not installed
    where_key_is: str = "Ask the administrator of the server."
    larger_window: str = ""  # step to a larger context window, with {model} and {context}
    refusal_hints: Mapping[str, str] = field(default_factory=dict)
    """Next steps after a refusal, by its kind."""
    traces: Traces | None = None
    stop_words: str = ""  # how to stop a server that continues after lmchat
    thought_fields: tuple[str, ...] = ()
    """Fields of an answer in a request that return its thought to the model."""
    can_prefill: bool = False  # whether it continues an answer that is the last message
    can_prefill_thought: bool = False  # whether it also continues a thought
    can_read_ahead: bool = False  # whether it reads a prompt into its cache and answers nothing
    can_keep_answers: bool = False
    """Whether it can continue an answer while lmchat is away; not all its versions can (R-42)."""
    lists_tool_models: bool = False  # whether it says of each model whether it can use tools
    ignores_model_name: bool = False  # whether it answers with its one model to any name
    cuts_prompts: bool = False  # whether it drops the beginning of a prompt that is too long
    sampling_fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of a request for the options of `servers/options.py` that it takes, by their names.

    `temperature`, `top_p`, `max_tokens` and `stop` are sent to all servers, and the reasoning
    effort has rules of its own.
    """
    takes_llama_options: bool = False  # whether it takes llama.cpp's further sampling options
    load_fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of a request to load a model, by the names that lmchat has for these options."""
    load_switches: tuple[str, ...] = ()  # those of `load_fields` that are on or off
    names_build: bool = False  # whether the `system_fingerprint` of an answer is its build
    is_gateway: bool = False
    """Whether it passes requests on: to models that it does not list, with errors of others."""


_LOAD_WITH_CONTEXT = "Load it with: lmchat models load {model} --context {context}"
_REASONING_CONTENT = ("reasoning_content",)


def _same_names(*names: str) -> dict[str, str]:
    """Return options that a product takes under the names that lmchat has for them."""
    return {name: name for name in names}


_OLLAMA_SAMPLING = _same_names("seed", "presence_penalty", "frequency_penalty")
_OPENAI_SAMPLING = {**_OLLAMA_SAMPLING, **_same_names("logit_bias", "logprobs")}
_LM_STUDIO_SAMPLING = {
    **_OLLAMA_SAMPLING,
    **_same_names("logit_bias", "top_k", "repeat_penalty"),
}
_LLAMA_SAMPLING = {
    **_OPENAI_SAMPLING,
    **_same_names("top_k", "min_p", "typical_p", "repeat_penalty"),
}
_VLLM_SAMPLING = {
    **_OPENAI_SAMPLING,
    **_same_names("top_k", "min_p"),
    "repeat_penalty": "repetition_penalty",
}

FACTS: Mapping[Product, ProductFacts] = {
    Product.LM_STUDIO: ProductFacts(
        where_to_get="Get it at lmstudio.ai",
        where_key_is="LM Studio shows it under Developer, Server settings, Manage tokens.",
        larger_window=_LOAD_WITH_CONTEXT,
        refusal_hints={
            "auth": "LM Studio needs an API token: Developer, Server settings, Manage tokens.",
            "model_not_loaded": "Press Ctrl+O, Enter to load it; your message is then sent again. "
            "In a shell: lmchat models load {model}",
        },
        traces=Traces(
            program="lms",
            folders=("/Applications/LM Studio.app", "Applications/LM Studio.app"),
            start="server start",
            start_words_app="Open LM Studio: Developer, Start server",
        ),
        stop_words="`lms server stop` stops it.",
        thought_fields=_REASONING_CONTENT,
        lists_tool_models=True,
        sampling_fields=_LM_STUDIO_SAMPLING,
        load_fields={
            "context": "context_length",
            **_same_names(
                "eval_batch_size", "num_experts", "flash_attention", "offload_kv_cache_to_gpu"
            ),
        },
        load_switches=("flash_attention", "offload_kv_cache_to_gpu"),
    ),
    Product.JAN: ProductFacts(
        where_to_get="Get it at jan.ai",
        where_key_is="Jan shows it under Settings, Local API Server, API key.",
        larger_window=_LOAD_WITH_CONTEXT,
        refusal_hints={
            "auth": "Jan shows its API key under Settings, Local API Server.",
            "host_blocked": "In Jan: Settings, Local API Server, Trusted Hosts: add {host}.",
            "model_not_loaded": "Start the model in Jan, then try again.",
            "upstream": "The engine stopped: restart the model in Jan.",
            "wrong_path": "Check the API prefix under Jan's Settings, Local API Server.",
        },
        traces=Traces(
            program="jan",
            folders=(
                ".local/share/Jan/data",
                "Library/Application Support/Jan/data",
                "/Applications/Jan.app",
                "Applications/Jan.app",
            ),
            start_words="Open Jan: Settings, Local API Server, Start",
        ),
        load_fields={"context": "ctx_size", **_same_names("n_gpu_layers")},
        thought_fields=_REASONING_CONTENT,
        can_prefill=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_llama_options=True,
    ),
    Product.LLAMA_CPP: ProductFacts(
        where_to_get="Get it at github.com/ggml-org/llama.cpp",
        where_key_is="Use the API key set with --api-key or LLAMA_API_KEY "
        "when the server was started.",
        larger_window="Set it when you start the server: llama-server -c {context}",
        refusal_hints={"auth": "Use the API key that llama-server was started with (--api-key)."},
        traces=Traces(
            program="llama-server",
            folders=(".cache/llama.cpp", "Library/Caches/llama.cpp"),
            start_words="llama-server -m MODEL.gguf",
        ),
        thought_fields=_REASONING_CONTENT,
        can_prefill=True,
        can_prefill_thought=True,
        can_read_ahead=True,
        can_keep_answers=True,
        names_build=True,
        lists_tool_models=True,
        ignores_model_name=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_llama_options=True,
    ),
    Product.OLLAMA: ProductFacts(
        where_to_get="Get it at ollama.com",
        where_key_is="Ollama needs no API key, but the proxy in front of it does. "
        "Ask its administrator.",
        larger_window="Set it when you start Ollama: OLLAMA_CONTEXT_LENGTH={context} ollama serve",
        refusal_hints={"model_missing": "Download it with: ollama pull {model}"},
        traces=Traces(
            program="ollama",
            folders=(".ollama", "/usr/share/ollama/.ollama", "/Applications/Ollama.app"),
            start="serve",
        ),
        thought_fields=("reasoning",),
        lists_tool_models=True,
        cuts_prompts=True,
        sampling_fields=_OLLAMA_SAMPLING,
    ),
    Product.VLLM: ProductFacts(
        where_to_get="pip install vllm",
        where_key_is="Use the API key set with --api-key or VLLM_API_KEY "
        "when the server was started.",
        larger_window="Set it when you start the server: "
        "vllm serve MODEL --max-model-len {context}",
        traces=Traces(program="vllm", start_words="vllm serve MODEL"),
        names_build=True,
        thought_fields=("reasoning", "reasoning_content"),  # versions differ in what they read
        sampling_fields=_VLLM_SAMPLING,
    ),
    Product.SGLANG: ProductFacts(
        where_to_get="pip install sglang",
        where_key_is="Use the API key set with --api-key when the server was started.",
        larger_window="Set it when you start the server: "
        "sglang serve MODEL --context-length {context}",
        traces=Traces(program="sglang", start_words="sglang serve MODEL"),
        thought_fields=_REASONING_CONTENT,
        sampling_fields=_VLLM_SAMPLING,
    ),
    Product.LITELLM: ProductFacts(
        where_to_get="pip install 'litellm[proxy]'",
        where_key_is="Use LiteLLM's master key, or a virtual key made with it.",
        traces=Traces(program="litellm", start_words="litellm --model MODEL"),
        is_gateway=True,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    Product.OPENAI: ProductFacts(
        where_key_is="Create one at platform.openai.com/api-keys.",
        names_build=True,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    Product.MISTRAL: ProductFacts(
        where_key_is="Create one at console.mistral.ai/api-keys.",
        sampling_fields={"seed": "random_seed"},
    ),
    Product.ANTHROPIC: ProductFacts(
        where_key_is="Create one at console.anthropic.com/settings/keys."
    ),
    Product.GEMINI: ProductFacts(where_key_is="Create one at aistudio.google.com/apikey."),
    Product.OPENROUTER: ProductFacts(
        where_key_is="Create one at openrouter.ai/settings/keys.", sampling_fields=_VLLM_SAMPLING
    ),
    Product.OPENAI_COMPATIBLE: ProductFacts(),
    Product.BUILT_IN: ProductFacts(
        where_key_is="lmchat created it for this run: start lmchat again.",
        load_fields={"context": "context"},
        thought_fields=_REASONING_CONTENT,
        can_prefill=True,
        can_prefill_thought=True,
        can_read_ahead=True,
        lists_tool_models=True,
        ignores_model_name=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_llama_options=True,
    ),
}
"""What lmchat knows of each product."""
