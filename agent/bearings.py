"""Before the first cycle: the base model learns to see a new environment, from its simulator (stage `ground` of a run)."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from agent import ground
from agent.expert import resolve
from agent.run import SEEDS, Run
from agent.track import Track
from envs import TASKS

HELD_OUT = 200  # scenes that only the accuracy is measured on


def bearings(run: Run, track: Track) -> None:
    """Stage `ground`: the base model learns to see a new environment, from its simulator, before it imitates."""
    config, folder, first = run.config.ground, run.folder / "ground", run.workers.first
    can = first.model is not None and first.sees_by_name
    steps = config.steps if config.steps is not None else 600 if can and run.config.env.id not in TASKS else 0
    if not steps:
        return
    if not can:
        raise ValueError("ground.steps needs a MuJoCo environment and named cameras in env.cameras; set ground.steps to 0 for this one.")

    def learn_to_see() -> dict[str, Any]:
        from agent import teach

        shown = run.config.demonstrate
        show = resolve(shown.expert, run.config.env) if shown.episodes and (shown.expert or not shown.dataset) else None
        seeds = itertools.count(SEEDS["ground"] + 100_000 * run.config.seed)
        drawn = ground.scenes(first, seeds, np.random.default_rng([run.config.seed, 7]), show, config.tool)
        with track.bar("ground: scenes", config.scenes + HELD_OUT) as step:
            scenes = [scene for scene in itertools.islice(drawn, config.scenes + HELD_OUT) if step(1) is None]
        if config.kinds:
            kept = [replace(scene, questions=tuple(q for q in scene.questions if q.kind in config.kinds)) for scene in scenes]
            scenes = [scene for scene in kept if scene.questions]
        policy, teaching = run.student(config.train), teach.see if config.train == "all" else teach.read
        with track.bar("ground: see", steps) as step:
            teaching(
                policy, scenes[:-HELD_OUT], steps=steps, batch=config.batch, questions=config.questions, lr=config.lr, seed=run.config.seed,
                checkpoint=folder / "checkpoint.pt", watch=lambda done, figures: step(1, total=steps, note=f"loss {figures['loss']:.2f}"),
            )  # fmt: skip
        run.settle_base(policy)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
        right = {f"{kind}_right": share for kind, (share, _) in teach.quiz(policy, scenes[-HELD_OUT:]).items()}
        return {"figures": {"scenes": config.scenes, "steps": steps, **right}}

    run.keep(folder / "ground.json", learn_to_see)
    track.log(run.metrics())
