"""`etude pretrain`: the embedded base model from nothing, through the stage `ground`. No action data, no practice or exam seeds."""

import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent import ground, teach
from agent.records import Scene
from envs import TASKS
from envs.adapt import Adapter, EnvConfig
from policies.nano.build import build
from policies.vlm import PolicyConfig, Vlm

SEEDS, TEST_SEEDS = 40_000_000, 49_000_000  # far from every practice, gate and exam seed


def pretrain(out: Path, *, steps: int = 10_000, num_scenes: int = 30_000, threads: int = 2) -> dict[str, tuple[float, int]]:
    """Build and teach `etude-nano`; write it to `out` as a Hugging Face folder, with `pretrain.json` beside it.

    Args:
        out: folder of the result; holds a checkpoint meanwhile, from which the same command goes on after a kill.
        steps: of gradient descent.
        num_scenes: drawn from all tasks in equal shares.
        threads: of torch.

    Returns:
        Held-out accuracy and number of questions for each kind of question.
    """
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        bar = bars.add_task("scenes", total=num_scenes)
        scenes = draw(num_scenes, SEEDS, lambda: bars.advance(bar))
        corpus = [re.sub(r"<n\d+>", " ", f"{q.question} {q.answer}") for scene in scenes[::7] for q in scene.questions]
        model, processor = build(corpus + ["User:", "Assistant:"] * 500)
        if not (out / "config.json").exists():
            model.save_pretrained(out)
            processor.save_pretrained(out)
        policy = Vlm(PolicyConfig(model=str(out), train="all"), -np.ones(3), np.ones(3))
        bar, log = bars.add_task("lessons", total=steps), (out / "loss.txt").open("a")

        def watch(step: int, figures: dict[str, float]) -> None:
            bars.update(bar, completed=step, description=f"lessons, loss {figures['loss']:.3f}")
            log.write(f"{step} {figures['answering']:.4f} {figures['pointing']:.4f} {figures['reading']:.4f}\n")
            log.flush()

        teach.teach(policy, scenes, steps=steps, checkpoint=out / "checkpoint.pt", watch=watch)
    policy.model.save_pretrained(out)
    accuracy = teach.quiz(policy, draw(1500, TEST_SEEDS, lambda: None))
    facts = {"steps": steps, "scenes": num_scenes, "seconds": round(time.time() - began), "accuracy": accuracy}
    (out / "pretrain.json").write_text(json.dumps(facts, indent=2))
    return accuracy


def draw(count: int, seed: int, watch=lambda: None) -> list[Scene]:  # noqa: ANN001
    """Return `count` scenes with questions, in equal shares from all tasks, from seeds beginning at `seed`."""
    drawn: list[Scene] = []
    for index, task in enumerate(TASKS):
        adapter = Adapter(EnvConfig(id=task))
        stream = ground.scenes(adapter, itertools.count(seed), np.random.default_rng([seed, index]))
        for scene in itertools.islice(stream, count // len(TASKS)):
            drawn.append(scene)
            watch()
        adapter.close()
    return drawn
