"""The places that set sampling options in this run."""

from __future__ import annotations

from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.cli.context import Context
from lmchat.config.settings import SamplingSettings
from lmchat.errors import WrongUse
from lmchat.servers.sampling_options import checked_option, parsed_value


def sampling_layers(context: Context) -> SamplingLayers:
    """Return the places that set sampling options; raises `WrongUse` for a wrong `--set`.

    `loaded.settings.chat` has the values of `[chat]`, of the profile of this run, of environment
    variables and of options such as `--effort`, already merged. The words of their origins tell
    them apart again; variables count as a part of the command line.
    """
    loaded = context.loaded
    chat: dict[str, object] = {}
    profile: dict[str, object] = {}
    command_line: dict[str, object] = {}
    for name in SamplingSettings.__struct_fields__:
        origin = loaded.origins.get(f"chat.{name}", "default")
        if origin.startswith(("file", "default")):
            layer = chat
        elif origin.startswith("profile"):
            layer = profile
        else:
            layer = command_line
        layer[name] = getattr(loaded.settings.chat, name)
    for text in context.options.sampling:
        name, equals_sign, value = text.partition("=")
        if not equals_sign:
            raise WrongUse(f"--set needs NAME=VALUE, not {text}.", hint="Example: --set top_k=40")
        command_line[name.strip()] = checked_option(name.strip(), parsed_value(value.strip()))
    return SamplingLayers(
        command_line=command_line,
        profile_name=context.options.profile or "",
        profile=profile,
        models=loaded.settings.models,
        chat=chat,
    )
