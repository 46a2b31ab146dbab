"""Descent: what was killed goes on bit by bit, and a damaged checkpoint is never believed."""

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agent.learning.optimiser import Optimiser, descend
from agent.run.files import write

STEPS = 255  # the first checkpoint is written after 250


class Killed(Exception):
    pass


class Line:
    """The smallest thing that learns."""

    def __init__(self, width: int = 3) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(width, 1)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def put(self, weights: dict[str, torch.Tensor]) -> None:
        self.model.load_state_dict(weights)


def train(
    checkpoint: Path | None, kill_at: int = 10**9, width: int = 3, steps: int = STEPS, kind: Any = "adamw"
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], list[int]]:
    """Take some steps; return weights, figures, and which steps were taken now."""
    line, taken = Line(width), []

    def gradient_of(step: int, before: Sequence[dict[str, float]]) -> tuple[float, dict[str, float]]:
        if step == kill_at:
            raise Killed
        taken.append(step)
        x = torch.tensor(np.random.default_rng(step).normal(size=(8, width)), dtype=torch.float32)
        loss = (line.model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return float(loss.detach()), {"step": float(step), "before": float(len(before))}

    optimiser = Optimiser(list(line.model.parameters()), learning_rate=1e-2, steps=steps, kind=kind)
    rows = descend(line, optimiser, steps, gradient_of, checkpoint)
    return line.weights(), rows, taken


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The checkpoint of a descent that was killed."""
    with pytest.raises(Killed):
        train(tmp_path / "new" / "c.pt", kill_at=253)
    return tmp_path / "new" / "c.pt"


def same(one: tuple, other: tuple) -> bool:
    return one[1] == other[1] and all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def test_a_killed_descent_goes_on_bit_by_bit(killed: Path) -> None:
    resumed = train(killed)
    assert same(resumed, train(None)) and resumed[2] == list(range(250, STEPS))


def test_slow_steps_are_kept_every_two_minutes_and_slow_writes_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 50 s; a checkpoint no time, or 10 s: then at least 200 s lie between two."""
    for seconds, kept in ((0, 39), (10, 38)):  # after 3, 6, ..., 39 steps; or after 3, 8, 13, ..., 38
        clock, file = [0.0], tmp_path / f"{seconds}.pt"
        monkeypatch.setattr("agent.learning.optimiser.time", SimpleNamespace(monotonic=lambda clock=clock: clock[0]))

        def slow(self: Optimiser, own: Any = Optimiser.step, clock: list[float] = clock) -> float:
            clock[0] += 50
            return own(self)

        def save(*args: Any, own: Any = write, clock: list[float] = clock, seconds: int = seconds) -> None:
            own(*args)
            clock[0] += seconds

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Optimiser, "step", slow)
            patched.setattr("agent.learning.optimiser.write", save)
            train(file, kill_at=41)
        assert train(file)[2][0] == kept


def damages(raw: bytes) -> Iterator[bytes]:
    """Yield what may be left of a file: nothing, a part, zeros, and the whole with one bit flipped at 12 places."""
    yield from (b"", raw[:10], raw[: len(raw) // 2], raw[:-1], bytes(len(raw)))
    yield raw[:400] + bytes(600) + raw[1000:]
    for place in np.random.default_rng(0).integers(0, len(raw), 12).tolist():
        yield raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :]


def test_a_damaged_checkpoint_is_dropped_and_training_begins_anew(killed: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, raw, dropped = train(None), killed.read_bytes(), 0
    for damaged in damages(raw):
        killed.write_bytes(damaged)
        caplog.clear()
        trained = train(killed)
        assert same(trained, whole), "whether it was read or dropped"
        anew = len(trained[2]) == STEPS
        assert anew == (f"Checkpoint {killed} is damaged and is deleted" in caplog.text)
        dropped += anew
    assert dropped >= 13, "some bits mean nothing, such as those of a time"


def test_a_checkpoint_of_another_training_is_refused(killed: Path) -> None:
    with pytest.raises(ValueError, match=r"c\.pt is of a training with another model or optimiser; delete it"):
        train(killed, width=4)
    assert killed.exists()


def test_a_disk_that_is_full_is_one_sentence_and_leaves_the_last_checkpoint(killed: Path) -> None:
    """In a process whose files may have 1,000 bytes."""
    before = killed.read_bytes()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            train(killed, steps=500)
        except ValueError as error:
            os._exit(3 if "c.pt cannot be written (" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3 and killed.read_bytes() == before


def test_moments_of_eight_bits_go_on_bit_by_bit_and_come_near_those_of_thirty_two(tmp_path: Path) -> None:
    width, checkpoint = 4096, tmp_path / "c.pt"  # smaller tensors keep moments of 32 bits
    with pytest.raises(Killed):
        train(checkpoint, kill_at=253, width=width, kind="adamw_8bit")
    moments = torch.load(checkpoint, weights_only=True)["optimiser"]["adam"]["state"][0]["__bnb_optimizer_quant_state__"]
    assert {moments[name].dtype for name in ("state1", "state2")} == {torch.uint8}
    resumed, _, taken = train(checkpoint, width=width, kind="adamw_8bit")
    whole, exact = train(None, width=width, kind="adamw_8bit")[0], train(None, width=width)[0]
    assert taken == list(range(250, STEPS)) and torch.equal(resumed["weight"], whole["weight"])
    start = Line(width).weights()["weight"]
    assert 0 < float((whole["weight"] - exact["weight"]).norm()) < 0.1 * float((exact["weight"] - start).norm())


def test_eight_bits_without_their_package_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.bits.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"tune\.optim adamw_8bit needs bitsandbytes, which is not installed: pip install 'etude\[bits\]'\."):
        Optimiser(list(Line().model.parameters()), learning_rate=1e-2, steps=3, kind="adamw_8bit")
