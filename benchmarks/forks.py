"""What a useful preference pair costs in environment steps: from takes of one seed, from forks of failed takes, from rivals tried at each decision.

    python benchmarks/forks.py run runs/reach-1    # the first champion of a run, seeds that no run practises; writes docs/results/forks/<task>.json
    python benchmarks/forks.py table               # rewrite the table in docs/climb.md from these

A pair says of two replies to one frame that one is better. Whether it is, is measured: each reply is carried out at that moment, and the same
policy goes on as it practises, 16 times. What the chosen reply adds to the chance of success is the pair's worth; a pair worth 25 points or more is
called useful, one worth -25 or less wrong. Differences of two such means are noisy, and as noisy both ways, so ways are compared by useful pairs
less wrong ones. The steps of that measurement do not count; the openings that forks repeat, and rivals' actions in copies of the moment, do.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rollout import RESULTS, fill, machine

from agent.collect import Job, collect
from agent.curate import Start, contested_decisions, fork_pairs, rival_pairs, start_of
from agent.curriculum import fork_points
from agent.files import write_text
from agent.label import label
from agent.records import Episode, Label, PreferencePair
from agent.run import SEEDS, Run
from agent.warm_start import first_champion

OUT, PAGE = RESULTS / "forks", Path(__file__).resolve().parent.parent / "docs" / "climb.md"
MARKS = "<!-- forks: begin (python benchmarks/forks.py table) -->", "<!-- forks: end -->"
FIRST = SEEDS["practice"] + 9_000_000  # beyond the practice seeds of every run
AGAIN, USEFUL, TAKES, DRAWS = 16, 0.25, 8, 8  # continuations; worth; takes of a seed or fork; replies drawn for a rival
FEW, MANY = 2, 8  # pairs of each seed or fork at most: the default of `curate.pairs_per_seed`, and one a take


@dataclass(frozen=True)
class Pair:
    """Two replies to one moment."""

    seed: int
    opening: np.ndarray
    """float32[t, H, A], what was done before."""
    sight: np.ndarray
    """uint8[F, h, w, 3], what was seen then."""
    chosen: np.ndarray
    """float32[H, A]."""
    rejected: np.ndarray


class Bench:
    """One policy, the environment that it practises in, and what is spent there.

    Args:
        run: whose first champion it is.
    """

    def __init__(self, run: Run) -> None:
        self.policy, self.workers = run.play(first_champion(run)), run.workers
        self.held = run.config.envs[0].action_repeat * self.policy.chunk
        torch.set_num_threads(1)

    def play(self, jobs: Sequence[Job]) -> tuple[list[Episode], int]:
        """Return episodes, and the environment steps that they took, openings and rivals among them."""
        episodes = list(collect(self.policy, self.workers, jobs))
        if faults := [episode.faults[0] for episode in episodes if episode.faults]:
            raise RuntimeError(f"the environment spoilt a take: {faults[0]}")
        tried = [0 if e.rivals is None else int((e.rivals != e.tokens).any(1).sum()) for e in episodes]
        opened = [0 if job.opening is None else len(job.opening) for job in jobs]
        return episodes, self.held * (sum(map(len, episodes)) + sum(tried) + sum(opened))

    def located(self, pairs: Sequence[PreferencePair], episodes: Sequence[Episode], jobs: Sequence[Job]) -> list[Pair]:
        """Return pairs with the way to their moments: what a take's job did again, and what the take did until there."""
        takes = {e.id: (e, e.actions[:0] if job.opening is None else job.opening) for e, job in zip(episodes, jobs, strict=True)}
        found = []
        for pair in pairs:
            (episode, opening), t = takes[pair.provenance[0]], pair.provenance[2]
            replies = [self.policy.codec.decode(side[0].tokens) for side in (pair.chosen, pair.rejected)]
            found.append(Pair(episode.seed, np.concatenate([opening, episode.actions[:t]]), episode.frames[t], *replies))
        return found

    def worth(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return float64[N]: by how much each pair's chosen reply adds more to the chance of success than its rejected one."""
        jobs, places, won, adapter = [], [], np.zeros((len(pairs), 2)), self.workers.first
        for i, pair in enumerate(pairs):
            for side, actions in enumerate((pair.chosen, pair.rejected)):
                adapter.reset(pair.seed)
                for each in pair.opening:
                    adapter.step(each, look=False)
                if not np.array_equal(adapter.observe().frames, pair.sight):
                    raise RuntimeError(f"seed {pair.seed} did not come back to the moment of a pair")
                outcome = adapter.step(actions, look=False)
                if outcome.success or outcome.terminated or outcome.truncated:
                    won[i, side] = AGAIN * outcome.success
                    continue
                opening = np.concatenate([pair.opening, actions[None]])
                jobs += [Job(pair.seed, k, (3, i, side, k), 0, opening, ("measured", i)) for k in range(AGAIN)]
                places += [(i, side)] * AGAIN
        for place, episode in zip(places, self.play(jobs)[0], strict=True):
            won[place] += episode.success
        return (won[:, 0] - won[:, 1]) / AGAIN


def parted(episodes: Sequence[Episode], count: int) -> list[PreferencePair]:
    """Return up to `count` pairs of each group of takes with one beginning, where a success and a failure part."""
    groups: dict[Start, list[tuple[Episode, Label]]] = defaultdict(list)
    for episode, said in zip(episodes, label(episodes), strict=True):
        groups[start_of(episode)].append((episode, said))
    rng = np.random.default_rng(0)
    return [pair for takes in groups.values() for pair in fork_pairs(takes, count, rng)]


def rivalled(episodes: Sequence[Episode]) -> list[PreferencePair]:
    """Return a pair of each decision whose rival came to more or less."""
    contested = [(episode, t) for episode in episodes for t in contested_decisions(episode)]
    return rival_pairs(contested, len(contested), np.random.default_rng(0))


def run(folder: tyro.conf.Positional[Path], seeds: int = 48, forks: int = 32, measured: int = 96) -> None:
    """Collect pairs in three ways and measure some of each.

    Args:
        folder: of a run.
        seeds: practised, eight takes each; for rivals one take each.
        forks: moments from which failed takes are tried again, eight times.
        measured: pairs of each way at most, drawn at random.
    """
    whole = Run(folder)
    bench, span = Bench(whole), range(FIRST, FIRST + seeds)
    jobs = [Job(seed, take, (1, seed, take)) for seed in span for take in range(TAKES)]
    takes, spent = bench.play(jobs)
    ways = {f"takes of one seed, up to {count}": (bench.located(parted(takes, count), takes, jobs), spent) for count in (FEW, MANY)}
    points = [(e, t, 1_000 + TAKES * i + k) for i, (e, t) in enumerate(fork_points(takes, forks)) for k in range(TAKES)]
    jobs = [Job(e.seed, take, (2, e.seed, take), 0, e.actions[:t], (e.id, t), e.frames[t]) for e, t, take in points]
    again, spent = bench.play(jobs)
    ways |= {f"forks of failed takes, up to {count}": (bench.located(parted(again, count), again, jobs), spent) for count in (FEW, MANY)}
    jobs = [Job(seed, 0, (4, seed), rivals=DRAWS) for seed in span]
    contested, spent = bench.play(jobs)
    ways["rivals"] = bench.located(rivalled(contested), contested, jobs), spent
    content = {"task": whole.config.task, "seeds": seeds, "practice_success": float(np.mean([e.success for e in takes])), "machine": machine()}
    OUT.mkdir(parents=True, exist_ok=True)
    file = OUT / f"{whole.config.task.split('/')[-1].split('-')[0].lower()}.json"
    found: dict[str, Any] = {}
    for name, (pairs, steps) in ways.items():
        drawn = [pairs[i] for i in sorted(np.random.default_rng(5).permutation(len(pairs))[:measured])]
        found[name] = {"pairs": len(pairs), "steps": steps, **_measured(drawn, bench.worth(drawn))}
        print(name, found[name], flush=True)
        write_text(file, json.dumps({**content, "ways": found}, indent=1) + "\n")


def _measured(pairs: Sequence[Pair], worth: np.ndarray) -> dict[str, Any]:
    """Return what is known of these pairs; 95 % intervals by drawing seeds again, for pairs of one seed are alike."""
    net = (worth >= USEFUL).astype(float) - (worth <= -USEFUL)
    by_seed = {pair.seed: [i for i, other in enumerate(pairs) if other.seed == pair.seed] for pair in pairs}
    rng, spread = np.random.default_rng(6), np.zeros((0, 2))
    if by_seed:
        again = [np.concatenate([list(by_seed.values())[k] for k in rng.integers(len(by_seed), size=len(by_seed))]).astype(int) for _ in range(2_000)]
        spread = np.array([(worth[rows].mean(), net[rows].mean()) for rows in again])
    figures: dict[str, Any] = {"measured": len(pairs)}
    for k, (name, values) in enumerate((("worth", worth), ("net", net))):
        figures[name] = [float(values.mean()), *np.quantile(spread[:, k], [0.025, 0.975]).tolist()] if by_seed else None
    return {**figures, "useful": int((worth >= USEFUL).sum()), "wrong": int((worth <= -USEFUL).sum())}


def rows() -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| task | pairs of | pairs in 1,000 steps | measured | useful | wrong | worth, points | useful less wrong, in 1,000 steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for file in sorted(OUT.glob("*.json")):
        content = json.loads(file.read_text())
        for name, way in content["ways"].items():
            rate, count = 1000 * way["pairs"] / way["steps"], way["measured"]
            cells = [content["task"], name, f"{rate:.1f}", str(count)]
            if count:
                shares = [f"{100 * way[kind] / count:.0f} %" for kind in ("useful", "wrong")]
                told = [
                    f"{scale * way[key][0]:+.1f} [{scale * way[key][1]:+.1f}, {scale * way[key][2]:+.1f}]"
                    for key, scale in (("worth", 100), ("net", rate))
                ]
                cells += [*shares, *told]
            lines.append(f"| {' | '.join(cells + [''] * (8 - len(cells)))} |")
    return lines


def table() -> None:
    """Rewrite the table in docs/climb.md."""
    fill(PAGE, MARKS, "\n".join(rows()))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
