"""The products that lmchat knows: one row each with its words, traces and abilities.

How a product is asked over HTTP is written in a class in `proxy/servers/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from lmchat.errors import WrongUse
from lmchat.servers.model import BUILT_IN, ModelInfo
from lmchat.servers.options import COMMON, EXTRA, LLAMA_CPP_OPTIONS, TAKEN_BY_ALL
from lmchat.sessions.message import SentThoughts

# names of the products that code elsewhere has to know
LM_STUDIO = "LM Studio"
LLAMA_CPP = "llama.cpp"
OLLAMA = "Ollama"
OPENAI_COMPATIBLE = "OpenAI-compatible"  # an unknown one
_SEEDS = 4_294_967_295  # number of seeds, from 0 on; this one means "random" to llama.cpp


class Traces(Struct, frozen=True, kw_only=True):
    """Traces of an installed product on this machine, and the command that starts its server."""

    program: str  # name on PATH
    folders: tuple[str, ...] = ()  # below the home folder, or absolute
    start: str = ""  # arguments that start the server; empty if the user has to choose more
    start_words: str = ""  # the start, for a person; empty: the command
    start_words_app: str = ""  # the same if only the app is installed; empty: `start_words`


class Product(Struct, frozen=True, kw_only=True):
    """Words, traces and abilities of a product; the defaults are those of an unknown server."""

    name: str
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

    @property
    def subject(self) -> str:
        """Name of a server of this product at the beginning of a sentence."""
        return "The server" if self.name == OPENAI_COMPATIBLE else self.name

    def in_text(self, text: str) -> str:
        """Return a sentence about LM Studio with the name of this product in place of that name.

        Sentences whose wording scripts rely on are written for LM Studio, in one of two spellings.
        For an unknown product, they stay as they are.
        """
        if self.name in (LM_STUDIO, OPENAI_COMPATIBLE):
            return text
        return text.replace("LMStudio", self.name).replace("LM Studio", self.name)

    def takes_option(self, name: str) -> bool:
        """Return whether its servers take a sampling option, as far as lmchat knows.

        The reasoning effort depends on the model, too; here it counts as taken.
        """
        if name in TAKEN_BY_ALL or name in self.sampling_fields or name.startswith(EXTRA):
            return True
        return name in LLAMA_CPP_OPTIONS and self.takes_llama_options


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

PRODUCTS = (
    Product(
        name=LM_STUDIO,
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
    Product(
        name="Jan",
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
    Product(
        name=LLAMA_CPP,
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
    Product(
        name=OLLAMA,
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
    Product(
        name="vLLM",
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
    Product(
        name="SGLang",
        where_to_get="pip install sglang",
        where_key_is="Use the API key set with --api-key when the server was started.",
        larger_window="Set it when you start the server: "
        "sglang serve MODEL --context-length {context}",
        traces=Traces(program="sglang", start_words="sglang serve MODEL"),
        thought_fields=_REASONING_CONTENT,
        sampling_fields=_VLLM_SAMPLING,
    ),
    Product(
        name="LiteLLM",
        where_to_get="pip install 'litellm[proxy]'",
        where_key_is="Use LiteLLM's master key, or a virtual key made with it.",
        traces=Traces(program="litellm", start_words="litellm --model MODEL"),
        is_gateway=True,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    Product(
        name="OpenAI",
        where_key_is="Create one at platform.openai.com/api-keys.",
        names_build=True,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    Product(
        name="Mistral",
        where_key_is="Create one at console.mistral.ai/api-keys.",
        sampling_fields={"seed": "random_seed"},
    ),
    Product(name="Anthropic", where_key_is="Create one at console.anthropic.com/settings/keys."),
    Product(name="Gemini", where_key_is="Create one at aistudio.google.com/apikey."),
    Product(
        name="OpenRouter",
        where_key_is="Create one at openrouter.ai/settings/keys.",
        sampling_fields=_VLLM_SAMPLING,
    ),
    Product(name=OPENAI_COMPATIBLE),
    Product(
        name=BUILT_IN,
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
)
"""All products, in the order of detection."""
_BY_NAME = {product.name: product for product in PRODUCTS}


def product_named(name: str) -> Product:
    """Return the row of a product; that of an unknown server if there is none."""
    return _BY_NAME.get(name, _BY_NAME[OPENAI_COMPATIBLE])


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
            subject = "This server" if row.name == OPENAI_COMPATIBLE else row.name
            taken = filter(row.takes_option, (*COMMON, *LLAMA_CPP_OPTIONS))
            raise WrongUse(
                f"{subject} does not take {name}, as far as lmchat knows.",
                hint=f"It takes {', '.join(taken)}; extra.{name} sends it all the same.",
            )
