"""`etude completion SHELL`: the script by which a shell completes verbs, their options, config keys and files.

What may follow a verb is read from its help.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.config.config import Config
from agent.config.read import config_keys

BASH = """\
_etude() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} choices= keys="{keys}"
  case "$COMP_CWORD:${{COMP_WORDS[1]}}:$before:$word" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$choices" -- "$word"))
}}
complete -o default -F _etude etude
"""
# zsh reads the script of bash. A second compinit would take a while, and ask again about folders that others may write.
ZSH = "(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}\nautoload -Uz bashcompinit && bashcompinit\n" + BASH
FIRST = ("--help", "--version")  # in place of a verb


@dataclass(frozen=True)
class Verb:
    """What may follow a verb.

    Attributes:
        options: with `--`.
        actions: words of which one comes first, as `info` after `dataset`.
        values: of options, where they are a choice.
        takes_keys: whether it takes config keys.
    """

    options: tuple[str, ...]
    actions: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    takes_keys: bool

    @classmethod
    def of(cls, help: str) -> "Verb":
        """Read the help of a verb."""
        options = re.findall(r"(?:^  (?:-h, )?|\[)(--[a-z-]+)(?=[\s\]])", help, re.MULTILINE)
        actions = re.search(r"etude\s+[a-z-]+\s+([a-z]+(?:\|[a-z]+)+)", help)
        choices = re.findall(r"(--[a-z-]+)\s+\{([a-z,]+)\}", help)  # of argparse, and in our own words: "a, b or c" at the end of the line
        choices += re.findall(r"^  (--[a-z-]+) [A-Z]+ .*: ((?:[a-z]+, )+[a-z]+ or [a-z]+)$", help, re.MULTILINE)
        values = {option: tuple(re.split(r",\s?| or ", listed)) for option, listed in choices}
        return cls((*dict.fromkeys((*options, "--help")),), tuple(actions[1].split("|")) if actions else (), values, "config keys:" in help)


def completion(shell: str, helps: Mapping[str, str]) -> str:
    """Return the script.

    Args:
        shell: bash, zsh or fish.
        helps: the help of each verb.

    Raises:
        ValueError: there is none for this shell.
    """
    verbs, keys = {name: Verb.of(help) for name, help in sorted(helps.items())}, [f"--{key}" for key, _ in config_keys(Config)]
    if shell == "fish":
        return _fish(verbs, keys)
    if shell not in ("bash", "zsh"):
        raise ValueError('etude completion needs one of bash, zsh, fish, as in: eval "$(etude completion bash)"; or: etude completion fish | source')
    cases = [("1:*", (*verbs, *FIRST))]
    for name, verb in verbs.items():
        cases += [(f"*:{name}:{option}:*", choices) for option, choices in verb.values.items()]
        cases += [(f"2:{name}:*", verb.actions)] if verb.actions else []
        cases += [(f"*:{name}:*:--*", (*verb.options, *["$keys"] * verb.takes_keys))]
    lines = "\n".join(f'    {pattern}) choices="{" ".join(choices)}" ;;' for pattern, choices in cases)
    return (ZSH if shell == "zsh" else BASH).format(keys=" ".join(keys), cases=lines)


def _fish(verbs: Mapping[str, Verb], keys: list[str]) -> str:
    first = "__fish_use_subcommand"  # fish's own functions know whether a verb stands on the line already
    entries = [(first, "", tuple(verbs)), *((first, option, ()) for option in FIRST)]
    for name, verb in verbs.items():
        after = f"__fish_seen_subcommand_from {name}"
        entries += [(after, option, verb.values.get(option, ())) for option in verb.options]
        entries += [(f"{after}; and not __fish_seen_subcommand_from {' '.join(verb.actions)}", "", verb.actions)] if verb.actions else []
    taking = f"__fish_seen_subcommand_from {' '.join(name for name, verb in verbs.items() if verb.takes_keys)}"
    entries += [(taking, key, ()) for key in keys]
    return "".join(_fish_line(*entry) for entry in entries)


def _fish_line(condition: str, option: str, choices: tuple[str, ...]) -> str:
    """Return a line for an option, or for words where `option` is empty; files are no choice where `choices` are given."""
    long, words = f" -l {option[2:]}" if option else "", f' -x -a "{" ".join(choices)}"' if choices else ""
    return f'complete -c etude -n "{condition}"{long}{words}\n'
