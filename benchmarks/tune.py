"""Training against TRL: the same loss and gradient, pairs a CPU second and where the gain comes from, a GRPO step; and peak memory of training.

    python -m venv .venv-trl                                     # TRL has an environment of its own, beside the packages of this one
    realpath .venv/lib/python3*/site-packages > "$(echo .venv-trl/lib/python3*/site-packages)/parent.pth"
    .venv-trl/bin/pip install trl==1.16.0
    python benchmarks/tune.py run --trl .venv-trl/bin/python     # the embedded model
    python benchmarks/tune_etude.py cut models/smol models/smol-8 8    # the first layers of what `etude compose` wrote
    python benchmarks/tune.py run --trl .venv-trl/bin/python --model models/smol-8 --pairs 8
    python benchmarks/tune.py memory                             # these three write docs/results/tune.json
    python benchmarks/tune.py table                              # prints the tables from that file

Both sides read the same tokens in float32 with one thread: DPO (sigmoid, no anchor), or GRPO with a clip of 0.2, and AdamW without dropout.
The frames are noise: their content does not change the speed. Each measurement is a process of its own, and the sides take turns. Loading does not
count.

* Equality: one batch at weights beside the reference. TRL normalises over the whole vocabulary, etude over the tokens of actions. So for this part
  alone etude's codec is given the whole vocabulary. `separate passes` are micro-batches of one reply, and nothing is shared. GRPO is compared where
  no ratio is beyond 5: such tokens have no gradient in etude.
* Speed: etude's side has all that a cycle does: image features once, reference log-probabilities once, and the steps.
* Split: etude with four epochs without the four parts of its gain, and then one more of them at a time. Each trains on the same numbers.
* GRPO: the steps alone. Nothing is generated, and TRL gets its pixels ready made.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tune_etude
import tyro
from memory import peak_memory
from rich.console import Console
from rich.table import Table
from rollout import RESULTS, machine
from safetensors.torch import load_file
from tune_etude import BC, DPO, PARTS

from agent.config.keys import TuneConfig
from agent.learning.trainer import train
from agent.records import Demonstration, TrainingData
from agent.run.files import write_text

OUT = RESULTS / "tune.json"
GROUP = 8  # replies to one situation in a step of GRPO
EQUAL = 8  # situations, at most, of the batch whose loss and gradient are compared
ADDED = ("no padding, no trainer", "features once", "reference once", "shared prompts", "action tokens alone")  # what each rung of the split adds
BESIDE = (0, 32, 256, 512)  # demonstrations beside 32 pairs; a step takes 256 of them at most


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    trl: Path  # Python interpreter with TRL
    model: str = "nano"  # or the folder that `etude compose` wrote
    pairs: int = 128  # pairs, each of one situation
    repeats: int = 5  # measurements of each kind; 0: equality alone
    out: Path = OUT  # medians and all measurements


def run(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Measure equality, speed and split of one model with LoRA, update the JSON file and print the tables."""
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        equal = equality(options, Path(folder))
        pairs, groups, singles = (Path(folder) / f"{name}.npz" for name in ("pairs", "groups", "singles"))
        tune_etude.write_examples(pairs, options.model, "lora", options.pairs)
        tune_etude.write_examples(groups, options.model, "lora", max(options.pairs // GROUP, 1), GROUP)
        tune_etude.write_examples(singles, options.model, "lora", options.pairs, 1)
        grouped, grpo = max(options.pairs // GROUP, 1) * GROUP, {"method": "grpo"}
        kinds = [(f"DPO, epochs {epochs}", pairs, {"epochs": epochs}, options.pairs * epochs) for epochs in (1, 4)]
        kinds += [("GRPO, groups of 8", groups, grpo, grouped), ("GRPO, no groups", singles, grpo, options.pairs)]
        update(options.out, options.model, content := {"pairs": options.pairs, "equality": equal, "per_cpu_second": {}, "machine": machine()})
        for _ in range(options.repeats):
            for name, file, arguments, done in kinds:
                for side in ("etude", "TRL"):
                    samples.setdefault(f"{side}: {name}", []).append(done / seconds(options, side, file, arguments))
            for i in range(len(PARTS)):
                spent = seconds(options, "etude", pairs, {"epochs": 4, "without": PARTS[i:]})
                samples.setdefault(f"split {i}", []).append(options.pairs * 4 / spent)
            rates = {name: {"median": statistics.median(row), "samples": row} for name, row in samples.items()}
            update(options.out, options.model, {**content, "per_cpu_second": rates})
    table(options.out)


def update(out: Path, name: str, part: dict[str, Any]) -> None:
    """Put one part into the JSON file."""
    content = json.loads(out.read_text()) if out.exists() else {}
    write_text(out, json.dumps({**content, "embedded" if name == "nano" else Path(name).name: part}, indent=1) + "\n")


def seconds(options: Options, side: str, file: Path, arguments: dict[str, Any]) -> float:
    """Return the CPU seconds of a process of one side."""
    python, script = (options.trl, "tune_trl.py") if side == "TRL" else (sys.executable, "tune_etude.py")
    command = [str(python), str(Path(__file__).with_name(script)), str(file), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["cpu_seconds"]


def equality(options: Options, folder: Path) -> dict[str, dict[str, float]]:
    """Return, for each kind of training, the difference of the losses and 1 - the cosine of the gradients of one batch."""
    rows = {}
    for train_, method in (("lora", "dpo"), ("lora", "grpo"), *([("text", "dpo")] if options.model == "nano" else [])):
        file, gradient = folder / f"{train_}-{method}.npz", folder / f"{train_}-{method}-gradient.safetensors"
        tune_etude.write_examples(file, options.model, train_, min(options.pairs, EQUAL), moved=0.001 if method == "grpo" else 0.01)
        seconds(options, "TRL", file, {"method": method, "gradient": str(gradient)})
        theirs = load_file(gradient)
        loss = float(theirs.pop("loss"))
        for kind, most in (("shared prompts", 32768), ("separate passes", 1)):
            own, ours = whole_gradient(file, method, most)
            if ours.keys() != theirs.keys():
                raise SystemExit("The gradients are those of other weights")
            a, b = (torch.cat([each[name].flatten().double() for name in sorted(ours)]) for each in (ours, theirs))
            cosine = float(a @ b / (a.norm() * b.norm()))
            rows[f"{method.upper()}, {train_}, {kind}"] = {"loss": loss, "loss_difference": abs(own - loss), "one_minus_cosine": 1 - cosine}
    return rows


def whole_gradient(file: Path, method: str, most: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Return `tune_etude.gradient`, and leave the codec as it was."""
    kept = tune_etude.codec.Codec
    try:
        return tune_etude.gradient(file, method, most)
    finally:
        tune_etude.codec.Codec = kept


def memory(pairs: tyro.conf.Positional[int] = 128, out: Path = OUT) -> None:
    """Measure the peak memory of a gradient step of the embedded model, beside its weights, update the JSON file and print the tables.

    Args:
        pairs: and as many situations for behaviour cloning.
        out: as of `run`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        tune_etude.write_examples(file, "nano", "text", max(pairs, *BESIDE))
        every = tune_etude.examples(file, "dpo").pairs
    policy, shown = tune_etude.load("nano", "text"), [pair.chosen[0] for pair in every]
    steps = {"BC": (TrainingData(tuple(shown[:pairs])), BC), "pairs": (TrainingData(pairs=every[:pairs]), DPO)}
    kinds: dict[str, dict[str, Any]] = {"": {}, ", micro-batches of 512 tokens": {"micro_batch_tokens": 512}}
    peaks = {n + k: peak_of(policy, each, config.model_copy(update=keys)) for n, (each, config) in steps.items() for k, keys in kinds.items()}
    beside = {str(count): alongside(policy, shown[:count], every[:32]) for count in BESIDE}
    update(out, "peak_bytes", {"situations": pairs, "steps": peaks, "demonstrations": beside, "machine": machine()})
    table(out)


def alongside(policy: Any, demonstrations: Sequence[Demonstration], pairs: Sequence[Any]) -> dict[str, int]:
    """Return the peak of a step of 32 pairs beside demonstrations, in micro-batches, and the bytes of it that are stored image features."""
    config = DPO.model_copy(update={"bc_coef": 1.0, "micro_batch_tokens": 2048})
    peak = peak_memory(lambda: train(policy, TrainingData(tuple(demonstrations), tuple(pairs)), config, steps=1))
    row = policy.features([pairs[0].chosen[0].situation.frames])
    return {"peak": peak, "features": row.numel() * 4 * len({id(each.situation) for each in (*demonstrations, *(p.chosen[0] for p in pairs))})}


def peak_of(policy: Any, data: TrainingData, config: TuneConfig) -> int:
    """Return the peak memory, bytes, of one gradient step on all of the data, beside the weights."""
    size = max(len(data.demonstrations), len(data.pairs))
    return peak_memory(lambda: train(policy, data, config.model_copy(update={"batch_size": size}), steps=1))


def table(out: Path = OUT) -> None:
    """Print the tables of a JSON file.

    Args:
        out: as `run` and `memory` write it.
    """
    content, console = json.loads(out.read_text()), Console(highlight=False)
    peaks = content.pop("peak_bytes", None)
    for name, part in content.items():
        for each in model_tables(name, part):
            console.print(each)
    for each in memory_tables(peaks) if peaks else ():
        console.print(each)


def model_tables(name: str, part: dict[str, Any]) -> list[Table]:
    """Return the tables of one model: equality, speed, split."""
    equal = Table("one batch", "loss", "difference", "1 - cosine of gradients", title=f"{name}: TRL's loss and gradient, whole vocabulary")
    for kind, row in part["equality"].items():
        equal.add_row(kind, f"{row['loss']:.4f}", f"{row['loss_difference']:.0e}", f"{row['one_minus_cosine']:.0e}")
    if not part["per_cpu_second"]:  # equality alone was measured
        return [equal]
    rates, caption = part["per_cpu_second"], f"{part['machine']['cpu']}, one thread; {part['pairs']} pairs, LoRA"
    speed = Table("a CPU second", "etude", "min to max", "TRL", "min to max", "times", title=f"{name}: pairs or replies", caption=caption)
    for kind in (key.removeprefix("etude: ") for key in rates if key.startswith("etude: ")):
        ours, theirs = rates[f"etude: {kind}"], rates[f"TRL: {kind}"]
        spans = [[f"{each['median']:.3g}", f"{min(each['samples']):.3g} to {max(each['samples']):.3g}"] for each in (ours, theirs)]
        speed.add_row(kind, *spans[0], *spans[1], f"{ours['median'] / theirs['median']:.2f}")
    split = Table("with", "pairs a CPU second", "times the row above", title=f"{name}: split of the gain, DPO, four epochs")
    medians = [rates[key]["median"] for key in ("TRL: DPO, epochs 4", *(f"split {i}" for i in range(len(PARTS))), "etude: DPO, epochs 4")]
    for i, (kind, rate) in enumerate(zip(("TRL", *ADDED), medians, strict=True)):
        split.add_row(kind if i == 0 else f"+ {kind}", f"{rate:.3g}", f"{rate / medians[i - 1]:.2f}" if i else "")
    return [equal, speed, split]


def memory_tables(peaks: dict[str, Any]) -> list[Table]:
    """Return the tables of peak memory."""
    steps = Table("", "peak, MiB", "times BC", title=f"Embedded model: one gradient step on {peaks['situations']} situations, beside the weights")
    for name, peak in peaks["steps"].items():
        steps.add_row(name, f"{peak / 2**20:.0f}", f"{peak / peaks['steps']['BC']:.2f}")
    beside = Table("demonstrations", "peak, MiB", "of it features", "rest", title="32 pairs beside demonstrations, micro-batches of 2,048 tokens")
    for count, row in peaks["demonstrations"].items():
        beside.add_row(count, *(f"{each / 2**20:.1f}" for each in (row["peak"], row["features"], row["peak"] - row["features"])))
    return [steps, beside]


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "memory": memory, "table": table})
