"""Chat requests as their products want them, in the format that a model accepted last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import ServerRejected, with_next_step
from lmchat.base.json_values import JsonObject, encode
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.product import Product
from lmchat.core.servers.products.request_body import body_of, json_words, tool_fields
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import CHAT_PATH, ChatRequest
from lmchat.core.servers.sampling_options import STORED, left_out_notes
from lmchat.core.servers.wire.lessons import (
    MOVE_SYSTEM_PROMPT,
    SEND_AGAIN,
    TOOL_FIELDS,
    Lesson,
    Refused,
    lessons_of,
)
from lmchat.core.servers.wire.refusal_rules import STEPS
from lmchat.core.servers.wire.refusals import RefusalContext
from lmchat.core.servers.wire.request_format import RequestFormat
from lmchat.core.sessions.message import Role

_REPEATED_KINDS = ("bad_request", "template", "server_error")
"""Behind the result of a tool, which may be wrong or the next call."""
_FINAL_REFUSALS = 2  # of the tools in a row, which are not sent any more then


class PreparedRequest(Struct, kw_only=True):
    """Request as its product wants it, in a form that refusals change.

    `url` and `body` are also what the user is shown.
    """

    request: ChatRequest
    model: ModelInfo | None  # as its server last listed it
    has_list: bool | None = None  # of models; None: it was not read
    request_format: RequestFormat
    memory: ModelMemory  # of the start of the server for which it was prepared
    is_whole: bool = False  # the answer is asked for whole, after an empty stream
    is_repeated: bool = False  # in the same form, behind the result of a tool
    # for a request that is shown: an API key is sent, too, and headers with these names
    has_key: bool = False
    header_names: Sequence[str] = ()

    @classmethod
    def of(cls, request: ChatRequest, lists: ModelLists, memory: ModelMemory) -> PreparedRequest:
        """Use the format that the model took last, else that of the product."""
        target = request.target
        listed = lists.models_of(target.endpoint)
        product_format = product_named(target.product).chat.request_format
        return cls(
            request=request,
            model=lists.model(target),
            has_list=None if listed is None else bool(listed),
            request_format=memory.request_format or product_format,
            memory=memory,
        )

    @property
    def product(self) -> Product:
        return product_named(self.request.target.product)

    @property
    def is_known_to_load(self) -> bool:
        """False if unknown: users are told that it loads, which must be true."""
        is_unloaded = self.model is not None and self.model.state in (
            LoadState.NOT_LOADED,
            LoadState.ASLEEP,
        )
        return is_unloaded and self.product.acts.loads_on_demand

    @property
    def is_asleep(self) -> bool:
        return self.model is not None and self.model.state is LoadState.ASLEEP

    @property
    def url(self) -> str:
        return f"{self.request.target.endpoint.base_url}{CHAT_PATH}"

    @property
    def body(self) -> bytes:
        return encode(self.json())

    def json(self) -> JsonObject:
        request_format = self.request_format
        if self.is_whole:
            request_format = replace(request_format, streams=False)
        sent_thoughts = self.product.chat.sent_thoughts(self.model)
        return body_of(self.request, self._extra_fields, request_format, sent_thoughts)

    @property
    def _extra_fields(self) -> JsonObject:
        fields = self.product.request_fields(self.request.sampling, self.model)
        return fields | tool_fields(self.request)

    @property
    def taken_options(self) -> Mapping[str, object]:
        """Options that the product takes; the server may have refused some."""
        return self.product.options.taken_options(self.request.sampling, self.model)

    @property
    def option_notes(self) -> Mapping[str, str]:
        """A note for each option that is not sent, and one for all stored ones."""
        text = "here, as far as lmchat knows. It is not sent."
        options = self.request.sampling.options
        notes = {note: note for note in left_out_notes(options)}
        return notes | {
            name: f"{self.product.subject} does not take {name} {text}"
            for name in options
            if not name.startswith(STORED) and name not in self.taken_options
        }

    def sent_options(self) -> dict[str, object]:
        options: dict[str, object] = {}
        for name, value in self.taken_options.items():
            fields = self.product.options.fields_of_option(name, value)
            # further ones, such as `top_logprobs`, only go with the first
            field, sent_value = next(iter(fields.items()))
            if (field, str(sent_value)) not in self.request_format.dropped:
                options[name] = value
        return options

    def refusal_context(self, context: RefusalContext) -> RefusalContext:
        request = self.request
        options = self.sent_options()
        if request.has_drawn_seed:
            options.pop("seed", None)
        sent_tools = () if self.has_lost_tools else request.tools
        files = chain.from_iterable(message.files for message in request.messages)
        next_steps = context.next_steps
        has_none = self.has_list is False
        is_unloaded = self.model is not None and self.model.state is LoadState.NOT_LOADED
        if (
            (is_unloaded or has_none)
            and not self.product.acts.loads_on_demand
            and "model_not_loaded" in next_steps
        ):
            step = next_steps["model_not_loaded"]
            step = f"No model is loaded. {step}" if has_none else step
            next_steps = {**next_steps, "server_error": step}
        return replace(
            context,
            next_steps=next_steps,
            is_remote=self.model is not None and self.model.is_remote,
            options=tuple(options),
            tools=tuple(tool.wire_name for tool in sent_tools),
            has_images=any(file.is_image and request.files.get(file.digest) for file in files),
        )

    def name_cause(self, error: ServerRejected, key: str) -> None:
        """Say what the list of the server shows if its refusal names no cause."""
        if error.kind != "server_error" or self.model is not None:
            return
        if not self.has_list:
            self.product.name_missing_key(error, key)
        elif error.status == HTTPStatus.NOT_FOUND:
            error.kind, error.next_step = "model_missing", STEPS["model_missing"]

    @property
    def has_lost_tools(self) -> bool:
        tools = tool_fields(self.request).get("tools")
        return ("tools", str(tools)) in self.request_format.dropped

    def adapt(self, error: ServerRejected) -> list[str] | None:
        """Change the format after a refusal; return None if no other form would help.

        Else return the notes to show; the caller sends the request again. If a system prompt in
        front of the first prompt was refused, too, the error says so. An empty stream may hide a
        refusal: llama-cpp-python tells it only to a request for the whole answer, which is sent
        once.
        """
        if error.kind == "empty_answer":
            if self.is_whole or not self.request_format.streams:
                return None
            self.is_whole = True
            return []
        body = self.json()
        refused = Refused(
            error=error,
            body=body,
            fields={name: value for name, value in self._extra_fields.items() if name in body},
        )
        form = self.request_format
        for lesson in lessons_of(refused):
            if lesson is SEND_AGAIN:
                return self._send_again(refused)
            if lesson is MOVE_SYSTEM_PROMPT and not form.has_system_role:
                self._name_system_prompt(error)
            changed = replace(self, request_format=lesson.change(form, refused))
            if changed.json() != body:  # it is the same without earlier thoughts, for example
                self.request_format = changed.request_format
                return self._notes(error, lesson, form)
        is_unclear = error.kind in _REPEATED_KINDS and refused.is_behind_result
        return self._send_again(refused) if is_unclear else None

    def _send_again(self, refused: Refused) -> list[str] | None:
        """The model may write another call, which its server understands."""
        if self.is_repeated or "tools" not in refused.body:
            return None
        self.is_repeated = True
        return self._notes(refused.error, SEND_AGAIN, self.request_format)

    def _notes(self, error: ServerRejected, lesson: Lesson, before: RequestFormat) -> list[str]:
        form = self.request_format
        output = self.request.output
        note = lesson.note.format(
            lost=", ".join(sorted(name for name, _ in form.dropped - before.dropped)),
            json=json_words(output, form.json_mode(output)),
        )
        return [with_next_step(error.message, note)] if note else []

    def _name_system_prompt(self, error: ServerRejected) -> None:
        """Unless the messages have other roles, which may be what is refused."""
        roles = [message.role for message in self.request.messages]
        if roles[0] is Role.SYSTEM and roles[-1] is Role.USER and Role.TOOL not in roles:
            model = safe_line(self.request.target.model_id, limit=80)
            error.message = f"{model} takes no system prompt. {error.message}"
            error.next_step = (
                'Leave the system prompt out: /system "" in a session, --system "" with a command.'
            )

    def keep_format(self) -> None:
        """Have later requests start with the form that was just accepted.

        Tools are sent again until they are refused twice in a row.
        """
        form = self.request_format
        if self.request.tools and form.tool_refusals < _FINAL_REFUSALS:
            dropped = frozenset(pair for pair in form.dropped if pair[0] not in TOOL_FIELDS)
            refusals = form.tool_refusals if self.has_lost_tools else 0
            form = replace(form, dropped=dropped, tool_refusals=refusals)
        self.memory.request_format = form

    def take_new_notes(self) -> Iterator[str]:
        """Yield a note for each option that is not sent, once for each model; always for tools."""
        noted = self.memory.noted
        if self.has_lost_tools:
            yield f"{self.product.subject} has refused the tools twice. They are not sent."
        for name, note in self.option_notes.items():
            if name not in noted:
                noted.add(name)
                yield note
