"""A product: its words, how it is recognised, what it can do, and how it is spoken to over HTTP.

`Product` is a plain OpenAI-compatible server; `table.py` has a row for each. A few have a subclass
in a module of their own. A record is an object of JSON in a server's list of models.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Literal
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import NothingAnswers, ServerRejected, ServerUnavailable, WrongUse
from lmchat.base.json_values import JsonObject, count_or_none, dict_or_empty, dicts_in, str_or_empty
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.reply import Reply
from lmchat.core.servers.model import OPENAI_COMPATIBLE, LoadState, ModelInfo
from lmchat.core.servers.products.options import TakenOptions
from lmchat.core.servers.products.place import LocalProgram, Place
from lmchat.core.servers.products.server_api import OnProgress, OnPull, ServerApi
from lmchat.core.servers.request import ChatRequest, Sampling
from lmchat.core.servers.sampling_options import COMMON, EXTRA, FURTHER_OPTIONS
from lmchat.core.servers.wire.refusals import RefusalContext, not_an_llm_error
from lmchat.core.servers.wire.request_format import RequestFormat
from lmchat.core.sessions.message import SentThoughts

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
_LOAD = "Use the server's own program"
_STEPS: Mapping[str, str] = {
    "start": "Start the server",
    "key": "Ask the administrator of the server for its API key",
    "model": "Load a model",
    "empty": "Load a model",
    "load": _LOAD,
    "host": "Add the host name {host} to the server's trusted hosts, or use localhost",
    "silent": "Check which program uses port {port}",
    "remove": _LOAD,
}


Step = Literal[
    "get",  # it is not installed
    "start",
    "stop",  # a sentence, for one that continues after lmchat
    "key",
    "model",
    "empty",  # it lists no model
    "load",  # it cannot load on request
    "host",
    "silent",  # nothing answers in time
    "pull",  # it cannot download; without one, "load"
    "continues_pull",  # a sentence for a stopped wait, if it downloads on all the same
    "remove",  # it cannot delete
    "window",  # a larger one, with {model} and {context}
    "own_window",  # where the model's own file sets it
]
Models = tuple[ModelInfo, ...]


def step_sentence(step: str, verb: str = "Start the server") -> str:
    """Return a step as a sentence, for a server that does not answer or cannot be used.

    One with a small first letter is a command: one of lmchat, or else one that does what `verb`
    says.
    """
    if not step:
        return ""
    is_command = step[0].islower() and not step.startswith("lmchat ")
    return f"{verb}: {step}." if is_command else f"{step.rstrip('.')}."


class Lists(Struct, frozen=True, kw_only=True):
    """What its lists of models say, and which paths add to them."""

    state: LoadState = LoadState.UNKNOWN  # if the list does not tell one
    slots: int = 1  # where no model says how many
    is_disturbed: bool = False  # asking for the list ends a running answer
    tells_remote: bool = False  # it may pass prompts for a model on, and its list says so
    fails_without_key: bool = False  # it is then an error of the server
    health_path: str = ""
    """It tells at once whether the server answers, and whether it loads a model."""
    facts_paths: tuple[str, ...] = ()  # its own lists, with facts of the models
    add_facts: Callable[[Models, object], Models] = lambda models, _: models
    """Adds the facts in the JSON of each of the `facts_paths`."""
    record_facts: Callable[[ModelInfo, JsonObject], ModelInfo] = lambda model, _: model
    """Adds what its record says, beyond what records of all servers say."""


class Acts(Struct, frozen=True, kw_only=True):
    """What a request can have it do with a model."""

    loads_on_demand: bool = False
    load_path: str = ""
    unload_path: str = ""  # may hold {model}
    load_field: str = "model"  # its name in a request to load or unload
    context_field: str = ""  # of a request to load a model: the window in tokens
    count_path: str = ""  # counts the tokens of a request
    count_field: str = "count"
    can_remove: bool = False  # what it has downloaded


class ChatForm(Struct, frozen=True, kw_only=True):
    request_format: RequestFormat = RequestFormat()  # until it refuses a field
    can_prefill: bool = False  # continue an answer that is the last message
    can_prefill_thought: bool = False
    prefill_fields: Mapping[str, object] = {}
    read_ahead_fields: Mapping[str, object] = {}
    """Make a request that only reads the prompt into its cache (R-41)."""
    thought_fields: tuple[str, ...] = ()
    """Fields of a message by which a later request gives the model its thought back."""
    answer_limit: int | None = None
    """Tokens, if the user has set no limit; None: it decides."""
    ignores_model_name: bool = False  # it answers with its one model
    names_finish_reason: bool = False  # in each complete answer
    repeats_local_name: bool = False
    """A model of this machine answers under the name of the request; another one may be remote."""
    names_build: bool = False  # as `system_fingerprint`
    final_kinds: frozenset[str] = frozenset()  # of refusals that another attempt does not change

    def sent_thoughts(self, model: ModelInfo | None) -> SentThoughts:
        """Return which thoughts of earlier answers a request gives back (R-45)."""
        if not self.thought_fields:
            return SentThoughts.NONE
        keeps_all = model is not None and model.keeps_thoughts
        return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT


class Product(Struct, frozen=True, kw_only=True):
    """Product, by default a plain OpenAI-compatible server. Holds no state.

    In comments on the fields of its parts, "it" is the product, or a server of it.
    """

    name: str = OPENAI_COMPATIBLE
    place: Place = Place()
    program: LocalProgram = LocalProgram()
    steps: Mapping[Step, str] = {}
    """Next steps for the user, without a full stop; one with a small first letter is a command."""
    refusal_next_steps: Mapping[str, str] = {}
    """Next steps by the kind of the error, and `sign_in`; {model} is filled in."""
    lists: Lists = Lists()
    acts: Acts = Acts()
    chat: ChatForm = ChatForm()
    options: TakenOptions = TakenOptions()
    is_gateway: bool = False
    """It passes requests on, also for models that it does not list, and errors back."""

    def step(self, name: Step) -> str:
        return self.steps.get(name) or _STEPS.get(name, "")

    @property
    def subject(self) -> str:
        """Name at the beginning of a sentence."""
        return "The server" if self.name == OPENAI_COMPATIBLE else self.name

    def refusal_context(self, *, key: str = "", model: str = "", host: str = "") -> RefusalContext:
        next_steps = {"host_blocked": f"{self.step('host')}."}
        if "load" in self.steps and not (self.acts.loads_on_demand or self.place.hosts):
            next_steps["model_not_loaded"] = f"{self.step('load')}."
        next_steps |= self.refusal_next_steps
        # the default step would replace the next step of the rule, which says whether a key was
        # sent
        if "key" in self.steps:
            next_steps["auth"] = f"{self.step('key')}."
        return RefusalContext(
            product=self.name,
            subject=self.subject,
            next_steps=next_steps,
            key=key,
            model=model,
            host=host,
            hides_blocked_hosts=self.place.hides_blocked_hosts,
        )

    def refuse_ignored(self, options: Iterable[str]) -> None:
        """Raise `WrongUse` for the first option that it would ignore.

        It is for options of the command line, and for one that is being set in a chat.
        """
        for option in options:
            if step := self.options.ignored_fields.get(option.removeprefix(EXTRA)):
                raise WrongUse(
                    f"{self.subject} ignores {option} in requests.", next_step=f"{step}."
                )
            if not self.options.takes_option(option):
                taken = [
                    name
                    for name in (*COMMON, *FURTHER_OPTIONS)
                    if self.options.takes_option(name)
                    and (self.options.efforts or name != "reasoning_effort")
                ]
                raise WrongUse(
                    f"{self.subject} does not take {option}, as far as lmchat knows.",
                    next_step=f"It takes {', '.join(taken)}; extra.{option} sends it all the same.",
                )

    def seeded(self, request: ChatRequest) -> ChatRequest:
        """Draw a random seed, which lets the user repeat the answer.

        Not if the user has set a seed, if the product takes none, and for a gateway, as a model
        behind it may take none.
        """
        options = request.sampling.options
        is_set = "seed" in options or f"{EXTRA}seed" in options
        if is_set or self.is_gateway or not self.options.takes_option("seed"):
            return request
        seed = int.from_bytes(os.urandom(8)) % _SEEDS
        return replace(request, sampling=replace(request.sampling, seed=seed), has_drawn_seed=True)

    def window_step(self, model_id: str, model: ModelInfo | None, context: object) -> str:
        """Return how the user gets a window of `context` tokens; "" if that is not known."""
        has_own_window = model is not None and model.has_own_window
        step = (has_own_window and self.step("own_window")) or self.step("window")
        return step.format(model=model_id, context=context)

    async def models(self, api: ServerApi) -> Models:
        """Raises `ServerRejected` if it refuses or sends no list, and `ServerUnavailable`."""
        models = tuple(
            self.model_from_record(api, record) for record in await self.read_records(api)
        )
        # those of a gateway stay while its names do: an idle screen asks for the list alone
        known = api.memory.facts if self.is_gateway else {}
        names = (bool(api.refusal_context.key), *(model.model_id for model in models))
        for path in self.lists.facts_paths:
            key = (path, names)
            if key not in known:
                known[key] = await api.get_extra(path)
            if (facts := known[key]) is not None:
                models = self.lists.add_facts(models, facts.value)
        return models

    def model_from_record(self, api: ServerApi, record: JsonObject) -> ModelInfo:
        model = ModelInfo(
            model_id=str_or_empty(record.get("id")),
            endpoint=api.endpoint,
            product=self.name,
            state=LoadState.REMOTE if _is_remote(record) else self.lists.state,
            created=count_or_none(record.get("created")),
            owned_by=str_or_empty(record.get("owned_by")),
            runs_at=str_or_empty(record.get("runs_at")),
        )
        with_facts = self.lists.record_facts(model, record)
        return replace(with_facts, state=model.state) if model.is_remote else with_facts

    def unlisted_model(self, endpoint: Endpoint, name: str) -> ModelInfo:
        """Return a model with what its name tells of it."""
        return ModelInfo(model_id=name, endpoint=endpoint, product=self.name)

    async def read_records(self, api: ServerApi) -> list[JsonObject]:
        """Return records that have a name.

        Raises `ServerRejected`, also if it is no list, and `ServerUnavailable`.
        """
        try:
            records = records_in(api.require_good(await api.get(LIST)))
        except ServerRejected as error:
            self.name_missing_key(error, api.refusal_context.key)
            raise
        if records is None:
            raise not_an_llm_error("it has no list of models.")
        return records

    def name_missing_key(self, error: ServerRejected, key: str) -> None:
        has_failed = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
        if self.lists.fails_without_key and has_failed and not key:
            error.kind, error.next_step = "auth", f"{self.step('key')}."

    def request_fields(self, sampling: Sampling, model: ModelInfo | None = None) -> JsonObject:
        """Return the fields whose names depend on the product, without those of `_SENT_TO_ALL`."""
        fields: JsonObject = {}
        for name, value in self.options.taken_options(sampling, model).items():
            if name not in _SENT_TO_ALL:
                fields |= self.options.fields_of_option(name, value)
        return fields

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
        reply = await api.post(self.acts.count_path, fields)
        if reply.is_unknown_path:
            return None
        return count_or_none(api.require_good(reply).object.get(self.acts.count_field))

    def would_unload(self, model: ModelInfo) -> bool:
        """One of an unknown state may be in memory, and its next prompt loads it again."""
        may_be_loaded = model.state is LoadState.UNKNOWN and bool(self.acts.unload_path)
        return model.state is LoadState.LOADED or may_be_loaded

    def can_load_or_unload(self, model: ModelInfo) -> bool:
        path = self.acts.unload_path if self.would_unload(model) else self.acts.load_path
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
        if not self.acts.load_path:
            raise self.cannot_error("load")
        body: JsonObject = {self.acts.load_field: model.model_id}
        if context is not None:
            body[self.acts.context_field] = context
            if model.state is LoadState.LOADED:
                await self.unload(api, model)
        self.require_done(api, await api.post(self.acts.load_path, body), "load")

    async def follow_loading(self, api: ServerApi, model_id: str, on_progress: OnProgress) -> None:
        """Report the progress, whichever request makes the server load; here, none."""

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Raises `ServerRejected`."""
        if not self.acts.unload_path:
            raise self.cannot_error("unload")
        path = self.acts.unload_path.format(model=quote(model.model_id))
        reply = await api.post(path, {self.acts.load_field: model.model_id})
        self.require_done(api, reply, "unload")

    def can_delete(self, model: ModelInfo) -> bool:
        return self.acts.can_remove and model.can_remove and self.can_pull((model,))

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
        raise self.cannot_error("download")

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:  # noqa: ARG002 - as above
        """Have a model deleted from the server's disk; raise `ServerRejected`."""
        raise self.cannot_error("delete")

    def add_start_step(self, error: ServerUnavailable) -> None:
        """Replace the next step of a refused connection; others stay."""
        # after a "timeout", the address may be wrong
        if isinstance(error, NothingAnswers) and error.kind == "offline":
            error.next_step = step_sentence(self.step("start"))

    def require_done(self, api: ServerApi, reply: Reply, verb: str) -> None:
        """Raise `ServerRejected` unless the server has done what `verb` says, such as "load"."""
        if reply.is_bare_ok:
            return
        try:
            api.require_good(reply)
        except ServerRejected as error:
            if error.kind == "wrong_path":
                raise self.cannot_error(verb) from error
            if error.kind == "server_error" and verb == "load" and self.acts.loads_on_demand:
                error.next_step = "Its next prompt has it loaded."
            raise

    def cannot_error(self, verb: str) -> ServerRejected:
        steps = {"download": self.step("pull"), "delete": self.step("remove"), "unload": _LOAD}
        step = steps.get(verb) or self.step("load")
        return ServerRejected(
            f"{self.subject} cannot {verb} models on request.",
            kind="unsupported",
            next_step=step_sentence(step, "Use"),
        )


def records_in(reply: Reply) -> list[JsonObject] | None:
    """Return the records that have a name; None if there is no list, or no record in it has one."""
    is_bare = isinstance(reply.value, list)  # as of Together and older versions of exo
    is_list = reply.object.get("object") == "list"
    data = reply.value if is_bare else reply.object.get("data", None if is_list else 0)
    if data is None:  # Ollama without any model
        return []
    if not isinstance(data, list):
        return None
    records = [record for record in dicts_in(data) if str_or_empty(record.get("id"))]
    # any program may send a list
    are_models = all(record.get("object") == "model" for record in records)
    is_unread = not (records and are_models) if is_bare else bool(data) and not records
    return None if is_unread else records


def is_cloud_name(name: str) -> bool:
    """Return whether Ollama passes this name on to its cloud, even for a file on the disk."""
    return _CLOUD_NAME.search(name) is not None


def _is_remote(record: JsonObject) -> bool:
    """Check the signs of all servers, as a proxy may hide which product answers.

    They are those of Jan, llama-swap, Lemonade, `lmchat serve`, and the names of Ollama's cloud.
    """
    peer = dict_or_empty(dict_or_empty(record.get("meta")).get("llamaswap")).get("peerID")
    return (
        record.get("owned_by") == "remote"
        or bool(peer)
        or record.get("recipe") in ("cloud", "collection.router")
        or record.get("state") == LoadState.REMOTE
        or (record.get("owned_by") == "library" and is_cloud_name(str_or_empty(record.get("id"))))
    )
