"""A product: its words, how it is recognised, what it can do, and how it is spoken to over HTTP.

`Product` is a plain OpenAI-compatible server; `table.py` has a row for each. A few have a subclass
in a module of their own. A row of a list is an object of JSON in a server's list of models.
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
from lmchat.servers.products.server_api import OnProgress, OnPull, ServerApi
from lmchat.servers.request import Sampling
from lmchat.servers.sampling_options import COMMON, EXTRA, FURTHER_OPTIONS, TAKEN_BY_ALL
from lmchat.servers.wire.refusals import RefusalContext, not_an_llm_error
from lmchat.servers.wire.request_format import RequestFormat
from lmchat.sessions.message import SentThoughts

LM_STUDIO = "LM Studio"
NOTHING_FOUND = "No LMStudio server detected"  # wording that scripts know
LIST = "/v1/models"
_CLOUD_NAME = re.compile(r":([^:/]*-)?cloud\s*$", re.IGNORECASE)  # such as "gpt-oss:120b-cloud"
_SEEDS = 2**32 - 1  # this number itself means "random" to llama.cpp
_SENT_TO_ALL = ("temperature", "top_p", "max_tokens", "stop")
"""`request_body` writes them, as their names depend on the request format."""
_PROMPT_FIELDS = (
    "model",
    "messages",
    "tools",
    "response_format",
    "reasoning_effort",
    "chat_template_kwargs",
)
"""A prompt depends on them."""
_DEFAULT_LOAD_STEP = "Use the server's own program"
_DEFAULT_KEY_STEP = "Ask the administrator of the server for its API key"


Models = tuple[ModelInfo, ...]


def step_sentence(step: str) -> str:
    """Return a step as a sentence, for a server that does not answer or cannot be used.

    One with a small first letter is a command: one of lmchat, or else one that starts the server.
    """
    if not step:
        return ""
    starts_server = step[0].islower() and not step.startswith("lmchat ")
    return f"Start the server: {step}." if starts_server else f"{step.rstrip('.')}."


class Clue(Struct, frozen=True, kw_only=True):
    """Sign of a product in its reply to a request for the list of models; all that is set fits."""

    header: str = ""  # pattern in "name: value"
    owners: frozenset[str] = frozenset()  # `owned_by` of each row is one of them
    created: int | None = None  # of each row
    fields: frozenset[str] = frozenset()  # of each row, exactly
    ids: str = ""  # pattern in the `id` of each row
    is_null: bool = False  # the list is `null`
    words: str = ""  # pattern in the body of a refusal
    is_hint: bool = False
    """Other products may send the same: the product has to be proved."""

    def fits(self, reply: Reply, rows: list[JsonObject]) -> bool:
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
        """Return True for any reply if no header is set."""
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
    """Path at which only servers of one product send the pattern; asked for only once."""

    path: str
    pattern: str


def _no_folders(environ: Mapping[str, str], home: Path) -> list[Path]:  # noqa: ARG001 - no product
    return []


def _no_endpoint(environ: Mapping[str, str]) -> Endpoint | None:  # noqa: ARG001 - no product
    return None


class Product(Struct, frozen=True, kw_only=True):
    """Product, by default a plain OpenAI-compatible server. Holds no state.

    A step is a next step for the user, without a full stop; one with a small first letter is a
    command. In comments on the fields, "it" is the product, or a server of it.
    """

    name: str = OPENAI_COMPATIBLE

    # where it is, and how it is recognised
    ports: tuple[int, ...] = ()  # default ports, the likeliest first
    path: str = "/v1"  # path of its OpenAI-like API
    hosts: tuple[str, ...] = ()
    """It alone answers there; no request is needed to recognise it."""
    clues: tuple[Clue, ...] = ()
    proof: Proof | None = None
    """Asked for after a hint, or where it is expected."""
    is_offered: bool = False
    """A search shows it even if nothing answers and it is not installed."""
    named_endpoint: Callable[[Mapping[str, str]], Endpoint | None] = _no_endpoint
    """Reads an environment variable of the product; None if it is not usable."""
    last_port: Callable[[], int | None] = lambda: None
    """Used last on this machine, by a file of it; may block."""

    # the program on this machine
    program: str = ""  # name on PATH; empty: it is not looked for
    folders: tuple[str, ...] = ()  # show that it is installed; below the home folder, or absolute
    start_arguments: str = ""
    """Start the server; empty if the user has to choose more."""
    install_folders: Callable[[Path], list[Path]] = lambda _: []
    """Further `folders`, below that of the user; their `bin` may have the program."""
    model_folders: Callable[[Mapping[str, str], Path], list[Path]] = _no_folders
    """Folders of its GGUF files, by the environment and the user's folder."""
    is_open: Callable[[], bool] = lambda: False
    """Its program runs on this machine; asked if its server does not answer (R-3)."""

    # words
    where_to_get: str = ""  # next step if it is not installed
    start_step: str = "Start the server"
    stop_words: str = ""  # for one that continues after lmchat
    key_step: str = _DEFAULT_KEY_STEP
    model_step: str = "Load a model"
    empty_step: str = "Load a model"  # if it lists no model
    load_step: str = _DEFAULT_LOAD_STEP  # if it cannot load on request
    host_step: str = "Add the host name {host} to the server's trusted hosts, or use localhost"
    silent_step: str = "Check which program uses port {port}"  # if nothing answers in time
    pull_step: str = ""  # if it cannot download; empty: `load_step`
    remove_step: str = _DEFAULT_LOAD_STEP  # if it cannot delete
    continues_pull: str = ""
    """Sentence for a stopped wait if it downloads on all the same."""
    larger_window: str = ""  # with {model} and {context}
    larger_own_window: str = ""  # where the model's own file sets it
    refusal_hints: Mapping[str, str] = {}
    """Next steps by the kind of the error, and `sign_in`; {model} is filled in."""
    hides_blocked_hosts: bool = False  # a 403 without words is about the name of the host

    # abilities
    can_remove: bool = False  # what it has downloaded
    loads_on_demand: bool = False
    state: LoadState = LoadState.UNKNOWN  # if the list does not tell one
    slots: int = 1  # where no model says how many
    is_disturbed_by_list: bool = False  # asking for it ends a running answer
    can_prefill: bool = False  # continue an answer that is the last message
    can_prefill_thought: bool = False
    prefill_fields: Mapping[str, object] = {}
    read_ahead_fields: Mapping[str, object] = {}
    """Make a request that only reads the prompt into its cache (R-41)."""
    ignores_model_name: bool = False  # it answers with its one model
    repeats_local_name: bool = False
    """A model of this machine answers under the name of the request; another one may be remote."""
    names_finish_reason: bool = False  # in each complete answer
    names_build: bool = False  # as `system_fingerprint`
    fails_without_key: bool = False  # its list is then an error of the server
    is_gateway: bool = False
    """It passes requests on, also for models that it does not list, and errors back."""
    final_kinds: frozenset[str] = frozenset()  # of refusals that another attempt does not change

    # the form of its requests
    request_format: RequestFormat = RequestFormat()  # until it refuses a field
    health_path: str = ""
    """It tells at once whether the server answers, and whether it loads a model."""
    facts_path: str = ""  # its own list, with facts of the models
    add_facts: Callable[[Models, object], Models] = lambda models, _: models
    """Adds the facts in the JSON of `facts_path`."""
    row_facts: Callable[[ModelInfo, JsonObject], ModelInfo] = lambda model, _: model
    """Adds what its row of the list says, beyond what rows of all servers say."""
    load_path: str = ""
    unload_path: str = ""  # may hold {model}
    load_field: str = "model"  # its name in a request to load or unload
    count_path: str = ""  # counts the tokens of a request
    count_field: str = "count"
    efforts: tuple[str, ...] = ()  # levels that it is known to take
    effort_path: tuple[str, ...] = ("reasoning_effort",)  # field, and fields in it
    answer_limit: int | None = None
    """Tokens, if the user has set no limit; None: it decides."""
    thought_limit_field: str = ""  # longest thought in tokens
    has_thinking_switch: bool = False
    """A request can set a variable of chat templates that turns thinking off."""
    thought_fields: tuple[str, ...] = ()
    """Fields of a message by which a later request gives the model its thought back."""
    sampling_fields: Mapping[str, str] = {}
    """Its names of fields by the names of options (`sampling_options.py`).

    `_SENT_TO_ALL` are sent to all servers, and the reasoning effort has rules of its own.
    """
    ignored_fields: Mapping[str, str] = {}
    """Ignored without a word, with the step that has their effect."""
    takes_further_options: bool = False  # those of llama.cpp
    context_field: str = ""  # of a request to load a model: the window in tokens

    @property
    def subject(self) -> str:
        """Name at the beginning of a sentence."""
        return "The server" if self.name == OPENAI_COMPATIBLE else self.name

    def refusal_context(self, *, key: str = "", model: str = "", host: str = "") -> RefusalContext:
        hints = {"host_blocked": f"{self.host_step}."}
        if not (self.loads_on_demand or self.hosts or self.load_step == _DEFAULT_LOAD_STEP):
            hints["model_not_loaded"] = f"{self.load_step}."
        hints |= self.refusal_hints
        # the default step would replace the hint of the rule, which says whether a key was sent
        if self.key_step != _DEFAULT_KEY_STEP:
            hints["auth"] = f"{self.key_step}."
        return RefusalContext(
            product=self.name,
            subject=self.subject,
            hints=hints,
            key=key,
            model=model,
            host=host,
            hides_blocked_hosts=self.hides_blocked_hosts,
        )

    def takes_option(self, name: str) -> bool:
        """Return whether its servers take an option, as far as lmchat knows.

        The user decides about an option that begins with `EXTRA`. The effort depends on the model,
        too; here it counts as taken.
        """
        if name.startswith(EXTRA):
            return name.removeprefix(EXTRA) not in self.ignored_fields
        if name in TAKEN_BY_ALL or name in self.sampling_fields:
            return True
        return name in FURTHER_OPTIONS and self.takes_further_options

    def refuse_ignored(self, options: Iterable[str]) -> None:
        """Raise `WrongUse` for the first option that it would ignore.

        It is for options of the command line, and for one that is being set in a chat.
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
        """Return a seed, so that the request can be repeated.

        None if the user has set one, if the product takes none, and for a gateway, as a model
        behind it may take none.
        """
        is_set = "seed" in options or f"{EXTRA}seed" in options
        if is_set or self.is_gateway or not self.takes_option("seed"):
            return None
        return int.from_bytes(os.urandom(8)) % _SEEDS

    def sent_thoughts(self, model: ModelInfo | None) -> SentThoughts:
        """Return which thoughts of earlier answers a request gives back (R-45)."""
        if not self.thought_fields:
            return SentThoughts.NONE
        keeps_all = model is not None and model.keeps_thoughts
        return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT

    def window_step(self, model_id: str, model: ModelInfo | None, context: object) -> str:
        """Return how the user gets a window of `context` tokens; "" if that is not known."""
        has_own_window = model is not None and model.has_own_window
        step = (has_own_window and self.larger_own_window) or self.larger_window
        return step.format(model=model_id, context=context)

    def endpoint_at(self, port: int) -> Endpoint:
        return replace(loopback(port), path=self.path)

    async def models(self, api: ServerApi) -> Models:
        """Raises `ServerRejected` if it refuses or sends no list, and `ServerUnavailable`."""
        models = tuple(self.model_from_row(api, row) for row in await self.read_rows(api))
        if not self.facts_path:
            return models
        # those of a gateway stay while its names do: an idle screen asks for the list alone
        known = api.memory.facts if self.is_gateway else {}
        names = (bool(api.refusal_context.key), *(model.model_id for model in models))
        if names not in known:
            known[names] = await api.get_extra(self.facts_path)
        facts = known[names]
        return models if facts is None else self.add_facts(models, facts.value)

    def model_from_row(self, api: ServerApi, row: JsonObject) -> ModelInfo:
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
        """Return a model with what its name tells of it."""
        return ModelInfo(model_id=name, endpoint=endpoint, product=self.name)

    async def read_rows(self, api: ServerApi) -> list[JsonObject]:
        """Return rows that have a name.

        Raises `ServerRejected`, also if it is no list, and `ServerUnavailable`.
        """
        try:
            rows = rows_of(api.require_good(await api.get(LIST)))
        except ServerRejected as error:
            has_failed = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
            if self.fails_without_key and has_failed and not api.refusal_context.key:
                error.kind, error.hint = "auth", f"{self.key_step}."
            raise
        if rows is None:
            raise not_an_llm_error("it has no list of models.")
        return rows

    def request_fields(self, sampling: Sampling, model: ModelInfo | None = None) -> JsonObject:
        """Return the fields whose names depend on the product, without those of `_SENT_TO_ALL`."""
        fields: JsonObject = {}
        for name, value in self.taken_options(sampling, model).items():
            if name not in _SENT_TO_ALL:
                fields |= self.fields_of_option(name, value)
        return fields

    def fields_of_option(self, name: str, value: object) -> JsonObject:
        """Return fields, the first of which is the option itself.

        If a server refuses that, the option counts as not sent (`PreparedRequest.sent_options`).
        """
        if name == "reasoning_effort":
            return self.effort_fields(str(value))
        if name.startswith(EXTRA):
            return {name.removeprefix(EXTRA): value}
        if name == "logprobs":
            # the number of alternatives, beside a switch
            return {"logprobs": True, "top_logprobs": value}
        return {self.sampling_fields.get(name, name): value}

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """Return whether a request may name this effort; the server may still refuse it.

        An effort is a level such as `low`, or a limit for the thought: a number of tokens as text.
        The levels are those that the server names for the model, else those of the product.
        """
        if effort.isdecimal():
            return bool(self.thought_limit_field)
        levels = (model.efforts if model is not None else ()) or self.efforts
        # LM Studio has `off` for the effort that requests call `none`
        return effort in levels or (effort == "none" and "off" in levels)

    def effort_fields(self, effort: str) -> JsonObject:
        if effort.isdecimal():
            return {self.thought_limit_field: int(effort)}
        value: object = effort
        for name in reversed(self.effort_path):
            value = {name: value}
        fields = dict_or_empty(value)
        # many templates that know no efforts have this variable
        if effort == "none" and self.has_thinking_switch:
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        return fields

    def taken_options(self, sampling: Sampling, model: ModelInfo | None) -> dict[str, object]:
        """Return the options that a request may have; a server may still refuse some.

        An effort of 0 tokens is sent as the level `none` (R-46).
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
        """Return whether the server agreed; few products can."""
        return False

    async def count_tokens(self, api: ServerApi, body: JsonObject) -> int | None:
        """Return None if this version cannot count. Call it only with a `count_path`."""
        fields = {name: body[name] for name in _PROMPT_FIELDS if name in body}
        reply = await api.post(self.count_path, fields)
        if reply.is_unknown_path:
            return None
        return count_or_none(api.require_good(reply).object.get(self.count_field))

    def can_load_or_unload(self, model: ModelInfo) -> bool:
        path = self.unload_path if model.state is LoadState.LOADED else self.load_path
        return bool(path)

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        context: int | None,
        on_progress: OnProgress,  # noqa: ARG002 - for those that override it
    ) -> None:
        """Return when a model is loaded; raise `ServerRejected`.

        `context` is the window in tokens, only with a `context_field`. With it, a model in memory
        is unloaded first: some products would load it a second time, beside the first.
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
        """Report the progress, whichever request makes the server load; here, none."""

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Raises `ServerRejected`."""
        if not self.unload_path:
            raise self._cannot_error("unload")
        path = self.unload_path.format(model=quote(model.model_id))
        reply = await api.post(path, {self.load_field: model.model_id})
        self.require_done(api, reply, "unload")

    def can_pull(self, models: Models) -> bool:  # noqa: ARG002 - for those that override it
        """Return whether a server with these models downloads others on request."""
        return False

    async def pull(
        self,
        api: ServerApi,  # noqa: ARG002 - for those that override it
        name: str,  # noqa: ARG002 - as above
        on_pull: OnPull,  # noqa: ARG002 - for those that override it
    ) -> None:
        """Return when the server has a model; raise `ServerRejected`.

        Cancelling stops the download, unless the product `continues_pull`.
        """
        raise self._cannot_error("download")

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:  # noqa: ARG002 - as above
        """Have a model deleted from the server's disk; raise `ServerRejected`."""
        raise self._cannot_error("delete")

    def add_start_hint(self, error: ServerUnavailable) -> None:
        """Replace the hint of a refused connection; others stay."""
        # after a "timeout", the address may be wrong
        if isinstance(error, NothingAnswers) and error.kind == "offline":
            error.hint = step_sentence(self.start_step)

    def require_done(self, api: ServerApi, reply: Reply, verb: str) -> None:
        """Raise `ServerRejected` unless the server has done what `verb` says, such as "load"."""
        if reply.is_bare_ok:
            return
        try:
            api.require_good(reply)
        except ServerRejected as error:
            if error.kind != "wrong_path":
                raise
            raise self._cannot_error(verb) from error

    def _cannot_error(self, verb: str) -> ServerRejected:
        steps = {"download": self.pull_step, "delete": self.remove_step}
        return ServerRejected(
            f"{self.subject} cannot {verb} models on request.",
            kind="unsupported",
            hint=f"{steps.get(verb) or self.load_step}.",
        )


def rows_of(reply: Reply) -> list[JsonObject] | None:
    """Return the rows that have a name; None if the reply is no list."""
    is_bare = isinstance(reply.value, list)  # as of Together and older versions of exo
    is_list = reply.object.get("object") == "list"
    data = reply.value if is_bare else reply.object.get("data", None if is_list else 0)
    if data is None:  # Ollama without any model
        return []
    if not isinstance(data, list):
        return None
    rows = [row for row in dicts_in(data) if str_or_empty(row.get("id"))]
    # any program may send a list
    are_models = all(row.get("object") == "model" for row in rows)
    return None if is_bare and not (rows and are_models) else rows


def is_cloud_name(name: str) -> bool:
    """Return whether Ollama passes this name on to its cloud, even for a file on the disk."""
    return _CLOUD_NAME.search(name) is not None


def _is_remote(row: JsonObject) -> bool:
    """Check the signs of all servers, as a proxy may hide which product answers.

    They are those of Jan, llama-swap, Lemonade, `lmchat serve`, and the names of Ollama's cloud.
    """
    peer = dict_or_empty(dict_or_empty(row.get("meta")).get("llamaswap")).get("peerID")
    return (
        row.get("owned_by") == "remote"
        or bool(peer)
        or row.get("recipe") in ("cloud", "collection.router")
        or row.get("state") == LoadState.REMOTE
        or (row.get("owned_by") == "library" and is_cloud_name(str_or_empty(row.get("id"))))
    )
