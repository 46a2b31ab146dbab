"""The findings about an environment, told one by one as they are made, and the episodes from which they are made."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from envs.adapt import Adapter
from envs.moments import Outcome
from envs.success import disputed

SEEDS = 70_000_000  # a range of its own: neither training nor evaluations use these seeds
PATIENCE = 2000  # environment steps after which an episode is broken off
FEWEST = 10  # decisions of an episode that is broken off because it is late
Late = Callable[[], bool]  # whether the time of a stage is over


@dataclass(frozen=True)
class Finding:
    """One finding."""

    kind: Literal["line", "fault", "note", "instructions", "sheet"]
    topic: str
    """Of a line, such as 'camera front'; else empty."""
    content: Any
    """A sentence; or the instructions, list[str]; or the contact sheet, uint8[h, w, 3]."""


@dataclass
class Diagnosis:
    """All findings so far."""

    lines: dict[str, str] = field(default_factory=dict)
    """Rows of a table: topic and finding. docs/environments.md quotes them."""
    faults: list[str] = field(default_factory=list)
    """A sentence each; a run should not start before they are corrected."""
    warnings: list[str] = field(default_factory=list)
    """A sentence each; a run can start in spite of them."""
    instructions: list[str] = field(default_factory=list)
    """Those of the examined episodes, each once."""
    sheet: np.ndarray | None = None
    """uint8[h, w, 3], a contact sheet; see `sheet`."""
    tell: Callable[[Finding], None] = field(default=lambda finding: None, compare=False, repr=False)
    """Called with each finding as it is made."""

    def add(self, finding: Finding) -> None:
        """Add a finding, and tell it."""
        if finding.kind == "line":
            self.lines[finding.topic] = finding.content
        elif finding.kind in ("instructions", "sheet"):
            setattr(self, finding.kind, finding.content)
        else:
            (self.faults if finding.kind == "fault" else self.warnings).append(finding.content)
        self.tell(finding)

    def line(self, topic: str, text: str) -> None:
        """Add a row of the table."""
        self.add(Finding("line", topic, text))

    def fault(self, text: str) -> None:
        """Add a fault, a sentence."""
        self.add(Finding("fault", "", text))

    def note(self, text: str) -> None:
        """Add a warning, a sentence."""
        self.add(Finding("note", "", text))


@dataclass(frozen=True)
class Episode:
    """The parts of an episode that the checks use; `agent.records.Episode` is what a run records."""

    seed: int
    instruction: str
    actions: list[np.ndarray]
    """float32[A] of each decision."""
    frames: list[np.ndarray]
    """uint8[F, h, w, 3] each, at the reset and after each decision."""
    outcomes: list[Outcome]
    ran_back: bool
    """Whether the simulation's time ran back in the last step, as it does where the environment resets itself there."""
    disputed: str = ""
    """Which keys of `info` contradicted each other about success at a decision, a phrase; '' if none did."""

    @property
    def ended(self) -> bool:
        """Return whether the environment ended it, rather than the check that broke it off."""
        return bool(self.outcomes) and (self.outcomes[-1].terminated or self.outcomes[-1].truncated)

    @property
    def success(self) -> bool:
        """Return whether the environment reported success at any step."""
        return any(outcome.success for outcome in self.outcomes)

    @property
    def rewards(self) -> np.ndarray:
        """Return float32[steps], without the NaN of steps that were not executed."""
        return np.concatenate([outcome.rewards[np.isfinite(outcome.rewards)] for outcome in self.outcomes])


def play(adapter: Adapter, seed: int, choose: Callable[[], np.ndarray], look: bool = True, late: Late = lambda: False) -> Episode:
    """Return an episode; one that does not end is broken off after `PATIENCE` environment steps, or when it is late.

    Args:
        adapter: the environment.
        seed: of the episode.
        choose: returns the next action, float32[A].
        look: draw frames.
        late: whether the time for it is over.
    """
    first = adapter.reset(seed)
    actions, frames, outcomes, before, now, dispute = [], [first.frames], [], -np.inf, -np.inf, ""
    for _ in range(max(1, PATIENCE // adapter.config.action_repeat)):
        actions.append(choose())
        outcomes.append(adapter.step(actions[-1][None], look))
        before, now = now, adapter.data.time if adapter.data is not None else 0.0
        dispute = dispute or ("" if adapter.config.success else disputed(adapter.info))
        if look:
            frames.append(outcomes[-1].observation.frames)
        if outcomes[-1].terminated or outcomes[-1].truncated or (late() and len(outcomes) >= FEWEST):
            break
    return Episode(seed, first.instruction, actions, frames, outcomes, now < before, dispute)


def sheet(episodes: list[Episode], columns: int = 6) -> np.ndarray:
    """Return uint8[rows x h, columns x w, 3], a contact sheet: a row for each camera of up to four episodes, a column for evenly spaced times."""
    rows = []
    for episode in episodes[:4]:
        chosen = np.linspace(0, len(episode.frames) - 1, columns).round().astype(int)
        rows += [np.concatenate([episode.frames[t][view] for t in chosen], axis=1) for view in range(len(episode.frames[0]))]
    return np.concatenate(rows)


def within(seconds: float) -> Late:
    """Return a function that tells whether this process has worked for so many seconds since now, or waited four times as long.

    It is mostly processor time that counts, so that other work on a busy machine leaves the environment enough of it.
    """
    work, wait = time.process_time() + seconds, time.perf_counter() + 4 * seconds
    return lambda: time.process_time() >= work or time.perf_counter() >= wait
