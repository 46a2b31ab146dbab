"""`etude play`: look at a policy, in a window or as an MP4."""

from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.verbs.usage import ENV, LARGEST_SEED, POLICY, Usage, path, whole

if TYPE_CHECKING:
    import numpy as np

    from agent.records import Job
    from agent.report.window import Window
    from agent.rollout.environments import Environments

SAYS = """Look at a policy, by greedy decisions: episode after episode in a window where there is a display, else as one MP4.
Escape, q or the mouse closes the window."""


def play(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("play", SAYS, "etude play runs/slide --episodes 5 --out slide.mp4", overrides=True)
    what = usage.add_argument_group("what")
    what.add_argument("policy", metavar="POLICY", help=POLICY)
    what.add_argument("env", metavar="ENV", nargs="?", default="", help=f"{ENV}; default: the first environment of the policy's run")
    what.add_argument("--episodes", metavar="N", type=whole(1, 100_000), default=3, help="(3)")
    what.add_argument("--first-seed", metavar="SEED", type=whole(most=LARGEST_SEED), default=0, help="of consecutive seeds (0)")
    output = usage.add_argument_group("output")
    output.add_argument("--out", metavar="FILE", type=path, help="an MP4, also where there is a display; without a display: play.mp4")
    given, keys = usage.read(arguments)

    import policies
    from agent.records import Job
    from agent.report.window import Window
    from agent.rollout.environments import Environments
    from agent.run.files import writable
    from agent.source import find

    source, file = find(given.policy).within(given.env, keys), given.out or Path("play.mp4")
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a file in it, as in: --out {file / 'play.mp4'}")
    policies.set_threads(source.config.threads)
    window = None if given.out else Window.open()
    jobs = [Job(given.first_seed + i) for i in range(given.episodes)]
    # One environment is enough: they are looked at one after the other.
    with nullcontext() if window else writable(file.parent), closing(Environments(source.config.envs[0], 1)) as environments:
        source.check(environments.actions, environments.configs[0])
        shown = _shown(source.load(environments.actions), environments, jobs)
        if window:
            _show(shown, window, environments.first.rate)
        else:
            _write(shown, file, environments.first.rate)


def _shown(policy: Any, environments: "Environments", jobs: list["Job"]) -> Iterator[tuple[str, list["np.ndarray"]]]:
    """Yield title and frames of each episode, which is described in a line."""
    from agent.report.videos import outcome, shown_again
    from agent.rollout.rollout import rollout

    for episode in rollout(policy, environments, jobs):
        print(f"seed {episode.seed}: {episode.faults[0] if episode.faults else outcome(episode)}", flush=True)
        yield outcome(episode), shown_again(environments, episode, print)


def _show(shown: Iterable[tuple[str, list["np.ndarray"]]], window: "Window", rate: float) -> None:
    for title, frames in shown:
        window.show(frames, title, rate)
        if window.closed:
            break
    window.close()


def _write(shown: Iterable[tuple[str, list["np.ndarray"]]], file: Path, rate: float) -> None:
    from agent.run.mp4 import titled, write

    pictures = (titled(frame, title) for title, frames in shown for frame in frames)
    if (first := next(pictures, None)) is not None:  # there may be none: where each reset failed
        print(f"written: {write(chain([first], pictures), file, '', rate)}")
