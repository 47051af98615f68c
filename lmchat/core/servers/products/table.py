"""All products, a row for each: facts and words, no behaviour.

What needs code is a function of `native.py`, or a subclass in a module beside this one.
"""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.base.files.paths import jan_folders, lm_studio_folders
from lmchat.core.config.settings import EFFORTS
from lmchat.core.servers.model import BUILT_IN as BUILT_IN_NAME
from lmchat.core.servers.model import LoadState
from lmchat.core.servers.products import llama_cpp, lm_studio, native, ollama
from lmchat.core.servers.products.llama_cpp import LlamaCpp
from lmchat.core.servers.products.lm_studio import LmStudio
from lmchat.core.servers.products.ollama import Ollama
from lmchat.core.servers.products.options import TakenOptions
from lmchat.core.servers.products.place import Clue, LocalProgram, Place, Proof
from lmchat.core.servers.products.product import LM_STUDIO, Acts, ChatForm, Lists, Product
from lmchat.core.servers.wire.request_format import JsonMode, RequestFormat

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


_LM_STUDIO = LmStudio(
    name=LM_STUDIO,
    place=Place(
        ports=(1234,),
        clues=(
            Clue(refusal="LM Studio API token"),
            _owned_by("organization_owner", is_hint=True),
            Clue(header="^x-powered-by: Express$", is_hint=True),
        ),
        # of version 0.3, which does not have this path, its words for that
        proof=Proof(
            lm_studio.MODELS,
            r'"models"\s*:\s*\[|Unexpected endpoint or method|LM Studio API token',
        ),
        is_offered=True,
        last_port=lm_studio.last_port,
    ),
    program=LocalProgram(
        name="lms",
        folders=("/Applications/LM Studio.app", "Applications/LM Studio.app"),
        arguments="server start",
        install_folders=lm_studio_folders,
        model_folders=lm_studio.model_folders,
        is_open=lm_studio.is_open,
    ),
    steps={
        "get": "Get it at lmstudio.ai",
        "start": "Open LM Studio: Developer, Start server",
        "stop": "`lms server stop` stops it.",
        "key": "Use a token from LM Studio: Developer, Server settings, Manage tokens",
        "model": _CHOOSE_TO_LOAD,
        "empty": "Discover tab: download a model, then load it",
        "pull": "lms get MODEL",
        "remove": "Delete it in LM Studio: My Models",
        "continues_pull": "LM Studio continues the download; its window can stop it: Downloads.",
        "load": "Load it in LM Studio, or send a message: "
        "LM Studio may load it on the first request",
        "window": _LOAD_WITH_CONTEXT,
    },
    refusal_next_steps={
        "model_not_loaded": "Load it with /model, Enter; your message is then sent again. "
        "In a shell: lmchat models load {model}",
    },
    lists=Lists(slots=4),
    acts=Acts(
        loads_on_demand=True,
        load_path=f"{lm_studio.MODELS}/load",
        unload_path=f"{lm_studio.MODELS}/unload",
        context_field="context_length",
    ),
    chat=ChatForm(
        request_format=RequestFormat(
            json_modes=(JsonMode.SCHEMA, JsonMode.WORDS)
        ),  # `json_object` is refused
        thought_fields=("reasoning_content",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        sampling_fields={
            **_SEED_AND_PENALTIES,
            **_same_names("logit_bias", "top_k", "repeat_penalty"),
        }
    ),
)
_JAN = Product(
    name="Jan",
    place=Place(
        ports=(1337, 6767, 3928),
        clues=(
            _owned_by("llama.cpp", "mlx", "remote", created=1),
            Clue(refusal="^(Invalid or missing authorization token|Missing authorization header)"),
            Clue(refusal="^Invalid host header", is_hint=True),
            _owned_by("user", created=1, is_hint=True),  # older versions
        ),
        proof=Proof("/openapi.json", r'"title":\s*"Jan API Server'),
        is_offered=True,
    ),
    program=LocalProgram(
        name="jan",
        folders=(
            ".local/share/Jan/data",
            "Library/Application Support/Jan/data",
            "/Applications/Jan.app",
            "Applications/Jan.app",
        ),
        model_folders=jan_folders,
    ),
    steps={
        "get": "Get it at jan.ai",
        "start": "Open Jan: Settings, Local API Server, Start",
        "key": "Use the API key from Jan: Settings, Local API Server",
        "empty": "Download a model in Jan: Hub",
        "load": "Jan loads a model with its first prompt",
        "pull": "Download it in Jan: Hub",
        "remove": "Delete it in Jan: Settings, Model Providers",
        "host": "Add {host} in Jan: Settings, Local API Server, Trusted Hosts",
        "window": "For a larger window, set the model's Context Size in Jan: Settings, "
        "Model Providers",
    },
    refusal_next_steps={
        "model_not_loaded": "Start its engine: open Jan: Settings, Model Providers.",
        "upstream": "The provider does not answer. For a model of this machine, restart Jan.",
    },
    lists=Lists(tells_remote=True),
    acts=Acts(loads_on_demand=True),
    chat=ChatForm(
        can_prefill=True,
        repeats_local_name=True,
        final_kinds=frozenset({"upstream"}),
        thought_fields=("reasoning_content",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        has_thinking_switch=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_further_options=True,
    ),
)
_LLAMA_CPP = LlamaCpp(
    name="llama.cpp",
    place=Place(
        ports=(9931, 8080),  # 8080 until build 11668
        clues=(Clue(header="^server: llama.cpp"), _owned_by("llamacpp")),
        is_offered=True,
    ),
    program=LocalProgram(
        name="llama-server",
        folders=(".cache/llama.cpp", "Library/Caches/llama.cpp"),
        model_folders=llama_cpp.model_folders,
    ),
    steps={
        "get": "Get it at github.com/ggml-org/llama.cpp",
        "start": "llama-server -m MODEL.gguf",
        "key": "Use the API key that llama-server was started with (--api-key)",
        "model": _CHOOSE_TO_LOAD,
        "empty": "llama-server -m MODEL.gguf",
        "load": "It serves the model it was started with: llama-server -m MODEL.gguf",
        "pull": "llama-server -hf MODEL",
        "remove": "Delete its file",
        "window": "For a larger window: llama-server -c {context}",
        # of a router
        "own_window": "For a larger window: ctx-size = {context} in the section of {model} "
        "(--models-preset)",
    },
    lists=Lists(health_path="/health"),
    acts=Acts(
        can_remove=True,
        loads_on_demand=True,
        unload_path=llama_cpp.UNLOAD,
        count_path="/v1/chat/completions/input_tokens",
        count_field="input_tokens",
    ),
    chat=ChatForm(
        can_prefill=True,
        can_prefill_thought=True,
        # it still generates one token; `n_predict` comes before all other names of the limit
        read_ahead_fields={"max_tokens": 0, "n_predict": 0},
        ignores_model_name=True,
        names_build=True,
        thought_fields=("reasoning_content",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        thought_limit_field="reasoning_budget_tokens",
        has_thinking_switch=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_further_options=True,
    ),
)
_OLLAMA = Ollama(
    name="Ollama",
    place=Place(
        ports=(ollama.PORT,),
        clues=(
            _owned_by("library", is_hint=True),
            # not of LocalAI, which has Ollama's paths, too, but records without an owner
            Clue(ids=":", fields=frozenset({"id", "object", "created", "owned_by"}), is_hint=True),
            Clue(is_null=True, is_hint=True),  # nothing was ever pulled
            Clue(refusal="^$", is_hint=True),  # the refusal of a foreign host name
        ),
        proof=Proof("/api/tags", r'^\s*\{\s*"models"\s*:'),
        is_offered=True,
        named_endpoint=ollama.named_endpoint,
        hides_blocked_hosts=True,
    ),
    program=LocalProgram(
        name="ollama",
        folders=(".ollama", "/usr/share/ollama/.ollama", "/Applications/Ollama.app"),
        arguments="serve",
        model_folders=ollama.model_folders,
    ),
    steps={
        "get": "Get it at ollama.com",
        "start": "ollama serve",
        "key": "Ask the administrator of the proxy in front of Ollama for its API key",
        "model": _CHOOSE_TO_LOAD,
        "empty": "ollama pull llama3.2",
        "pull": "ollama pull MODEL",
        "host": "Use localhost, or OLLAMA_HOST={host} ollama serve",
        "window": "For a larger window: OLLAMA_CONTEXT_LENGTH={context} ollama serve",
        "own_window": "For a larger window: PARAMETER num_ctx {context} in its Modelfile, "
        "then ollama create {model} -f Modelfile",
    },
    refusal_next_steps={
        "model_missing": "Download it with: ollama pull {model}",
        "sign_in": "Sign in with: ollama signin",
    },
    lists=Lists(tells_remote=True, health_path="/api/version"),
    acts=Acts(
        can_remove=True,
        loads_on_demand=True,
    ),
    chat=ChatForm(
        can_prefill=True,  # where the template of the model leaves the last answer open
        thought_fields=("reasoning",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields={**_SEED_AND_PENALTIES, **_same_names("logprobs")},
        ignored_fields={"num_ctx": ollama.WINDOW_STEP},
    ),
)
_VLLM = Product(
    name="vLLM",
    place=Place(
        ports=(8000,),
        clues=(
            _owned_by("vllm"),
            Clue(refusal=r'^\{"error":"Unauthorized"\}$', is_hint=True),
        ),
        proof=Proof("/version", r'^\{"version":"\d+\.\d+[^"]*"\}$', needs_hint=True),
        is_offered=True,
    ),
    program=LocalProgram(name="vllm"),
    steps={
        "get": "pip install vllm",
        "start": "vllm serve MODEL",
        "key": "Use the API key that vllm serve was started with (--api-key)",
        "load": "It serves the model it was started with: vllm serve MODEL",
        "window": "For a larger window: vllm serve MODEL --max-model-len {context}",
    },
    lists=Lists(
        state=LoadState.LOADED,
        record_facts=native.common_record,
        health_path="/health",
    ),
    acts=Acts(count_path="/tokenize"),
    chat=ChatForm(
        can_prefill=True,
        prefill_fields={"continue_final_message": True, "add_generation_prompt": False},
        names_build=True,
        thought_fields=("reasoning", "reasoning_content"),  # depends on the version
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        has_thinking_switch=True,
        sampling_fields=_VLLM_SAMPLING,
    ),
)
_SGLANG = replace(
    _VLLM,
    name="SGLang",
    place=Place(
        ports=(30000,),
        clues=(_owned_by("sglang"),),
        is_offered=True,
    ),
    program=LocalProgram(name="sglang"),
    steps={
        **_VLLM.steps,
        "get": "pip install sglang",
        "start": "sglang serve MODEL",
        "key": "Use the API key that sglang serve was started with (--api-key)",
        "load": "It serves the model it was started with: sglang serve MODEL",
        "window": "For a larger window: sglang serve MODEL --context-length {context}",
    },
    lists=replace(
        _VLLM.lists,
        health_path="",
    ),
    acts=Acts(),
    chat=replace(
        _VLLM.chat,
        prefill_fields={"continue_final_message": True},
        names_build=False,
        thought_fields=("reasoning_content",),
    ),
)
_VLLM_MLX = replace(
    _VLLM,
    name="vllm-mlx",
    place=Place(clues=(_owned_by("vllm-mlx"),)),
    program=LocalProgram(name="vllm-mlx"),
    steps={
        **_VLLM.steps,
        "get": "pip install vllm-mlx",
        "start": "vllm-mlx serve MODEL",
        "key": "Use the API key that vllm-mlx serve was started with (--api-key)",
        "load": "It serves the model it was started with: vllm-mlx serve MODEL",
        "window": "",
    },
    acts=Acts(),
    chat=replace(
        _VLLM.chat,
        can_prefill=False,
        prefill_fields={},
        names_build=False,
        names_finish_reason=False,  # older versions name none behind some tool calls
        thought_fields=("reasoning_content",),
    ),
    options=replace(
        _VLLM.options,
        sampling_fields={
            **_same_names("presence_penalty", "logit_bias", "top_k", "min_p"),
            "repeat_penalty": "repetition_penalty",
        },
    ),
)
_LITELLM = Product(
    name="LiteLLM",
    place=Place(
        ports=(4000,),
        clues=(
            Clue(header="^x-litellm-"),
            Clue(refusal="No connected db|No api key passed in"),
            Clue(refusal="^Internal Server Error$", is_hint=True),  # without a key and a database
            # the time that LiteLLM's `DEFAULT_MODEL_CREATED_AT_TIME` gives to each model
            Clue(created=1677610602, is_hint=True),
        ),
        proof=Proof("/health/liveliness", r"^\"I'm alive!\"$"),
        is_offered=True,
    ),
    program=LocalProgram(name="litellm"),
    steps={
        "get": "pip install 'litellm[proxy]'",
        "start": "env LITELLM_MASTER_KEY=sk-KEY litellm --model MODEL",  # it needs a key to start
        "key": "Use a virtual key, or the master key, of the LiteLLM proxy",
        "load": "Load it on the server behind LiteLLM",
    },
    refusal_next_steps={
        "upstream": "The server behind LiteLLM does not answer: start it, or try again later.",
    },
    lists=Lists(
        fails_without_key=True,
        facts_paths=("/model/info",),
        add_facts=native.litellm_info,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    is_gateway=True,
)
_KOBOLDCPP = Product(
    name="KoboldCpp",
    place=Place(
        ports=(5001,),
        clues=(
            Clue(header="^server: (KoboldCppServer|ConcedoLlamaForKoboldServer)"),
            _owned_by("koboldcpp"),
        ),
        proof=Proof("/api/extra/version", '"KoboldCpp"'),
    ),
    program=LocalProgram(name="koboldcpp"),
    steps={
        "get": "Get it at github.com/LostRuins/koboldcpp",
        "start": "koboldcpp --model MODEL.gguf",
        "key": "Use the password that KoboldCpp was started with (--password)",
        "load": "It serves the model it was started with: koboldcpp --model MODEL.gguf",
        "window": "For a larger window: koboldcpp --contextsize {context}",
    },
    lists=Lists(
        state=LoadState.LOADED,
        record_facts=native.koboldcpp_record,
        facts_paths=("/api/extra/true_max_context_length",),
        add_facts=native.koboldcpp_window,
    ),
    chat=ChatForm(
        ignores_model_name=True,
        names_finish_reason=True,
    ),
    options=TakenOptions(sampling_fields={**_LOCAL_SAMPLING, "typical_p": "typical"}),
)
_TABBYAPI = Product(
    name="TabbyAPI",
    place=Place(
        ports=(5000,),
        clues=(
            _owned_by("tabbyAPI"),
            Clue(refusal="Please provide an API key", is_hint=True),
        ),
        proof=Proof("/.well-known/serviceinfo", '"TabbyAPI"'),
    ),
    steps={
        "get": "Get it at github.com/theroyallab/tabbyAPI",
        "start": "Start TabbyAPI: start.sh",
        "key": "Use a key from TabbyAPI's api_tokens.yml",
        "load": "Load it in TabbyAPI: POST /v1/model/load with the admin key",
        "window": "For a larger window: max_seq_len in TabbyAPI's config.yml",
    },
    lists=Lists(
        state=LoadState.NOT_LOADED,
        facts_paths=("/v1/model",),
        add_facts=native.tabby_loaded,
    ),
    options=TakenOptions(sampling_fields={**_VLLM_SAMPLING, "typical_p": "typical"}),
)
_LLAMA_CPP_PYTHON = Product(
    name="llama-cpp-python",
    place=Place(
        clues=(
            Clue(header="^server: uvicorn", owners=frozenset({"me"}), is_hint=True),
            Clue(
                owners=frozenset({"me"}),
                fields=frozenset({"id", "object", "owned_by", "permissions"}),
            ),
        ),
    ),
    steps={
        "get": "pip install 'llama-cpp-python[server]'",
        "start": "python -m llama_cpp.server --model MODEL.gguf",
        "key": "Use the API key that the server was started with (--api_key)",
        "load": "It serves the model it was started with (--model)",
        "window": "For a larger window: python -m llama_cpp.server --n_ctx {context}",
    },
    lists=Lists(
        state=LoadState.LOADED,
        is_disturbed=True,
    ),
    chat=ChatForm(
        ignores_model_name=True,
        names_finish_reason=True,
    ),
    options=TakenOptions(sampling_fields=_LOCAL_SAMPLING),
)
_LLAMA_SWAP = Product(
    name="llama-swap",
    place=Place(clues=(_owned_by("llama-swap"),)),
    program=LocalProgram(name="llama-swap"),
    steps={
        "get": "Get it at github.com/mostlygeek/llama-swap",
        "start": "llama-swap --config FILE",
        "key": "Use an API key from llama-swap's configuration (apiKeys)",
        "model": _CHOOSE_TO_LOAD,
        "empty": "Add models to llama-swap's configuration",
        "pull": "Add it to llama-swap's configuration",
        "load": "Send a message: llama-swap loads its model",
        "window": "For a larger window: the command of {model} in llama-swap's configuration",
    },
    lists=Lists(tells_remote=True, record_facts=native.llama_swap_record),
    acts=Acts(
        loads_on_demand=True,
        unload_path="/api/models/unload/{model}",
    ),
    chat=ChatForm(
        can_prefill=True,
        prefill_fields=_VLLM.chat.prefill_fields,  # for a vLLM behind it; llama.cpp takes them, too
        thought_fields=("reasoning_content",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        has_thinking_switch=True,
        sampling_fields=_LLAMA_SAMPLING,
        takes_further_options=True,
    ),
)
_DOCKER = Product(
    name="Docker Model Runner",
    place=Place(
        ports=(12434,),
        path="/engines/v1",
        clues=(_owned_by("docker"),),
    ),
    steps={
        "get": "Get it at docs.docker.com/ai/model-runner",
        "start": "docker desktop enable model-runner --tcp 12434",
        "model": _CHOOSE_TO_LOAD,
        "empty": "docker model pull ai/smollm2",
        "pull": "docker model pull MODEL",
        "remove": "docker model rm MODEL",
        "load": "Send a message: Docker Model Runner loads its model",
        "window": "For a larger window: docker model configure --context-size {context} {model}",
    },
    refusal_next_steps={"model_missing": "Download it with: docker model pull {model}"},
    lists=Lists(
        record_facts=native.docker_record,
        facts_paths=("/engines/ps",),
        add_facts=native.docker_loaded,
    ),
    acts=Acts(loads_on_demand=True),
    chat=ChatForm(
        thought_fields=("reasoning_content",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        has_thinking_switch=True,
        sampling_fields=_LLAMA_SAMPLING,
    ),
)
_MLX_LM = Product(
    name="mlx_lm.server",
    place=Place(
        clues=(
            Clue(
                header="^server: BaseHTTP/",
                fields=frozenset({"id", "object", "created"}),
                is_hint=True,
            ),
        ),
        proof=Proof("/health", r'^\{"status": "ok"\}$', needs_hint=True),
    ),
    program=LocalProgram(name="mlx_lm.server"),
    steps={
        "get": "pip install mlx-lm",
        "start": "mlx_lm.server --model MODEL",
        "model": _CHOOSE_TO_LOAD,
        "empty": "mlx_lm.server --model MODEL",
        "pull": "mlx_lm.server --model MODEL",
        "load": "Send a message: mlx_lm.server loads its model",
    },
    lists=Lists(
        state=LoadState.NOT_LOADED,  # it lists all that was ever downloaded
    ),
    acts=Acts(loads_on_demand=True),
    chat=ChatForm(
        thought_fields=("reasoning",),
        names_finish_reason=True,
    ),
    options=TakenOptions(
        efforts=("none",),
        has_thinking_switch=True,
        sampling_fields=_VLLM_SAMPLING,
    ),
)
_LOCALAI = Product(
    name="LocalAI",
    place=Place(
        clues=(
            Clue(refusal="An authentication key is required"),
            Clue(fields=frozenset({"id", "object"}), is_hint=True),
        ),
        proof=Proof("/system", '"loaded_models"'),
    ),
    program=LocalProgram(name="local-ai"),
    steps={
        "get": "Get it at localai.io",
        "start": "local-ai run",
        "key": "Use an API key that LocalAI was started with (API_KEY)",
        "model": _CHOOSE_TO_LOAD,
        "empty": "local-ai models install MODEL",
        "pull": "local-ai models install MODEL",
        "load": "Send a message: LocalAI loads its model",
        "window": "For a larger window: context_size in the YAML file of {model}",
    },
    lists=Lists(
        state=LoadState.NOT_LOADED,
        tells_remote=True,
        facts_paths=("/v1/models/capabilities", "/api/tags", "/system"),
        add_facts=native.localai_facts,
    ),
    acts=Acts(loads_on_demand=True, unload_path="/backend/shutdown"),
    chat=ChatForm(thought_fields=("reasoning",)),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields=_LLAMA_SAMPLING,
    ),
)
_LEMONADE = Product(
    name="Lemonade",
    place=Place(
        ports=(13305,),
        clues=(_owned_by("lemonade"),),
        proof=Proof("/v1/health", '"all_models_loaded"'),  # without a model
    ),
    program=LocalProgram(name="lemonade"),
    steps={
        "get": "Get it at lemonade-server.ai",
        "start": "Start Lemonade Server",
        "key": "Use the API key of Lemonade (LEMONADE_API_KEY)",
        "model": _CHOOSE_TO_LOAD,
        "empty": "lemonade pull MODEL",
        "pull": "lemonade pull MODEL",
        "remove": "lemonade delete MODEL",
        "window": _LOAD_WITH_CONTEXT,
    },
    refusal_next_steps={"model_missing": "Download it with: lemonade pull {model}"},
    lists=Lists(
        state=LoadState.NOT_LOADED,
        tells_remote=True,
        record_facts=native.lemonade_record,
        facts_paths=("/v1/health",),
        add_facts=native.lemonade_loaded,
    ),
    acts=Acts(
        loads_on_demand=True,
        load_path="/v1/load",
        unload_path="/v1/unload",
        load_field="model_name",
        context_field="ctx_size",
    ),
    chat=ChatForm(thought_fields=("reasoning_content",)),
    options=TakenOptions(sampling_fields=_LOCAL_SAMPLING),
)
_TEXT_GENERATION_WEBUI = Product(
    name="text-generation-webui",
    place=Place(
        clues=(
            _owned_by("user", created=0, is_hint=True),
            Clue(refusal='"Invalid host header"', is_hint=True),
        ),
        proof=Proof("/v1/internal/model/info", '"model_name"|"Invalid host header"'),
    ),
    steps={
        "get": "Get it at github.com/oobabooga/text-generation-webui",
        "start": "Start text-generation-webui with --api",
        "key": "Use the API key that it was started with (--api-key)",
        "empty": "Load a model in its Model tab",
        "load": "Load it in the Model tab of text-generation-webui",
    },
    lists=Lists(
        state=LoadState.LOADED,  # it lists the loaded model alone
    ),
    chat=ChatForm(
        ignores_model_name=True,
        thought_fields=("reasoning_content",),
    ),
    options=TakenOptions(sampling_fields={**_VLLM_SAMPLING, **_same_names("typical_p")}),
)
_GPT4ALL = Product(
    name="GPT4All",
    place=Place(
        ports=(4891,),
        clues=(_owned_by("humanity", created=0),),
    ),
    steps={
        "get": "Get it at nomic.ai/gpt4all",
        "start": "Open GPT4All: Settings, Enable Local API Server",
        "empty": "Download a model in GPT4All",
        "pull": "Download it in GPT4All",
        "load": "Send a message: GPT4All loads its model",
    },
    acts=Acts(loads_on_demand=True),
    chat=ChatForm(
        request_format=RequestFormat(streams=False, json_modes=(JsonMode.WORDS,)),
        answer_limit=4096,  # its own is 16
    ),
    options=TakenOptions(sampling_fields=_same_names("min_p")),
)
_LMCHAT = Product(
    name="lmchat",
    place=Place(clues=(Clue(header="^server: lmchat"),)),
    steps={
        "start": "lmchat serve",
        "key": "Use the key that lmchat serve was started with",
    },
    lists=Lists(tells_remote=True, record_facts=native.lmchat_record),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields=_OPENAI_SAMPLING,
    ),
    is_gateway=True,
)


def _hosted(name: str, host: str, keys: str) -> Product:
    """Return a provider on the internet; `keys` is the page where users create API keys."""
    away = "Check the network, and the address"
    return Product(
        name=name,
        place=Place(hosts=(host,)),
        steps={
            "start": away,
            "silent": away,  # no program of the user has the port
            "model": _CHOOSE_MODEL,
            "load": "Its models are always loaded",
            "empty": "Check what the account can use",
            "key": f"Create an API key at {keys}",
        },
    )


_OPENAI = replace(
    _hosted("OpenAI", "api.openai.com", "platform.openai.com/api-keys"),
    chat=ChatForm(
        request_format=RequestFormat(has_completion_tokens=True),
        names_build=True,
    ),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields=_OPENAI_SAMPLING,
    ),
)
# It reads temperatures above 1 as 1, takes neither seeds nor efforts, ignores `response_format`.
_ANTHROPIC = replace(
    _hosted("Anthropic", "api.anthropic.com", "console.anthropic.com/settings/keys"),
    chat=ChatForm(request_format=RequestFormat(json_modes=(JsonMode.WORDS,))),
)
# Its address ends in /v1beta/openai.
_GEMINI = replace(
    _hosted("Gemini", "generativelanguage.googleapis.com", "aistudio.google.com/apikey"),
    options=TakenOptions(efforts=EFFORTS),
)
# It refuses fields that it does not know.
_MISTRAL = replace(
    _hosted("Mistral", "api.mistral.ai", "console.mistral.ai/api-keys"),
    lists=Lists(record_facts=native.mistral_record),
    chat=ChatForm(request_format=RequestFormat(has_stream_options=False, has_short_call_ids=True)),
    options=TakenOptions(
        efforts=EFFORTS,
        sampling_fields={"seed": "random_seed"},
    ),
)
# It passes requests on to other providers.
_OPENROUTER = replace(
    _hosted("OpenRouter", "openrouter.ai", "openrouter.ai/settings/keys"),
    lists=Lists(record_facts=native.openrouter_record),
    options=TakenOptions(
        efforts=EFFORTS,
        effort_path=("reasoning", "effort"),
        sampling_fields=_VLLM_SAMPLING,
    ),
)
# llama.cpp's server as a child process of lmchat: `Engine`, which starts it, knows its address
# and puts this row in the place of llama.cpp's, as no reply could tell them apart.
_BUILT_IN = replace(
    _LLAMA_CPP,
    name=BUILT_IN_NAME,
    place=Place(),
    program=replace(
        _LLAMA_CPP.program,
        name="",
    ),
    steps={
        **_LLAMA_CPP.steps,
        "start": "lmchat --local",
        "pull": "lmchat --local -m USER/REPO, with the name of a model on huggingface.co",
        "remove": "Delete its file; `lmchat models --local` shows where it is",
        "key": "Start lmchat again: each start makes a new API key",
        "model": "Choose a model file",
        "window": "",
        "own_window": "",
    },
    acts=replace(
        _LLAMA_CPP.acts,
        loads_on_demand=False,
        context_field="context",  # never sent: lmchat sets the window when it starts the child
    ),
    chat=replace(
        _LLAMA_CPP.chat,
        names_build=False,
    ),
)
UNKNOWN = Product(
    lists=Lists(record_facts=native.common_record),
)  # any other OpenAI-compatible server
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
