"""etude's side of benchmarks/tune.py: examples that both sides read, and a training on them, also without parts of what makes it fast.

python benchmarks/tune_etude.py EXAMPLES.npz '{"epochs": 4, "without": ["features"]}'     # prints the CPU seconds of `train`
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

import policies
from agent.config.keys import TuneConfig
from agent.learning import microbatches, trainer
from agent.learning.batches import Batches, Step
from agent.learning.terms import TERMS
from agent.records import PolicySample, PreferencePair, TrainingData
from agent.run.base import write_model
from policies import PolicyConfig, codec, vlm
from policies.loading import NANO
from policies.policy import Situation

PARTS = ("features", "reference", "sharing", "vocabulary")  # of the gain, in the order in which the split adds them
DPO = TuneConfig(pg_coef=0, bc_coef=0, dpo_coef=1, rpo_alpha=0, batch_size=32)
GRPO = TuneConfig(pg_coef=1, bc_coef=0, dpo_coef=0, clip_range=(0.2, 0.2), batch_size=32)
BC = TuneConfig(pg_coef=0, bc_coef=1, dpo_coef=0, batch_size=32)
COLOURS = ("red", "green", "blue", "purple")


class Unstored(PolicyConfig):
    """A policy that encodes frames again in each forward pass."""

    @property
    def trains_features(self) -> bool:
        """Return True: image tokens are said to change."""
        return True


class ReferenceEachStep(Batches):
    """Batches that compute the reference log-probabilities of pairs in each step. Those of the first epoch are computed before the first step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen = 0

    def step(self, rows: Sequence[np.ndarray]) -> Step:
        """Return a step, after a forward pass whose result is dropped: the values are known."""
        step = super().step(rows)
        if self._seen >= len(self.pairs):
            with torch.no_grad():
                self.replies(step, range(len(step.rows_N)))
        self._seen += len(step.pairs)
        return step


class WholeVocabulary(codec.Codec):
    """A codec of the same numbers. Log-probabilities are normalised over all tokens of the model, as those of TRL."""

    size = 0  # of the model's vocabulary

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.vocabulary_U = np.arange(self.size)

    def masks(self, tokens_BL: np.ndarray) -> None:
        """Return None: every token is allowed everywhere."""


def load(model: str, train: str, without: Sequence[str] = ()) -> Any:
    """Return a policy in float32, for actions of three numbers, without some of `PARTS`."""
    kind = Unstored if "features" in without else PolicyConfig
    if "vocabulary" in without:
        WholeVocabulary.size = AutoConfig.from_pretrained(NANO if model == "nano" else model).get_text_config().vocab_size
        codec.Codec = WholeVocabulary
    if "sharing" in without:
        vlm.can_share = lambda base, prompt: False
    if "reference" in without:
        trainer.Batches = ReferenceEachStep
    numbers = "bins" if model == "nano" else "digits"
    config = kind.model_validate({"model": model, "train": train, "codec": numbers, "precision": "float32"})
    return policies.load(config, -np.ones(3), np.ones(3))


def write_examples(file: Path, model: str, train: str, count: int, replies: int = 2, moved: float = 0.01) -> None:
    """Write situations with noise for frames, and `replies` different replies to each, as tokens and as text.

    Weights at which gradients are compared lie beside them: the model's, `moved` by Gaussian noise of this standard deviation.
    """
    policy, rng = load(model, train), np.random.default_rng(0)
    situations = [
        Situation(f"touch the {COLOURS[i % 4]} ball", rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for i in range(count)
    ]  # fmt: skip
    # Bins of the first number that are all different, so that no two replies to a situation are.
    bins = rng.integers(0, policy.codec.num_bins, (replies, count, 3))
    bins[..., 0] = (bins[0, :, 0] + np.arange(replies)[:, None] * (policy.codec.num_bins // replies)) % policy.codec.num_bins
    tokens = policy.codec.numerals_NK[bins].reshape(replies, count, -1)
    prompts = [policy.prompts.of(each)["input_ids"][0].tolist() for each in situations]
    with torch.no_grad():
        sampled = np.stack([policy.logprobs(situations, each).numpy() for each in tokens])
    np.savez(
        file, model=model, source=str(NANO) if model == "nano" else model, train=train, frames=np.stack([each.frames for each in situations]),
        instructions=[each.instruction for each in situations], tokens=tokens,
        chats=[policy.prompts.chat(policy.config.ask(each.instruction), 2) for each in situations],
        texts=[policy.processor.tokenizer.batch_decode(each) for each in tokens], sampled=sampled,
        whole=np.array([[*prompt, *reply] for each in tokens for prompt, reply in zip(prompts, each, strict=True)]),
        advantages=rng.standard_normal((replies, count)).astype(np.float32), targets=vlm.families.lora_targets(policy.base),
    )  # fmt: skip
    torch.manual_seed(1)
    save_file({name: value + moved * torch.randn_like(value) for name, value in policy.weights().items()}, file.with_suffix(".safetensors"))


def examples(file: Path, method: str) -> TrainingData:
    """Return the pairs, policy samples or demonstrations of a file."""
    stored = np.load(file)
    situations = [Situation(words, frames) for words, frames in zip(stored["instructions"].tolist(), stored["frames"], strict=True)]
    if method == "dpo":
        rows = zip(situations, stored["tokens"][0], stored["tokens"][1], strict=True)
        return TrainingData(pairs=tuple(PreferencePair.of(each, good, bad, "decision", ("a", "b", 0)) for each, good, bad in rows))
    flat = (stored[key].reshape(-1, *stored[key].shape[2:]) for key in ("tokens", "sampled", "advantages"))
    shown = zip(situations * len(stored["tokens"]), *flat, strict=True)
    return TrainingData(samples=tuple(PolicySample(each, tokens, sampled, float(gain)) for each, tokens, sampled, gain in shown))


def gradient(file: Path, method: str, micro_batch_tokens: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Return loss and gradient of one step on all examples of a file, at the weights beside it, with log-probabilities over the whole vocabulary."""
    stored, data = np.load(file), examples(file, method)
    policy = load(str(stored["model"]), str(stored["train"]), ["vocabulary"])
    if data.samples:
        tokens, situations = np.stack([each.tokens for each in data.samples]), [each.situation for each in data.samples]
        with torch.no_grad():
            sampled = policy.logprobs(situations, tokens).numpy()
        data = TrainingData(samples=tuple(replace(each, logprobs=own) for each, own in zip(data.samples, sampled, strict=True)))
    config = (DPO if method == "dpo" else GRPO).model_copy(update={"micro_batch_tokens": micro_batch_tokens})
    batches = Batches(policy, config, data.samples, (), data.pairs, ())  # the reference is that of the weights before
    policy.put(load_file(file.with_suffix(".safetensors")))
    step = batches.step([np.arange(len(each)) for each in (data.samples, (), data.pairs, ())])
    loss, _ = microbatches.step_gradient(batches, step, config, TERMS, micro_batch_tokens, lambda: None)
    return loss, {name: parameter.grad for name, parameter in policy.model.named_parameters() if parameter.grad is not None}


def main(file: Path, method: str = "dpo", epochs: int = 1, without: Sequence[str] = ()) -> None:
    """Train on the examples of a file with one thread, and print the CPU seconds."""
    torch.set_num_threads(1)
    stored, data = np.load(file), examples(file, method)
    policy = load(str(stored["model"]), str(stored["train"]), without)
    config = (DPO if method == "dpo" else GRPO).model_copy(update={"epochs": epochs})
    began = time.process_time()
    trainer.train(policy, data, config)
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


def cut(model: str, out: str, layers: str) -> None:
    """Write the first text layers of a model into a folder, for TRL, which has no `policy.layers`."""
    policy: Any = policies.load(PolicyConfig(model=model, layers=int(layers), codec="digits", precision="float32"), -np.ones(3), np.ones(3))
    write_model(Path(out), policy.base, policy.processor)


if __name__ == "__main__" and sys.argv[1] == "cut":
    cut(*sys.argv[2:])
elif __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
