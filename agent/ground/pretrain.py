"""`etude pretrain`: the embedded base model, trained from nothing on the questions of stage `ground`.

It uses no actions as targets, and no seed of a run's practice, demonstrations or evaluations.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent.ground import questions as ground
from agent.ground import train as teach
from agent.ground.scenes import Scene
from agent.run.files import read_object, write_folder, write_text
from envs import PRETRAINED, TASKS
from envs.adapt import Adapter, EnvConfig
from envs.process import end_with_parent
from policies.nano.build import build, inherit
from policies.precision import check_device
from policies.vlm import PolicyConfig, Vlm

SEEDS, TEST_SEEDS = 40_000_000, 49_000_000  # first seeds of training and of held-out scenes, within the range `ground` of `records.SEEDS`
PART = 250  # scenes that a process draws at a time; the scenes depend on it, as each part begins with a seed of its own


def pretrain(
    out: Path,
    *,
    base: Path | None = None,
    see: int = 4000,
    read: int = 6000,
    num_scenes: int = 24_000,
    seed: int = SEEDS,
    batch: int = 24,
    questions: int = 6,
    device: str = "cpu",
    threads: int = 2,
    processes: int = 1,
) -> dict[str, tuple[float, int]]:
    """Build and train `etude-nano`; write it to `out` as a Hugging Face folder, with `pretrain.json` beside it.

    Args:
        out: folder of the result; until the end it also holds checkpoints, from which the same command goes on after a kill.
        base: folder of an earlier etude-nano whose weights are the first ones; None: from nothing.
        see: gradient steps of the first part, which trains all weights.
        read: gradient steps of the second part, which trains the text model alone: cheaper on a CPU, not needed on a GPU.
        num_scenes: number of scenes, drawn from the tasks `envs.PRETRAINED` in equal shares.
        seed: environment seed of the first scene; choose another one to train a `base` on new scenes.
        batch: scenes a step, in both parts.
        questions: questions about each scene of a batch; twice as many in the second part.
        device: `cuda` for a GPU.
        threads: Torch threads.
        processes: processes that draw scenes; on a GPU as many prepare its batches. The result is the same for any number.

    Returns:
        Accuracy and number of questions by kind of question, on held-out scenes.
    """
    _settle(device, threads)
    if base and not (base / "config.json").exists():
        raise ValueError(f"{base} holds no model; name the folder of an earlier etude-nano, or leave --base out to begin from nothing.")
    if num_scenes < len(PRETRAINED) or seed + num_scenes > TEST_SEEDS:
        raise ValueError(f"Scenes must be at least {len(PRETRAINED)}, one a task, and their seeds below {TEST_SEEDS}, which are held out.")
    facts = {"base": base and str(base), "see": see, "read": read, "scenes": num_scenes, "seed": seed, "batch": batch, "questions": questions}
    if done := _enter(out, facts):
        return done
    began = time.time()  # after a kill `seconds` are those of the last start alone
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        bar = bars.add_task("scenes", total=num_scenes)
        scenes = draw(num_scenes, seed, lambda count: bars.advance(bar, count), processes)  # not stored: each start draws the same ones anew
        if not (out / "config.json").exists():
            _begin(out, base, scenes, facts)
        if not (out / "seen").exists():  # an empty file that marks the end of the first part; the model in `out` has its weights then
            policy = _pupil(out, "all", device)
            workers, kept, watch = processes if device != "cpu" else 0, out / "see.pt", _watch(bars, "see", see, out)  # a CPU trains alone
            teach.see(policy, scenes, steps=see, batch=batch, questions=questions, workers=workers, checkpoint=kept, watch=watch)
            write_folder(out, policy.base.save_pretrained)
            (out / "seen").touch()
        policy = _pupil(out, "text", device)  # read from the folder again, also after the first part: a resumed command has no other way
        if read:
            kept, watch = out / "read.pt", _watch(bars, "read", read, out)
            teach.read(policy, scenes, steps=read, batch=batch, questions=2 * questions, checkpoint=kept, watch=watch)
    write_folder(out, policy.base.save_pretrained)
    accuracy = teach.quiz(policy, draw(1500, TEST_SEEDS, processes=processes))  # seeds that no `pretrain` command may train on
    _conclude(out, {"tasks": PRETRAINED, **facts, "device": device, "seconds": round(time.time() - began), "accuracy": accuracy})
    return accuracy


def _settle(device: str, threads: int) -> None:
    """Set torch's threads; raise ValueError where the device does not exist, before the scenes, which take minutes."""
    check_device("--device", device)
    torch.set_num_threads(threads)


def _pupil(out: Path, train: Literal["all", "text"], device: str) -> Vlm:
    """Return the model in `out`; its action space is of no consequence, since it answers questions only."""
    return Vlm(PolicyConfig(model=str(out), train=train, device=device), -np.ones(3), np.ones(3))


def _enter(out: Path, facts: dict[str, Any]) -> dict[str, tuple[float, int]]:
    """Make the folder, or check that an earlier command with the same settings began it.

    Returns:
        The accuracy of the finished model in it; nothing where there is still something to do.

    Raises:
        ValueError: the folder was begun with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    # A kill before `config.json` leaves no model, and `_begin` writes its settings anew. A folder that a user prepared has a model without settings.
    if not (out / "config.json").exists() or not (out / "pretrain.json").exists():
        return {}
    begun = read_object(out / "pretrain.json")
    for name, value in facts.items():  # a setting that an earlier version of etude did not write is not compared
        if begun.get(name, value) != value:
            raise ValueError(f"{out} was begun with {name} {begun[name]}, not {value}; go on with that, or name another folder.")
    return {kind: (share, count) for kind, (share, count) in begun.get("accuracy", {}).items()}


def _conclude(out: Path, facts: dict[str, Any]) -> None:
    """Write settings and accuracy beside the model, then delete the checkpoints."""
    begun = out / "pretrain.json"  # missing in a folder that a user prepared
    write_text(begun, json.dumps({**(read_object(begun) if begun.exists() else {}), **facts}, indent=2))
    for name in ("see.pt", "read.pt", "seen", "loss.txt"):
        (out / name).unlink(missing_ok=True)


def _begin(out: Path, base: Path | None, scenes: list[Scene], facts: dict[str, Any]) -> None:
    """Write an untrained model, or one with the weights of `base`; its vocabulary covers the questions about these scenes."""
    # A seventh of the scenes holds every word. Number tokens are added to the vocabulary as they are, so the tokenizer is not trained on them.
    corpus = [re.sub(r"<n\d+>", " ", f"{q.question} {q.answer}") for scene in scenes[::7] for q in scene.questions]
    model, processor = build(corpus + ["User:", "Assistant:"] * 500)  # the chat template's words, often enough to become one token each
    if base:
        inherit(model, processor.tokenizer, base)
    write_text(out / "pretrain.json", json.dumps(facts))  # before the model, so that no model is without its settings
    write_folder(out, lambda partial: (processor.save_pretrained(partial), model.save_pretrained(partial)))


def _watch(bars: Progress, title: str, steps: int, out: Path) -> Callable[[int, dict[str, float]], None]:
    """Return a function that shows a training's progress, and appends its figures to `loss.txt`."""
    bar, log = bars.add_task(title, total=steps), (out / "loss.txt").open("a")

    def watch(step: int, figures: dict[str, float]) -> None:
        bars.update(bar, completed=step, description=f"{title}, loss {figures['loss']:.3f}")
        log.write(f"{title} {step} " + " ".join(f"{value:.4f}" for value in figures.values()) + "\n")
        log.flush()  # so that the file can be followed; after a kill some steps stand in it twice

    return watch


def draw(count: int, seed: int, watch: Callable[[int], None] = lambda count: None, processes: int = 1) -> list[Scene]:
    """Return `count` scenes with questions, in equal shares from the tasks `envs.PRETRAINED`, rounded down.

    Args:
        count: number of scenes.
        seed: environment seed of the first one.
        watch: called with the number of scenes that have just been drawn.
        processes: processes that draw side by side.
    """
    share = count // len(PRETRAINED)
    parts = [(task, seed + first, min(PART, share - first)) for task in PRETRAINED for first in range(0, share, PART)]
    drawn: list[Scene] = []
    spawn = multiprocessing.get_context("spawn")  # a forked process would share the state of torch's threads and of the graphics driver
    with (
        ProcessPoolExecutor(processes, mp_context=spawn, initializer=end_with_parent, initargs=(os.getpid(),))
        if processes > 1
        else contextlib.nullcontext() as pool
    ):
        for scenes in (pool.map if pool else map)(_draw, *zip(*parts, strict=True)):  # both give the parts in order
            drawn += scenes
            watch(len(scenes))
    return drawn


def frames_of_tasks(seeds: int = 12) -> np.ndarray:
    """Return uint8[N, h, w, 3]: both views of the first moment of some seeds of each task in `envs.PRETRAINED`."""
    frames = []
    for task in PRETRAINED:
        adapter = Adapter(EnvConfig(id=task))
        try:
            frames += [adapter.reset(SEEDS + i).frames for i in range(seeds)]
        finally:
            adapter.close()
    return np.concatenate(frames)


def _draw(task: str, seed: int, count: int) -> list[Scene]:
    """Return the first `count` scenes of one task from `seed` on."""
    adapter = Adapter(EnvConfig(id=task))
    try:
        # Each seed gives at least one scene, so `count` scenes use at most `count` seeds: parts that begin `PART` seeds apart do not overlap.
        return list(itertools.islice(ground.scenes(adapter, itertools.count(seed), np.random.default_rng([seed, TASKS.index(task)])), count))
    finally:
        adapter.close()
