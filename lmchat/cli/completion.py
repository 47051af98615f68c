"""`lmchat completion`: scripts that complete commands, options and models in a shell."""

from __future__ import annotations

import shlex

from lmchat.cli.context import Context
from lmchat.cli.parser import actions_of, build_parser

_SAFE_NAME = '\'"model_id":"[[:alnum:]._:/@+-]*"\''
"""Names that bash does not expand; it would run a part of others, and they come from servers."""


def completion(context: Context) -> int:
    """Print the completion script of a shell."""
    import shtab

    # names of models come from the cached lists: neither a server nor Python delays the shell
    file = shlex.quote(str(context.paths.models_file))
    names = f"""grep -o {_SAFE_NAME} {file} 2>/dev/null | cut -d '"' -f 4 | sort -u"""
    models = {
        "bash": "_lmchat_models",
        "zsh": "_lmchat_models",
        "fish": "(_lmchat_models)",
        "preamble": {
            "bash": f'_lmchat_models() {{ compgen -W "$({names})" -- "$1"; }}',
            "zsh": f'_lmchat_models() {{ compadd -- ${{(f)"$({names})"}}; }}',
            "fish": f"function _lmchat_models; {names}; end",
        },
    }
    completers = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "MODEL": models}
    parser = build_parser([], [])
    for action in actions_of(parser):
        if isinstance(action.metavar, str) and action.metavar in completers:
            vars(action)["complete"] = completers[action.metavar]  # where shtab looks
    context.output.text(shtab.complete(parser, shell=context.options.shell))
    return 0
