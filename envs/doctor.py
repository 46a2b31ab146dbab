"""What will go wrong with an environment, before a run finds out: `etude check ID`."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words
from envs.limits import LONGEST, ends
from envs.moments import Outcome
from envs.simulate.lookahead import appraise, blend, foresee
from envs.simulate.replay import prove
from envs.speed import control_rate, speed

SEEDS = 70_000_000  # a range of its own, far from practice and exams
DARK = 12  # a frame whose brightest pixel is below this shows nothing
CANDIDATES = 32  # tried before each decision where looking ahead is
LONG = 20  # seconds, after which no further episode looks ahead
PATIENCE = 2000  # environment steps after which an episode is left


@dataclass
class Diagnosis:
    """What was found: lines of a table, and what would spoil training."""

    lines: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """A sentence each; a run should not start before they are gone."""
    warnings: list[str] = field(default_factory=list)
    """A sentence each; a run can start."""
    sheet: np.ndarray | None = None
    """uint8[h, w, 3]: rows are episodes, columns moments, of each camera."""


@dataclass(frozen=True)
class Take:
    """One episode, as far as the doctor looks at it."""

    instruction: str
    frames: list[np.ndarray]
    outcomes: list[Outcome]

    @property
    def success(self) -> bool:
        """Return whether it succeeded at any moment."""
        return any(outcome.success for outcome in self.outcomes)

    @property
    def rewards(self) -> np.ndarray:
        """Return float32[steps]: those of all executed steps."""
        return np.concatenate([outcome.rewards[np.isfinite(outcome.rewards)] for outcome in self.outcomes])


def examine(
    config: EnvConfig,
    episodes: int = 8,
    progress: Callable[[str], None] = lambda stage: None,
    expert: Callable[[Adapter], np.ndarray] | None = None,
    openings: int = 6,
) -> Diagnosis:
    """Return what is right and wrong with an environment.

    Args:
        config: the environment.
        episodes: with random actions, to look at.
        progress: is told what is being done.
        expert: who demonstrates; None for the environment's own oracle, where it has one.
        openings: of random actions, after which going back is tried.
    """
    found, rng = Diagnosis(), np.random.default_rng(0)
    try:
        progress("making")
        adapter = Adapter(config)
    except ValueError as error:
        found.faults.append(str(error))
        return found
    try:
        space = adapter.env.action_space
        found.lines["actions"] = f"{type(space).__name__}{list(space.shape or ())}, {len(adapter.actions)} numbers"
        draws = "" if None not in adapter.eyes else "; no grounding, as frames come from the environment itself"
        found.lines["physics"] = f"MuJoCo{draws}" if adapter.model is not None else "not MuJoCo: no grounding, no named cameras"
        found.lines["control rate"] = control_rate(adapter)
        progress("first step")
        adapter, takes = _with_success(adapter, found), []
        for i in range(episodes):
            progress(f"random episode {i + 1}")
            takes.append(play(adapter, SEEDS + i, lambda: adapter.actions.sample(rng)))
        for check in (_words, _pictures, _ends, _rewards, _seeding):
            progress(f"check of {check.__name__[1:].replace('_', ' ')}")
            check(adapter, takes, found)
        progress("check of going back")
        _going_back(adapter, openings, found, progress)
        progress("check of looking ahead")
        _looking_ahead(adapter, found)
        progress("check of speed")
        found.lines["speed"] = speed(adapter, SEEDS)
        _expert(adapter, expert, found, progress)
        found.sheet = sheet(takes)
    except (Exception, SystemExit) as error:  # the environment may raise anything; that is what the doctor is for
        told = in_words(error)
        named = isinstance(error, ValueError) and told.startswith(f"ValueError: {config.id}")
        found.faults.append(told.removeprefix("ValueError: ") if named else f"{config.id} failed with {told}")
    finally:
        with contextlib.suppress(Exception, SystemExit):
            adapter.close()
    return found


def _with_success(adapter: Adapter, found: Diagnosis) -> Adapter:
    """Return the adapter, or one that never succeeds where the success rule is the fault, so that the rest can still be looked at."""
    adapter.reset(SEEDS)
    try:
        adapter.step(adapter.actions.sample(np.random.default_rng(0))[None], look=False)
    except ValueError as error:
        if "success" not in str(error):
            raise
        found.faults.append(str(error))
        adapter.close()
        return Adapter(adapter.config.model_copy(update={"success": "total_reward > 1e300"}))
    return adapter


def play(adapter: Adapter, seed: int, choose: Callable[[], np.ndarray], look: bool = True) -> Take:
    """Return an episode; one that does not end is left after `PATIENCE` steps."""
    first = adapter.reset(seed)
    frames, outcomes = [first.frames], []
    for _ in range(PATIENCE // adapter.config.action_repeat):
        outcomes.append(adapter.step(choose()[None], look))
        if look:
            frames.append(outcomes[-1].observation.frames)
        if outcomes[-1].terminated or outcomes[-1].truncated:
            break
    return Take(first.instruction, frames, outcomes)


def sheet(takes: list[Take], columns: int = 6) -> np.ndarray:
    """Return a contact sheet: for up to four episodes and each camera a row of evenly spaced moments."""
    rows = []
    for take in takes[:4]:
        chosen = np.linspace(0, len(take.frames) - 1, columns).round().astype(int)
        rows += [np.concatenate([take.frames[t][view] for t in chosen], axis=1) for view in range(len(take.frames[0]))]
    return np.concatenate(rows)


def _words(adapter: Adapter, takes: list[Take], found: Diagnosis) -> None:
    said = list(dict.fromkeys(take.instruction for take in takes))
    found.lines["instruction"] = f"{said[0]!r}" + (f" and {len(said) - 1} others" if len(said) > 1 else "")
    if not any(said):
        found.faults.append("No instruction: say what to do in env.instruction, or the model cannot know.")


def _pictures(adapter: Adapter, takes: list[Take], found: Diagnosis) -> None:
    for view, name in enumerate(adapter.config.sources):
        frames = [[moment[view].astype(np.int16) for moment in take.frames] for take in takes]
        moving = float(np.mean([np.abs(take[-1] - take[0]).mean() for take in frames]))
        starts = float(np.mean([np.abs(take[0] - frames[0][0]).mean() for take in frames[1:]])) if len(takes) > 1 else 0.0
        found.lines[f"camera {name}"] = f"changes by {moving:.1f} of 255 in an episode, {starts:.1f} between episodes"
        if max(int(moment.max()) for take in frames for moment in take) < DARK:
            found.faults.append(f"Camera {name!r} is black: the environment draws nothing there.")
        elif moving < 0.02:
            found.faults.append(f"Camera {name!r} does not change while the robot moves: the policy could not see what it does.")


def _ends(adapter: Adapter, takes: list[Take], found: Diagnosis) -> None:
    lengths = [len(take.rewards) for take in takes]
    found.lines["episode"] = f"{min(lengths)} to {max(lengths)} environment steps"
    if adapter.limit is not None:
        found.lines["episode"] += f"; the time limit is {adapter.limit}"
    elif all(take.outcomes[-1].terminated or take.outcomes[-1].truncated for take in takes) or ends(adapter, SEEDS):
        found.lines["episode"] += f"; no time limit is declared, so one that lasts longer than {LONGEST} counts as spoilt"
    else:
        found.faults.append(f"No time limit: random actions came to no end within {LONGEST} steps; set env.horizon.")
    if found.faults and "success" in found.faults[0]:
        return
    successes = sum(take.success for take in takes)
    found.lines["success"] = f"{adapter.config.success or _key(adapter)}; random actions meet it in {successes} of {len(takes)}"
    if successes > len(takes) / 2:
        found.warnings.append("Random actions succeed in most episodes: there may be little to learn.")


def _key(adapter: Adapter) -> str:
    from envs.success import KEYS

    return f"info[{next(key for key in KEYS if key in adapter._info)!r}]"


def _rewards(adapter: Adapter, takes: list[Take], found: Diagnosis) -> None:
    rewards = np.concatenate([take.rewards for take in takes])
    found.lines["reward"] = f"{rewards.min():.3g} to {rewards.max():.3g}"
    if np.ptp(rewards) == 0:
        found.warnings.append("The reward never changed under random actions: only success can tell takes apart.")


def _seeding(adapter: Adapter, takes: list[Take], found: Diagnosis) -> None:
    actions = [adapter.actions.sample(np.random.default_rng(i)) for i in range(5)]

    def opening(seed: int) -> list[np.ndarray]:
        stream = iter(actions)
        seen = [adapter.reset(seed).frames]
        for action in stream:
            outcome = adapter.step(action[None])
            seen.append(outcome.observation.frames)
            if outcome.terminated or outcome.truncated:
                break
        return seen

    first = opening(SEEDS)
    opening(SEEDS + 1)
    again = opening(SEEDS)
    same = len(first) == len(again) and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    varied = any(not np.array_equal(take.frames[0], takes[0].frames[0]) or take.instruction != takes[0].instruction for take in takes[1:])
    found.lines["seeding"] = f"same seed, same frames: {'yes' if same else 'no'}; other seeds differ: {'yes' if varied else 'no'}"
    if not same:
        found.faults.append("The same seed does not give the same episode: paired exams and resuming would not be exact.")
    if not varied:
        found.warnings.append("All seeds begin alike: success on exam seeds says nothing about new situations.")


def _going_back(adapter: Adapter, openings: int, found: Diagnosis, progress: Callable[[str], None]) -> None:
    proofs = prove(
        adapter,
        range(SEEDS + 100, SEEDS + 100 + 3 * openings),
        np.random.default_rng(1),
        length=3,
        enough=openings,
        watch=lambda seed: progress(f"going back in the episode of seed {seed}"),
    )
    for way, proof in proofs.items():
        verdict = "exact" if proof.exact else f"not exact: {proof.difference or 'every episode ended before it could be tried'}"
        found.lines[way] = f"{verdict}, {proof.count} openings, {1e3 * proof.seconds:.1f} ms"
    if not any(proof.exact for proof in proofs.values()):
        found.warnings.append("Neither snapshot nor replay is exact: look-ahead and before/after films are off here.")


def _looking_ahead(adapter: Adapter, found: Diagnosis) -> None:
    """Say how far guided takes (`collect.guided`) would come with no policy to guide; slow environments are left after `LONG` seconds."""
    if not found.lines["snapshot"].startswith("exact"):
        return
    rng, began, won, tried = np.random.default_rng(2), time.perf_counter(), 0, 0

    def hurried() -> bool:
        return time.perf_counter() - began >= LONG

    def choose() -> np.ndarray:
        if hurried():
            return adapter.actions.sample(rng)
        candidates = [adapter.actions.sample(rng)[None] for _ in range(CANDIDATES)]
        worth, _, spread = appraise(*foresee(adapter, candidates))
        return (blend(candidates, worth, spread, adapter.actions.counts).astype(np.float32) if spread else candidates[0])[0]

    while tried < 4 and not hurried():
        success = play(adapter, SEEDS + 200 + tried, choose, look=False).success
        if not hurried():  # else it was not looked ahead to its end
            won, tried = won + success, tried + 1
    told = f"{won} of {tried} episodes succeed" if tried else f"an episode takes more than {LONG:g} s"
    found.lines["foresight"] = f"with {CANDIDATES} actions tried before each decision {told} (collect.guided)"


def _expert(adapter: Adapter, expert: Callable[[Adapter], np.ndarray] | None, found: Diagnosis, progress: Callable[[str], None]) -> None:
    name = "the expert"
    if expert is None:
        if not hasattr(adapter.env.unwrapped, "oracle"):
            found.lines["expert"] = "none: `etude expert` trains one, or demonstrate.expert names a script"
            return
        name, expert = "the scripted oracle", Adapter.oracle
    show, played = expert, []
    for i in range(20):
        progress(f"the expert's episode {i + 1}")
        played.append(play(adapter, SEEDS + i, lambda: adapter.actions.from_env(show(adapter)), look=False))
    wins = sum(take.success for take in played)
    found.lines["expert"] = f"{name} succeeds in {wins} of {len(played)}"
    if wins == 0:
        found.faults.append(f"{name.capitalize()} never succeeds: the success rule or env.action_repeat does not fit.")
