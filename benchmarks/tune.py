"""Speed and memory of training on preference pairs: pairs per CPU second against TRL's DPO, and peak memory against behaviour cloning.

    python -m venv .venv-trl                                     # TRL has an environment of its own, beside the packages of this one
    realpath .venv/lib/python3*/site-packages > "$(echo .venv-trl/lib/python3*/site-packages)/parent.pth"
    .venv-trl/bin/pip install trl==1.16.0
    python benchmarks/tune.py run --trl .venv-trl/bin/python     # docs/results/tune.json; the embedded model, one torch thread
    python benchmarks/tune.py table                              # prints the table from that file

Both sides train the text model of the embedded model by DPO (sigmoid, no anchor) in float32, on the same pairs, with AdamW and no dropout. The frames
are noise: their content does not change the speed. Each measurement is a process of its own, and the two sides take turns. Loading does not count.
etude's side has all that a cycle does: image features once, reference log-probabilities once, and the steps. TRL computes both again in each step.
A loss of TRL is over the whole vocabulary, of ours over the action tokens, and TRL's replies also have the token that ends a turn.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from memory import peak_memory
from rich.console import Console
from rich.table import Table
from rollout import RESULTS, machine

import policies
from agent.config.keys import TuneConfig
from agent.learning.trainer import train
from agent.records import PreferencePair, TrainingData
from agent.run.files import write_text
from policies import PolicyConfig
from policies.loading import NANO
from policies.policy import Situation

OUT, TRL_SIDE = RESULTS / "tune.json", Path(__file__).with_name("tune_trl.py")
EPOCHS = (1, 4)
DPO = TuneConfig(pg_coef=0, bc_coef=0, dpo_coef=1, rpo_alpha=0, batch_size=32)
BC = TuneConfig(pg_coef=0, bc_coef=1, dpo_coef=0, batch_size=32)


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    trl: Path | None = None  # Python interpreter with TRL; None: etude's side alone
    pairs: int = 128  # pairs, each of one situation
    repeats: int = 5  # measurements of each side
    threads: int = 1  # torch threads
    out: Path = OUT  # medians and all measurements


def run(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Measure both sides in turn, write the JSON file and print the table."""
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.npz"
        data = example_pairs(embedded(), options.pairs, pairs)
        for _ in range(options.repeats):
            for epochs in EPOCHS:
                for name, python, script in (("etude", sys.executable, [__file__, "side"]), ("TRL", options.trl, [str(TRL_SIDE)])):
                    if python is not None:
                        seconds = measured([str(python), *script, str(pairs), str(epochs), str(options.threads)])
                        samples.setdefault(f"{name}, epochs {epochs}", []).append(options.pairs * epochs / seconds)
    policy, shown = embedded(), TrainingData(tuple(pair.chosen[0] for pair in data.pairs))
    steps = {"BC": (shown, BC), "pairs": (data, DPO)}
    kinds: dict[str, dict[str, Any]] = {"": {}, ", micro-batches of 512 tokens": {"micro_batch_tokens": 512}}
    kinds[", gradient checkpointing"] = {"gradient_checkpointing": True}
    peaks = {
        name + kind: peak_of(policy, each, config.model_copy(update=keys)) for name, (each, config) in steps.items() for kind, keys in kinds.items()
    }
    content = {
        "pairs": options.pairs,
        "pairs_per_cpu_second": {name: {"median": statistics.median(row), "samples": row} for name, row in samples.items()},
        "peak_bytes": peaks,
        "machine": machine(),
    }
    write_text(options.out, json.dumps(content, indent=1) + "\n")
    table(options.out)


def side(file: tyro.conf.Positional[Path], epochs: tyro.conf.Positional[int], threads: tyro.conf.Positional[int]) -> None:
    """Train on the pairs of a file, and print the CPU seconds; `run` calls this in a process of its own.

    Args:
        file: as `example_pairs` writes it.
        epochs: passes over the pairs.
        threads: torch threads.
    """
    torch.set_num_threads(threads)
    stored, policy = np.load(file), embedded()
    rows = zip(stored["instructions"].tolist(), stored["frames"], stored["chosen"], stored["rejected"], strict=True)
    pairs = tuple(PreferencePair.of(Situation(words, frames), c, r, "decision", ("a", "b", 0)) for words, frames, c, r in rows)
    began = time.process_time()
    train(policy, TrainingData(pairs=pairs), DPO.model_copy(update={"epochs": epochs}))
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


def embedded() -> Any:
    """Return the embedded model in float32, for actions of three numbers."""
    return policies.load(PolicyConfig(precision="float32"), -np.ones(3), np.ones(3))


def example_pairs(policy: Any, count: int, file: Path) -> TrainingData:
    """Return pairs of two different sampled replies to one situation each, and write them to a file that both sides read."""
    rng = np.random.default_rng(0)
    words = [f"touch the {colour} ball" for colour in ("red", "green", "blue", "purple")]
    situations = [Situation(words[i % len(words)], rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for i in range(count)]
    spread = policy.config.num_bins  # replies of far-away bins: sampled ones may be equal
    tokens = policy.codec.vocabulary_U[rng.integers(0, spread // 2, (2, count, policy.reply_length)) + np.array([0, spread // 2])[:, None, None]]
    texts = [policy.processor.tokenizer.batch_decode(each) for each in tokens]
    prompts = [policy.config.ask(each.instruction) for each in situations]
    frames, instructions = np.stack([each.frames for each in situations]), [each.instruction for each in situations]
    np.savez(
        file, frames=frames, instructions=instructions, prompts=prompts, chosen=tokens[0], rejected=tokens[1], texts=texts, model=str(NANO)
    )  # fmt: skip
    made = zip(situations, *tokens, strict=True)
    return TrainingData(pairs=tuple(PreferencePair.of(each, c, r, "decision", ("a", "b", 0)) for each, c, r in made))


def measured(command: list[str]) -> float:
    """Return the CPU seconds that a side prints as the last line of its output."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["cpu_seconds"]


def peak_of(policy: Any, data: TrainingData, config: TuneConfig) -> int:
    """Return the peak memory, bytes, of one gradient step on all of the data, beside the weights."""
    size = max(len(data.demonstrations), len(data.pairs))
    return peak_memory(lambda: train(policy, data, config.model_copy(update={"batch_size": size}), steps=1))


def table(out: Path = OUT) -> None:
    """Print the table of a JSON file.

    Args:
        out: as `run` writes it.
    """
    content, console = json.loads(out.read_text()), Console(highlight=False)
    host, rates = content["machine"], content["pairs_per_cpu_second"]
    rows = Table(
        "", "pairs a CPU second", "min to max", "TRL's", title=f"{content['pairs']} pairs", caption=f"{host['cpu']}, {host['torch_threads']} thread"
    )
    for name, rate in rates.items():
        other = rates.get(name.replace("etude", "TRL"))
        ratio = f"{rate['median'] / other['median']:.2f} x" if other and name.startswith("etude") else ""
        rows.add_row(name, f"{rate['median']:.1f}", f"{min(rate['samples']):.1f} to {max(rate['samples']):.1f}", ratio)
    console.print(rows)
    peaks = content["peak_bytes"]
    rows = Table("", "peak, MiB", "times BC", title=f"One gradient step on {content['pairs']} situations, beside the weights")
    for name, peak in peaks.items():
        rows.add_row(name, f"{peak / 2**20:.0f}", f"{peak / peaks['BC']:.2f}")
    console.print(rows)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table, "side": side})
