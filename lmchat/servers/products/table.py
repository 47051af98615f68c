"""All products, a row for each: facts and words, and no behaviour.

A product that is only another port and other words is one row here. What needs code is a function
of `native.py`, or, for an interface of its own, a subclass in a module beside this one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.files.paths import jan_folders, lm_studio_folders
from lmchat.servers.model import BUILT_IN as BUILT_IN_NAME
from lmchat.servers.model import LoadState
from lmchat.servers.products import lm_studio, native, ollama
from lmchat.servers.products.dialect import Dialect, JsonMode
from lmchat.servers.products.llama_cpp import UNLOAD, LlamaCpp
from lmchat.servers.products.lm_studio import LmStudio
from lmchat.servers.products.ollama import Ollama
from lmchat.servers.products.product import LM_STUDIO, Clue, Product, Proof

_CHOOSE_MODEL = "Choose a model with /model or -m"
_CHOOSE_TO_LOAD = f"{_CHOOSE_MODEL}; lmchat loads it"
_LOAD_WITH_CONTEXT = "Load it with: lmchat models load {model} --context {context}"


def _same_names(*names: str) -> dict[str, str]:
    """Return options that a product takes under the names that lmchat has for them."""
    return {name: name for name in names}


_SEED_AND_PENALTIES = _same_names("seed", "presence_penalty", "frequency_penalty")
_OPENAI_SAMPLING = {**_SEED_AND_PENALTIES, **_same_names("logit_bias", "logprobs")}
_LLAMA_SAMPLING = {
    **_OPENAI_SAMPLING,
    **_same_names("top_k", "min_p", "typical_p", "repeat_penalty"),
}
_VLLM_SAMPLING = {
    **_OPENAI_SAMPLING,
    **_same_names("top_k", "min_p"),
    "repeat_penalty": "repetition_penalty",
}


def _owned_by(*owners: str, created: int | None = None, is_hint: bool = False) -> Clue:
    return Clue(owners=frozenset(owners), created=created, is_hint=is_hint)


def _llama_cpp_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the usual folder of llama.cpp's downloads, and before it that of `LLAMA_CACHE`.

    llama.cpp reads this variable itself.
    """
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    if sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    usual = caches / "llama.cpp"
    chosen = Path(environ.get("LLAMA_CACHE", ""))
    return [chosen, usual] if chosen.is_absolute() else [usual]


_LM_STUDIO = LmStudio(
    name=LM_STUDIO,
    ports=(1234,),
    clues=(
        Clue(words="LM Studio API token"),
        _owned_by("organization_owner", is_hint=True),
        Clue(header="^x-powered-by: Express$", is_hint=True),
    ),
    # of version 0.3, which does not have this path, its words for that
    proof=Proof(lm_studio.MODELS, r'"models"|Unexpected endpoint or method|LM Studio API token'),
    is_offered=True,
    program="lms",
    folders=("/Applications/LM Studio.app", "Applications/LM Studio.app"),
    start_arguments="server start",
    install_folders=lm_studio_folders,
    model_folders=lm_studio.model_folders,
    last_port=lm_studio.last_port,
    is_open=lm_studio.is_open,
    where_to_get="Get it at lmstudio.ai",
    start_step="Open LM Studio: Developer, Start server",
    stop_words="`lms server stop` stops it.",
    key_step="Use a token from LM Studio: Developer, Server settings, Manage tokens",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="Discover tab: download a model, then load it",
    load_step="Load it in LM Studio, or send a message: LM Studio may load it on the first request",
    larger_window=_LOAD_WITH_CONTEXT,
    refusal_hints={
        "model_not_loaded": "Load it with /model, Enter; your message is then sent again. "
        "In a shell: lmchat models load {model}",
    },
    loads_on_demand=True,
    slots=4,
    dialect=Dialect(json_modes=(JsonMode.SCHEMA, JsonMode.WORDS)),  # `json_object` is refused
    load_path=f"{lm_studio.MODELS}/load",
    unload_path=f"{lm_studio.MODELS}/unload",
    thought_fields=("reasoning_content",),
    sampling_fields={
        **_SEED_AND_PENALTIES,
        **_same_names("logit_bias", "top_k", "repeat_penalty"),
    },
    context_field="context_length",
)
_JAN = Product(
    name="Jan",
    ports=(1337, 6767, 3928),
    clues=(
        _owned_by("llama.cpp", "mlx", "remote", created=1),
        Clue(words="^(Invalid or missing authorization token|Missing authorization header)"),
        Clue(words="^Invalid host header", is_hint=True),
        _owned_by("user", created=1, is_hint=True),  # older versions
    ),
    proof=Proof("/openapi.json", r'"title":\s*"Jan API Server'),
    is_offered=True,
    program="jan",
    folders=(
        ".local/share/Jan/data",
        "Library/Application Support/Jan/data",
        "/Applications/Jan.app",
        "Applications/Jan.app",
    ),
    model_folders=jan_folders,
    where_to_get="Get it at jan.ai",
    start_step="Open Jan: Settings, Local API Server, Start",
    key_step="Use the API key from Jan: Settings, Local API Server",
    model_step="Start a model in Jan",
    empty_step="Start a model in Jan",
    load_step="Start a model in Jan",
    host_step="Add {host} in Jan: Settings, Local API Server, Trusted Hosts",
    larger_window=_LOAD_WITH_CONTEXT,
    refusal_hints={
        "model_not_loaded": "Start the model in Jan, or: lmchat models load {model}",
        "upstream": "The engine stopped: restart the model in Jan.",
    },
    state=LoadState.LOADED,
    can_prefill=True,
    facts_path="/v1/models/available",
    add_facts=native.jan_available,
    load_path="/v1/models/load",
    unload_path="/v1/models/unload",
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning_content",),
    sampling_fields=_LLAMA_SAMPLING,
    takes_further_options=True,
    context_field="ctx_size",
)
_LLAMA_CPP = LlamaCpp(
    name="llama.cpp",
    ports=(9931, 8080),  # 8080 until build 11668
    clues=(Clue(header="^server: llama.cpp"), _owned_by("llamacpp")),
    is_offered=True,
    program="llama-server",
    folders=(".cache/llama.cpp", "Library/Caches/llama.cpp"),
    model_folders=_llama_cpp_folders,
    where_to_get="Get it at github.com/ggml-org/llama.cpp",
    start_step="llama-server -m MODEL.gguf",
    key_step="Use the API key that llama-server was started with (--api-key)",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="llama-server -m MODEL.gguf",
    load_step="It serves the model it was started with: llama-server -m MODEL.gguf",
    larger_window="For a larger window: llama-server -c {context}",
    loads_on_demand=True,
    can_prefill=True,
    can_prefill_thought=True,
    can_read_ahead=True,
    can_keep_answers=True,
    shows_template_text=True,
    ignores_model_name=True,
    names_build=True,
    health_path="/health",
    unload_path=UNLOAD,
    count_path="/v1/chat/completions/input_tokens",
    count_field="input_tokens",
    efforts=EFFORTS,
    thought_limit_field="reasoning_budget_tokens",
    has_thinking_switch=True,
    thought_fields=("reasoning_content",),
    sampling_fields=_LLAMA_SAMPLING,
    takes_further_options=True,
)
_OLLAMA = Ollama(
    name="Ollama",
    ports=(ollama.PORT,),
    clues=(
        _owned_by("library", is_hint=True),
        Clue(ids=":", is_hint=True),
        Clue(words="^$", is_hint=True),  # the refusal of a foreign host name
    ),
    proof=Proof("/api/tags", r'^\{"models":'),
    is_offered=True,
    named_endpoint=ollama.named_endpoint,
    program="ollama",
    folders=(".ollama", "/usr/share/ollama/.ollama", "/Applications/Ollama.app"),
    start_arguments="serve",
    where_to_get="Get it at ollama.com",
    start_step="ollama serve",
    key_step="Ask the administrator of the proxy in front of Ollama for its API key",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="ollama pull llama3.2",
    host_step="Use localhost, or OLLAMA_HOST={host} ollama serve",
    larger_window="For a larger window: OLLAMA_CONTEXT_LENGTH={context} ollama serve",
    refusal_hints={"model_missing": "Download it with: ollama pull {model}"},
    loads_on_demand=True,
    cuts_prompts=True,
    health_path="/api/version",
    efforts=("none", "low", "medium", "high", "max"),
    thought_fields=("reasoning",),
    sampling_fields=_SEED_AND_PENALTIES,
)
_VLLM = Product(
    name="vLLM",
    ports=(8000,),
    clues=(_owned_by("vllm"),),
    is_offered=True,
    program="vllm",
    where_to_get="pip install vllm",
    start_step="vllm serve MODEL",
    key_step="Use the API key that vllm serve was started with (--api-key)",
    load_step="It serves the model it was started with: vllm serve MODEL",
    larger_window="For a larger window: vllm serve MODEL --max-model-len {context}",
    state=LoadState.LOADED,
    row_facts=native.vllm_row,
    names_build=True,
    health_path="/health",
    count_path="/tokenize",
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning", "reasoning_content"),  # depends on the version
    sampling_fields=_VLLM_SAMPLING,
)
_SGLANG = replace(
    _VLLM,
    name="SGLang",
    ports=(30000,),
    clues=(_owned_by("sglang"),),
    program="sglang",
    where_to_get="pip install sglang",
    start_step="sglang serve MODEL",
    key_step="Use the API key that sglang serve was started with (--api-key)",
    load_step="It serves the model it was started with: sglang serve MODEL",
    larger_window="For a larger window: sglang serve MODEL --context-length {context}",
    names_build=False,
    health_path="",
    count_path="",
    thought_fields=("reasoning_content",),
)
_LITELLM_KEY = "Use a virtual key, or the master key, of the LiteLLM proxy"
_LITELLM = Product(
    name="LiteLLM",
    ports=(4000,),
    clues=(
        Clue(header="^x-litellm-"),
        Clue(words="No connected db|No api key passed in"),
        Clue(words="^Internal Server Error$", is_hint=True),  # without a key and a database
        # the time that LiteLLM's `DEFAULT_MODEL_CREATED_AT_TIME` gives to each model
        Clue(created=1677610602, is_hint=True),
    ),
    proof=Proof("/health/liveliness", r"^\"I'm alive!\"$"),
    is_offered=True,
    program="litellm",
    where_to_get="pip install 'litellm[proxy]'",
    start_step="litellm --model MODEL",
    key_step=_LITELLM_KEY,
    load_step="Load it on the server behind LiteLLM",
    refusal_hints={"server_error": f"It may ask for a key. {_LITELLM_KEY}."},
    is_gateway=True,
    facts_path="/model/info",
    add_facts=native.litellm_info,
    efforts=EFFORTS,
    sampling_fields=_OPENAI_SAMPLING,
)


def _hosted(name: str, host: str, *, keys: str = "") -> Product:
    """Return a provider on the internet, whose models are always loaded.

    `keys` is the page where its users create API keys.
    """
    away = "Check the network, and the address"
    row = Product(
        name=name,
        hosts=(host,),
        start_step=away,
        silent_step=away,  # no program of the user has the port
        model_step=_CHOOSE_MODEL,
        load_step="Its models are always loaded",
        empty_step="Check what the account can use",
    )
    return replace(row, key_step=f"Create an API key at {keys}") if keys else row


_OPENAI = replace(
    _hosted("OpenAI", "api.openai.com", keys="platform.openai.com/api-keys"),
    efforts=EFFORTS,
    dialect=Dialect(has_completion_tokens=True),
    names_build=True,
    sampling_fields=_OPENAI_SAMPLING,
)
# It reads temperatures above 1 as 1, takes neither seeds nor efforts, ignores `response_format`.
_ANTHROPIC = replace(
    _hosted("Anthropic", "api.anthropic.com", keys="console.anthropic.com/settings/keys"),
    dialect=Dialect(json_modes=(JsonMode.WORDS,)),
)
# Its address ends in /v1beta/openai.
_GEMINI = replace(
    _hosted("Gemini", "generativelanguage.googleapis.com", keys="aistudio.google.com/apikey"),
    efforts=EFFORTS,
)
# It refuses fields that it does not know.
_MISTRAL = replace(
    _hosted("Mistral", "api.mistral.ai", keys="console.mistral.ai/api-keys"),
    efforts=EFFORTS,
    dialect=Dialect(has_stream_options=False),
    row_facts=native.mistral_row,
    sampling_fields={"seed": "random_seed"},
)
# It passes requests on to other providers.
_OPENROUTER = replace(
    _hosted("OpenRouter", "openrouter.ai", keys="openrouter.ai/settings/keys"),
    efforts=EFFORTS,
    effort_path=("reasoning", "effort"),
    row_facts=native.openrouter_row,
    sampling_fields=_VLLM_SAMPLING,
)
# llama.cpp's server as a child process of lmchat: `LocalEngine`, which starts it, knows its address
# and puts this row in the place of llama.cpp's, as no reply could tell them apart.
_BUILT_IN = replace(
    _LLAMA_CPP,
    name=BUILT_IN_NAME,
    ports=(),
    clues=(),
    is_offered=False,
    program="",
    start_step="lmchat --local",
    key_step="Start lmchat again: each start makes a new API key",
    model_step="Choose a model file",
    larger_window="",
    loads_on_demand=False,
    can_keep_answers=False,
    names_build=False,
    context_field="context",  # never sent: lmchat sets the window when it starts the child
)
UNKNOWN = Product()  # any other OpenAI-compatible server
PRODUCTS: tuple[Product, ...] = (
    _LM_STUDIO,
    _JAN,
    _LLAMA_CPP,
    _OLLAMA,
    _VLLM,
    _SGLANG,
    _LITELLM,
    _OPENAI,
    _MISTRAL,
    _ANTHROPIC,
    _GEMINI,
    _OPENROUTER,
    UNKNOWN,
    _BUILT_IN,
)
"""All products, in the order in which they are shown if none answers."""
