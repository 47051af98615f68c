"""Base of the products: how to recognise one, ask it, load its models, and help with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from lmchat.domain.product import Product
from lmchat.domain.request import LoadOptions, Sampling
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.errors import RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.proxy.errors import NothingAnswers
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import number, rows, text, whole
from lmchat.proxy.refusals import not_an_llm
from lmchat.proxy.site import Site
from lmchat.proxy.wire import Dialect
from lmchat.text import safe_line

Tell = Callable[[float], None]  # takes how far something is, 0 to 1


class Server:
    """A product; the defaults are those of a plain OpenAI-compatible server. Holds no state."""

    product: ClassVar[Product]
    ports: ClassVar[tuple[int, ...]] = ()  # default ports; people see the first
    old_port: ClassVar[int | None] = None
    """Of the ports, the default of older versions; people see it, too."""
    hosts: ClassVar[tuple[str, ...]] = ()
    """Hosts where it alone answers; nothing has to be asked to recognise it."""
    dialect: ClassVar[Dialect] = Dialect()  # how it is asked until it refuses a field
    opening_path: ClassVar[str] = ""  # first path to ask on its own port; empty: the list of models
    confirm_path: ClassVar[str] = ""  # path that proves it, where the list of models does not
    state: ClassVar[LoadState] = LoadState.UNKNOWN
    loads_on_demand: ClassVar[bool] = False  # whether a chat request loads its model
    load_path: ClassVar[str] = ""
    unload_path: ClassVar[str] = ""
    context_field: ClassVar[str] = (
        ""  # field of a request to load with the size of the window; empty: none
    )
    signs_replies: ClassVar[bool] = False  # whether every reply proves it
    health_path: ClassVar[str] = ""  # path that tells at once whether it lives and whether it loads
    start_hint: ClassVar[str] = "Start the server"
    off_hint: ClassVar[str] = ""
    key_hint: ClassVar[str] = "Enter the server's API key"
    model_hint: ClassVar[str] = "Load a model"
    load_hint: ClassVar[str] = ""  # step where it cannot load on request; empty: `model_hint`
    empty_hint: ClassVar[str] = "Load a model"  # step where it lists no model
    host_hint: ClassVar[str] = (
        "Add the host name {host} to the server's trusted hosts, or use 127.0.0.1"
    )
    port_hint: ClassVar[str] = "Another program uses port {port}: stop it"
    efforts: ClassVar[tuple[str, ...]] = ()  # reasoning efforts that it is known to take
    has_thinking_switch: ClassVar[bool] = (
        False  # whether `none` turns off a switch of chat templates
    )
    seed_field: ClassVar[str] = ""  # field for a seed; empty: none
    count_path: ClassVar[str] = ""  # path that counts the tokens of a request; empty: it cannot
    count_field: ClassVar[str] = "count"

    def proves(self, reply: Reply) -> bool:  # noqa: ARG002 - for those that override it
        """Whether any reply can only come from this product."""
        return False

    def suspects(self, reply: Reply) -> bool:  # noqa: ARG002 - for those that override it
        """Whether the list of models is a reason to ask `confirm_path`."""
        return False

    def confirms(self, reply: Reply) -> bool:  # noqa: ARG002 - for those that override it
        """Whether the reply to `opening_path` or `confirm_path` proves it."""
        return False

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        return tuple(self.model(site, row) for row in await self.listed(site))

    def model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        return ModelInfo(
            model_id=text(row.get("id")),
            endpoint=site.endpoint,
            product=self.product,
            state=self.state,
            created=whole(row.get("created")),
            owned_by=text(row.get("owned_by")),
        )

    async def listed(self, site: Site) -> list[dict[str, Any]]:
        """Return the rows of the OpenAI-like list that have a name."""
        reply = site.accept(await site.get("/v1/models"))
        data = reply.object.get("data")
        if not isinstance(data, list):
            raise not_an_llm("it has no list of models.")
        return [row for row in rows(data) if text(row.get("id"))]

    def fields(self, sampling: Sampling, model: ModelInfo | None = None) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.seed_field and sampling.seed is not None:
            told[self.seed_field] = sampling.seed
        effort = sampling.reasoning_effort
        if effort and self.takes_effort(effort, model):
            told |= self.effort_fields(effort)
        return told

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:  # noqa: ARG002 - see above
        """Whether a request may name this effort; the server may still refuse it."""
        return effort in self.efforts

    def effort_fields(self, effort: str) -> dict[str, Any]:
        told: dict[str, Any] = {"reasoning_effort": effort}
        if effort == "none" and self.has_thinking_switch:
            told["chat_template_kwargs"] = {"enable_thinking": False}
        return told

    def left_out(self, sampling: Sampling, model: ModelInfo | None = None) -> tuple[str, ...]:
        """Say what `fields` leaves out, one sentence each."""
        effort, notes = sampling.reasoning_effort, []
        if effort and not self.takes_effort(effort, model):
            notes.append(f"{self._effort_note(effort, model)} It is not sent.")
        if sampling.seed is not None and not self.seed_field:
            notes.append(
                f"{self._name} does not support a seed, as far as lmchat knows. It is not sent."
            )
        return tuple(notes)

    def _effort_note(self, effort: str, model: ModelInfo | None) -> str:
        taken = model.efforts if model is not None and model.efforts else self.efforts
        if not taken:
            return f"{self._name} does not support a reasoning effort, as far as lmchat knows."
        names = safe_line(", ".join(taken), limit=100)
        return f'{self._name} does not support the reasoning effort "{effort}" here, only {names}.'

    async def count_tokens(self, site: Site, body: dict[str, Any]) -> int | None:
        """Return the tokens of a prompt with its template; None where this version cannot."""
        reply = await site.post_if_known(self.count_path, body)
        return None if reply is None else whole(site.accept(reply).object.get(self.count_field))

    def check_load(self, how: LoadOptions) -> None:
        """Refuse options that are not valid (`RequestInvalid`), or not taken (`ServerRejected`)."""
        for name in ("context", "keep_loaded_s"):
            value = getattr(how, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise RequestInvalid(f"{name} must be a whole number of at least 1.")
        if how.context is not None and not self.context_field:
            hint = self.product.facts.larger_window or self.load_hint or self.model_hint
            raise ServerRejected(
                f"{self._name} cannot set the context window when it loads a model.",
                kind="unsupported",
                hint=f"{hint.format(context=how.context)}.",
            )

    async def load(self, site: Site, model: ModelInfo, how: LoadOptions, tell: Tell) -> None:  # noqa: ARG002 - see above
        """Load a model and return when it is loaded, or raise `ServerRejected`; progress goes to `tell`.

        A model with another window is unloaded first: some would load it a second time.
        """
        if not self.load_path:
            raise self._cannot("load")
        if how.context is not None and model.state is LoadState.LOADED:
            await self.unload(site, model)
        size = {} if how.context is None else {self.context_field: how.context}
        self.accept(
            site, await site.post(self.load_path, {"model": model.model_id, **size}), "load"
        )

    async def follow_loading(self, site: Site, model_id: str, tell: Tell) -> None:
        """Tell the progress of a model that is being loaded, until it is loaded."""

    async def unload(self, site: Site, model: ModelInfo) -> None:
        if not self.unload_path:
            raise self._cannot("unload")
        self.accept(site, await site.post(self.unload_path, {"model": model.model_id}), "unload")

    def start_sentence(self) -> str:
        """Return how to start it; for a command, it says so."""
        is_command = self.start_hint[0].islower()
        return f"Start the server: {self.start_hint}." if is_command else f"{self.start_hint}."

    def add_hint(self, error: ServerUnavailable) -> None:
        if isinstance(error, NothingAnswers) and error.kind == "offline":
            error.hint = self.start_sentence()

    def accept(self, site: Site, reply: Reply, verb: str) -> None:
        try:
            site.accept(reply)
        except ServerRejected as error:
            if error.kind != "wrong_path":
                raise
            raise self._cannot(verb) from error

    @property
    def _name(self) -> str:
        return "This server" if self.product is Product.OPENAI_COMPATIBLE else self.product.value

    def _cannot(self, verb: str) -> ServerRejected:
        return ServerRejected(
            f"{self._name} cannot {verb} models on request.",
            kind="unsupported",
            hint=f"{self.load_hint or self.model_hint}.",
        )


def capabilities(
    *, tools: object = False, vision: object = False, reasoning: object = False
) -> tuple[str, ...]:
    """Return the names of what a model can."""
    told = {"tools": tools, "vision": vision, "reasoning": reasoning}
    return tuple(name for name, can in told.items() if can)


def params_text(count: object) -> str:
    """Write a number of parameters as people do: 135M, 8B, 1.7B."""
    figure = number(count)
    if not figure or figure < 1e6:  # noqa: PLR2004 - one million
        return ""
    size, unit = (figure / 1e9, "B") if figure >= 0.95e9 else (figure / 1e6, "M")  # noqa: PLR2004 - rounds to 1B
    is_whole = size >= 9.95 or unit == "M"  # noqa: PLR2004 - rounds to 10
    return f"{size:.0f}{unit}" if is_whole else f"{size:.1f}".removesuffix(".0") + unit


class OpenAiCompatible(Server):
    """The common ground."""

    product = Product.OPENAI_COMPATIBLE
    load_hint = "Use the server's own program"
