"""What a model still knows of English: questions without a picture, answered by likelihood, before and after training.

    python benchmarks/forgetting.py models/smol runs/smol/ground/model runs/smol   # models and runs, a run by its champion; a row for each

Each is the beginning of a sentence. It counts as right if its right end is more probable than the wrong one. The margin says how much more, in nats.
The figures are those of one model at two times: they compare no two models, because a likelihood depends on the tokenizer.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import etude
import policies

QUESTIONS = (  # the beginning of a sentence, the right end, a wrong end of the same kind
    ("The capital of France is", "Paris", "Madrid"),
    ("The capital of Japan is", "Tokyo", "Berlin"),
    ("The animal that barks is the", "dog", "fish"),
    ("An animal that can fly is the", "bird", "horse"),
    ("The opposite of hot is", "cold", "warm"),
    ("The opposite of up is", "down", "left"),
    ("The opposite of big is", "small", "large"),
    ("The colour of grass is", "green", "purple"),
    ("The colour of snow is", "white", "red"),
    ("A ripe banana is", "yellow", "blue"),
    ("Bees make", "honey", "bread"),
    ("When we are thirsty, we drink", "water", "sand"),
    ("What falls from dark clouds is", "rain", "stones"),
    ("The season after winter is", "spring", "autumn"),
    ("We live on the planet", "Earth", "Mars"),
    ("To cut paper, we use a pair of", "scissors", "pillows"),
    ("We see with our", "eyes", "knees"),
    ("The number of days in a week is", "seven", "nine"),
    ("The number of legs of a spider is", "eight", "three"),
    ("Two plus two is", "four", "six"),
    ("Romeo and Juliet was written by William", "Shakespeare", "Einstein"),
    ("Fire is very", "hot", "cold"),
    ("The sun rises in the", "east", "kitchen"),
    ("A car has four", "wheels", "wings"),
)


def margins(policy: Any) -> np.ndarray:
    """Return float64[24]: log-probability of the right answer minus that of the wrong one, nats, for each question.

    Args:
        policy: a `policies.vlm.Vlm`.
    """
    return np.array([_logprob(policy, text, right) - _logprob(policy, text, wrong) for text, right, wrong in QUESTIONS])


@torch.inference_mode()
def _logprob(policy: Any, text: str, end: str) -> float:
    """Return the log-probability, nats, that a text goes on with this word."""
    encode, device = policy.processor.tokenizer.encode, policy.config.device
    before = encode(text)  # with the beginning-of-sequence token, where a tokenizer has one
    word = encode(f"{text} {end}")[len(before) :]
    logits_JV = policy.model(input_ids=torch.tensor([before + word], device=device), logits_to_keep=len(word) + 1).logits[0, :-1].float()
    return float(logits_JV.log_softmax(-1).gather(1, torch.tensor(word, device=device)[:, None]).double().sum())


def load(place: Path, layers: int | None) -> Any:
    """Return the champion of a run, or the model in a folder, as a policy; how it writes actions does not matter here."""
    if (place / "champion.json").exists():
        return etude.load_policy(str(place)).model
    return policies.load(policies.PolicyConfig(model=str(place), codec="digits", layers=layers), -np.ones(1), np.ones(1))


def main(models: tyro.conf.Positional[tuple[Path, ...]], layers: int | None = None) -> None:
    """Print a row for each model or run.

    Args:
        models: folders of models, and of runs.
        layers: text layers that are kept of the models, as `policy.layers`; a run has its own.
    """
    print("| model | right | mean margin, nats | worst question |\n|---|---|---|---|")
    for place in models:
        found = margins(load(place, layers))
        print(f"| {place} | {(found > 0).sum()} of {len(found)} | {found.mean():+.2f} | {QUESTIONS[int(found.argmin())][0]} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
