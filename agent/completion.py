"""`etude completion SHELL`: the script by which a shell completes verbs, config keys and files."""

from collections.abc import Iterable

from agent.config.config import Config
from agent.config.read import config_keys

SCRIPT = """\
_etude() {{
  local word=${{COMP_WORDS[COMP_CWORD]}}
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
  elif [ "${{word#--}}" != "$word" ]; then
    COMPREPLY=($(compgen -W "{keys}" -- "$word"))
  fi
}}
complete -o default -F _etude etude
"""
HEADS = {"bash": "", "zsh": "autoload -U +X compinit bashcompinit && compinit && bashcompinit\n"}  # zsh reads the script of bash


def completion(shell: str, verbs: Iterable[str]) -> str:
    """Return the script.

    Args:
        shell: bash or zsh.
        verbs: of the command line.

    Raises:
        ValueError: there is none for this shell.
    """
    if shell not in HEADS:
        raise ValueError(f'etude completion needs one of {", ".join(HEADS)}, as in: eval "$(etude completion bash)"')
    options = ["--help", "--until", *(f"--{key}" for key, _ in config_keys(Config))]
    return HEADS[shell] + SCRIPT.format(verbs=" ".join(sorted(verbs)), keys=" ".join(options))
