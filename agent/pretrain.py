"""`etude pretrain`: the embedded base model from nothing, through the stage `ground`. No action data, no practice or exam seeds."""

import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent import ground, teach
from agent.records import Scene
from envs import PRETRAINED
from envs.adapt import Adapter, EnvConfig
from policies.nano.build import build, inherit
from policies.vlm import PolicyConfig, Vlm

SEEDS, TEST_SEEDS = 40_000_000, 49_000_000  # far from every practice, gate and exam seed


def pretrain(
    out: Path, *, base: Path | None = None, see: int = 4000, read: int = 6000, num_scenes: int = 24_000, threads: int = 2
) -> dict[str, tuple[float, int]]:
    """Build and teach `etude-nano`; write it to `out` as a Hugging Face folder, with `pretrain.json` beside it.

    Args:
        out: folder of the result; holds checkpoints meanwhile, from which the same command goes on after a kill.
        base: folder of an earlier etude-nano whose weights it begins with; None: from nothing.
        see: steps of the first part, which trains everything (`teach.see`).
        read: steps of the second part, which trains the text model alone (`teach.read`).
        num_scenes: drawn from the tasks `envs.PRETRAINED` in equal shares.
        threads: of torch.

    Returns:
        Held-out accuracy and number of questions for each kind of question.
    """
    if base and not (base / "config.json").exists():
        raise ValueError(f"{base} holds no model; name the folder of an earlier etude-nano, or leave --base out to begin from nothing.")
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        bar = bars.add_task("scenes", total=num_scenes)
        scenes = draw(num_scenes, SEEDS, lambda: bars.advance(bar))
        if not (out / "config.json").exists():
            corpus = [re.sub(r"<n\d+>", " ", f"{q.question} {q.answer}") for scene in scenes[::7] for q in scene.questions]
            model, processor = build(corpus + ["User:", "Assistant:"] * 500)
            if base:
                inherit(model, processor.tokenizer, base)
            (out / "pretrain.json").write_text(json.dumps({"base": base and str(base)}))
            processor.save_pretrained(out)
            model.save_pretrained(out)
        if not (out / "seen").exists():
            policy = Vlm(PolicyConfig(model=str(out), train="all"), -np.ones(3), np.ones(3))
            teach.see(policy, scenes, steps=see, checkpoint=out / "see.pt", watch=_watch(bars, "see", see, out))
            policy.base.save_pretrained(out)
            (out / "seen").touch()
        policy = Vlm(PolicyConfig(model=str(out), train="text"), -np.ones(3), np.ones(3))
        teach.read(policy, scenes, steps=read, checkpoint=out / "read.pt", watch=_watch(bars, "read", read, out))
    policy.base.save_pretrained(out)
    accuracy = teach.quiz(policy, draw(1500, TEST_SEEDS))
    begun = out / "pretrain.json"  # a folder that was prepared by hand has none
    facts = {
        "tasks": PRETRAINED,
        **(json.loads(begun.read_text()) if begun.exists() else {}),
        "see": see,
        "read": read,
        "scenes": num_scenes,
        "seconds": round(time.time() - began),
        "accuracy": accuracy,
    }
    begun.write_text(json.dumps(facts, indent=2))
    for name in ("see.pt", "read.pt", "seen", "loss.txt"):
        (out / name).unlink(missing_ok=True)
    return accuracy


def _watch(bars: Progress, title: str, steps: int, out: Path) -> Callable[[int, dict[str, float]], None]:
    bar, log = bars.add_task(title, total=steps), (out / "loss.txt").open("a")

    def watch(step: int, figures: dict[str, float]) -> None:
        bars.update(bar, completed=step, description=f"{title}, loss {figures['loss']:.3f}")
        log.write(f"{title} {step} " + " ".join(f"{value:.4f}" for value in figures.values()) + "\n")
        log.flush()

    return watch


def draw(count: int, seed: int, watch: Callable[[], None] = lambda: None) -> list[Scene]:
    """Return `count` scenes with questions, in equal shares from the tasks `envs.PRETRAINED`, from seeds beginning at `seed`."""
    drawn: list[Scene] = []
    for index, task in enumerate(PRETRAINED):
        adapter = Adapter(EnvConfig(id=task))
        stream = ground.scenes(adapter, itertools.count(seed), np.random.default_rng([seed, index]))
        for scene in itertools.islice(stream, count // len(PRETRAINED)):
            drawn.append(scene)
            watch()
        adapter.close()
    return drawn
