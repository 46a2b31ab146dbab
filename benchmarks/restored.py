"""A snapshot, then 100 decisions: are they those of an environment that was never restored? For each file of configs/envs/ that has a row.

    python benchmarks/restored.py configs/envs/gymnasium-*.yaml     # docs/results/restored.json; files that are there already only with `--again`
    python benchmarks/environments.py table                         # puts the answers into the tables of docs/environments.md

Where an episode ends before, both environments begin the next one. Each file is tried in a process of its own, so that a crash costs its row alone.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from rollout import RESULTS

from agent.config.read import read
from agent.run.files import write_text
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words
from envs.simulate.replay import NOT_POSSIBLE, restore, snapshot

OUT = RESULTS / "restored.json"
SEED, DECISIONS, LIMIT = 60_000_000, 100, 1200


def compared(config: EnvConfig) -> str:
    """Return what became of 100 decisions after a snapshot was restored, compared with an environment that was never restored."""
    one, never = Adapter(config), Adapter(config)
    rng = np.random.default_rng(0)
    opening, future = ([one.actions.sample(rng)[None] for _ in range(count)] for count in (2, DECISIONS))
    for each in (one, never):
        each.reset(SEED)
    for action in opening:
        if ended(one.step(action)):
            one.reset(SEED)
        if ended(never.step(action)):
            never.reset(SEED)
    try:
        moment = snapshot(one)
        for action in future:  # the future that is undone, up to the end of the episode
            if ended(one.step(action)):
                break
        restore(one, moment)
    except (Exception, SystemExit) as error:  # of the environment, or of a library that it uses
        return f"{NOT_POSSIBLE}, {in_words(error)}"
    episodes = 1
    for t, action in enumerate(future):
        mine, other = one.step(action), never.step(action)
        if not np.array_equal(mine.observation.frames, other.observation.frames):
            outside = f", as the state of its {moment.outside} lies outside of Python" if moment.outside else ""
            return f"{NOT_POSSIBLE}{outside}: frames differ after decision {t + 1}"
        if not np.array_equal(mine.rewards, other.rewards, equal_nan=True) or ended(mine) != ended(other):
            return f"{NOT_POSSIBLE}: frames are equal, and rewards or ends differ after decision {t + 1}"
        if ended(mine):
            one.reset(SEED + episodes)
            never.reset(SEED + episodes)
            episodes += 1
    return f"equal, {episodes} episode{'s' * (episodes > 1)}"


def ended(outcome: object) -> bool:
    """Return whether an outcome is the last of its episode."""
    return outcome.terminated or outcome.truncated  # pyright: ignore[reportAttributeAccessIssue]


def main(files: list[Path], again: bool) -> None:
    """Try each file in a process of its own, and write the answers."""
    for file in files:
        content = json.loads(OUT.read_text()) if OUT.exists() else {}
        if file.stem in content and not again:
            continue
        try:
            done = subprocess.run([sys.executable, __file__, "one", file], capture_output=True, text=True, timeout=LIMIT)
            answer = done.stdout.strip().splitlines()[-1] if not done.returncode else (done.stderr.strip().splitlines() or ["it crashed"])[-1]
        except subprocess.TimeoutExpired:
            answer = f"it took more than {LIMIT} s"
        write_text(OUT, json.dumps(content | {file.stem: answer}, indent=1, sort_keys=True) + "\n")
        print(f"{file.stem}: {answer}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(compared(read(Path(sys.argv[2])).envs[0]))
    else:
        main([Path(each) for each in sys.argv[1:] if each != "--again"], "--again" in sys.argv)
