"""Completion, in real shells: each is started interactively in a terminal of its own, and gets what a user types."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.called import etude

# `etude` itself becomes a function that says what it got.
SAYS = 'etude() { local IFS="|"; echo "got:$*"; }'
SHELLS = {
    "bash": ("bash --norc -i", SAYS),
    "zsh": ("zsh -f -i", SAYS),
    "fish": ("fish --no-config -i", "function etude; echo got:(string join -- '|' $argv); end"),
}
TYPED = {
    "re\t": "report",
    "improve configs/sl\truns --collect.num_s\t3 --until cu\t": "improve|configs/slide.yaml|runs|--collect.num_seeds|3|--until|curate",
    "improve a\truns": "improve|a b.yaml|runs",
    "play runs --ep\t3 --policy.dev\tcpu": "play|runs|--episodes|3|--policy.device|cpu",
    "expert c.yaml out --algorithm lo\t": "expert|c.yaml|out|--algorithm|lookahead",
    "dataset me\truns slides": "dataset|merge|runs|slides",
    "dataset export runs out --every\t": "dataset|export|runs|out|--every-step",
    "check --da\truns": "check|--dataset|runs",
    "watch runs --ep\t": "watch|runs|--ep",  # the option of another verb
    "serve runs --policy.dev\t": "serve|runs|--policy.dev",  # which takes no keys
    "--vers\t": "--version",
    "completion zs\t": "completion|zsh",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_verbs_options_keys_choices_and_files(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell) or not shutil.which("script"):
        pytest.skip(f"{shell} or script, which gives it a terminal, is not installed here: apt-get install {shell} bsdutils")
    script = etude("completion", shell)
    assert script.returncode == 0, script.stderr
    (tmp_path / "completion").write_text(script.stdout)
    (tmp_path / "configs").mkdir()
    for file in ("configs/slide.yaml", "a b.yaml"):
        (tmp_path / file).touch()
    command, function = SHELLS[shell]
    lines = [". ./completion", function, *(f"etude {typed}" for typed in TYPED), "exit", ""]
    done = subprocess.run(["script", "-qec", command, "/dev/null"], cwd=tmp_path, input="\n".join(lines), capture_output=True, text=True, timeout=120)
    assert re.findall(r"got:(.*?)\r?$", done.stdout, re.MULTILINE)[-len(TYPED) :] == [*TYPED.values()], done.stdout


def test_zsh_completes_also_where_nothing_of_its_completion_is_loaded_and_where_it_is(tmp_path: Path) -> None:
    """In the second case the user's own compinit is kept: another one would ask about folders that others may write."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed here: apt-get install zsh")
    (tmp_path / "completion").write_text(etude("completion", "zsh").stdout)
    for first in ("", "autoload -Uz compinit; compinit -u; compinit() { echo again; }; "):
        lines = f"{first}. ./completion; echo $_comps[etude]"
        done = subprocess.run(["zsh", "-f", "-c", lines], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "_bash_complete -o default -F _etude\n" and not done.stderr
