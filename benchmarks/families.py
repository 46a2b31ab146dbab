"""The table of model families, docs/families.md: what `etude check-model` finds of a tiny random model of each, and estimated beside measured memory.

python benchmarks/families.py        # writes docs/families.md, about four minutes: each family also runs the loop
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Model families

`python benchmarks/families.py` writes this page. It checks a tiny model of each family, with random weights (`tests/families.py`), on two frames.
`etude check-model ID` does the same for a model of yours. `tests/policies/test_families.py` compares most of them with the plain whole model.
Mistral 3 and LFM2-VL need torchvision; without it they are refused in one sentence. The rows were made with it.
All others see the same frames without it: Pillow resizes in both cases, in runs and in exports.
Numbers of tokens are those of the tiny models.
Frames that are prepared in batches equal those of the model's own image processor, on a CPU bit for bit.
Three columns hold largest differences. Acting = learning: of log-probabilities, nats. Detector: of P(yes), asked together and alone.
Shared prompts: of log-probabilities, nats, of replies to one situation in one pass and of each alone.
Loop: `etude improve` with grounding, a success detector and one cycle, whose candidate is evaluated.

| class | image tokens a frame | frames are prepared | loop | acting = learning | detector | shared prompts | grounding reads | LoRA targets |
|---|---|---|---|---|---|---|---|---|
"""
MEMORY = """
## Memory

The estimate of `policies/memory.py` stands beside the measured peak: weights, and the growth of the process (`VmHWM`). MiB, one CPU thread, float32.

| model | replies at once | acting, estimated | acting, measured | training, estimated | training, measured |
|---|---|---|---|---|---|
"""
FRAMES = """
## Frames

Each observation's frames are resized and normalised before the vision tower sees them. On a GPU that happens there, by matrices of Pillow's weights.
On a CPU Pillow itself resizes. Both give the same pixels; a GPU may round the last bit of a normalised number otherwise.
The steps are read off the model's own image processor, once for each shape of frames.
Where that fails, the processor is called as before. The column above says so, and `etude check-model` too.
`python benchmarks/frames.py` measured processor seconds for {environments} environments with {cameras} cameras of {pixels} pixels.
It ran on one thread of {cpu}, which other programs shared. On a CPU little is gained where nothing is resized (Qwen-VL).

| image processor (its size) | called as it is | here | ratio |
|---|---|---|---|
"""
ENGINE = """
## Why vLLM is not built in

A ratio in training needs each token's log-probability among the tokens that were allowed at its place, equal to what learning computes.
vLLM 1 returns those of the whole vocabulary [unless it is told otherwise](https://huggingface.co/blog/servicenow-ai/correctness-before-corrections).
Libraries that sample with it [correct for the rest](https://swift.readthedocs.io/en/latest/Instruction/GRPO/AdvancedResearch/training_inference_mismatch.html).
Here a decision must also not depend on its neighbours in a batch.
vLLM has that as [a beta option](https://docs.vllm.ai/en/stable/features/batch_invariance/) on some GPUs.
No GPU was at hand to measure either. The package on PyPI (0.33.0) is made for CUDA 13, and pins torch 2.14.0 and transformers below 5.21.
etude needs 5.22, so the two cannot be installed together. Acting therefore has one path: the one that learning uses.
"""


def check(family: str, folder: Path) -> str:
    """Return the row of a family: the findings, or the sentence by which it is refused."""
    from policies import PolicyConfig, load
    from policies.check import examine
    from tests import families

    model = "nano" if family == "nano" else str(families.make(family, folder))
    codec = "bins" if family == "nano" else "digits"
    try:
        policy = load(PolicyConfig.model_validate({"model": model, "codec": codec, "precision": "float32", "batch_size": 2}), -np.ones(7), np.ones(7))
    except ValueError as error:
        return f"| {family} | " + str(error).partition("cannot be loaded: ")[2].replace(" Use 'nano', a hub id or a folder.", "") + " | | | | | | | |"
    findings = examine(policy, (2, 64, 64, 3))
    if findings.faults:
        return f"| {family} | " + findings.faults[0].replace(repr(model), "it") + " | | | | | | | |"
    lines = findings.lines
    kind = type(policy.base).__name__.removesuffix("ForConditionalGeneration")
    digits = [re.sub(r".*difference (\S+).*", r"\1", lines[name]) for name in ("acting = learning", "detector", "shared prompts")]
    found = lines["grounding"].removeprefix("a phrase is compared with ")
    cells = [
        f"{kind} ({policy.base.config.get_text_config().model_type})",
        lines["image tokens"].split(" ")[0],
        lines["frames"].removeprefix("prepared "),
        loop(model, codec, folder),
        *digits,
        found,
        lines["LoRA targets"].split(":")[0],
    ]
    return f"| {' | '.join(cells)} |"


def loop(model: str, codec: str, folder: Path) -> str:
    """Run the whole loop, tiny, and return what to say of it."""
    from tests.agent.test_improve import with_model
    from tests.called import apart

    done = apart("improve", with_model(folder, model, codec=codec), folder / "run")
    ended = (folder / "run" / "summary.json").exists() and (folder / "run" / "cycle-001" / "policy.safetensors").exists()
    return "passes" if done.returncode == 0 and ended else f"fails: {done.stderr.strip().splitlines()[-1]}"


def measure(model: str, rows: int, training: bool) -> list[float]:
    """Return the estimated and the measured peak, MiB, of a process that acts or trains once; called in a process of its own."""
    import torch

    from policies import PolicyConfig, check, load
    from policies.memory import estimate
    from policies.policy import Situation

    torch.set_num_threads(1)
    codec = "bins" if model == "nano" else "digits"
    config = PolicyConfig.model_validate({"model": model, "codec": codec, "precision": "float32", "batch_size": rows})
    policy: Any = load(config, -np.ones(7), np.ones(7))
    rng = np.random.default_rng(0)
    seen = [Situation("touch the red ball", rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for _ in range(rows)]
    tokens = np.stack([each.tokens for each in policy.act(seen[:1], None)]).repeat(rows, 0)  # also loads what a first call loads
    length = policy.prompts.of(seen[0])["input_ids"].shape[1] + policy.reply_length
    memory = estimate(policy, rows, length, check.patches(policy, seen[0].frames), False, rows * length)
    features = policy.features([each.frames for each in seen]) if training else None
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak()
    if training:
        optimiser = torch.optim.AdamW(policy.parameters())
        policy.logprobs(seen, tokens, features).sum().backward()
        optimiser.step()
    else:
        policy.act(seen, None)
    grown = _peak() - before
    return [(memory.training if training else memory.acting) / 2**20, memory.weights / 2**20 + grown]


def _peak() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def main() -> None:
    """Write docs/families.md."""
    from tests import families

    with tempfile.TemporaryDirectory() as folder:
        made = {family: Path(folder) / family for family in ["nano", *families.MAKERS]}
        for each in made.values():
            each.mkdir()
        rows = [check(family, place) for family, place in made.items()]
        measured = []
        for name, model, count in (("nano", "nano", 64), ("nano", "nano", 256), ("tiny Qwen3-VL", str(made["qwen3"]), 256)):
            figures: list[float] = []
            for training in ("", "training"):  # each in a process of its own: memory that was freed is not given back
                command = [sys.executable, __file__, model, str(count), training]
                figures += json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            measured.append(f"| {name} | {count} | {' | '.join(f'{each:,.0f}' for each in figures)} |")
    (ROOT / "docs" / "families.md").write_text(HEAD + "\n".join(rows) + "\n" + MEMORY + "\n".join(measured) + "\n" + frames() + ENGINE)


def frames() -> str:
    """Return the section about image processing, from the results of `benchmarks/frames.py`."""
    found = json.loads((ROOT / "docs" / "results" / "frames.json").read_text())
    rows = [f"| {row['processor']} | {row['before']:.2f} | {row['after']:.2f} | {row['ratio']} |" for row in found["rows"]]
    return (
        FRAMES.format(cpu=found["machine"]["cpu"], **{name: found[name] for name in ("environments", "cameras", "pixels")}) + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), bool(sys.argv[3]))))
    else:
        main()
