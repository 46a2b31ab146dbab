"""`etude play`: look at a policy, in a window or as an MP4."""

from contextlib import closing
from pathlib import Path

from agent.verbs.usage import ENV, POLICY, Usage, whole

SAYS = """Look at a policy, by greedy decisions: episode after episode in a window where there is a display, else as one MP4."""


def play(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("play", SAYS, "etude play runs/slide --episodes 5 --out slide.mp4", overrides=True)
    what = usage.add_argument_group("what")
    what.add_argument("policy", metavar="POLICY", help=POLICY)
    what.add_argument("env", metavar="ENV", nargs="?", default="", help=f"{ENV}; default: the first environment of the policy's run")
    what.add_argument("--episodes", metavar="N", type=whole(1), default=3, help="(3)")
    what.add_argument("--first-seed", metavar="SEED", type=whole(), default=0, help="of consecutive seeds (0)")
    output = usage.add_argument_group("output")
    output.add_argument("--out", metavar="FILE", type=Path, help="an MP4, also where there is a display; without a display: play.mp4")
    given, keys = usage.read(arguments)

    import policies
    from agent.records import Job
    from agent.report.videos import outcome, replayed
    from agent.report.window import Window
    from agent.rollout.environments import Environments
    from agent.rollout.rollout import rollout
    from agent.run.mp4 import write
    from agent.source import find

    source, window = find(given.policy).within(given.env, keys), None if given.out else Window.open()
    policies.set_threads(source.config.threads)
    with closing(Environments(source.config.envs[0], 1)) as environments:  # one is enough: they are looked at one after the other
        source.check(environments.actions, environments.configs[0])
        policy, frames = source.load(environments.actions), []
        for episode in rollout(policy, environments, [Job(given.first_seed + i) for i in range(given.episodes)]):
            print(f"seed {episode.seed}: {episode.faults[0] if episode.faults else outcome(episode)}", flush=True)
            shown = environments.first.apply(replayed, episode, True) if len(episode) else []  # none where the reset failed
            if window:
                window.show(shown, outcome(episode), environments.first.rate)
            frames += [(frame, outcome(episode)) for frame in shown]
        if window:
            window.close()
        elif frames:
            file = given.out or Path("play.mp4")
            print(f"written: {write([frame for frame, _ in frames], file, [title for _, title in frames], environments.first.rate)}")
