"""Help of the verbs that read their arguments themselves; the others have a `Usage`."""

import contextlib
import io
from collections.abc import Callable

from agent.verbs.manual import fitted

# In the layout of argparse, so that all verbs look alike.
HELP = {
    "improve": """\
usage: etude improve CONFIG RUN [--until STAGE] [overrides]
       etude improve RUN [--cycles +N] [--until STAGE] [overrides]

Improve a policy: the whole loop, and a report. A run may be stopped at any time; the same command goes on.

what:
  CONFIG            a YAML file, as configs/slide.yaml
  RUN               folder of the run; made if missing. auto: a new folder under runs/. Without CONFIG: a run to go on with

how much:
  --cycles +N       N further cycles of a finished run

when to stop:
  --until STAGE     when this stage of the present cycle is finished: collect, label, curate, tune or evaluate

config keys:
  Any key, as --seed 3 --collect.episodes_per_seed 16. All of them, with their meaning, stand below

example:
  etude improve configs/slide.yaml runs/slide --cycles 4
""",
    "tasks": """\
usage: etude tasks

List our own environments, with an example of an instruction.
""",
    "check": """\
usage: etude check ID [--thorough] [overrides]
       etude check --config FILE [--thorough] [overrides]
       etude check --dataset PATH [--config FILE [overrides]]

Say what would go wrong with an environment, with a run before it begins, or with a dataset. Writes a picture of the frames.

what:
  ID                an environment's id: of Gymnasium, module:Id or file.py:factory
  --config FILE     a run's config: its environments, and all else that `etude improve` looks at first (FILE.yaml alone does the same)
  --dataset PATH    recordings; with --config: whether they suit its run
  --thorough        more episodes of slow environments, and look-ahead; without it half a minute on an idle core

config keys:
  Any key, as --env.success 'reward > -0.02'. All of them: etude improve CONFIG RUN --help

example:
  etude check Reacher-v5 --env.success 'reward > -0.02'
""",
    "check-model": """\
usage: etude check-model MODEL [overrides]

Say whether a model can work: its family, tokens, memory, codec, and whether acting and learning give the same log-probabilities.

what:
  MODEL             a hub id, or a folder

config keys:
  Of the sections policy and env, as --env.size 224

example:
  etude check-model HuggingFaceTB/SmolVLM-256M-Instruct --env.size 224
""",
    "watch": """\
usage: etude watch RUN

Follow a run in the terminal, until it is finished or Ctrl-C.
""",
    "report": """\
usage: etude report RUN

Write RUN/report.html: curves, cycles and videos on one page without other files.
""",
    "sync": """\
usage: etude sync RUN

Send W&B what it has not received of a run: figures, videos, tables, artifacts. Rows that it has are not sent again.
""",
    "completion": """\
usage: etude completion bash|zsh|fish

Print the completion of verbs, options and config keys for a shell; files are completed as ever.

example:
  eval "$(etude completion bash)"       in ~/.bashrc; the same with zsh in ~/.zshrc
  etude completion fish | source        in config.fish
""",
}


def text(verb: str, run: Callable[[list[str]], None]) -> str:
    """Return the help of a verb, whose function is given."""
    if verb in HELP:
        return HELP[verb]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):  # with which argparse ends
        run(["--help"])
    return out.getvalue()


def show(verb: str) -> None:
    """Print the help of a verb in `HELP`; for `improve` every config key too."""
    print(fitted(HELP[verb]), end="", flush=True)  # before tyro writes to the same terminal
    if verb == "improve":
        from agent.config.config import Config
        from agent.config.help import show

        print()
        show(Config())
