"""A product: its words, how it is recognised, what it can do, and how it is spoken to over HTTP.

`Product` is a plain OpenAI-compatible server; `table.py` has a row for each product. A few have an
interface of their own beside it, in a module with a subclass that says what differs.

A row of a list is an object of JSON in the list of models that a server sends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import effort_of
from lmchat.errors import NothingAnswers, ServerRejected, ServerUnavailable, WrongUse
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.http.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.servers.http.reply import Reply
from lmchat.servers.model import OPENAI_COMPATIBLE, LoadState, ModelInfo
from lmchat.servers.products.refusals import RefusalContext, not_an_llm_error
from lmchat.servers.products.request_format import RequestFormat
from lmchat.servers.products.server_api import OnProgress, OnPull, ServerApi
from lmchat.servers.request import Sampling, TemplateText
from lmchat.servers.sampling_options import COMMON, EXTRA, FURTHER_OPTIONS, TAKEN_BY_ALL
from lmchat.sessions.message import SentThoughts

LM_STUDIO = "LM Studio"
NOTHING_FOUND = "No LMStudio server detected"  # wording that scripts know
LIST = "/v1/models"  # the list of models that all products have
_CLOUD_NAME = re.compile(r":([^:/]*-)?cloud\s*$", re.IGNORECASE)  # such as "gpt-oss:120b-cloud"
_SEEDS = 2**32 - 1  # seeds are 0 to one less: this number itself means "random" to llama.cpp
_SENT_TO_ALL = ("temperature", "top_p", "max_tokens", "stop")
"""Options whose fields `request_body` writes, as their names depend on the request_format."""
_PROMPT_FIELDS = (
    "model",
    "messages",
    "tools",
    "response_format",
    "reasoning_effort",
    "chat_template_kwargs",
)
"""Fields of a request that its prompt depends on."""
_DEFAULT_LOAD_STEP = "Use the server's own program"
_DEFAULT_KEY_STEP = "Ask the administrator of the server for its API key"


Models = tuple[ModelInfo, ...]
ModelOfRow = Callable[[JsonObject], ModelInfo]


def step_sentence(step: str) -> str:
    """Return a next step as a sentence; "" if none exists.

    It is for the hint of a server that does not answer or cannot be used. A step that begins with a
    small letter is a command: one of lmchat, or else one that starts the server (`ollama serve`).
    """
    if not step:
        return ""
    starts_server = step[0].islower() and not step.startswith("lmchat ")
    return f"Start the server: {step}." if starts_server else f"{step.rstrip('.')}."


class Clue(Struct, frozen=True, kw_only=True):
    """A sign of a product in a reply to a request for the list of models; all that is set fits."""

    header: str = ""  # pattern found in a header, as "name: value"
    owners: frozenset[str] = frozenset()  # each row of the list has one of them as `owned_by`
    created: int | None = None  # each row has this time
    fields: frozenset[str] = frozenset()  # each row has exactly these fields
    ids: str = ""  # pattern found in the `id` of each row
    is_null: bool = False  # the list is `null`
    words: str = ""  # pattern found in the body of a refusal
    is_hint: bool = False
    """Whether other products may send the same: then the product has to be proved."""

    def fits(self, reply: Reply, rows: list[JsonObject]) -> bool:
        """Whether a reply, whose list has these rows, has the sign."""
        if self.words and (reply.is_good or not re.search(self.words, reply.text)):
            return False
        if self.is_null and reply.object.get("data", "") is not None:
            return False
        if not self.fits_headers(reply):
            return False
        if not (self.owners or self.fields or self.ids or self.created is not None):
            return bool(self.words or self.header or self.is_null)
        return bool(rows) and all(self._fits_row(row) for row in rows)

    def fits_headers(self, reply: Reply) -> bool:
        """Whether any reply has the header that is set, if one is."""
        headers = (f"{name}: {value}" for name, value in reply.headers.items())
        return not self.header or any(re.search(self.header, header) for header in headers)

    def _fits_row(self, row: JsonObject) -> bool:
        return (
            (not self.owners or str_or_empty(row.get("owned_by")) in self.owners)
            and (self.created is None or row.get("created") == self.created)
            and (not self.fields or row.keys() == self.fields)
            and (not self.ids or bool(re.search(self.ids, str_or_empty(row.get("id")))))
        )


class Proof(Struct, frozen=True):
    """A path whose reply only servers of one product send, by a pattern found in it.

    It needs to be asked for only once, and only a part of the reply is read.
    """

    path: str
    pattern: str


def _no_folders(environ: Mapping[str, str], home: Path) -> list[Path]:  # noqa: ARG001 - no product
    return []


def _no_endpoint(environ: Mapping[str, str]) -> Endpoint | None:  # noqa: ARG001 - no product
    return None


class Product(Struct, frozen=True, kw_only=True):
    """A product; the defaults are those of a plain OpenAI-compatible server. Holds no state.

    A step is a next step for the user, without a full stop; one with a small first letter is a
    command. In comments on the fields, "it" is the product, or a server of it.
    """

    name: str = OPENAI_COMPATIBLE

    # where it is, and how it is recognised
    ports: tuple[int, ...] = ()  # default ports, the likeliest first
    path: str = "/v1"  # path of its OpenAI-like API
    hosts: tuple[str, ...] = ()
    """Hosts where it alone answers; no request is needed to recognise it."""
    clues: tuple[Clue, ...] = ()
    proof: Proof | None = None
    """Asked for after a hint, or where it is expected; None: there is none."""
    is_offered: bool = False
    """Whether a search shows it even if nothing answers and it is not installed."""
    named_endpoint: Callable[[Mapping[str, str]], Endpoint | None] = _no_endpoint
    """Returns the address in an environment variable of the product, None without a usable one."""
    last_port: Callable[[], int | None] = lambda: None
    """Returns the port that it used last on this machine, by a file of it; may block."""

    # the program on this machine
    program: str = ""  # name on PATH; empty: it is not looked for
    folders: tuple[str, ...] = ()  # show that it is installed; below the home folder, or absolute
    start_arguments: str = ""
    """Arguments of `program` that start the server; empty if the user has to choose more."""
    install_folders: Callable[[Path], list[Path]] = lambda _: []
    """Returns further `folders`, below that of the user; their `bin` may have the program."""
    model_folders: Callable[[Mapping[str, str], Path], list[Path]] = _no_folders
    """Returns the folders of its GGUF files, by the environment and the user's folder."""
    is_open: Callable[[], bool] = lambda: False
    """Whether its program runs on this machine; asked if its server does not answer (R-3)."""

    # words
    where_to_get: str = ""  # next step if it is not installed
    start_step: str = "Start the server"
    stop_words: str = ""  # how to stop a server that continues after lmchat
    key_step: str = _DEFAULT_KEY_STEP
    model_step: str = "Load a model"
    empty_step: str = "Load a model"  # step if it lists no model
    load_step: str = _DEFAULT_LOAD_STEP  # step if it cannot load on request
    host_step: str = "Add the host name {host} to the server's trusted hosts, or use localhost"
    silent_step: str = "Check which program uses port {port}"  # step if nothing answers in time
    pull_step: str = ""  # step if it cannot download on request; empty: `load_step`
    remove_step: str = _DEFAULT_LOAD_STEP  # step if it cannot delete a model on request
    continues_pull: str = ""
    """Sentence for a stopped wait if it downloads on all the same; empty: it stops."""
    larger_window: str = ""  # step to a larger context window, with {model} and {context}
    larger_own_window: str = ""  # the same for a model whose own file sets it
    refusal_hints: Mapping[str, str] = {}
    """Sentences after other refusals, by the kind of the error; {model} is filled in."""

    # abilities
    can_remove: bool = False  # whether it deletes what it has downloaded on request
    loads_on_demand: bool = False  # whether a chat request loads its model
    state: LoadState = LoadState.UNKNOWN  # state of listed models, if the list does not tell one
    slots: int = 1  # requests answered at once where no model says how many
    is_disturbed_by_list: bool = False  # whether asking for its list ends a running answer
    can_prefill: bool = False  # whether it continues an answer that is the last message
    can_prefill_thought: bool = False  # whether it also continues a thought
    prefill_fields: Mapping[str, object] = {}  # fields of a request with which it continues one
    read_ahead_fields: Mapping[str, object] = {}
    """Fields of a request with which it only reads the prompt into its cache (R-41)."""
    shows_template_text: bool = False  # see `template_text`
    ignores_model_name: bool = False  # whether it answers with its one model to any name
    cuts_prompts: bool = False  # whether it drops the beginning of a too long prompt
    names_finish_reason: bool = False  # whether each complete answer says why it has ended
    names_build: bool = False  # whether the `system_fingerprint` of an answer is its build
    fails_without_key: bool = False  # whether its list without a key is an error of the server
    is_gateway: bool = False
    """Whether it passes requests on, also for models that it does not list, and errors back."""

    # the form of its requests
    request_format: RequestFormat = RequestFormat()  # form of its requests until it refuses a field
    health_path: str = ""
    """Path that tells at once whether it answers, and whether it loads a model; empty: none."""
    facts_path: str = ""  # its own list, with facts of the models; empty: none
    add_facts: Callable[[Models, object, ModelOfRow], Models] = lambda models, _, __: models
    """Returns the listed models with the facts in the JSON of `facts_path`."""
    row_facts: Callable[[ModelInfo, JsonObject], ModelInfo] = lambda model, _: model
    """Adds to a model what its row of the list says, beyond what rows of all servers say."""
    load_path: str = ""
    unload_path: str = ""  # may hold {model}
    load_field: str = "model"  # field of a request to load or unload a model: its name
    count_path: str = ""  # path that counts the tokens of a request; empty: it cannot
    count_field: str = "count"
    efforts: tuple[str, ...] = ()  # levels of the reasoning effort that it is known to take
    effort_path: tuple[str, ...] = ("reasoning_effort",)  # field of the level, and fields in it
    answer_limit: int | None = None
    """Tokens of an answer that a request allows if the user has set no limit; None: it decides."""
    thought_limit_field: str = ""  # field for the longest thought in tokens; empty: none
    has_thinking_switch: bool = False
    """Whether a request can set a variable of chat templates that turns thinking off."""
    thought_fields: tuple[str, ...] = ()
    """Fields of a message by which a later request gives the model its thought back."""
    sampling_fields: Mapping[str, str] = {}
    """Fields of a request for the options that it takes, by their names (`sampling_options.py`).

    `temperature`, `top_p`, `max_tokens` and `stop` are sent to all servers, and the reasoning
    effort has rules of its own.
    """
    ignored_fields: Mapping[str, str] = {}
    """Further fields that it ignores without a word, with the step that has their effect."""
    takes_further_options: bool = False  # whether it takes llama.cpp's further options
    context_field: str = ""  # field of a request to load a model: the context window in tokens

    @property
    def subject(self) -> str:
        """Name of a server of this product at the beginning of a sentence."""
        return "The server" if self.name == OPENAI_COMPATIBLE else self.name

    def refusal_context(
        self, *, key: str = "", model: str = "", host: str = "", path: str = "/v1"
    ) -> RefusalContext:
        """Return the facts that the error for a refusal by this product needs.

        They are names and next steps of the product, and the API key and the model of the request,
        and the host and the path of the address.
        """
        hints = {"host_blocked": f"{self.host_step}."}
        if not (self.loads_on_demand or self.hosts or self.load_step == _DEFAULT_LOAD_STEP):
            hints["model_not_loaded"] = f"{self.load_step}."
        hints |= self.refusal_hints
        # The default step does not say where to find a key. In its place, the error has the hint of
        # the rule (`refusals.REFUSALS`), which says whether a key was sent.
        if self.key_step != _DEFAULT_KEY_STEP:
            hints["auth"] = f"{self.key_step}."
        return RefusalContext(
            product=self.name,
            subject=self.subject,
            hints=hints,
            key=key,
            model=model,
            host=host,
            path=path,
        )

    def takes_option(self, name: str) -> bool:
        """Return whether its servers take a sampling option, as far as lmchat knows.

        The user decides about an option whose name begins with `EXTRA`: it is sent to any product.
        The reasoning effort depends on the model, too; here it counts as taken.
        """
        if name.startswith(EXTRA):
            return name.removeprefix(EXTRA) not in self.ignored_fields
        if name in TAKEN_BY_ALL or name in self.sampling_fields:
            return True
        return name in FURTHER_OPTIONS and self.takes_further_options

    def refuse_ignored(self, options: Iterable[str]) -> None:
        """Raise `WrongUse` for the first option that the product would ignore.

        It is for options of the command line, and for one that is being set in a chat. The hint
        lists those that the product takes.
        """
        for option in options:
            if step := self.ignored_fields.get(option.removeprefix(EXTRA)):
                raise WrongUse(f"{self.subject} ignores {option} in requests.", hint=f"{step}.")
            if not self.takes_option(option):
                taken = filter(self.takes_option, (*COMMON, *FURTHER_OPTIONS))
                raise WrongUse(
                    f"{self.subject} does not take {option}, as far as lmchat knows.",
                    hint=f"It takes {', '.join(taken)}; extra.{option} sends it all the same.",
                )

    def drawn_seed(self, options: Mapping[str, object]) -> int | None:
        """Return a random seed for a request with these options, so that it can be repeated.

        Return None if the user has set a seed, or if the product takes none. Return None also for a
        gateway, because a model behind it may take none.
        """
        is_set = "seed" in options or f"{EXTRA}seed" in options
        if is_set or self.is_gateway or not self.takes_option("seed"):
            return None
        return int.from_bytes(os.urandom(8)) % _SEEDS

    def sent_thoughts(self, model: ModelInfo | None) -> SentThoughts:
        """Return which thoughts of earlier answers a request gives back to a model (R-45).

        `NONE` if the product has no field for them, `ALL` if the model keeps the thoughts of all
        its answers, else `SINCE_PROMPT`. `model` is None if it is not known.
        """
        if not self.thought_fields:
            return SentThoughts.NONE
        keeps_all = model is not None and model.keeps_thoughts
        return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT

    def window_step(self, model_id: str, model: ModelInfo | None, context: object) -> str:
        """Return how the user gets a window of `context` tokens; empty if that is not known.

        `model` is None if it is not listed.
        """
        has_own_window = model is not None and model.has_own_window
        step = (has_own_window and self.larger_own_window) or self.larger_window
        return step.format(model=model_id, context=context)

    def endpoint_at(self, port: int) -> Endpoint:
        """Return the address of its server at a port of this machine."""
        return replace(loopback(port), path=self.path)

    async def models(self, api: ServerApi) -> Models:
        """Return the models that the server lists.

        Raises `ServerRejected` if it refuses or sends no list, `ServerUnavailable` if nothing
        answers.
        """

        def model_of(row: JsonObject) -> ModelInfo:
            return self.model_from_row(api, row)

        models = tuple(map(model_of, await self.read_rows(api)))
        facts = await api.get_extra(self.facts_path) if self.facts_path else None
        return models if facts is None else self.add_facts(models, facts.value, model_of)

    def model_from_row(self, api: ServerApi, row: JsonObject) -> ModelInfo:
        """Return the model of a row of the OpenAI-like list.

        Where rows do not have its state, it is the one that all models of the product have, unless
        the row is that of a remote model.
        """
        model = ModelInfo(
            model_id=str_or_empty(row.get("id")),
            endpoint=api.endpoint,
            product=self.name,
            state=LoadState.REMOTE if _is_remote(row) else self.state,
            created=count_or_none(row.get("created")),
            owned_by=str_or_empty(row.get("owned_by")),
            runs_at=str_or_empty(row.get("runs_at")),
        )
        return self.row_facts(model, row)

    def unlisted_model(self, endpoint: Endpoint, name: str) -> ModelInfo:
        """Return a model that the server does not list, with what its name tells of it."""
        return ModelInfo(model_id=name, endpoint=endpoint, product=self.name)

    async def read_rows(self, api: ServerApi) -> list[JsonObject]:
        """Ask for the OpenAI-like list of models; return the rows that have a name.

        Raises `ServerRejected` if the server refuses, or answers with anything but a list, and
        `ServerUnavailable` if nothing answers.
        """
        try:
            rows = rows_of(api.require_good(await api.get(LIST)))
        except ServerRejected as error:
            has_failed = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
            if self.fails_without_key and has_failed and not api.facts.key:
                error.kind, error.hint = "auth", f"{self.key_step}."
            raise
        if rows is None:
            raise not_an_llm_error("it has no list of models.")
        return rows

    def request_fields(self, sampling: Sampling, model: ModelInfo | None = None) -> JsonObject:
        """Return the fields of a chat request whose names depend on the product.

        The fields of `_SENT_TO_ALL` are left out, because `body_of` writes them. `model` is None if
        the server has not listed it.
        """
        fields: JsonObject = {}
        for name, value in self.taken_options(sampling, model).items():
            if name not in _SENT_TO_ALL:
                fields |= self.fields_of_option(name, value)
        return fields

    def fields_of_option(self, name: str, value: object) -> JsonObject:
        """Return the fields of a request for a sampling option that the product takes.

        The first field is the option itself: if a server refuses it, the option counts as not sent
        (`PreparedRequest.sent_options`). An option is sent under the name that the product has for
        it, or else under its own. If the name begins with `EXTRA`, this beginning is removed.
        """
        if name == "reasoning_effort":
            return self.effort_fields(str(value))
        if name.startswith(EXTRA):
            return {name.removeprefix(EXTRA): value}
        if name == "logprobs":
            # the option is the number of alternatives; requests have it beside a switch
            return {"logprobs": True, "top_logprobs": value}
        return {self.sampling_fields.get(name, name): value}

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """Whether a request to a model may name this effort; the server may still refuse it.

        An effort is a level such as `low`, or a limit for the thought: a number of tokens as text.
        The levels are those that the server names for the model, else those of the product.
        `model` is None if the server has not listed it.
        """
        if effort.isdecimal():
            return bool(self.thought_limit_field)
        levels = (model.efforts if model is not None else ()) or self.efforts
        # LM Studio has `off` for the effort that requests call `none`
        return effort in levels or (effort == "none" and "off" in levels)

    def effort_fields(self, effort: str) -> JsonObject:
        """Return the fields of a request for an effort that `takes_effort` allows."""
        if effort.isdecimal():
            return {self.thought_limit_field: int(effort)}
        value: object = effort
        for name in reversed(self.effort_path):
            value = {name: value}
        fields = dict_or_empty(value)
        # many chat templates that know no efforts have this variable, which stops the thought
        if effort == "none" and self.has_thinking_switch:
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        return fields

    def taken_options(self, sampling: Sampling, model: ModelInfo | None) -> dict[str, object]:
        """Return those of the set sampling options that a request to a model may have, by name.

        They are those that the product takes; a server may still refuse some of them. An effort is
        a level or a limit of the thought in tokens; a limit of 0 is sent as the level `none`
        (R-46). Whether the product takes an effort, `takes_effort` decides.
        """
        taken: dict[str, object] = {}
        for name, value in sampling.options.items():
            if name == "reasoning_effort":
                effort = effort_of(value) or str(value)  # 0 tokens become `none`
                if self.takes_effort(effort, model):
                    taken[name] = effort
            elif self.takes_option(name):
                taken[name] = value
        return taken

    async def end_thought(
        self,
        api: ServerApi,  # noqa: ARG002 - for those that override it
        model_id: str,  # noqa: ARG002 - for those that override it
        answer_id: str,  # noqa: ARG002 - for those that override it
    ) -> bool:
        """Order the end of the thought in a running answer; return whether the server agreed.

        Here, return False: few products can.
        """
        return False

    async def count_tokens(self, api: ServerApi, body: JsonObject) -> int | None:
        """Return how many tokens the prompt of a chat request has with the model's template.

        Return None if this version of the server cannot count, or its reply has no number. The
        method is called only for a product with a `count_path`.
        """
        fields = {name: body[name] for name in _PROMPT_FIELDS if name in body}
        reply = await api.post(self.count_path, fields)
        if reply.is_unknown_path:
            return None
        return count_or_none(api.require_good(reply).object.get(self.count_field))

    async def template_text(self, api: ServerApi, body: JsonObject) -> TemplateText:  # noqa: ARG002 - for those that override it
        """Let a server apply its chat template to the body of a request, and count the tokens.

        It shows users the text that the model gets. Raises `ServerRejected` if the server cannot do
        it; here always: few products can.
        """
        raise ServerRejected(
            f"{self.subject} does not show the text behind its chat template.",
            kind="unsupported",
            hint="Look at the JSON of the request, or use llama.cpp.",
        )

    def can_load_or_unload(self, model: ModelInfo) -> bool:
        """Whether it loads a model on request; of a loaded one, whether it unloads it."""
        path = self.unload_path if model.state is LoadState.LOADED else self.load_path
        return bool(path)

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        context: int | None,
        on_progress: OnProgress,  # noqa: ARG002 - for those that override it
    ) -> None:
        """Load a model and return when it is loaded; raise `ServerRejected` if that is refused.

        `context` is the window in tokens, only for a product with a `context_field`; None: the
        server decides. A model in memory is unloaded first if a window is given: some products
        would load it a second time, beside the first. `on_progress` is not called here.
        """
        if not self.load_path:
            raise self._cannot_error("load")
        body: JsonObject = {self.load_field: model.model_id}
        if context is not None:
            body[self.context_field] = context
            if model.state is LoadState.LOADED:
                await self.unload(api, model)
        self.require_done(api, await api.post(self.load_path, body), "load")

    async def follow_loading(self, api: ServerApi, model_id: str, on_progress: OnProgress) -> None:
        """Report the progress while a server loads a model, no matter which request makes it load.

        Here, return at once: only some products tell the progress.
        """

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Unload a model; raise `ServerRejected` if the product cannot, or the server refuses."""
        if not self.unload_path:
            raise self._cannot_error("unload")
        path = self.unload_path.format(model=quote(model.model_id))
        reply = await api.post(path, {self.load_field: model.model_id})
        self.require_done(api, reply, "unload")

    def can_pull(self, models: Models) -> bool:  # noqa: ARG002 - for those that override it
        """Whether a server that lists these models downloads others on request."""
        return False

    async def pull(
        self,
        api: ServerApi,  # noqa: ARG002 - for those that override it
        name: str,  # noqa: ARG002 - as above
        on_pull: OnPull,  # noqa: ARG002 - for those that override it
    ) -> None:
        """Let the server download a model, and return when it has it.

        Cancelling stops the download, unless the product `continues_pull`. Raises
        `ServerRejected` if the server cannot download on request, or fails.
        """
        raise self._cannot_error("download")

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:  # noqa: ARG002 - as above
        """Let the server delete a model from its disk; raise `ServerRejected` if it cannot."""
        raise self._cannot_error("delete")

    def add_start_hint(self, error: ServerUnavailable) -> None:
        """Replace the hint of a refused connection by how to start a server of this product.

        The hint of any other error stays as it is.
        """
        # "offline": the connection was refused; after a "timeout", the address may be wrong
        if isinstance(error, NothingAnswers) and error.kind == "offline":
            error.hint = step_sentence(self.start_step)

    def require_done(self, api: ServerApi, reply: Reply, verb: str) -> None:
        """Raise `ServerRejected` unless the server has done what `verb` says, such as "load".

        If the server does not have the path, the error says that it cannot do this on request.
        """
        if reply.is_bare_ok:
            return
        try:
            api.require_good(reply)
        except ServerRejected as error:
            if error.kind != "wrong_path":
                raise
            raise self._cannot_error(verb) from error

    def _cannot_error(self, verb: str) -> ServerRejected:
        """Return the error for a server that has no request for this; its hint is another way."""
        steps = {"download": self.pull_step, "delete": self.remove_step}
        return ServerRejected(
            f"{self.subject} cannot {verb} models on request.",
            kind="unsupported",
            hint=f"{steps.get(verb) or self.load_step}.",
        )


def rows_of(reply: Reply) -> list[JsonObject] | None:
    """Return the rows of a list of models that have a name; None if the reply is no such list."""
    data = reply.object.get("data", 0)
    if data is None:  # Ollama without any model
        return []
    if not isinstance(data, list):
        return None
    return [row for row in dicts_in(data) if str_or_empty(row.get("id"))]


def is_cloud_name(name: str) -> bool:
    """Whether Ollama passes requests for this name on to its cloud, even for a file on the disk."""
    return _CLOUD_NAME.search(name) is not None


def _is_remote(row: JsonObject) -> bool:
    """Whether a row is that of a model which does not run where its server runs.

    Rows are checked for the signs of all servers: a proxy may hide which product answers. They are
    those of Jan, llama-swap, Lemonade, `lmchat serve`, and the names of Ollama's cloud.
    """
    peer = dict_or_empty(dict_or_empty(row.get("meta")).get("llamaswap")).get("peerID")
    return (
        row.get("owned_by") == "remote"
        or bool(peer)
        or row.get("recipe") in ("cloud", "collection.router")
        or row.get("state") == LoadState.REMOTE
        or (row.get("owned_by") == "library" and is_cloud_name(str_or_empty(row.get("id"))))
    )
