"""What is chosen for the next turns, with the layers of sampling options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid, WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.chat.turn_starts import MakeStart, new_prompt
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.settings import (
    COMPACT_PROMPT,
    EFFORTS,
    ChatSettings,
    Level,
    Origin,
    Profile,
    SamplingSettings,
    Stuck,
    effort_of,
    non_default_values,
)
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products import no_model_selected, product_named
from lmchat.core.servers.request import AnyText, OutputFormat, Sampling, Tool, given_options
from lmchat.core.servers.sampling_options import STORED, checked_option, option_form, parsed_value
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import value_text
from lmchat.core.sessions.prompts import Prompt

_NO_VALUE = "default"  # as a value, it removes the session's own one
_TYPED_OPTION = re.compile(r"([^\s=]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)
"""NAME, NAME VALUE or NAME=VALUE: the name, a sign `=` or blanks, and the rest as the value."""
_MAX_VALUE_CHARS = 60
# What other programs have behind /set, and what does the same.
_INSTEAD = {
    "parameter": "/set NAME VALUE",
    "system": "/system TEXT",
    "think": "/effort LEVEL",
    "nothink": "/effort none",
}
OptionValues = Mapping[str, object]
"""Values by the names in `servers/sampling_options.py`."""


class SetOption(Struct, frozen=True):
    """Sampling option that is sent, and where it is set."""

    name: str
    value: object
    origin: Origin

    @property
    def text(self) -> str:
        return safe_line(value_text(self.value), limit=_MAX_VALUE_CHARS)


class SamplingLayers(Struct, frozen=True, kw_only=True):
    """The places that set sampling options, in order of priority.

    An empty value of the first place that sets an option takes it back. The session's options,
    which callers pass, come after the command line.
    """

    effort: str | None = None  # of `/effort`: "" for "default"
    command_line: OptionValues = field(default_factory=dict)
    profile_name: str = ""  # empty without one
    profile: OptionValues = field(default_factory=dict)
    models: Mapping[str, SamplingSettings] = field(default_factory=dict)
    """Settings by shell patterns of names of models, in the order of the file."""
    chat: OptionValues = field(default_factory=dict)

    @classmethod
    def of(
        cls, loaded: LoadedSettings, profile_name: str, command_line: OptionValues
    ) -> SamplingLayers:
        """`command_line` has options that have none of their own there, as with `--set`."""
        chat: dict[str, object] = {}
        profile: dict[str, object] = {}
        typed: dict[str, object] = {}
        layers = {Level.PROFILE: profile, Level.COMMAND_LINE: typed}
        for name in SamplingSettings.__struct_fields__:
            layer = layers.get(loaded.origin(f"chat.{name}").level, chat)
            layer[name] = getattr(loaded.settings.chat, name)
        return cls(
            command_line={**typed, **command_line},
            profile_name=profile_name,
            profile=profile,
            models=loaded.settings.models,
            chat=chat,
        )

    def refuse_ignored(self, product: str) -> None:
        """Raise `WrongUse` for an option of the command line that a server ignores."""
        product_named(product).refuse_ignored(self.command_line)

    def options_with_origin(
        self, session_options: OptionValues, model_id: str
    ) -> tuple[SetOption, ...]:
        """Sorted by name."""
        first_set: dict[str, SetOption] = {}
        for origin, options in self._layers(session_options, model_id):
            for name, value in options.items():
                first_set.setdefault(name, SetOption(name, value, origin))
        sent = [option for option in first_set.values() if option.value not in (None, "", ())]
        return tuple(sorted(sent, key=lambda option: option.name))

    def values(self, session_options: OptionValues, model_id: str) -> dict[str, object]:
        options = self.options_with_origin(session_options, model_id)
        return {option.name: option.value for option in options}

    def _layers(
        self, session_options: OptionValues, model_id: str
    ) -> Iterator[tuple[Origin, OptionValues]]:
        """Use only the first table whose pattern fits the model's name."""
        if self.effort is not None:
            yield Origin(Level.EFFORT, "/effort"), {"reasoning_effort": self.effort}
        yield Origin(Level.COMMAND_LINE, "command line"), self.command_line
        yield Origin(Level.SESSION, "session"), session_options
        yield Origin(Level.PROFILE, f"profile {self.profile_name}"), self.profile
        for pattern, settings in self.models.items():
            if fnmatchcase(model_id, pattern):
                yield Origin(Level.FILE, f'[models."{pattern}"]'), options_set_in(settings)
                break
        yield Origin(Level.FILE, "[chat]"), self.chat


def options_set_in(settings: SamplingSettings) -> dict[str, object]:
    """Return the options that are set in a table of the configuration.

    An empty text or list counts as not set, unlike in `/effort`, the command line and a session.
    """
    return given_options(settings, SamplingSettings.__struct_fields__)


NO_PROFILE = "none"
_NO_EFFORT = "default"  # the server decides
LEVELS = (*EFFORTS, _NO_EFFORT)


class TurnSettings(Struct, frozen=True, kw_only=True):
    """Settings that a turn starts with and keeps."""

    target: Target
    sampling: Sampling = field(default_factory=Sampling)
    is_truncating: bool = True  # older messages may be left out
    output: OutputFormat = field(default_factory=AnyText)
    toolbox: Toolbox | None = None
    stuck: Stuck = "off"


class TurnOptions:
    """Owner of the choices for the next turn in all sessions, and of the tools."""

    def __init__(
        self,
        chat: ChatSettings,
        layers: SamplingLayers,
        toolbox: Toolbox | None,
        model_lists: ModelLists,
    ) -> None:
        """Both include the profile."""
        self._model_lists = model_lists
        self.chat_settings = chat  # changed by the profile
        self.layers = layers  # without the session's
        self.target: Target | None = None
        self.toolbox = toolbox
        self._started_with = (chat, layers)

    @property
    def is_ready(self) -> bool:
        target = self.target
        return target is not None and bool(target.model_id) and not self.is_loading

    @property
    def endpoint(self) -> Endpoint | None:
        return self.target.endpoint if self.target else None

    @property
    def is_loading(self) -> bool:
        return self.target is not None and self._model_lists.is_loading(self.target)

    def sampling(self, session_options: OptionValues) -> Sampling:
        model_id = self.target.model_id if self.target else ""
        return Sampling().with_options(self.layers.values(session_options, model_id))

    def effort_text(self, session_options: OptionValues) -> str:
        """Return "low", "500 tokens" or "default"."""
        effort = self.sampling(session_options).reasoning_effort or _NO_EFFORT
        return effort if effort in LEVELS else f"{effort} tokens"

    @property
    def compact_prompt(self) -> str:
        return self.chat_settings.compact_prompt.strip() or COMPACT_PROMPT

    def required_target(self) -> Target:
        """Raises `RequestInvalid` if no chosen model can answer yet."""
        target = self.target
        if target is None:
            raise RequestInvalid(
                "No model is ready yet.",
                next_step="lmchat keeps checking; /model lists the models.",
                kind="no_server",
            )
        if self.is_loading:
            raise RequestInvalid(
                f"{target.server_name} is still loading its model.",
                next_step="Try again when it is loaded.",
                kind="loading",
            )
        if not target.model_id:
            # no full stop: scripts rely on it for LM Studio
            problem = no_model_selected(target.product)
            raise RequestInvalid(problem, next_step="Choose one with /model.", kind="model_missing")
        return target

    def settings(self, session_options: OptionValues) -> TurnSettings:
        """Raises `RequestInvalid`, and `WrongUse` for an ignored option of the command line.

        One of the session may have been set for another server: a note says that it is not sent.
        """
        target = self.required_target()
        self.layers.refuse_ignored(target.product)
        return TurnSettings(
            target=target,
            sampling=self.sampling(session_options),
            is_truncating=self.chat_settings.auto_truncate,
            toolbox=self.toolbox,
            stuck=self.chat_settings.stuck,
        )

    def prompt_start(self, prompt: Prompt, prefill_text: str) -> MakeStart:
        return partial(
            new_prompt,
            text=prompt.text,
            files=prompt.files,
            system_prompt=self.chat_settings.system_prompt,
            prefill_text=prefill_text,
        )

    def use_profile(self, name: str, profiles: Mapping[str, Profile]) -> Profile:
        """Apply it to the settings at the start, so that nothing of an earlier profile stays.

        Raises `WrongUse`. "none" returns to these, unless a profile has this name.
        """
        chat, layers = self._started_with
        if name in profiles:
            profile = profiles[name]
        elif name == NO_PROFILE:
            profile = Profile()
            name = layers.profile_name
        else:
            next_step = "Add [profiles.NAME] to config.toml and start lmchat again."
            if profiles:
                next_step = f"Configured: {', '.join(profiles)}."
            raise WrongUse(f"Unknown profile: {safe_line(name, limit=40)}.", next_step=next_step)
        options = {**layers.profile, **options_set_in(profile)}
        # one chosen with /effort stays
        self.layers = replace(layers, profile_name=name, profile=options, effort=self.layers.effort)
        chat_values = non_default_values(profile)
        chat_values.pop("model", None)  # the caller switches to it
        self.chat_settings = replace(chat, **chat_values)
        return profile

    def use_effort(self, typed: str) -> None:
        """Raises `WrongUse` for neither one of `LEVELS` nor a number of tokens."""
        effort = "" if typed == _NO_EFFORT else effort_of(typed)
        if effort is None:
            raise WrongUse(
                f"Unknown reasoning effort: {safe_line(typed, limit=20)}.",
                next_step=f"The levels are {', '.join(LEVELS)}; or type a number of tokens.",
            )
        self.layers = replace(self.layers, effort=effort)

    def options_with_origin(self, session_options: OptionValues) -> tuple[SetOption, ...]:
        model_id = self.target.model_id if self.target else ""
        return self.layers.options_with_origin(session_options, model_id)

    # What `/set` lists and changes: the options of a session

    def option_rows(self, session: OpenSession) -> list[tuple[str, str, str]]:
        """Return name, value and origin of the sampling options that are set for a session."""
        product = self.target.product if self.target else ""
        rows: list[tuple[str, str, str]] = []
        for option in self.options_with_origin(session.session_sampling):
            origin = option.origin.label
            if product and not product_named(product).options.takes_option(option.name):
                origin = f"{origin}; not sent to {product}"
            rows.append((option.name, option.text, origin))
        return rows

    async def set_typed(self, session: OpenSession, typed: str) -> str:
        """Change a session's own options by `NAME VALUE` or `NAME=VALUE`; return a sentence on it.

        Without a value, nothing changes, and the sentence says what the option may be. Raises
        `WrongUse` for a wrong value, or if `/effort` or the command line, which have priority, has
        set the option.
        """
        match = _TYPED_OPTION.fullmatch(typed.strip())
        if match is None:
            raise WrongUse(
                "/set needs the name of an option.", next_step="/set alone lists the options."
            )
        name = match[1]
        text = match[2]
        if name in _INSTEAD:
            raise WrongUse(f"{name} is no sampling option.", next_step=f"Use: {_INSTEAD[name]}")
        form = f"It may be {option_form(name)}, or {_NO_VALUE}."  # raises `WrongUse`: unknown name
        before = self._option(session, name)  # as it is set without this change
        if not text:
            if before is None:
                return f"{name} is not set. {form}"
            return f"{name} is {before.text} ({before.origin.label}). {form}"

        # a value of these levels has priority over that of the session
        if before is not None and before.origin.level in (Level.EFFORT, Level.COMMAND_LINE):
            raise WrongUse(
                f"{name} keeps its value ({before.origin.label}), which has priority over /set.",
                next_step="Change it there.",
            )
        options = dict(session.header.sampling)
        for known in (name, f"{STORED}{name}"):
            options.pop(known, None)
        if text != _NO_VALUE:
            options[name] = checked_option(name, parsed_value(text))
            if self.target is not None:
                product_named(self.target.product).refuse_ignored([name])
        await session.set_sampling(options)
        option = self._option(session, name)
        if option is None:
            return f"{name} is not sent, from the next answer on."
        return f"{name} is {option.text} from the next answer on ({option.origin.label})."

    def _option(self, session: OpenSession, name: str) -> SetOption | None:
        options = self.options_with_origin(session.session_sampling)
        return next((option for option in options if option.name == name), None)

    def tools(self, session_id: str) -> Sequence[Tool]:
        toolbox = self.toolbox
        if toolbox is None or self.target is None or not toolbox.can_use(self.target):
            return ()
        return toolbox.offered_now(session_id)
