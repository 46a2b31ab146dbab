"""The verbs. Parses, calls, prints; no logic. Nothing heavy is imported before it is needed."""

import importlib
import importlib.metadata
import io
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.verbs import compare, dataset, evaluate, export, help, models, play, serve, sync
from agent.verbs.leaving import leaving
from agent.verbs.manual import fitted
from agent.verbs.usage import run_folder

if TYPE_CHECKING:
    from agent.rollout.session import Session

HELP = """\
etude makes a multimodal LLM better at driving a robot in simulation, by itself.

  etude improve CONFIG RUN [overrides]   the whole loop; the same command goes on after a stop. A RUN of auto: a new folder under runs/
        --until STAGE                    stop when this stage of the present cycle is finished: collect, label, curate, tune or evaluate
  etude improve RUN [--cycles +N]        go on with a run; with N further cycles where it is finished
  etude tasks                            our own environments
  etude check ID [--env.KEY VALUE]       what would go wrong with an environment
  etude check --config FILE              what would go wrong with a run of this config, its environments and all else, before it begins
        --thorough                       more episodes of slow environments, and look-ahead; without it half a minute on an idle core
  etude check --dataset PATH [--config FILE]   what a dataset holds, and whether it suits a run of this config
  etude check-model ID|FOLDER [--policy.KEY VALUE]   whether a model can work: memory, codec, log-probabilities
  etude expert CONFIG OUT                an expert to demonstrate: trained by Stable-Baselines3, or one that plans in copies of the simulator
  etude watch RUN                        follow a run as it goes
  etude report RUN                       write RUN/report.html
  etude sync RUN                         send W&B what it has not received of a run: figures, videos, tables, artifacts
  etude compare RUN RUN...               runs on their common test seeds, in pairs: a table, a page with charts, a JSON file

  etude evaluate POLICY [ENV]            success rate of any policy, with interval and videos; --against another one, on the same seeds
  etude play POLICY [ENV]                look at a policy: in a window where there is a display, else as an MP4
  etude export RUN OUT                   a Hugging Face folder that transformers and peft load without etude
  etude serve POLICY                     a websocket server with openpi's client protocol
  etude dataset info|merge|export|push   look at stored episodes, join them, take those of a run, upload them

  etude pretrain OUT                     make the embedded base model from nothing
  etude compose OUT                      make a multimodal LLM of 135 M parameters from SmolLM2 and the embedded model's vision tower
  etude completion bash|zsh|fish         completion of verbs, options and keys: eval "$(etude completion bash)"
  etude VERB --help                      all that a verb takes
  etude --version

A POLICY is a run, a checkpoint in a run (RUN/cycle-003), an exported folder or its hub id, or an untrained model: nano, a hub id, a folder.
Overrides are config keys: --seed 3 --collect.episodes_per_seed 16. All of them: etude improve CONFIG RUN --help
Example: etude improve configs/slide.yaml runs/slide
"""
ASKED = ("-h", "--help")
STAGES = ("collect", "label", "curate", "tune", "evaluate")


def main() -> None:
    """Run a verb; a user's mistake is one sentence on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer characters than a name has
            stream.reconfigure(errors="backslashreplace")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # for `module:EnvId`
    verb, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]  # a bare `etude` shows the help
    verbs: dict[str, Callable[[list[str]], None]] = {"tasks": _tasks, "check": _check, "check-model": _check_model, "expert": models.expert}
    verbs |= {"pretrain": models.pretrain, "compose": models.compose, "watch": _watch, "report": _report, "improve": _improve}
    verbs |= {"compare": compare.compare, "evaluate": evaluate.evaluate, "play": play.play, "export": export.export}
    verbs |= {"serve": serve.serve, "dataset": dataset.dataset, "sync": sync.sync}
    verbs["completion"] = lambda shell: _completion(shell, verbs)
    try:
        if verb in (*ASKED, "help"):
            print(fitted(HELP), end="")
        elif verb in help.HELP and arguments[:1] in ([each] for each in ASKED):
            help.show(verb)  # only in the first place: `improve CONFIG RUN --help` shows the values of that config
        elif verb in ("--version", "version"):
            _no_more(arguments, verb)
            print(f"etude {_version()}")
        elif verb in verbs:
            _find_ours()
            verbs[verb](arguments)
        else:
            raise ValueError(f"Unknown verb {verb!r}; allowed are {', '.join(verbs)}.")
    except ValueError as error:  # what a user can mend; any other exception is a bug, and keeps its traceback
        print(f"etude: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # without it the flush at exit raises the same error again
    except OSError as error:  # a path that is too long, a full disk, a file where a folder is wanted
        print(f"etude: {error.filename or 'A file'} cannot be used ({error.strerror or error}); name another one.", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("etude: stopped; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)  # 128 + 2, the number of SIGINT, as shells report it


def _version() -> str:
    """Return the version of the package, or, where it is not installed, of the clone."""
    try:
        return importlib.metadata.version("etude")
    except importlib.metadata.PackageNotFoundError:
        return tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]["version"]


def _find_ours() -> None:
    """Import our packages from beside this one, whatever else on the path has their names."""
    here = str(Path(__file__).resolve().parent.parent)
    sys.path.insert(0, here)
    for package in ("envs", "policies"):
        importlib.import_module(package)  # from now on in sys.modules, where every later import finds it
    sys.path.remove(here)  # the entry put in above: `remove` takes the first one


def _improve(arguments: list[str]) -> None:
    from agent.run.asked import asked

    arguments, until = _until(arguments)  # taken out first: it is no config key
    folder, chosen = asked(arguments)
    # After `asked`, which tells mistakes at once: these imports take a while.
    from agent.ready import ready
    from agent.rollout.session import Session
    from agent.run.files import alone
    from agent.run.folder import Run
    from agent.settled import settled

    with alone(folder):
        session = Session(Run(folder, settled(chosen, folder), until))
        try:
            ready(session)
            session.run.begin()  # writes for the first time, now that every check has passed
            _work(session)
        finally:
            session.close()


def _until(arguments: list[str]) -> tuple[list[str], str]:
    """Return the arguments without `--until STAGE`, and the stage; '' where there is none."""
    rest, stage = _taken(arguments, "--until", f"STAGE ({', '.join(STAGES)})", "etude improve configs/slide.yaml runs/slide --until collect")
    if stage and stage not in STAGES:
        raise ValueError(f"--until is {stage!r}; give one stage of a cycle: {', '.join(STAGES)}.")
    return rest, stage


def _work(session: "Session") -> None:
    from agent.improve import improve
    from agent.report.report import report
    from agent.run.folder import Halt
    from agent.run.further import told
    from agent.run.tracking import Track

    run = session.run
    track, failed = Track(run.folder, run.config), True  # until the end is reached: any exception leaves it so
    try:
        if finished := told(run):
            track.note(finished)
        improve(session, track)
        track.note(f"report  {report(run.folder)}")
        failed = False
    except Halt as halt:  # the end of a stage that the user named: no failure for W&B
        track.note(f"{halt}: finished in {run.folder}")
        failed = False
    finally:
        track.close(failed)


def _tasks(arguments: list[str]) -> None:
    from agent.check import tasks

    _no_more(arguments, "tasks")
    tasks()


def _check(arguments: list[str]) -> None:
    import agent.config.read as configure
    from agent.check import check

    rest, named_config = _taken([each for each in arguments if each != "--thorough"], "--config", "FILE", "etude check --config configs/slide.yaml")
    rest, source = _taken(rest, "--dataset", "PATH", "etude check --dataset recordings/pick --config configs/slide.yaml")
    if not named_config and rest and rest[0].endswith((".yaml", ".yml")):  # as `etude improve` takes it
        named_config = rest.pop(0)
    file = Path(named_config) if named_config else None
    if source:
        from agent.check_dataset import check_dataset

        if rest and file is None:
            raise ValueError(f"etude check --dataset takes overrides only with --config FILE, and got {' '.join(rest)}.")
        if not check_dataset(source, configure.override(configure.read(file), rest) if file else None):
            sys.exit(1)
        return
    named = [f"--env.id={rest.pop(0)}"] if rest and not rest[0].startswith("--") else []
    if not named and file is None:
        raise ValueError("etude check needs the ID of an environment or a config, as in: etude check Reacher-v5 --env.success 'reward > -0.02'")
    chosen = configure.override(configure.override(configure.read(file) if file else configure.Config(), named), rest)
    if not check(chosen, whole=file is not None, thorough="--thorough" in arguments):
        sys.exit(1)


def _taken(arguments: list[str], option: str, value: str, example: str) -> tuple[list[str], str]:
    """Return the arguments without `--option VALUE` or `--option=VALUE`, and the value; '' where there is none."""
    places = [i for i, each in enumerate(arguments) if each.partition("=")[0] == option]
    if not places:
        return arguments, ""
    at = places[0]
    _, equals, given = arguments[at].partition("=")
    rest = arguments[at + 1 :]
    if not equals and rest:  # then the value is the next argument
        given, rest = rest[0], rest[1:]
    if not given or given.startswith("--") or len(places) > 1:
        raise ValueError(f"{option} needs {'one' if len(places) > 1 else 'a'} {value}, as in: {example}")
    return [*arguments[:at], *rest], given


def _check_model(arguments: list[str]) -> None:
    import agent.config.read as configure
    from agent.check import check_model
    from policies.loading import writable

    if not arguments or arguments[0].startswith("-"):
        raise ValueError("etude check-model needs a hub id or a folder, as in: etude check-model HuggingFaceTB/SmolVLM-256M-Instruct --env.size 224")
    chosen = configure.override(configure.Config(), [f"--policy.model={arguments[0]}", *arguments[1:]])
    told = any(each.startswith("--policy.codec") for each in arguments)  # a codec that the user names is checked as it is
    env, policy = chosen.envs[0], chosen.policy if told else writable(chosen.policy)
    if not check_model(policy, (len(env.frame_names), env.size, env.size, 3), chosen.tune.micro_batch_tokens):
        sys.exit(1)


def _watch(arguments: list[str]) -> None:
    from agent.report.watch import watch

    watch(run_folder(arguments, "watch"))


def _report(arguments: list[str]) -> None:
    from agent.report.report import report

    print(report(run_folder(arguments, "report")))


def _completion(arguments: list[str], verbs: Mapping[str, Callable[[list[str]], None]]) -> None:
    from agent.completion import completion

    _no_more(arguments[1:], "completion bash|zsh|fish")
    print(completion((arguments or [""])[0], {verb: help.text(verb, run) for verb, run in verbs.items()}), end="")


def _no_more(surplus: list[str], usage: str) -> None:
    if surplus:
        raise ValueError(f"{surplus[0]!r} is one argument too many; it is only: etude {usage}")


def command() -> None:
    """Run a verb in a process of its own."""
    with leaving():
        main()


if __name__ == "__main__":
    command()
