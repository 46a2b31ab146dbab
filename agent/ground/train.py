"""Teaching a model to see: gradient descent on questions about scenes, and an exam of what it sees.

Shape suffixes: B moments, K things that are visible, N image tokens of a moment, V views, C image tokens of a view, M numbers, D width.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from agent.ground.scenes import Scene
from agent.learning.optimiser import Optimiser, descend
from policies.precision import autocast
from policies.processor import pixels
from policies.scoring import Spelt, point, recite, spell

PLANS = 2  # of the questions that are asked about a scene: what policies think before they act


def see(
    policy: Any,
    scenes: Sequence[Scene],
    *,
    steps: int,
    batch: int = 24,
    questions: int = 6,
    lr: float = 1e-3,
    seed: int = 0,
    workers: int = 0,
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> None:
    """Train the whole model, in bfloat16 where the device has it, on questions and on pointing, which teaches the vision tower directly.

    Args:
        policy: a `Vlm` with train="all".
        scenes: with their questions; each visit draws other ones.
        steps: of gradient descent.
        batch: scenes a step.
        questions: asked about each scene of a batch.
        lr: peak learning rate.
        seed: of order and choice.
        workers: processes that lay out batches ahead of a GPU, which would wait for them; 0: none, as on a CPU.
        checkpoint: see `descent.descend`.
        watch: called with the steps done and their last figures.
    """
    pupil, laid_out = Pupil(policy), Batches(policy, scenes, steps, batch, questions, seed)
    pages: Any = None

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        nonlocal pages
        if pages is None:  # a run that goes on begins at its own step
            share = "fork" if workers else None  # they share the scenes, and never look at the device
            pages = iter(DataLoader(laid_out, batch_size=None, sampler=range(step, steps), num_workers=workers, multiprocessing_context=share))
        chosen, shown, spelt = next(pages)
        now = [scenes[i] for i in chosen]
        with autocast("auto", policy.config.device):
            features = policy.encode(shown, batch)
            recital = recite(policy, features, [scene.frames for scene in now], spelt)
            pointing, reading = pupil.pointer.loss(policy, features, now)
        answering = -recital.logprobs.mean()
        figures = {"answering": answering, "pointing": pointing, "reading": reading}
        return answering + pointing + reading, {name: float(value.detach()) for name, value in figures.items()}

    optimiser = Optimiser(pupil.parameters(), lr=lr, steps=steps, warmup=200, weight_decay=0.05)
    with _repeatable(policy.config.device):
        descend(pupil, optimiser, steps, loss_of, checkpoint, watch)


def read(
    policy: Any,
    scenes: Sequence[Scene],
    *,
    steps: int,
    batch: int = 24,
    questions: int = 12,
    lr: float = 1e-3,
    seed: int = 1,
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> None:
    """Train the text model alone, on more questions a scene: image features are computed once, so this costs a third.

    Args: as `see`, but the policy has train="text".
    """
    parts = [policy.features([scene.frames for scene in scenes[i : i + 128]]) for i in range(0, len(scenes), 128)]
    features = torch.cat(parts)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = _draw(len(scenes), batch, seed, step)
        with autocast("auto", policy.config.device):
            asked = _ask([scenes[i] for i in chosen], questions, (seed, step))
            recital = recite(policy, features[chosen], [scenes[i].frames for i in chosen], asked)
        loss = -recital.logprobs.mean()
        return loss, {"answering": float(loss.detach())}

    optimiser = Optimiser(policy.parameters(), lr=lr, steps=steps, warmup=200, weight_decay=0.05)
    descend(policy, optimiser, steps, loss_of, checkpoint, watch)


@contextlib.contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """Within it, on a CPU, gradients of what was indexed are summed in one order: threads would race, and a killed run not go on bit by bit."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or torch.device(device).type == "cpu", warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _draw(count: int, batch: int, seed: int, step: int) -> list[int]:
    return np.random.default_rng([seed, step]).choice(count, batch, replace=False).tolist()


def _ask(scenes: Sequence[Scene], count: int, seed: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Return `count` of each scene's questions and their answers, drawn by `seed`; among them two plans, the longest answers, where there are any."""
    rng = np.random.default_rng([*seed, 1])
    asked = []
    for scene in scenes:
        order = rng.permutation(len(scene.questions)).tolist()
        plans = [i for i in order if scene.questions[i].kind == "plan"][:PLANS]
        others = [i for i in order if i not in plans]
        asked.append([(scene.questions[i].question, scene.questions[i].answer) for i in (plans + others)[:count]])
    return asked


class Batches(Dataset):
    """The batch of each step of `see`: which scenes, their pixels and the questions about them, ready for the device.

    Args: as of `see`.
    """

    def __init__(self, policy: Any, scenes: Sequence[Scene], steps: int, batch: int, questions: int, seed: int) -> None:
        self.policy, self.scenes, self.steps, self.batch, self.questions, self.seed = policy, scenes, steps, batch, questions, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[list[int], dict[str, torch.Tensor], Spelt]:
        chosen = _draw(len(self.scenes), self.batch, self.seed, step)
        now = [self.scenes[i] for i in chosen]
        asked = _ask(now, self.questions, (self.seed, step))
        return chosen, pixels(self.policy.processor, [scene.frames for scene in now]), spell(self.policy, asked)


class Pupil:
    """A policy and the readers that supervise its vision tower, trained and stored as one.

    Args:
        policy: a `Vlm` with train="all".
    """

    def __init__(self, policy: Any) -> None:
        torch.manual_seed(0)
        self.policy, self.pointer = policy, Pointer(policy.model.config.text_config.hidden_size).to(policy.config.device)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what is trained."""
        return [*self.policy.parameters(), *self.pointer.parameters()]

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return copies of both."""
        return {"policy": self.policy.weights(), "pointer": {k: v.clone() for k, v in self.pointer.state_dict().items()}}

    def put(self, weights: dict[str, dict[str, torch.Tensor]]) -> None:
        """Take both."""
        self.policy.put(weights["policy"])
        self.pointer.load_state_dict(weights["pointer"])


class Pointer(torch.nn.Module):
    """Direct supervision of the vision tower: which image token holds a named thing, and where in the frame that token says it is.

    The linear readers of coordinates are used in training only, and thrown away.

    Args:
        width: D.
        numbers: how many number tokens there are.
    """

    def __init__(self, width: int, numbers: int = 65) -> None:
        super().__init__()
        self.numbers, self.readers = numbers, torch.nn.Linear(width, 2 * numbers)

    def loss(self, policy: Any, features_BND: torch.Tensor, scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two cross-entropies: of finding the token among those of its view, and of reading x and y off it."""
        views = len(scenes[0].frames)
        side = math.isqrt(features_BND.shape[1] // views)
        found = [(row, *place) for row, scene in enumerate(scenes) for place in scene.places]
        device = features_BND.device
        row_K, view_K = torch.tensor([f[0] for f in found], device=device), torch.tensor([f[2] for f in found], device=device)
        where_K2 = torch.tensor([f[3:] for f in found], device=device)
        cell_K2 = (where_K2 * side).long().clamp(max=side - 1)
        cell_K = cell_K2[:, 1] * side + cell_K2[:, 0]
        near_KN, phrase_KD = point(policy, features_BND, row_K.tolist(), [f[1] for f in found])
        near_KVC = near_KN.reshape(len(found), views, side * side)
        pointing = torch.nn.functional.cross_entropy(near_KVC[torch.arange(len(found), device=device), view_K], cell_K)
        token_KD = features_BND[row_K, view_K * side * side + cell_K]
        read_K2M = self.readers(token_KD * (1 + phrase_KD)).reshape(-1, 2, self.numbers)
        number_K2 = (where_K2 * (self.numbers - 1)).round().long()
        return pointing, torch.nn.functional.cross_entropy(read_K2M.flatten(0, 1).float(), number_K2.flatten())


def quiz(policy: Any, scenes: Sequence[Scene], batch: int = 60) -> dict[str, tuple[float, int]]:
    """Return, for each kind of question, the share answered exactly and the number asked; numbers may be off by one bin."""
    number = {token: int(word[2:-1]) for word, token in policy.processor.tokenizer.get_vocab().items() if word[:2] == "<n" and word[2:-1].isdigit()}
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(scenes), batch):
        chosen = scenes[start : start + batch]
        with torch.inference_mode():
            frames = [s.frames for s in chosen]
            recital = recite(policy, policy.features(frames), frames, [[(q.question, q.answer) for q in s.questions] for s in chosen])
        answers: dict[tuple[int, int], bool] = {}
        for guess, told, (moment, index) in zip(recital.guessed, recital.told, recital.owner, strict=True):
            near = guess == told or (guess in number and told in number and abs(number[guess] - number[told]) <= 1)
            answers[moment, index] = answers.get((moment, index), True) and bool(near)
        for (moment, index), correct in answers.items():
            right[chosen[int(moment)].questions[int(index)].kind].append(correct)
    return {kind: (float(np.mean(row)), len(row)) for kind, row in sorted(right.items())}
