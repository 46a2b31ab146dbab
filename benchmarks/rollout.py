"""Environment steps per second when a model practises: `agent.rollout.rollout` against the obvious loop, interleaved, on one machine.

    python benchmarks/rollout.py        # the embedded model; --model FOLDER for another; about three minutes on two cores

The obvious loop: a Gymnasium vector environment that draws both cameras in every step at the XML's own quality (2048 shadow map, 4x
multisampling), then for every decision processor -> `model.generate` -> decode -> step with the first action of the reply. Two
more sides take its parts away one at a time: the drawing, and the decision in every step. All sides use the same weights, the same
task, as many tokens a reply and as many torch threads. A step counts if an environment moved in it; resets are paid for, not counted.
"""

import contextlib
import json
import os
import platform
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs
from agent.records import Job
from agent.rollout.environments import Workers
from agent.rollout.rollout import collect
from agent.run.files import write_text
from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate import render
from envs.tasks.base import Stage
from policies import PolicyConfig

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CAMERAS, SIZE = ("front", "wrist"), 64
OURS = "etude collect"


@dataclass(frozen=True)
class Options:
    """What is measured, and for how long."""

    model: str = "nano"  # `nano` (embedded) or a local folder
    task: str = envs.TASKS[0]  # Gymnasium id of one of our tasks
    num_envs: int = 64  # environments of `agent.rollout.rollout`
    episodes: int = 128  # of each of its samples; a cycle has 512
    obvious_envs: int = 64  # environments of the obvious loop, one after the other; fewer are slower, `generate` lives on batches
    obvious_processes: int = 8  # environments of the obvious loop, one process each
    seconds: float = 4.0  # of each sample of the obvious loop, at least
    repeats: int = 5  # samples of each side
    threads: int = 2  # of torch
    out: Path = RESULTS / "rollout.json"  # what the tables show, and every sample


class Drawn(gymnasium.ObservationWrapper):
    """A task whose observation holds both cameras, drawn in every step and reset; `pretty` with the XML's shadows and multisampling."""

    def __init__(self, env: gymnasium.Env, pretty: bool) -> None:
        super().__init__(env)
        frame = gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(dict.fromkeys(CAMERAS, frame))
        self._pretty = pretty

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        """Return uint8[size, size, 3] by camera."""
        stage: Any = self.env.unwrapped
        camera = render.camera(stage.source, stage.model, (SIZE, SIZE), self._pretty)
        return {name: camera.draw(stage.model, stage.data, name) for name in CAMERAS}


class Speaker:
    """The obvious way to ask a Hugging Face model for actions: loaded and called as the documentation says, default settings."""

    def __init__(self, source: str, codec: Any) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(source)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(source).eval()
        self.codec = codec

    def act(self, seen: dict[str, np.ndarray], instructions: list[str]) -> np.ndarray:
        """Return float32[N, H, A]: a sampled reply for each environment; one that is no action stands still."""
        images = [[seen[name][i] for name in CAMERAS] for i in range(len(instructions))]
        asked = [[*[{"type": "image"}] * len(CAMERAS), {"type": "text", "text": each}] for each in instructions]
        chats = [[{"role": "user", "content": each}] for each in asked]
        text = self.processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        inputs = self.processor(text=text, images=images, padding=True, padding_side="left", return_tensors="pt")
        length = self.codec.length  # whole replies on all sides: an early end would make this one faster by saying less
        tokens = self.model.generate(**inputs, do_sample=True, max_new_tokens=length, min_new_tokens=length)
        return np.stack([self._decode(row) for row in tokens[:, -length:].numpy()])

    def _decode(self, tokens_L: np.ndarray) -> np.ndarray:
        try:
            return self.codec.decode(tokens_L)
        except ValueError:
            return np.zeros((self.codec.chunk, len(self.codec.low)), np.float32)


class Obvious:
    """A vector environment and a speaker, step by step.

    Args:
        speaker: who decides.
        options: of the benchmark.
        parallel: one process an environment instead of one after the other.
        pretty: frames at the XML's own quality.
        whole: hold each action as long as etude does (`env.action_repeat`) instead of deciding anew in every step.
    """

    def __init__(self, speaker: Speaker, options: Options, parallel: bool = False, pretty: bool = True, whole: bool = False) -> None:
        self.num_envs = options.obvious_processes if parallel else options.obvious_envs
        makers = [lambda: Drawn(gymnasium.make(options.task, cameras=()), pretty)] * self.num_envs
        # Spawned, as forked children would inherit this process's GL context, which two processes must not share.
        vector = gymnasium.vector.AsyncVectorEnv(makers, context="spawn") if parallel else gymnasium.vector.SyncVectorEnv(makers)
        self.env, self.speaker, self.seconds = vector, speaker, options.seconds
        self._held = EnvConfig().action_repeat if whole else 1
        self._seen, self._info = self.env.reset(seed=0)
        self._over, self.close = np.zeros(self.num_envs, bool), vector.close

    def sample(self) -> float:
        """Return environment steps per second over at least `seconds`."""
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < self.seconds:
            actions_NHA = self.speaker.act(self._seen, list(self._info["instruction"]))
            for h in range(self._held):
                count += int((~self._over).sum())  # Gymnasium resets in the step after an end; that step moves nothing
                self._seen, _, terminated, truncated, self._info = self.env.step(actions_NHA[:, h // self._held])
                self._over = terminated | truncated
        return count / (time.perf_counter() - began)


class Ours:
    """`agent.rollout.rollout` as a cycle uses it: every seed eight times, sampled at temperature 1; each sample on new seeds."""

    def __init__(self, policy: Any, options: Options) -> None:
        self.policy, self.num_envs, self._seeds = policy, options.num_envs, range(options.episodes // 8)
        self.workers = Workers(EnvConfig(id=options.task, cameras=CAMERAS, size=SIZE), options.num_envs)
        self.count, self.close = 0, self.workers.close

    def sample(self) -> float:
        """Return environment steps per second over all episodes of a sample."""
        jobs = [Job(seed, take, (seed, take)) for seed in self._seeds for take in range(8)]
        self._seeds = range(self._seeds.stop, self._seeds.stop + len(self._seeds))
        began = time.perf_counter()
        self.count = sum(int((~np.isnan(episode.rewards)).sum()) for episode in collect(self.policy, self.workers, jobs))
        return self.count / (time.perf_counter() - began)


def main(options: Options) -> None:
    """Measure all sides in turn, print the tables and write them as JSON."""
    import torch

    import policies
    from policies.vlm import NANO

    torch.set_num_threads(options.threads)
    space: Any = gymnasium.make(options.task, cameras=()).action_space
    policy = policies.load(PolicyConfig(model=options.model), space.low, space.high)
    speaker = Speaker(str(NANO) if options.model == "nano" else options.model, policy.codec)
    sides: dict[str, Any] = {
        OURS: Ours(policy, options),
        "SyncVectorEnv": Obvious(speaker, options),
        "AsyncVectorEnv": Obvious(speaker, options, parallel=True),
        "SyncVectorEnv, our frames": Obvious(speaker, options, pretty=False),
        "SyncVectorEnv, our frames, held actions": Obvious(speaker, options, pretty=False, whole=True),
    }
    rounds = [{name: side.sample() for name, side in sides.items()} for _ in track(range(options.repeats + 1), "Measuring")]
    samples = {name: [each[name] for each in rounds[1:]] for name in sides}  # the first round warms up
    medians = {name: statistics.median(row) for name, row in samples.items()}
    content = {
        "task": options.task,
        "model": options.model,
        "sides": {name: {"envs": sides[name].num_envs, "median": medians[name], "samples": row} for name, row in samples.items()},
        "ratio": {name: medians[OURS] / median for name, median in medians.items() if name != OURS},
        "seconds_per_1000_steps": split(sides[OURS]),
        "machine": machine(),
    }
    for side in sides.values():
        side.close()
    write_text(options.out, json.dumps(content, indent=1) + "\n")
    show(content)


def split(ours: Ours) -> dict[str, float]:
    """Return where one sample's time goes, in seconds per 1000 environment steps; only this sample is slowed by timers."""
    places = ((Stage, "step", "physics"), (Stage, "reset", "physics"), (Adapter, "observe", "render"))
    places += ((ours.policy, "features", "encode"), (ours.policy, "_reply", "decode"))
    clock: dict[str, float] = defaultdict(float)
    with contextlib.ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), part, clock)))
        rate = ours.sample()
    clock["decode"] -= clock["encode"]  # a reply is its frames' features, then the prompt and the tokens
    parts = {part: 1000 * seconds / ours.count for part, seconds in clock.items()}
    return {**parts, "other": 1000 / rate - sum(parts.values()), "total": 1000 / rate}


def timed(function: Callable, part: str, clock: dict[str, float]) -> Callable:
    """Return `function` with its seconds counted in `clock[part]`."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = function(*args, **kwargs)
        clock[part] += time.perf_counter() - began
        return result

    return wrapped


def machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, torch threads, GL renderer, versions."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "cpu": named[1] if named else platform.processor(),
        "cores": os.cpu_count(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "torch_threads": torch.get_num_threads(),
        "renderer": render.renderer_name(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "mujoco", "gymnasium")},
    }


def fill(page: Path, marks: tuple[str, str], text: str) -> None:
    """Write `text` between the two marks of a page, instead of what stands there."""
    whole = page.read_text()
    start, end = whole.index(marks[0]) + len(marks[0]), whole.index(marks[1])
    page.write_text(f"{whole[:start]}\n{text}\n{whole[end:]}")


def show(content: dict[str, Any]) -> None:
    """Print the results as tables."""
    console, host = Console(highlight=False), content["machine"]
    where = f"{host['cpu']}, {host['cores']} cores, {host['torch_threads']} torch threads, {host['renderer']}"
    table = Table("", "envs", "steps/s", "min to max", "etude is faster by", title=f"{content['task']}, {content['model']}", caption=where)
    for name, side in content["sides"].items():
        spread = f"{min(side['samples']):.1f} to {max(side['samples']):.1f}"
        ratio = f"{content['ratio'][name]:.1f} x" if name in content["ratio"] else ""
        table.add_row(name, str(side["envs"]), f"{side['median']:.1f}", spread, ratio)
    console.print(table)
    parts = ", ".join(f"{part} {seconds:.3f}" for part, seconds in content["seconds_per_1000_steps"].items())
    console.print(f"{OURS}, seconds per 1000 steps: {parts}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options))
