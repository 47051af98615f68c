"""`lmchat completion`: scripts that complete commands, options and models in a shell."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping

import shtab

from lmchat.app.cli.context import Context
from lmchat.app.cli.parser import add_arguments
from lmchat.app.cli.subcommands import PROGRAM, Subcommand

_SAFE_NAME = '\'"model_id":"[[:alnum:]._:/@+-]*"\''
"""Pattern of grep, in shell quotes, for names of models that bash does not expand.

Names come from servers, and bash would run the command in `$(reboot)`.
"""

_WHOLE_WORDS_IN_BASH = """
# bash splits words at colons; here llama3.2:1b is one word
_lmchat() {
  local words=() word index count=0 cursor=$COMP_CWORD
  for index in "${!COMP_WORDS[@]}"; do
    word=${COMP_WORDS[index]}
    if ((count > 1)) && [[ $word == :* || ${words[count - 1]} == *: ]]; then
      words[count - 1]+=$word
      if ((index <= COMP_CWORD)); then ((cursor -= 1)); fi
    else
      words[count]=$word
      ((count += 1))
    fi
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$cursor
  _shtab_lmchat
  word=${COMP_WORDS[COMP_CWORD]}
  # bash replaces only what follows the last colon
  if [[ $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
  fi
}
complete -o bashdefault -F _lmchat lmchat
"""
"""Around that of shtab, which does not handle colons."""


def completion(context: Context) -> int:
    # Names of models come from the cached lists: neither a server nor Python delays the shell.
    # `cut` splits `"model_id":"NAME"` at the quotes; the name is the 4th field.
    file = shlex.quote(str(context.paths.models_file))
    list_names = f"""grep -o {_SAFE_NAME} {file} 2>/dev/null | cut -d '"' -f 4 | sort -u"""
    # as shtab wants it: the name of a function in each shell, and its definition
    model_completer = {
        "bash": "_lmchat_models",
        "zsh": "_lmchat_models",
        "fish": "(_lmchat_models)",
        "preamble": {
            "bash": f'_lmchat_models() {{ compgen -W "$({list_names})" -- "$1"; }}',
            "zsh": f'_lmchat_models() {{ compadd -- ${{(f)"$({list_names})"}}; }}',
            "fish": f"function _lmchat_models; {list_names}; end",
        },
    }
    completers = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "MODEL": model_completer}
    parser = argparse.ArgumentParser(prog=PROGRAM.name)
    _add_command(parser, PROGRAM, completers)
    shell = context.options.shell
    script = shtab.complete(parser, shell=shell)
    if shell == "bash":  # its words end at colons, which models may have
        script += _WHOLE_WORDS_IN_BASH
    if shell == "zsh":  # else `source` would call the function, which only a completion may
        is_autoload = "$zsh_eval_context[-1] != loadautofunc"
        script = script.replace("$zsh_eval_context[-1] == eval", is_autoload)
    context.output.print_text(script)
    return 0


def _add_command(
    parser: argparse.ArgumentParser, command: Subcommand, completers: Mapping[str, object]
) -> None:
    for action in add_arguments(parser, command):
        if isinstance(action.metavar, str) and action.metavar in completers:
            vars(action)["complete"] = completers[action.metavar]  # shtab reads it
    if command.commands:
        adder = parser.add_subparsers()
        for one in command.commands:
            _add_command(adder.add_parser(one.name, help=one.help), one, completers)
