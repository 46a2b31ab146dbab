"""Grounding: gradient descent on questions about scenes, and the accuracy of a model's answers.

Shape suffixes: B scenes, K visible objects of all scenes (one entry for each view), N image tokens of a scene, V views, C image tokens of a
view, M number tokens, D width of the text model.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from agent.ground.chance import near
from agent.ground.scenes import Scene
from agent.learning.optimiser import Optimiser, descend
from policies import codec
from policies.features import StoredFeatures
from policies.precision import autocast, half
from policies.scoring import Tokenised, localise, score, tokenise

PLANS = 2  # of the questions about a scene in a batch: policies think in such plans, and by chance few of them would be drawn


def see(
    policy: Any,
    scenes: Sequence[Scene],
    *,
    steps: int,
    batch: int = 24,
    questions: int = 6,
    learning_rate: float = 1e-3,
    seed: int = 0,
    workers: int = 0,
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> None:
    """Train a model, in bfloat16 where the device has it, on answers to questions, and on the places of objects (`Pointer`).

    Args:
        policy: a `Vlm`. With train="all" or "lora+connector" its image tokens learn too, and only then pointing teaches it anything.
        scenes: with more questions than a batch asks; each visit draws some of them.
        steps: of gradient descent.
        batch: scenes a step.
        questions: questions about each scene of a batch.
        learning_rate: peak learning rate.
        seed: of the choice of scenes and questions.
        workers: processes that prepare batches for a GPU, which would have to wait for them otherwise; 0: none, as on a CPU.
        checkpoint: as of `agent.learning.optimiser.descend`.
        watch: called with the number of steps done and the figures of the last one: `answering`, `pointing`, `reading`, `loss`, `grad_norm`.
    """
    pupil, dataset = Pupil(policy), Batches(policy, scenes, steps, batch, questions, seed)
    batches: Any = None

    def gradient_of(step: int, _: Sequence[dict[str, float]]) -> tuple[float, dict[str, float]]:
        nonlocal batches
        if batches is None:  # made in the first call, which after a kill is for the checkpoint's step
            context = "fork" if workers else None  # forked processes share the scenes' memory; they never use the device, which a fork must not
            # `batch_size=None`: an item of the dataset is a whole batch.
            batches = iter(DataLoader(dataset, batch_size=None, sampler=range(step, steps), num_workers=workers, multiprocessing_context=context))
        logprobs, pointing, reading = [], torch.zeros(()), torch.zeros(())
        with autocast("auto", policy.config.device):
            for chosen, tokens in next(batches):
                drawn = [scenes[i] for i in chosen]
                features = policy.encode(policy.pixels([scene.frames for scene in drawn]), len(drawn))
                logprobs.append(score(policy, features, [scene.frames for scene in drawn], tokens).logprobs)
                if any(scene.places for scene in drawn):
                    pointing, reading = pupil.pointer.loss(policy, features, drawn)
        answering = -torch.cat(logprobs).mean()  # a mean over answer tokens, so long answers weigh more
        figures = {"answering": answering, "pointing": pointing, "reading": reading}
        loss = answering + pointing + reading
        loss.backward()
        return float(loss.detach()), {name: float(value.detach()) for name, value in figures.items()}

    optimiser = Optimiser(pupil.parameters(), learning_rate=learning_rate, steps=steps, warmup=200, weight_decay=0.05)
    with _repeatable(policy.config.device):
        descend(pupil, optimiser, steps, gradient_of, checkpoint, watch)


def read(
    policy: Any,
    scenes: Sequence[Scene],
    *,
    steps: int,
    batch: int = 24,
    questions: int = 12,
    learning_rate: float = 1e-3,
    seed: int = 1,
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> None:
    """Train the text model alone, on more questions a scene. Image features are computed once, so a step costs about a third.

    Args: as of `see`, but the policy has train="text".
    """
    device = policy.config.device
    # They stay valid, since the vision tower is frozen. In parts: its activations for all scenes at once would not fit into memory.
    features = StoredFeatures(policy.features, [scene.frames for scene in scenes], 128, device, half("auto", device))

    def gradient_of(step: int, _: Sequence[dict[str, float]]) -> tuple[float, dict[str, float]]:
        chosen = _draw(len(scenes), batch, seed, step)
        with autocast("auto", policy.config.device):
            asked = _ask([scenes[i] for i in chosen], questions, (seed, step))
            scores = score(policy, features.rows(chosen), [scenes[i].frames for i in chosen], asked)
        loss = -scores.logprobs.mean()
        loss.backward()
        return float(loss.detach()), {"answering": float(loss.detach())}

    optimiser = Optimiser(policy.parameters(), learning_rate=learning_rate, steps=steps, warmup=200, weight_decay=0.05)
    descend(policy, optimiser, steps, gradient_of, checkpoint, watch)


@contextlib.contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """On a CPU, make torch's algorithms deterministic within this context.

    Else threads sum the gradients of indexed tensors in any order, and a resumed training would not be bit-identical to one that was never killed.
    """
    before, filled = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    # `warn_only`: an operation without a deterministic form is no error.
    torch.use_deterministic_algorithms(before or torch.device(device).type == "cpu", warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would fill each new tensor with NaN: 7 % of a step
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def _draw(count: int, batch: int, seed: int, step: int) -> list[int]:
    """Return which of `count` scenes a step uses. Each step has a generator of its own, so a resumed training draws the same."""
    return np.random.default_rng([seed, step]).choice(count, batch, replace=False).tolist()


def _alike(scenes: Sequence[Scene], chosen: Sequence[int]) -> list[list[int]]:
    """Return the indices `chosen` in groups of scenes with as many frames: the frames of a forward pass have one shape."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in chosen:
        groups.setdefault(scenes[i].frames.shape, []).append(i)
    return list(groups.values())


def _ask(scenes: Sequence[Scene], count: int, seed: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Return `count` (question, answer) pairs of each scene, drawn by `seed`: `PLANS` plans, where there are any, and others."""
    rng = np.random.default_rng([*seed, 1])  # the 1 sets it apart from the generator of `_draw`
    asked = []
    for scene in scenes:
        order = rng.permutation(len(scene.questions)).tolist()
        plans = [i for i in order if scene.questions[i].kind == "plan"][:PLANS]
        others = [i for i in order if i not in plans]
        # Plans first, so that they are among the `count`; the order of questions does not matter.
        asked.append([(scene.questions[i].question, scene.questions[i].answer) for i in (plans + others)[:count]])
    return asked


class Batches(Dataset):
    """The batches of `see` as a torch dataset, one item a step: indices of scenes, and questions as tokens, in groups of scenes with as many frames.

    All of it is on the CPU, and an item depends on its step alone. So other processes can prepare the items, and in any order.

    Args: as of `see`.
    """

    def __init__(self, policy: Any, scenes: Sequence[Scene], steps: int, batch: int, questions: int, seed: int) -> None:
        self.policy, self.scenes, self.steps, self.batch, self.questions, self.seed = policy, scenes, steps, batch, questions, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[tuple[list[int], Tokenised]]:
        chosen = _draw(len(self.scenes), self.batch, self.seed, step)
        asked = dict(zip(chosen, _ask([self.scenes[i] for i in chosen], self.questions, (self.seed, step)), strict=True))
        return [(group, tokenise(self.policy, [asked[i] for i in group])) for group in _alike(self.scenes, chosen)]


class Pupil:
    """A policy and its `Pointer`, trained and stored as one: `descend` takes it for a policy.

    Args:
        policy: a `Vlm`.
    """

    def __init__(self, policy: Any) -> None:
        torch.manual_seed(0)  # for the pointer's first weights
        self.policy, self.pointer = policy, Pointer(policy.base.config.text_config.hidden_size).to(policy.config.device)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return the trainable parameters of both."""
        return [*self.policy.parameters(), *self.pointer.parameters()]  # this order is also that of the optimiser's state in a checkpoint

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return copies of the weights of both."""
        return {"policy": self.policy.weights(), "pointer": {k: v.clone() for k, v in self.pointer.state_dict().items()}}

    def put(self, weights: dict[str, dict[str, torch.Tensor]]) -> None:
        """Load what `weights` returned."""
        self.policy.put(weights["policy"])
        self.pointer.load_state_dict(weights["pointer"])


class Pointer(torch.nn.Module):
    """Direct supervision of the vision tower: find the image token that holds a named object, and read its exact place off that token.

    The linear readers of coordinates exist in training alone, and are not part of the saved model.

    Args:
        width: D.
        numbers: M, how many bins a coordinate has, one for each number token.
    """

    def __init__(self, width: int, numbers: int = 65) -> None:
        super().__init__()
        self.numbers, self.readers = numbers, torch.nn.Linear(width, 2 * numbers)

    def loss(self, policy: Any, features_BND: torch.Tensor, scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two cross-entropies, nats a visible object: of the object's image token among those of its view, and of the bins of x and y.

        Args:
            policy: the model that is trained.
            features_BND: float32, the image tokens of the scenes.
            scenes: B of them, with `places`.
        """
        views = len(scenes[0].frames)
        tokens = features_BND.shape[1] // views
        side = math.isqrt(tokens)  # a view's image tokens are a square grid, C = side x side, row by row; LLaVA-NeXT has one more behind it
        found = [(row, *place) for row, scene in enumerate(scenes) for place in scene.places]  # K times (scene, name, view, x, y)
        device = features_BND.device
        row_K, view_K = torch.tensor([f[0] for f in found], device=device), torch.tensor([f[2] for f in found], device=device)
        where_K2 = torch.tensor([f[3:] for f in found], device=device)
        cell_K2 = (where_K2 * side).long().clamp(max=side - 1)  # clamped: a place of exactly 1 lies in the last cell
        cell_K = cell_K2[:, 1] * side + cell_K2[:, 0]
        near_KN, phrase_KD = localise(policy, features_BND, row_K.tolist(), [f[1] for f in found])
        # The view is given, so only its own C tokens compete: [K, V, C] -> [K, C].
        pointing = cross_entropy(near_KN.reshape(len(found), views, tokens)[torch.arange(len(found), device=device), view_K, : side * side], cell_K)
        token_KD = features_BND[row_K, view_K * tokens + cell_K, : phrase_KD.shape[1]]  # the right token, whichever one the model finds
        # The phrase tells which object's place to read, as a token may hold several objects.
        read_K2M = self.readers(token_KD * (1 + phrase_KD)).reshape(-1, 2, self.numbers)
        return pointing, cross_entropy(read_K2M.flatten(0, 1).float(), (where_K2 * (self.numbers - 1)).round().long().flatten())


def quiz(policy: Any, scenes: Sequence[Scene], batch: int = 60) -> dict[str, tuple[float, int]]:
    """Return, for each kind of question, the share of correct answers and the number of questions.

    An answer is correct if each of its tokens is the most probable one after the correct tokens before it. Numbers may be off by one. Of a number
    of several digits each is read after the correct ones before it, so 49 in place of 50 counts as wrong, but 51 does not.

    Args:
        policy: a `Vlm`.
        scenes: whose questions are all asked.
        batch: scenes at a time.
    """
    numerals_NK = codec.numerals(policy.processor.tokenizer, policy.config.codec)
    number = {tuple(row): i for i, row in enumerate(numerals_NK.tolist())}
    outcomes: dict[str, list[bool]] = defaultdict(list)  # by kind
    for rows in (group[start : start + batch] for group in _alike(scenes, range(len(scenes))) for start in range(0, len(group), batch)):
        chosen = [scenes[i] for i in rows]
        with torch.inference_mode():
            frames = [s.frames for s in chosen]
            scores = score(policy, policy.features(frames), frames, [[(q.question, q.answer) for q in s.questions] for s in chosen])
        answers: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)  # (predicted, given) tokens, by scene and question
        for predicted, target, (scene, index) in zip(scores.predicted.tolist(), scores.target.tolist(), scores.owner.tolist(), strict=True):
            answers[scene, index].append((predicted, target))
        for (scene, index), tokens in answers.items():
            outcomes[chosen[scene].questions[index].kind].append(near(tokens, number, numerals_NK.shape[1]))
    return {kind: (float(np.mean(row)), len(row)) for kind, row in sorted(outcomes.items())}
