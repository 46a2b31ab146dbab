"""The verbs. Parses, calls, prints; no logic. Nothing heavy is imported before it is needed."""

import importlib
import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.rollout.session import Session

HELP = """\
etude makes a multimodal LLM better at driving a robot in simulation, by itself.

  etude improve CONFIG RUN [overrides]   the whole loop; the same command goes on after a stop
        --until STAGE                    stop when this stage of the present cycle is finished: collect, label, curate, tune or evaluate
  etude tasks                            our own environments
  etude check ID [--env.KEY VALUE]       what would go wrong with an environment
  etude check --config FILE              what would go wrong with a run of this config, its environments and all else, before it begins
        --thorough                       more episodes of slow environments, and look-ahead; without it half a minute on an idle core
  etude check-model ID|FOLDER [--policy.KEY VALUE]   whether a model can work: memory, codec, log-probabilities
  etude expert CONFIG OUT [--steps N]    train a Stable-Baselines3 expert of the config's environment, to demonstrate
  etude watch RUN                        follow a run as it goes
  etude report RUN                       write RUN/report.html
  etude pretrain OUT                     make the embedded base model from nothing
  etude compose OUT [--layers N]         make a multimodal LLM of 135 M parameters from SmolLM2 and the embedded model's vision tower
  etude --version

Overrides are config keys: --seed 3 --collect.episodes_per_seed 16. All of them: etude improve CONFIG RUN --help
Example: etude improve configs/slide.yaml runs/slide
"""
ASKED = ("-h", "--help")
STAGES = ("collect", "label", "curate", "tune", "evaluate")


def main() -> None:
    """Run a verb; a user's mistake is one sentence on stderr and exit code 1."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # for `module:EnvId`
    verb, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    verbs: dict[str, Callable[[list[str]], None]] = {"tasks": _tasks, "check": _check, "check-model": _check_model, "expert": _expert}
    verbs |= {"pretrain": _pretrain, "compose": _compose, "watch": _watch, "report": _report, "improve": _improve}
    try:
        if verb in (*ASKED, "help") or (verb in verbs and verb != "pretrain" and arguments[:1] in ([each] for each in ASKED)):
            print(HELP, end="")
        elif verb in ("--version", "version"):
            print(f"etude {_version()}")
        elif verb in verbs:
            _find_ours()
            verbs[verb](arguments)
        else:
            raise ValueError(f"Unknown verb {verb!r}; allowed are {', '.join(verbs)}.")
    except ValueError as error:
        print(f"etude: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("etude: stopped; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


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
        importlib.import_module(package)
    sys.path.remove(here)


def _improve(arguments: list[str]) -> None:
    import agent.config.read as configure

    arguments, until = _until(arguments)
    paths = [argument for argument in arguments[:2] if not argument.startswith("-")]
    if len(paths) < 2:
        raise ValueError("etude improve needs CONFIG and RUN, as in: etude improve configs/slide.yaml runs/slide")
    if not paths[1]:
        raise ValueError("RUN is empty; name the folder of the run, as in: etude improve configs/slide.yaml runs/slide")
    chosen = configure.override(configure.read(Path(paths[0])), arguments[2:])
    from agent.ready import ready
    from agent.rollout.session import Session
    from agent.run.files import alone
    from agent.run.folder import Run

    folder = Path(paths[1])
    with alone(folder):
        session = Session(Run(folder, chosen, until))
        try:
            ready(session)
            session.run.begin()
            _work(session)
        finally:
            session.close()


def _until(arguments: list[str]) -> tuple[list[str], str]:
    """Return the arguments without `--until STAGE`, and the stage; '' where there is none."""
    given = [i for i, each in enumerate(arguments) if each == "--until" or each.startswith("--until=")]
    if not given:
        return arguments, ""
    stage, rest = arguments[given[0]].partition("=")[2], arguments[given[0] + 1 :]
    if arguments[given[0]] == "--until":  # then the stage is the next argument
        stage, rest = (rest[0], rest[1:]) if rest else ("", [])
    if stage not in STAGES or len(given) > 1:
        raise ValueError(f"--until is {stage!r}; give one stage of a cycle: {', '.join(STAGES)}.")
    return [*arguments[: given[0]], *rest], stage


def _work(session: "Session") -> None:
    from agent.improve import improve
    from agent.report.report import report
    from agent.run.folder import Halt
    from agent.run.tracking import Track

    run = session.run
    track, failed = Track(run.folder, run.config), True
    try:
        improve(session, track)
        track.note(f"report  {report(run.folder)}")
        failed = False
    except Halt as halt:
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

    rest, file = [each for each in arguments if each != "--thorough"], None
    if "--config" in rest:
        at = rest.index("--config")
        if rest[at + 1 : at + 2] == [] or rest[at + 1].startswith("--"):
            raise ValueError("--config needs a FILE, as in: etude check --config configs/slide.yaml")
        file = Path(rest[at + 1])
        del rest[at : at + 2]
    named = [f"--env.id={rest.pop(0)}"] if rest and not rest[0].startswith("--") else []
    if not named and file is None:
        raise ValueError("etude check needs the ID of an environment, as in: etude check Reacher-v5 --env.success 'reward > -0.02'")
    chosen = configure.override(configure.override(configure.read(file) if file else configure.Config(), named), rest)
    if not check(chosen, whole=file is not None, thorough="--thorough" in arguments):
        sys.exit(1)


def _check_model(arguments: list[str]) -> None:
    import agent.config.read as configure
    from agent.check import check_model
    from policies.loading import writable

    if not arguments or arguments[0].startswith("-"):
        raise ValueError("etude check-model needs a hub id or a folder, as in: etude check-model HuggingFaceTB/SmolVLM-256M-Instruct --env.size 224")
    chosen = configure.override(configure.Config(), [f"--policy.model={arguments[0]}", *arguments[1:]])
    told = any(each.startswith("--policy.codec") for each in arguments)
    env, policy = chosen.envs[0], chosen.policy if told else writable(chosen.policy)
    if not check_model(policy, (len(env.frame_names), env.size, env.size, 3)):
        sys.exit(1)


def _expert(arguments: list[str]) -> None:
    import tyro

    import agent.config.read as configure
    from agent.rollout.experts import train

    if len(arguments) < 2 or any(argument.startswith("-") for argument in arguments[:2]):
        raise ValueError("etude expert needs CONFIG and OUT, as in: etude expert configs/envs/robotics-fetch-reach.yaml experts/fetch")
    env, *others = configure.read(Path(arguments[0])).envs
    if others:
        raise ValueError(f"{arguments[0]} has {1 + len(others)} environments; an expert is trained in one: give it a config of its own.")

    def run(algorithm: str = "sac", steps: int = 100_000, seed: int = 0) -> str:
        """Train an expert; the same command goes on after a stop. algorithm: sac or ppo; steps: decisions at most."""
        return f"success {train(env, Path(arguments[1]), algorithm=algorithm, steps=steps, seed=seed)}, written {arguments[1]}"

    try:
        print(tyro.cli(run, prog="etude expert CONFIG OUT", args=arguments[2:]))
    except ModuleNotFoundError as error:
        raise ValueError(f"An expert is trained by Stable-Baselines3 ({error}): pip install 'etude[baselines]'.") from error


def _watch(arguments: list[str]) -> None:
    from agent.report.watch import watch

    watch(_run_folder(arguments, "watch"))


def _report(arguments: list[str]) -> None:
    from agent.report.report import report

    print(report(_run_folder(arguments, "report")))


def _pretrain(arguments: list[str]) -> None:
    import tyro

    from agent.ground.pretrain import pretrain

    if not arguments:
        raise ValueError("etude pretrain needs OUT, as in: etude pretrain models/base")
    print(tyro.cli(pretrain, prog="etude pretrain", args=["--out", *arguments]))


def _compose(arguments: list[str]) -> None:
    import tyro

    if not arguments or arguments[0].startswith("-"):
        raise ValueError("etude compose needs OUT, as in: etude compose models/smol --layers 8")
    from agent.run.base import write_model
    from policies.compose import compose

    def run(layers: int | None = None) -> str:
        """Make the model. layers: how many layers of the language model are kept, the first ones; all 30 where nothing is said."""
        model, processor = compose(layers)
        write_model(Path(arguments[0]), model, processor)
        return f"{model.num_parameters() / 1e6:.1f} M parameters, written {arguments[0]}"

    print(tyro.cli(run, prog="etude compose OUT", args=arguments[1:]))


def _run_folder(arguments: list[str], verb: str) -> Path:
    if not any(arguments[:1]) or not os.path.exists(Path(arguments[0]) / "config.yaml"):  # False also where a path is too long
        raise ValueError(f"etude {verb} needs the folder of a run; {arguments[0] if any(arguments[:1]) else 'nothing'} holds none.")
    _no_more(arguments[1:], f"{verb} RUN")
    return Path(arguments[0])


def _no_more(surplus: list[str], usage: str) -> None:
    if surplus:
        raise ValueError(f"{surplus[0]!r} is one argument too many; it is only: etude {usage}")


if __name__ == "__main__":
    main()
