"""Examines an environment for faults that would stop or spoil a run: `etude check CONFIG`."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import ExpertFault, NoExpert, in_words
from envs.limits import LONGEST, endless
from envs.moments import Outcome
from envs.simulate.lookahead import appraise, blend, try_candidates
from envs.simulate.replay import prove
from envs.speed import control_rate, speed

SEEDS = 70_000_000  # a range of its own: neither training nor evaluations use these seeds
DARK = 12  # of 255: frames whose brightest value is below this show nothing
CANDIDATES = 32  # actions tried before each decision of a look-ahead episode
LONG = 20  # seconds after which no further look-ahead episode begins
PATIENCE = 2000  # environment steps after which an episode is broken off
Maker = Callable[[], Callable[[Adapter], np.ndarray]]  # makes an expert


@dataclass
class Diagnosis:
    """The findings about an environment."""

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


@dataclass(frozen=True)
class Episode:
    """The parts of an episode that the checks below use; `agent.records.Episode` is what a run records."""

    instruction: str
    frames: list[np.ndarray]
    """uint8[F, h, w, 3] each, at the reset and after each decision."""
    outcomes: list[Outcome]

    @property
    def success(self) -> bool:
        """Return whether the environment reported success at any step."""
        return any(outcome.success for outcome in self.outcomes)

    @property
    def rewards(self) -> np.ndarray:
        """Return float32[steps], without the NaN of steps that were not executed."""
        return np.concatenate([outcome.rewards[np.isfinite(outcome.rewards)] for outcome in self.outcomes])


def examine(
    config: EnvConfig, episodes: int = 8, progress: Callable[[str], None] = lambda stage: None, expert: Maker | None = None, openings: int = 6
) -> Diagnosis:
    """Return a diagnosis of an environment. It never raises: whatever the environment raises is a fault in it.

    Args:
        config: the environment.
        episodes: number of episodes with random actions.
        progress: called with the name of each step.
        expert: returns what gives demonstrations; None: the environment's own oracle, if it has one.
        openings: how many states, after random actions, snapshot and replay are tested in.
    """
    diagnosis, rng = Diagnosis(), np.random.default_rng(0)
    try:
        progress("making")
        adapter = Adapter(config)
    except ValueError as error:
        diagnosis.faults.append(str(error))
        return diagnosis
    try:
        space = adapter.env.action_space
        diagnosis.lines["actions"] = f"{type(space).__name__}{list(space.shape or ())}, {len(adapter.actions)} numbers"
        note = "" if None not in adapter.mujoco_cameras else "; no grounding, as frames come from the environment itself"
        diagnosis.lines["physics"] = f"MuJoCo{note}" if adapter.model is not None else "not MuJoCo: no grounding, no named cameras"
        diagnosis.lines["control rate"] = control_rate(adapter)
        progress("first step")
        adapter, played = _with_usable_success(adapter, diagnosis), []  # this steps the environment for the first time
        for i in range(episodes):
            progress(f"random episode {i + 1}")
            played.append(play(adapter, SEEDS + i, lambda: adapter.actions.sample(rng)))
        for check in (_instruction, _camera_frames, _episode_end, _rewards, _seeding):
            progress(f"check of {check.__name__[1:].replace('_', ' ')}")
            check(adapter, played, diagnosis)
        progress("check of snapshot and replay")
        _snapshot_and_replay(adapter, openings, diagnosis, progress)
        progress("check of look-ahead")
        _lookahead(adapter, diagnosis)
        progress("check of speed")
        diagnosis.lines["speed"] = speed(adapter, SEEDS)
        _expert(adapter, expert, diagnosis, progress)
        diagnosis.sheet = sheet(played)
    except (Exception, SystemExit) as error:  # the environment may raise anything
        description = in_words(error)
        named = isinstance(error, ValueError) and description.startswith(f"ValueError: {config.id}")  # the adapter's own sentences name it already
        diagnosis.faults.append(description.removeprefix("ValueError: ") if named else f"{config.id} failed with {description}")
    finally:
        with contextlib.suppress(Exception, SystemExit):
            adapter.close()
    return diagnosis


def _with_usable_success(adapter: Adapter, diagnosis: Diagnosis) -> Adapter:
    """Return the adapter, or one that never reports success where the success rule fails, so that everything else can still be checked."""
    adapter.reset(SEEDS)
    try:
        adapter.step(adapter.actions.sample(np.random.default_rng(0))[None], look=False)
    except ValueError as error:
        if "success" not in str(error):  # all sentences of `envs.success` have the word
            raise
        diagnosis.faults.append(str(error))
        adapter.close()
        return Adapter(adapter.config.model_copy(update={"success": "total_reward > 1e300"}))  # never true
    return adapter


def play(adapter: Adapter, seed: int, choose: Callable[[], np.ndarray], look: bool = True) -> Episode:
    """Return an episode; one that does not end is broken off after `PATIENCE` environment steps.

    Args:
        adapter: the environment.
        seed: of the episode.
        choose: returns the next action, float32[A].
        look: draw frames.
    """
    first = adapter.reset(seed)
    frames, outcomes = [first.frames], []
    for _ in range(PATIENCE // adapter.config.action_repeat):
        outcomes.append(adapter.step(choose()[None], look))
        if look:
            frames.append(outcomes[-1].observation.frames)
        if outcomes[-1].terminated or outcomes[-1].truncated:
            break
    return Episode(first.instruction, frames, outcomes)


def sheet(episodes: list[Episode], columns: int = 6) -> np.ndarray:
    """Return uint8[rows x h, columns x w, 3], a contact sheet: a row for each camera of up to four episodes, a column for evenly spaced times."""
    rows = []
    for episode in episodes[:4]:
        chosen = np.linspace(0, len(episode.frames) - 1, columns).round().astype(int)
        rows += [np.concatenate([episode.frames[t][view] for t in chosen], axis=1) for view in range(len(episode.frames[0]))]
    return np.concatenate(rows)


def _instruction(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    distinct = list(dict.fromkeys(episode.instruction for episode in episodes))
    diagnosis.instructions = distinct
    diagnosis.lines["instruction"] = f"{distinct[0]!r}" + (f" and {len(distinct) - 1} others" if len(distinct) > 1 else "")
    if not any(distinct):
        diagnosis.faults.append("No instruction: set env.instruction, or the model cannot know what to do.")


def _camera_frames(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    for view, name in enumerate(adapter.config.sources):
        frames = [[images[view].astype(np.int16) for images in episode.frames] for episode in episodes]  # int16: differences of uint8 wrap around
        moving = float(np.mean([np.abs(episode[-1] - episode[0]).mean() for episode in frames]))
        starts = float(np.mean([np.abs(episode[0] - frames[0][0]).mean() for episode in frames[1:]])) if len(episodes) > 1 else 0.0
        diagnosis.lines[f"camera {name}"] = f"changes by {moving:.1f} of 255 in an episode, {starts:.1f} between episodes"
        if max(int(image.max()) for episode in frames for image in episode) < DARK:
            diagnosis.faults.append(f"Camera {name!r} is black: the environment draws nothing there.")
        elif moving < 0.02:  # mean absolute difference of 0..255 values
            diagnosis.faults.append(f"Camera {name!r} does not change while the robot moves: the policy could not see the effect of its actions.")


def _episode_end(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    lengths = [len(episode.rewards) for episode in episodes]
    diagnosis.lines["episode"] = f"{min(lengths)} to {max(lengths)} environment steps"
    if adapter.limit is not None:
        diagnosis.lines["episode"] += f"; the time limit is {adapter.limit}"
    elif why := endless(adapter, SEEDS):
        diagnosis.faults.append(f"No time limit: {why}.")
    else:
        diagnosis.lines["episode"] += f"; no time limit is declared, so one that lasts longer than {LONGEST} counts as faulty"
    if diagnosis.faults and "success" in diagnosis.faults[0]:  # `_with_usable_success` has replaced the rule
        return
    successes = sum(episode.success for episode in episodes)
    diagnosis.lines["success"] = f"{adapter.config.success or _success_key(adapter)}; random actions meet it in {successes} of {len(episodes)}"
    if successes > len(episodes) / 2:
        diagnosis.warnings.append("Random actions succeed in most episodes: there may be little to learn.")


def _success_key(adapter: Adapter) -> str:
    """Return which of the usual keys of `info` reports success."""
    from envs.success import KEYS

    return f"info[{next(key for key in KEYS if key in adapter._info)!r}]"


def _rewards(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    rewards = np.concatenate([episode.rewards for episode in episodes])
    diagnosis.lines["reward"] = f"{rewards.min():.3g} to {rewards.max():.3g}"
    if np.ptp(rewards) == 0:
        diagnosis.warnings.append("The reward never changed under random actions: episodes can differ in success only.")


def _seeding(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    actions = [adapter.actions.sample(np.random.default_rng(i)) for i in range(5)]

    def opening(seed: int) -> list[np.ndarray]:
        stream = iter(actions)
        frames = [adapter.reset(seed).frames]
        for action in stream:
            outcome = adapter.step(action[None])
            frames.append(outcome.observation.frames)
            if outcome.terminated or outcome.truncated:
                break
        return frames

    first = opening(SEEDS)
    opening(SEEDS + 1)  # another episode between, so that state left over from the last one shows
    again = opening(SEEDS)
    same = len(first) == len(again) and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    varied = any(
        not np.array_equal(episode.frames[0], episodes[0].frames[0]) or episode.instruction != episodes[0].instruction for episode in episodes[1:]
    )
    diagnosis.lines["seeding"] = f"same seed, same frames: {'yes' if same else 'no'}; other seeds differ: {'yes' if varied else 'no'}"
    if not same:
        diagnosis.faults.append("The same seed does not give the same episode: paired evaluations and resuming would not be exact.")
    if not varied:
        diagnosis.warnings.append("All seeds begin alike: success on evaluation seeds says nothing about new situations.")


def _snapshot_and_replay(adapter: Adapter, openings: int, diagnosis: Diagnosis, progress: Callable[[str], None]) -> None:
    proofs = prove(
        adapter,
        range(SEEDS + 100, SEEDS + 100 + 3 * openings),  # three times as many as needed: some episodes end too early
        np.random.default_rng(1),
        length=3,
        enough=openings,
        watch=lambda seed: progress(f"snapshot and replay in the episode of seed {seed}"),
    )
    for way, proof in proofs.items():
        finding = "exact" if proof.exact else f"not exact: {proof.difference or 'every episode ended before it could be tried'}"
        diagnosis.lines[way] = f"{finding}, {proof.count} openings, {1e3 * proof.seconds:.1f} ms"
    if not any(proof.exact for proof in proofs.values()):
        diagnosis.warnings.append("Neither snapshot nor replay is exact: look-ahead and before/after videos are off here.")


def _lookahead(adapter: Adapter, diagnosis: Diagnosis) -> None:
    """Find how often look-ahead episodes (`collect.lookahead_episodes`) succeed with random candidates instead of a policy's.

    No episode begins after `LONG` seconds, and one that is not complete by then does not count.
    """
    if not diagnosis.lines["snapshot"].startswith("exact"):
        return
    rng, began, won, tried = np.random.default_rng(2), time.perf_counter(), 0, 0

    def late() -> bool:
        return time.perf_counter() - began >= LONG

    def choose() -> np.ndarray:
        if late():
            return adapter.actions.sample(rng)
        candidates = [adapter.actions.sample(rng)[None] for _ in range(CANDIDATES)]
        worth, _, spread = appraise(*try_candidates(adapter, candidates))
        # Without a spread no candidate is better than another; the first is a random action.
        return (blend(candidates, worth, spread, adapter.actions.counts).astype(np.float32) if spread else candidates[0])[0]

    while tried < 4 and not late():
        success = play(adapter, SEEDS + 200 + tried, choose, look=False).success
        if not late():  # otherwise its last actions were random
            won, tried = won + success, tried + 1
    result = f"{won} of {tried} episodes succeed" if tried else f"an episode takes more than {LONG:g} s"
    diagnosis.lines["look-ahead"] = f"with {CANDIDATES} actions tried before each decision {result} (collect.lookahead_episodes)"


def _expert(adapter: Adapter, expert: Maker | None, diagnosis: Diagnosis, progress: Callable[[str], None]) -> None:
    if expert is None and not hasattr(adapter.env.unwrapped, "oracle"):
        diagnosis.lines["expert"] = "none: `etude expert` trains one, or demonstrate.expert names a script"
        return
    name, played = "the expert" if expert else "the scripted oracle", []
    try:
        progress("making the expert")
        act = expert() if expert else Adapter.oracle
        for i in range(20):
            progress(f"the expert's episode {i + 1}")
            played.append(play(adapter, SEEDS + i, lambda: act(adapter), look=False))
    except (NoExpert, ExpertFault) as error:  # sentences that name the expert; all other errors are of the environment
        diagnosis.lines["expert"] = f"{name} cannot be used"
        diagnosis.faults.append(f"{str(error).removesuffix('.')}.")
        return
    wins = sum(episode.success for episode in played)
    diagnosis.lines["expert"] = f"{name} succeeds in {wins} of {len(played)}"
    if wins == 0:
        diagnosis.faults.append(f"{name.capitalize()} never succeeds: the success rule or env.action_repeat does not fit.")
