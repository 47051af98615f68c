"""Layers of sampling options, and their priority: which value the next answer gets, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct, field

from lmchat.config.origin import Level, Origin
from lmchat.config.settings import SamplingSettings
from lmchat.servers.request import given_options

OptionValues = Mapping[str, object]
"""Values of sampling options by their names, as in `servers/sampling_options.py`."""


class SetOption(Struct, frozen=True):
    """A sampling option that is sent, and where it is set."""

    name: str
    value: object
    origin: Origin


class SamplingLayers(Struct, frozen=True, kw_only=True):
    """The places that set sampling options, in order of priority.

    The places are `/effort`, the command line, the session, the profile, the table of the model,
    and `[chat]`. An option has the value of the first place that sets it. If this value is empty,
    the option is not sent. The options of the session are not a field: callers pass them.
    """

    effort: str | None = None  # chosen with `/effort`: "" for "default"; None: nothing was chosen
    command_line: OptionValues = field(default_factory=dict)
    profile_name: str = ""
    profile: OptionValues = field(default_factory=dict)
    models: Mapping[str, SamplingSettings] = field(default_factory=dict)
    """Tables of options by a shell pattern of the names of models, in the order of the file."""
    chat: OptionValues = field(default_factory=dict)

    def options_with_origin(
        self, session_options: OptionValues, model_id: str
    ) -> tuple[SetOption, ...]:
        """Return the options that are sent to a model, sorted by name.

        `session_options` has the options that the session sets.
        """
        first_set: dict[str, SetOption] = {}
        for origin, options in self._layers(session_options, model_id):
            for name, value in options.items():
                first_set.setdefault(name, SetOption(name, value, origin))
        # an empty value in the first place that sets an option takes it back
        sent = [option for option in first_set.values() if option.value not in (None, "", ())]
        return tuple(sorted(sent, key=lambda option: option.name))

    def values(self, session_options: OptionValues, model_id: str) -> dict[str, object]:
        """Return the values of `options_with_origin` by name."""
        options = self.options_with_origin(session_options, model_id)
        return {option.name: option.value for option in options}

    def _layers(
        self, session_options: OptionValues, model_id: str
    ) -> Iterator[tuple[Origin, OptionValues]]:
        """Yield the origin and the options of each place, those with priority first.

        If the patterns of several tables fit the model's name, only the first table is used.
        """
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
    """Return the sampling options that are set in a table of the configuration, by name.

    An empty text or list in a table counts as not set, so that a later place sets the option. In
    `/effort`, the command line and a session, an empty value counts: the option is not sent.
    """
    return given_options(settings, SamplingSettings.__struct_fields__)
