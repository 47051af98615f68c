"""Which options of requests a product takes, and under which names."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from lmchat.base.json_values import JsonObject, dict_or_empty
from lmchat.core.config.settings import effort_of
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import Sampling
from lmchat.core.servers.sampling_options import EXTRA, FURTHER_OPTIONS, TAKEN_BY_ALL


class TakenOptions(Struct, frozen=True, kw_only=True):
    efforts: tuple[str, ...] = ()  # levels that it is known to take
    effort_path: tuple[str, ...] = ("reasoning_effort",)  # field, and fields in it
    thought_limit_field: str = ""  # longest thought in tokens
    has_thinking_switch: bool = False
    """A request can set a variable of chat templates that turns thinking off."""
    sampling_fields: Mapping[str, str] = {}
    """Its names of fields by the names of options (`sampling_options.py`).

    Those of `_SENT_TO_ALL` in `product.py` are sent to all servers; the reasoning effort has rules
    of its own.
    """
    ignored_fields: Mapping[str, str] = {}
    """Ignored without a word, with the step that has their effect."""
    takes_further_options: bool = False  # those of llama.cpp

    def takes_option(self, name: str) -> bool:
        """Return whether its servers take an option, as far as lmchat knows.

        The user decides about an option that starts with `EXTRA`. The effort depends on the model,
        too; here it counts as taken.
        """
        if name.startswith(EXTRA):
            return name.removeprefix(EXTRA) not in self.ignored_fields
        if name in TAKEN_BY_ALL or name in self.sampling_fields:
            return True
        return name in FURTHER_OPTIONS and self.takes_further_options

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
