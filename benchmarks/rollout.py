"""Environment steps per second of rollouts with a model: `agent.rollout.rollout` against a plain loop, interleaved, on one machine.

    python benchmarks/rollout.py        # the embedded model; --model FOLDER for another; about three minutes on two cores

The plain loop is a Gymnasium vector environment. It draws both cameras in every step, with the quality in the task's XML file.
Every step has a decision: processor, `model.generate`, decoding, and a step with the first action of the reply.
Two further loops remove one part each: first the slow rendering, then also the decision in every step.
All sides have the same weights, task, tokens a reply and torch threads. A step counts if an environment moved in it.
The time of resets counts too, but a reset is no step.
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
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run.files import write_text
from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate import render
from envs.tasks.base import Stage
from policies import PolicyConfig

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CAMERAS, SIZE = ("front", "wrist"), 64
ETUDE = "etude, stage collect"


@dataclass(frozen=True)
class Options:
    """What is measured, and for how long."""

    model: str = "nano"  # `nano` (embedded) or a local folder
    task: str = envs.TASKS[0]  # Gymnasium id of one of our tasks
    num_envs: int = 64  # environments of `agent.rollout.rollout`
    episodes: int = 128  # in each of its measurements; a cycle has 512 by default
    plain_envs: int = 64  # environments of the plain loop in one process; fewer are slower, because `generate` is fast in large batches
    plain_processes: int = 8  # environments of the plain loop with one process each
    seconds: float = 4.0  # shortest duration of a measurement of the plain loop
    repeats: int = 5  # measurements of each side
    threads: int = 2  # torch threads
    out: Path = RESULTS / "rollout.json"  # medians and all measurements


class WithFrames(gymnasium.ObservationWrapper):
    """A task whose observation is both cameras' frames, drawn in every step and reset; with `pretty` in the quality of the task's XML file."""

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


class GeneratePolicy:
    """A Hugging Face model that replies with actions by `generate`, loaded and called as its documentation shows, with default settings."""

    def __init__(self, source: str, codec: Any) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(source)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(source).eval()
        self.codec = codec

    def act(self, frames: dict[str, np.ndarray], instructions: list[str]) -> np.ndarray:
        """Return float32[N, H, A]: the actions of a sampled reply for each of N environments; zeros where a reply encodes none."""
        images = [[frames[name][i] for name in CAMERAS] for i in range(len(instructions))]
        contents = [[*[{"type": "image"}] * len(CAMERAS), {"type": "text", "text": each}] for each in instructions]
        chats = [[{"role": "user", "content": each}] for each in contents]
        text = self.processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        inputs = self.processor(text=text, images=images, padding=True, padding_side="left", return_tensors="pt")
        length = self.codec.length  # all sides make whole replies: an early end would make this one faster, with fewer tokens
        tokens = self.model.generate(**inputs, do_sample=True, max_new_tokens=length, min_new_tokens=length)
        return np.stack([self._decode(row) for row in tokens[:, -length:].numpy()])

    def _decode(self, tokens_L: np.ndarray) -> np.ndarray:
        try:
            return self.codec.decode(tokens_L)
        except ValueError:
            return np.zeros((self.codec.chunk, len(self.codec.low)), np.float32)


class PlainLoop:
    """A vector environment and a policy, step by step.

    Args:
        policy: decides in all environments at once.
        options: of the benchmark.
        parallel: one process for each environment, instead of all in this process.
        pretty: frames in the quality of the task's XML file.
        hold: hold each action for `env.action_repeat` steps, as etude does, instead of a decision in every step.
    """

    def __init__(self, policy: GeneratePolicy, options: Options, parallel: bool = False, pretty: bool = True, hold: bool = False) -> None:
        self.num_envs = options.plain_processes if parallel else options.plain_envs
        makers = [lambda: WithFrames(gymnasium.make(options.task, cameras=()), pretty)] * self.num_envs
        # Spawned: a forked process would inherit this one's GL context, which two processes must not share.
        vector = gymnasium.vector.AsyncVectorEnv(makers, context="spawn") if parallel else gymnasium.vector.SyncVectorEnv(makers)
        self.env, self.policy, self.seconds = vector, policy, options.seconds
        self._repeat = EnvConfig().action_repeat if hold else 1
        self._frames, self._info = self.env.reset(seed=0)
        self._over, self.close = np.zeros(self.num_envs, bool), vector.close

    def sample(self) -> float:
        """Return environment steps per second over at least `seconds`."""
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < self.seconds:
            actions_NHA = self.policy.act(self._frames, list(self._info["instruction"]))
            for _ in range(self._repeat):
                count += int((~self._over).sum())  # Gymnasium resets in the step after an end, which moves nothing
                self._frames, _, terminated, truncated, self._info = self.env.step(actions_NHA[:, 0])
                self._over = terminated | truncated
        return count / (time.perf_counter() - began)


class EtudeRollout:
    """`agent.rollout.rollout` as a cycle uses it: eight sampled episodes of each seed, at temperature 1; each measurement has new seeds."""

    def __init__(self, policy: Any, options: Options) -> None:
        self.policy, self.num_envs, self._seeds = policy, options.num_envs, range(options.episodes // 8)
        self.environments = Environments(EnvConfig(id=options.task, cameras=CAMERAS, size=SIZE), options.num_envs)
        self.steps, self.close = 0, self.environments.close

    def sample(self) -> float:
        """Return environment steps per second over `episodes` episodes."""
        jobs = [Job(seed, attempt, (seed, attempt)) for seed in self._seeds for attempt in range(8)]
        self._seeds = range(self._seeds.stop, self._seeds.stop + len(self._seeds))
        began = time.perf_counter()
        self.steps = sum(int((~np.isnan(episode.rewards)).sum()) for episode in rollout(self.policy, self.environments, jobs))
        return self.steps / (time.perf_counter() - began)


def main(options: Options) -> None:
    """Measure all sides in turn, write the JSON file and print the table."""
    import torch

    import policies
    from policies.loading import NANO

    torch.set_num_threads(options.threads)
    space: Any = gymnasium.make(options.task, cameras=()).action_space
    policy = policies.load(PolicyConfig(model=options.model), space.low, space.high)
    generate = GeneratePolicy(str(NANO) if options.model == "nano" else options.model, policy.codec)
    sides: dict[str, Any] = {
        ETUDE: EtudeRollout(policy, options),
        "SyncVectorEnv": PlainLoop(generate, options),
        "AsyncVectorEnv": PlainLoop(generate, options, parallel=True),
        "SyncVectorEnv, etude's camera": PlainLoop(generate, options, pretty=False),
        "SyncVectorEnv, etude's camera, held actions": PlainLoop(generate, options, pretty=False, hold=True),
    }
    rounds = [{name: side.sample() for name, side in sides.items()} for _ in track(range(options.repeats + 1), "Measuring")]
    samples = {name: [each[name] for each in rounds[1:]] for name in sides}  # the first round warms up
    medians = {name: statistics.median(row) for name, row in samples.items()}
    content = {
        "task": options.task,
        "model": options.model,
        "sides": {name: {"envs": sides[name].num_envs, "median": medians[name], "samples": row} for name, row in samples.items()},
        "ratio": {name: medians[ETUDE] / median for name, median in medians.items() if name != ETUDE},
        "seconds_per_1000_steps": seconds_by_part(sides[ETUDE]),
        "machine": machine(),
    }
    for side in sides.values():
        side.close()
    write_text(options.out, json.dumps(content, indent=1) + "\n")
    print_tables(content)


def seconds_by_part(etude: EtudeRollout) -> dict[str, float]:
    """Return the time of each part of one further measurement, in seconds per 1000 environment steps; only this one is slowed by timers."""
    places = ((Stage, "step", "physics"), (Stage, "reset", "physics"), (Adapter, "observe", "render"))
    places += ((etude.policy, "features", "encode"), (etude.policy, "_reply", "decode"))
    clock: dict[str, float] = defaultdict(float)
    with contextlib.ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), part, clock)))
        rate = etude.sample()
    clock["decode"] -= clock["encode"]  # `_reply` calls `features`
    parts = {part: 1000 * seconds / etude.steps for part, seconds in clock.items()}
    return {**parts, "other": 1000 / rate - sum(parts.values()), "total": 1000 / rate}


def timed(function: Callable, part: str, clock: dict[str, float]) -> Callable:
    """Return `function`, which now adds the seconds of each call to `clock[part]`."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = function(*args, **kwargs)
        clock[part] += time.perf_counter() - began
        return result

    return wrapped


def machine() -> dict[str, Any]:
    """Return what a measurement depends on: processor, cores, GPU, torch threads, GL renderer and versions."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "torch_threads": torch.get_num_threads(),
        "renderer": render.renderer_name(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "mujoco", "gymnasium")},
    }


def fill(page: Path, marks: tuple[str, str], text: str) -> None:
    """Replace the text between the two marks of a page, each of which the page has once."""
    whole = page.read_text()
    start, end = whole.index(marks[0]) + len(marks[0]), whole.index(marks[1])
    page.write_text(f"{whole[:start]}\n{text}\n{whole[end:]}")


def print_tables(content: dict[str, Any]) -> None:
    """Print the speed of each side, and the time of each part of etude's rollouts."""
    console, host = Console(highlight=False), content["machine"]
    caption = f"{host['cpu']}, {host['cores']} cores, {host['torch_threads']} torch threads, {host['renderer']}"
    table = Table("", "environments", "steps/s", "min to max", "etude is faster by", title=f"{content['task']}, {content['model']}", caption=caption)
    for name, side in content["sides"].items():
        spread = f"{min(side['samples']):.1f} to {max(side['samples']):.1f}"
        ratio = f"{content['ratio'][name]:.1f} x" if name in content["ratio"] else ""
        table.add_row(name, str(side["envs"]), f"{side['median']:.1f}", spread, ratio)
    console.print(table)
    parts = ", ".join(f"{part} {seconds:.3f}" for part, seconds in content["seconds_per_1000_steps"].items())
    console.print(f"{ETUDE}, seconds per 1000 steps: {parts}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options))
