"""`etude evaluate`: the success rate of any policy, apart from a run, alone or against another one on the same seeds."""

import argparse
import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agent.verbs.usage import ENV, LARGEST_SEED, POLICY, Usage, path, whole

if TYPE_CHECKING:
    from agent.source import Source

SAYS = """Success rate of a policy, by greedy decisions, with its 95 % interval (Wilson) and n; videos; a JSON file with every seed's outcome.

The default seeds are the test seeds of every run, so the result of a champion is that of its run.
With --against, two policies act on the same seeds, and the exact paired test (McNemar) compares them."""


def evaluate(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("evaluate", SAYS, "etude evaluate runs/slide --against nano --episodes 100", overrides=True)
    what = usage.add_argument_group("what")
    what.add_argument("policy", metavar="POLICY", help=POLICY)
    what.add_argument("env", metavar="ENV", nargs="?", default="", help=f"{ENV}; default: the environments of the policy's run")
    what.add_argument("--against", metavar="POLICY", default="", help="another policy, evaluated on the same seeds")
    seeds = usage.add_argument_group("seeds")
    default = "one per seed; default: evaluate.test_episodes of the config"
    seeds.add_argument("--episodes", metavar="N", type=whole(1, 100_000), help=default)
    any_seed, which = whole(most=LARGEST_SEED), "of consecutive seeds; default: the test seeds, 30000000 and on"
    seeds.add_argument("--first-seed", metavar="SEED", type=any_seed, help=which)
    output = usage.add_argument_group("output")
    output.add_argument("--videos", metavar="N", type=whole(), default=8, help="videos of the first N seeds (8)")
    output.add_argument("--out", metavar="FOLDER", type=path, help="default: evaluations/POLICY-ENV")
    given, keys = usage.read(arguments)

    from agent.run.files import writable
    from agent.source import find

    source = find(given.policy).within(given.env, keys)
    sources, given.episodes = [source], given.episodes or source.config.evaluate.test_episodes
    if given.against:
        other = find(given.against)
        # Seeds mean the same only in the same environments.
        sources.append(other.within(given.env, keys) if given.env else other.beside(source, keys))
    out = given.out or Path("evaluations") / "-".join(map(_slug, (given.policy, source.config.task)))
    with writable(out):
        _report(sources, given, out)


def _report(sources: list["Source"], given: argparse.Namespace, out: Path) -> None:
    """Evaluate one policy or two, write files, and print the rates."""
    import policies
    from agent.evaluate.apart import Evaluation, check_source, evaluate_source, written
    from agent.evaluate.statistics import compare
    from agent.report.videos import of_episodes
    from agent.rollout.environments import Environments
    from agent.run.files import write_text
    from agent.verbs.progress import bar

    results: list[Evaluation] = []
    for other in sources[1:]:  # the first one is checked as its evaluation begins
        check_source(other)
    for source in sources:
        policies.set_threads(source.config.threads)  # each policy as in its own run
        # For each policy anew: cameras, size and history may differ.
        with closing(Environments(source.config.envs, source.config.collect.num_envs)) as environments, bar(source.title, given.episodes) as step:
            keep = 0 if results else given.videos  # of the first policy only
            results.append(evaluate_source(source, environments, given.episodes, given.first_seed, keep=keep, watch=step))
            # By replay, so before the environments are closed.
            videos = of_episodes(environments, results[0].episodes, out / "videos", print) if len(results) == 1 else []
        print(f"{source.title}: {results[-1].card.success}{f', {len(videos)} videos' if videos else ''}", flush=True)
        if faults := results[-1].faults:
            print(f"  {len(faults)} seeds failed by a fault of the environment: {faults[0]}")
    if len(results) > 1:
        print(f"difference: {compare(results[0].card, results[1].card)}")
    write_text(out / "evaluation.json", json.dumps(written(sources[0].config.envs, *results), indent=1))
    print(f"written: {out / 'evaluation.json'}")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")  # one folder, whatever slashes are in a name
