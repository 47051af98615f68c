"""All products, a row for each: facts and words, no behaviour.

What needs code is a function of `native.py`, or a subclass in a module beside this one.
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
from lmchat.servers.products.llama_cpp import UNLOAD, LlamaCpp
from lmchat.servers.products.lm_studio import LmStudio
from lmchat.servers.products.ollama import Ollama
from lmchat.servers.products.product import LM_STUDIO, Clue, Product, Proof
from lmchat.servers.wire.request_format import JsonMode, RequestFormat

_CHOOSE_MODEL = "Choose a model with /model or -m"
_CHOOSE_TO_LOAD = f"{_CHOOSE_MODEL}; lmchat loads it"
_LOAD_WITH_CONTEXT = "Load it with: lmchat models load {model} --context {context}"


def _same_names(*names: str) -> dict[str, str]:
    """Return options that a product takes under lmchat's names."""
    return {name: name for name in names}


_SEED_AND_PENALTIES = _same_names("seed", "presence_penalty", "frequency_penalty")
_OPENAI_SAMPLING = {**_SEED_AND_PENALTIES, **_same_names("logit_bias", "logprobs")}
_LOCAL_SAMPLING = {**_OPENAI_SAMPLING, **_same_names("top_k", "min_p", "repeat_penalty")}
_LLAMA_SAMPLING = {**_LOCAL_SAMPLING, **_same_names("typical_p")}
_VLLM_SAMPLING = {
    **_OPENAI_SAMPLING,
    **_same_names("top_k", "min_p"),
    "repeat_penalty": "repetition_penalty",
}


def _owned_by(*owners: str, created: int | None = None, is_hint: bool = False) -> Clue:
    return Clue(owners=frozenset(owners), created=created, is_hint=is_hint)


def _llama_cpp_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folder of llama.cpp's downloads, behind that of its own `LLAMA_CACHE`."""
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
    proof=Proof(
        lm_studio.MODELS,
        r'"models"\s*:\s*\[|Unexpected endpoint or method|LM Studio API token',
    ),
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
    pull_step="lms get MODEL",
    remove_step="Delete it in LM Studio: My Models",
    continues_pull="LM Studio continues the download; its window can stop it: Downloads.",
    load_step="Load it in LM Studio, or send a message: LM Studio may load it on the first request",
    larger_window=_LOAD_WITH_CONTEXT,
    refusal_hints={
        "model_not_loaded": "Load it with /model, Enter; your message is then sent again. "
        "In a shell: lmchat models load {model}",
    },
    loads_on_demand=True,
    slots=4,
    request_format=RequestFormat(
        json_modes=(JsonMode.SCHEMA, JsonMode.WORDS)
    ),  # `json_object` is refused
    load_path=f"{lm_studio.MODELS}/load",
    unload_path=f"{lm_studio.MODELS}/unload",
    thought_fields=("reasoning_content",),
    names_finish_reason=True,
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
    empty_step="Download a model in Jan: Hub",
    load_step="Jan loads a model with its first prompt",
    pull_step="Download it in Jan: Hub",
    remove_step="Delete it in Jan: Settings, Model Providers",
    host_step="Add {host} in Jan: Settings, Local API Server, Trusted Hosts",
    larger_window="For a larger window, set the model's Context Size in Jan: Settings, "
    "Model Providers",
    refusal_hints={
        "model_not_loaded": "Start its engine: open Jan: Settings, Model Providers.",
        "upstream": "The provider does not answer. For a model of this machine, restart Jan.",
    },
    loads_on_demand=True,
    can_prefill=True,
    repeats_local_name=True,
    final_kinds=frozenset({"upstream"}),
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning_content",),
    names_finish_reason=True,
    sampling_fields=_LLAMA_SAMPLING,
    takes_further_options=True,
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
    pull_step="llama-server -hf MODEL",
    can_remove=True,
    remove_step="Delete its file",
    larger_window="For a larger window: llama-server -c {context}",
    loads_on_demand=True,
    can_prefill=True,
    can_prefill_thought=True,
    # it still generates one token; `n_predict` comes before all other names of the limit
    read_ahead_fields={"max_tokens": 0, "n_predict": 0},
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
    names_finish_reason=True,
    sampling_fields=_LLAMA_SAMPLING,
    takes_further_options=True,
)
_OLLAMA = Ollama(
    name="Ollama",
    ports=(ollama.PORT,),
    clues=(
        _owned_by("library", is_hint=True),
        # not of LocalAI, which has Ollama's paths, too, but rows without an owner
        Clue(ids=":", fields=frozenset({"id", "object", "created", "owned_by"}), is_hint=True),
        Clue(is_null=True, is_hint=True),  # nothing was ever pulled
        Clue(words="^$", is_hint=True),  # the refusal of a foreign host name
    ),
    proof=Proof("/api/tags", r'^\s*\{\s*"models"\s*:'),
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
    pull_step="ollama pull MODEL",
    can_remove=True,
    model_folders=ollama.model_folders,
    host_step="Use localhost, or OLLAMA_HOST={host} ollama serve",
    larger_window="For a larger window: OLLAMA_CONTEXT_LENGTH={context} ollama serve",
    larger_own_window="For a larger window: PARAMETER num_ctx {context} in its Modelfile, "
    "then ollama create {model} -f Modelfile",
    refusal_hints={
        "model_missing": "Download it with: ollama pull {model}",
        "sign_in": "Sign in with: ollama signin",
    },
    hides_blocked_hosts=True,
    loads_on_demand=True,
    can_prefill=True,  # where the template of the model leaves the last answer open
    health_path="/api/version",
    efforts=EFFORTS,
    thought_fields=("reasoning",),
    names_finish_reason=True,
    sampling_fields={**_SEED_AND_PENALTIES, **_same_names("logprobs")},
    ignored_fields={"num_ctx": ollama.WINDOW_STEP},
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
    can_prefill=True,
    prefill_fields={"continue_final_message": True, "add_generation_prompt": False},
    names_build=True,
    health_path="/health",
    count_path="/tokenize",
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning", "reasoning_content"),  # depends on the version
    names_finish_reason=True,
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
    prefill_fields={"continue_final_message": True},
    names_build=False,
    health_path="",
    count_path="",
    thought_fields=("reasoning_content",),
)
_VLLM_MLX = replace(
    _VLLM,
    name="vllm-mlx",
    ports=(),
    clues=(_owned_by("vllm-mlx"),),
    is_offered=False,
    program="vllm-mlx",
    where_to_get="pip install vllm-mlx",
    start_step="vllm-mlx serve MODEL",
    key_step="Use the API key that vllm-mlx serve was started with (--api-key)",
    load_step="It serves the model it was started with: vllm-mlx serve MODEL",
    larger_window="",
    can_prefill=False,
    prefill_fields={},
    names_build=False,
    count_path="",
    names_finish_reason=False,  # older versions name none behind some tool calls
    thought_fields=("reasoning_content",),
    sampling_fields={
        **_same_names("presence_penalty", "logit_bias", "top_k", "min_p"),
        "repeat_penalty": "repetition_penalty",
    },
)
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
    start_step="env LITELLM_MASTER_KEY=sk-KEY litellm --model MODEL",  # it needs a key to start
    key_step="Use a virtual key, or the master key, of the LiteLLM proxy",
    load_step="Load it on the server behind LiteLLM",
    refusal_hints={
        "upstream": "The server behind LiteLLM does not answer: start it, or try again later.",
    },
    fails_without_key=True,
    is_gateway=True,
    facts_path="/model/info",
    add_facts=native.litellm_info,
    efforts=EFFORTS,
    sampling_fields=_OPENAI_SAMPLING,
)
_KOBOLDCPP = Product(
    name="KoboldCpp",
    ports=(5001,),
    clues=(
        Clue(header="^server: (KoboldCppServer|ConcedoLlamaForKoboldServer)"),
        _owned_by("koboldcpp"),
    ),
    proof=Proof("/api/extra/version", '"KoboldCpp"'),
    program="koboldcpp",
    where_to_get="Get it at github.com/LostRuins/koboldcpp",
    start_step="koboldcpp --model MODEL.gguf",
    key_step="Use the password that KoboldCpp was started with (--password)",
    load_step="It serves the model it was started with: koboldcpp --model MODEL.gguf",
    larger_window="For a larger window: koboldcpp --contextsize {context}",
    state=LoadState.LOADED,
    ignores_model_name=True,
    row_facts=native.koboldcpp_row,
    facts_path="/api/extra/true_max_context_length",
    add_facts=native.koboldcpp_window,
    names_finish_reason=True,
    sampling_fields={**_LOCAL_SAMPLING, "typical_p": "typical"},
)
_TABBYAPI = Product(
    name="TabbyAPI",
    ports=(5000,),
    clues=(_owned_by("tabbyAPI"), Clue(words="Please provide an API key", is_hint=True)),
    proof=Proof("/.well-known/serviceinfo", '"TabbyAPI"'),
    where_to_get="Get it at github.com/theroyallab/tabbyAPI",
    start_step="Start TabbyAPI: start.sh",
    key_step="Use a key from TabbyAPI's api_tokens.yml",
    load_step="Load it in TabbyAPI: POST /v1/model/load with the admin key",
    larger_window="For a larger window: max_seq_len in TabbyAPI's config.yml",
    state=LoadState.NOT_LOADED,
    facts_path="/v1/model",
    add_facts=native.tabby_loaded,
    sampling_fields={**_VLLM_SAMPLING, "typical_p": "typical"},
)
_LLAMA_CPP_PYTHON = Product(
    name="llama-cpp-python",
    clues=(
        Clue(header="^server: uvicorn", owners=frozenset({"me"})),
        # behind a proxy, which puts its own name into the header
        Clue(
            owners=frozenset({"me"}),
            fields=frozenset({"id", "object", "owned_by", "permissions"}),
        ),
    ),
    where_to_get="pip install 'llama-cpp-python[server]'",
    start_step="python -m llama_cpp.server --model MODEL.gguf",
    key_step="Use the API key that the server was started with (--api_key)",
    load_step="It serves the model it was started with (--model)",
    larger_window="For a larger window: python -m llama_cpp.server --n_ctx {context}",
    state=LoadState.LOADED,
    is_disturbed_by_list=True,
    ignores_model_name=True,
    names_finish_reason=True,
    sampling_fields=_LOCAL_SAMPLING,
)
_LLAMA_SWAP = Product(
    name="llama-swap",
    clues=(_owned_by("llama-swap"),),
    program="llama-swap",
    where_to_get="Get it at github.com/mostlygeek/llama-swap",
    start_step="llama-swap --config FILE",
    key_step="Use an API key from llama-swap's configuration (apiKeys)",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="Add models to llama-swap's configuration",
    pull_step="Add it to llama-swap's configuration",
    load_step="Send a message: llama-swap loads its model",
    larger_window="For a larger window: the command of {model} in llama-swap's configuration",
    loads_on_demand=True,
    row_facts=native.llama_swap_row,
    unload_path="/api/models/unload/{model}",
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning_content",),
    names_finish_reason=True,
    sampling_fields=_LLAMA_SAMPLING,
    takes_further_options=True,
)
_DOCKER = Product(
    name="Docker Model Runner",
    ports=(12434,),
    path="/engines/v1",
    clues=(_owned_by("docker"),),
    where_to_get="Get it at docs.docker.com/ai/model-runner",
    start_step="docker desktop enable model-runner --tcp 12434",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="docker model pull ai/smollm2",
    pull_step="docker model pull MODEL",
    remove_step="docker model rm MODEL",
    load_step="Send a message: Docker Model Runner loads its model",
    larger_window="For a larger window: docker model configure --context-size {context} {model}",
    refusal_hints={"model_missing": "Download it with: docker model pull {model}"},
    loads_on_demand=True,
    row_facts=native.docker_row,
    facts_path="/engines/ps",
    add_facts=native.docker_loaded,
    efforts=EFFORTS,
    has_thinking_switch=True,
    thought_fields=("reasoning_content",),
    names_finish_reason=True,
    sampling_fields=_LLAMA_SAMPLING,
)
_MLX_LM = Product(
    name="mlx_lm.server",
    clues=(Clue(header="^server: BaseHTTP/", fields=frozenset({"id", "object", "created"})),),
    program="mlx_lm.server",
    where_to_get="pip install mlx-lm",
    start_step="mlx_lm.server --model MODEL",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="mlx_lm.server --model MODEL",
    pull_step="mlx_lm.server --model MODEL",
    load_step="Send a message: mlx_lm.server loads its model",
    state=LoadState.NOT_LOADED,  # it lists all that was ever downloaded
    loads_on_demand=True,
    efforts=("none",),
    has_thinking_switch=True,
    thought_fields=("reasoning",),
    names_finish_reason=True,
    sampling_fields=_VLLM_SAMPLING,
)
_LOCALAI = Product(
    name="LocalAI",
    clues=(
        Clue(words="An authentication key is required"),
        Clue(fields=frozenset({"id", "object"}), is_hint=True),
    ),
    proof=Proof("/system", '"loaded_models"'),
    program="local-ai",
    where_to_get="Get it at localai.io",
    start_step="local-ai run",
    key_step="Use an API key that LocalAI was started with (API_KEY)",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="local-ai models install MODEL",
    pull_step="local-ai models install MODEL",
    load_step="Send a message: LocalAI loads its model",
    larger_window="For a larger window: context_size in the YAML file of {model}",
    state=LoadState.NOT_LOADED,
    loads_on_demand=True,
    facts_path="/system",
    add_facts=native.localai_loaded,
    efforts=EFFORTS,
    thought_fields=("reasoning",),
    sampling_fields=_LLAMA_SAMPLING,
)
_LEMONADE = Product(
    name="Lemonade",
    ports=(13305,),
    clues=(_owned_by("lemonade"),),
    proof=Proof("/v1/health", '"all_models_loaded"'),  # without a model
    program="lemonade",
    where_to_get="Get it at lemonade-server.ai",
    start_step="Start Lemonade Server",
    key_step="Use the API key of Lemonade (LEMONADE_API_KEY)",
    model_step=_CHOOSE_TO_LOAD,
    empty_step="lemonade pull MODEL",
    pull_step="lemonade pull MODEL",
    remove_step="lemonade delete MODEL",
    larger_window=_LOAD_WITH_CONTEXT,
    refusal_hints={"model_missing": "Download it with: lemonade pull {model}"},
    state=LoadState.NOT_LOADED,
    loads_on_demand=True,
    row_facts=native.lemonade_row,
    facts_path="/v1/health",
    add_facts=native.lemonade_loaded,
    load_path="/v1/load",
    unload_path="/v1/unload",
    load_field="model_name",
    context_field="ctx_size",
    thought_fields=("reasoning_content",),
    sampling_fields=_LOCAL_SAMPLING,
)
_TEXT_GENERATION_WEBUI = Product(
    name="text-generation-webui",
    clues=(
        _owned_by("user", created=0, is_hint=True),
        Clue(words='"Invalid host header"', is_hint=True),
    ),
    proof=Proof("/v1/internal/model/info", '"model_name"|"Invalid host header"'),
    where_to_get="Get it at github.com/oobabooga/text-generation-webui",
    start_step="Start text-generation-webui with --api",
    key_step="Use the API key that it was started with (--api-key)",
    empty_step="Load a model in its Model tab",
    load_step="Load it in the Model tab of text-generation-webui",
    state=LoadState.LOADED,  # it lists the loaded model alone
    ignores_model_name=True,
    thought_fields=("reasoning_content",),
    sampling_fields={**_VLLM_SAMPLING, **_same_names("typical_p")},
)
_GPT4ALL = Product(
    name="GPT4All",
    ports=(4891,),
    clues=(_owned_by("humanity", created=0),),
    where_to_get="Get it at nomic.ai/gpt4all",
    start_step="Open GPT4All: Settings, Enable Local API Server",
    empty_step="Download a model in GPT4All",
    pull_step="Download it in GPT4All",
    load_step="Send a message: GPT4All loads its model",
    loads_on_demand=True,
    request_format=RequestFormat(streams=False, json_modes=(JsonMode.WORDS,)),
    answer_limit=4096,  # its own is 16
    sampling_fields=_same_names("min_p"),
)
_LMCHAT = Product(
    name="lmchat",
    clues=(Clue(header="^server: lmchat"),),
    start_step="lmchat serve",
    key_step="Use the key that lmchat serve was started with",
    is_gateway=True,
    row_facts=native.lmchat_row,
    efforts=EFFORTS,
    sampling_fields=_OPENAI_SAMPLING,
)


def _hosted(name: str, host: str, keys: str) -> Product:
    """Return a provider on the internet; `keys` is the page where users create API keys."""
    away = "Check the network, and the address"
    return Product(
        name=name,
        hosts=(host,),
        start_step=away,
        silent_step=away,  # no program of the user has the port
        model_step=_CHOOSE_MODEL,
        load_step="Its models are always loaded",
        empty_step="Check what the account can use",
        key_step=f"Create an API key at {keys}",
    )


_OPENAI = replace(
    _hosted("OpenAI", "api.openai.com", "platform.openai.com/api-keys"),
    efforts=EFFORTS,
    request_format=RequestFormat(has_completion_tokens=True),
    names_build=True,
    sampling_fields=_OPENAI_SAMPLING,
)
# It reads temperatures above 1 as 1, takes neither seeds nor efforts, ignores `response_format`.
_ANTHROPIC = replace(
    _hosted("Anthropic", "api.anthropic.com", "console.anthropic.com/settings/keys"),
    request_format=RequestFormat(json_modes=(JsonMode.WORDS,)),
)
# Its address ends in /v1beta/openai.
_GEMINI = replace(
    _hosted("Gemini", "generativelanguage.googleapis.com", "aistudio.google.com/apikey"),
    efforts=EFFORTS,
)
# It refuses fields that it does not know.
_MISTRAL = replace(
    _hosted("Mistral", "api.mistral.ai", "console.mistral.ai/api-keys"),
    efforts=EFFORTS,
    request_format=RequestFormat(has_stream_options=False, has_short_call_ids=True),
    row_facts=native.mistral_row,
    sampling_fields={"seed": "random_seed"},
)
# It passes requests on to other providers.
_OPENROUTER = replace(
    _hosted("OpenRouter", "openrouter.ai", "openrouter.ai/settings/keys"),
    efforts=EFFORTS,
    effort_path=("reasoning", "effort"),
    row_facts=native.openrouter_row,
    sampling_fields=_VLLM_SAMPLING,
)
# llama.cpp's server as a child process of lmchat: `Engine`, which starts it, knows its address
# and puts this row in the place of llama.cpp's, as no reply could tell them apart.
_BUILT_IN = replace(
    _LLAMA_CPP,
    name=BUILT_IN_NAME,
    ports=(),
    clues=(),
    is_offered=False,
    program="",
    start_step="lmchat --local",
    pull_step="lmchat --local -m URL, with the address of a GGUF file",
    remove_step="Delete its file; `lmchat models --local` shows where it is",
    key_step="Start lmchat again: each start makes a new API key",
    model_step="Choose a model file",
    larger_window="",
    loads_on_demand=False,
    names_build=False,
    context_field="context",  # never sent: lmchat sets the window when it starts the child
)
UNKNOWN = Product(row_facts=native.common_row)  # any other OpenAI-compatible server
PRODUCTS: tuple[Product, ...] = (
    _LM_STUDIO,
    _JAN,
    _LLAMA_CPP,
    _OLLAMA,
    _VLLM,
    _SGLANG,
    _LITELLM,
    _KOBOLDCPP,
    _TABBYAPI,
    _LLAMA_CPP_PYTHON,
    _LLAMA_SWAP,
    _DOCKER,
    _MLX_LM,
    _LOCALAI,
    _LEMONADE,
    _VLLM_MLX,
    _TEXT_GENERATION_WEBUI,
    _GPT4ALL,
    _LMCHAT,
    _OPENAI,
    _MISTRAL,
    _ANTHROPIC,
    _GEMINI,
    _OPENROUTER,
    UNKNOWN,
    _BUILT_IN,
)
"""In the order in which they are shown if none answers."""
