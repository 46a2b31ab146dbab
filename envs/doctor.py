"""Examines an environment for faults that would stop or spoil a run: `etude check CONFIG`."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from envs import EnvConfig, checks, scales
from envs.adapt import Adapter
from envs.diagnosis import SEEDS, Diagnosis, Episode, Finding, Late, play, sheet, within
from envs.faults import ExpertFault, NoExpert, in_words
from envs.instances import disturbed
from envs.simulate.lookahead import appraise, blend, try_candidates
from envs.simulate.replay import NOT_POSSIBLE, prove
from envs.speed import control_rate, speed

CANDIDATES = 32  # actions tried before each decision of a look-ahead episode
LONG = 20.0  # seconds after which no further look-ahead episode begins
Maker = Callable[[], Callable[[Adapter], np.ndarray]]  # makes an expert


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    episodes: int = 8
    """With random actions."""
    openings: int = 6
    """States, after random actions, in which snapshot and replay are tested."""
    seconds: float = np.inf
    """Seconds for the whole of it, on an idle core; each stage has a share, and does at least one episode."""
    lookahead: bool = True
    """Try look-ahead episodes too."""

    def share(self, part: float) -> Late:
        """Return whether a part of the seconds, from now on, is over."""
        return within(part * self.seconds)


QUICK = Effort(seconds=24.0, openings=4, lookahead=False)


class _Doctor:
    """One examination."""

    def __init__(
        self, config: EnvConfig, effort: Effort, progress: Callable[[str], None], diagnosis: Diagnosis, make: type[Adapter], alone: bool = False
    ) -> None:
        self.config, self.effort, self.progress, self.found, self.make, self.alone = config, effort, progress, diagnosis, make, alone
        self.made: list[Adapter] = []  # beside the one that is examined

    def examine(self, expert: Maker | None, num_bins: int) -> None:
        """Add all findings; raise whatever the environment raises."""
        self.progress("making")
        try:
            adapter = self.make(self.config)
        except ValueError as error:
            self.found.fault(str(error))
            return
        try:
            self._spaces(adapter, num_bins)
            self.progress("first step")
            adapter, usable = self._with_usable_success(adapter)  # this steps the environment for the first time
            self._random_episodes(adapter, usable)
            self.progress("check of the action box")
            for sentence in scales.odd_boxes(adapter, SEEDS, num_bins):
                self.found.note(sentence)
            self.progress("check of beginnings")
            checks.beginnings(adapter, self.found, self.effort.share(0.1))
            self.progress("check of snapshot and replay")
            if not self._snapshot_and_replay(adapter):  # what a snapshot that failed has left behind is not examined
                self._close(adapter)
                self.progress("making")
                adapter = self.make(adapter.config)
            elif self.effort.lookahead:
                self.progress("check of look-ahead")
                self._lookahead(adapter)
            self.progress("check of speed")
            self.found.line("speed", speed(adapter, SEEDS, 64 if np.isinf(self.effort.seconds) else 16))
            self._expert(adapter, expert, num_bins, usable)
        finally:
            for each in (adapter, *self.made):
                self._close(each)

    def _close(self, adapter: Adapter) -> None:
        self.progress("close()")  # it may hang, as anything else may
        with contextlib.suppress(Exception, SystemExit):
            adapter.close()

    def _spaces(self, adapter: Adapter, num_bins: int) -> None:
        space = adapter.env.action_space
        self.found.line("actions", f"{type(space).__name__}{list(space.shape or ())}, {len(adapter.actions)} numbers")
        own = "; frames come from the environment itself, so its state is not asked about them: env.free_cameras can draw them"
        note = own if None in adapter.mujoco_cameras else ""
        self.found.line("physics", f"MuJoCo{note}" if adapter.model is not None else "not MuJoCo: no state to ask about frames, no named cameras")
        self.found.line("control rate", control_rate(adapter))
        if sentence := scales.too_many_values(adapter.actions, num_bins):
            self.found.fault(sentence)

    def _with_usable_success(self, adapter: Adapter) -> tuple[Adapter, bool]:
        """Return the adapter and True; where the success rule fails, one that never reports success, so that the rest can still be checked."""
        adapter.reset(SEEDS)
        try:
            adapter.step(adapter.actions.sample(np.random.default_rng(0))[None], look=False)
        except ValueError as error:
            if "success" not in str(error):  # all sentences of `envs.success` have the word
                raise
            self.found.fault(str(error))
            self._close(adapter)
            self.progress("making")
            return self.make(adapter.config.model_copy(update={"success": "total_reward > 1e300"})), False  # never true
        return adapter, True

    def _random_episodes(self, adapter: Adapter, usable: bool) -> None:
        rng, late, played = np.random.default_rng(0), self.effort.share(0.3), []
        while len(played) < self.effort.episodes and not (late() and played):
            self.progress(f"random episode {len(played) + 1}")
            played.append(play(adapter, SEEDS + len(played), lambda: adapter.actions.sample(rng), late=late))
        self.found.add(Finding("sheet", "", sheet(played)))
        self.found.add(Finding("instructions", "", list(dict.fromkeys(episode.instruction for episode in played))))
        looked_at: list[checks.Check] = [self._instructions, checks.camera_frames, checks.objects, checks.collision_shapes, self._episode_end]
        for check in [*looked_at, *([checks.successes] if usable else []), checks.rewards, self._seeding]:
            self.progress(f"check of {check.__name__.strip('_').replace('_', ' ')}")
            check(adapter, played, self.found)

    def _instructions(self, adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
        checks.instructions(adapter, episodes, diagnosis, self.effort.share(0.05))

    def _episode_end(self, adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
        checks.episode_end(adapter, episodes, diagnosis, self.effort.share(0.15))

    def _seeding(self, adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
        if checks.seeding(adapter, episodes, diagnosis, self.effort.share(0.1)) and not self.alone:
            self.progress("making a second one")
            if said := disturbed(adapter, episodes, lambda: self.make(adapter.config), self.made.append, self.effort.share(0.1)):
                diagnosis.fault(said)

    def _snapshot_and_replay(self, adapter: Adapter) -> bool:
        """Return whether a snapshot is exact."""
        proofs = prove(
            adapter,
            range(SEEDS + 100, SEEDS + 100 + 3 * self.effort.openings),  # three times as many as needed: some episodes end too early
            np.random.default_rng(1),
            length=3,
            enough=self.effort.openings,
            watch=lambda seed: self.progress(f"snapshot and replay in the episode of seed {seed}"),
            late=self.effort.share(0.2),
        )
        for way, proof in proofs.items():
            finding = "exact" if proof.exact else f"not exact: {proof.difference or 'every episode ended before it could be tried'}"
            if proof.difference.startswith(NOT_POSSIBLE):
                self.found.line(way, proof.difference)
            else:
                self.found.line(way, f"{finding}, {proof.count} openings, {1e3 * proof.seconds:.1f} ms")
        if not any(proof.count for proof in proofs.values()):
            self.found.note("All episodes ended before snapshot and replay could be tried, so nothing is known of them.")
        elif not any(proof.exact for proof in proofs.values()):
            self.found.note("Neither snapshot nor replay is exact: look-ahead and before/after videos are off here.")
        return proofs["snapshot"].exact

    def _lookahead(self, adapter: Adapter) -> None:
        """Find how often look-ahead episodes (`collect.lookahead_episodes`) succeed with random candidates instead of a policy's.

        No episode begins after `LONG` seconds, and one that is not complete by then does not count.
        """
        rng, late, won, tried = np.random.default_rng(2), within(LONG), 0, 0

        def choose() -> np.ndarray:
            if late():
                return adapter.actions.sample(rng)
            candidates = [adapter.actions.sample(rng)[None] for _ in range(CANDIDATES)]
            worth, _, spread = appraise(*try_candidates(adapter, candidates))
            # Without a spread no candidate is better than another; the first is a random action.
            return (blend(candidates, worth, spread, adapter.actions.counts).astype(np.float32) if spread else candidates[0])[0]

        while tried < 4 and not late():
            success = play(adapter, SEEDS + 200 + tried, choose, look=False, late=late).success
            if not late():
                won, tried = won + success, tried + 1
        result = f"{won} of {tried} episodes succeed" if tried else f"an episode takes more than {LONG:g} s"
        self.found.line("look-ahead", f"with {CANDIDATES} actions tried before each decision {result} (collect.lookahead_episodes)")

    def _expert(self, adapter: Adapter, expert: Maker | None, num_bins: int, usable: bool) -> None:
        """Find how often the expert succeeds; without a `usable` success rule, only whether it can be asked."""
        if expert is None and not adapter.has_oracle:
            self.found.line("expert", "none: `etude expert` trains one, or demonstrate.expert names a script")
            return
        name, played, given = "the expert" if expert else "the scripted oracle", [], []

        def choose() -> np.ndarray:
            given.append(act(adapter))
            return given[-1]

        try:
            self.progress("making the expert")
            act = expert() if expert else Adapter.oracle
            late = self.effort.share(0.2)
            while len(played) < 20 and not (late() and played):
                self.progress(f"the expert's episode {len(played) + 1}")
                played.append(play(adapter, SEEDS + len(played), choose, look=False))
        except (NoExpert, ExpertFault) as error:  # sentences that name the expert; all other errors are of the environment
            self.found.line("expert", f"{name} cannot be used")
            self.found.fault(f"{str(error).removesuffix('.')}.")
            return
        if not usable:
            self.found.line("expert", f"{name} acts; whether it succeeds is not known")
            return
        checks.disputes(played, self.found)
        wins = sum(episode.success for episode in played)
        self.found.line("expert", f"{name} succeeds in {wins} of {len(played)}")
        if wins == 0 and len(played) < 3:  # of a slow one, which time allows a single episode, a failure says little
            self.found.note(f"{name.capitalize()} failed in {len(played)} of {len(played)}, as time allowed; etude check --thorough plays more.")
        elif wins == 0:
            self.found.fault(f"{name.capitalize()} never succeeds: the success rule or env.action_repeat does not fit.")
        for sentence in (scales.unused(adapter.actions, given, num_bins), scales.outside(adapter.actions, given)):
            if sentence:
                self.found.note(sentence)


def examine(
    config: EnvConfig,
    episodes: int = 8,
    progress: Callable[[str], None] = lambda stage: None,
    expert: Maker | None = None,
    openings: int = 6,
    quick: bool = False,
    tell: Callable[[Finding], None] = lambda finding: None,
    num_bins: int = 33,
    make: type[Adapter] = Adapter,
    alone: bool = False,
) -> Diagnosis:
    """Return a diagnosis of an environment. It never raises: whatever the environment raises is a fault in it.

    Args:
        config: the environment.
        episodes: number of episodes with random actions.
        progress: called with the name of each step.
        expert: returns what gives demonstrations; None: the environment's own oracle, if it has one.
        openings: how many states, after random actions, snapshot and replay are tested in.
        quick: end within 30 seconds on an idle core: fewer episodes where they are slow, and no look-ahead.
        tell: called with each finding as it is made.
        num_bins: of the policy's codec.
        make: makes the environment.
        alone: a run never has two instances in one process (`collect.num_envs: 1`), so these need not leave each other alone.
    """
    diagnosis = Diagnosis(tell=tell)
    effort = replace(QUICK, episodes=episodes) if quick else Effort(episodes, openings)
    try:
        _Doctor(config, effort, progress, diagnosis, make, alone).examine(expert, num_bins)
    except (Exception, SystemExit) as error:  # the environment may raise anything
        description = in_words(error)
        named = isinstance(error, ValueError) and description.startswith(f"ValueError: {config.id}")  # the adapter's own sentences name it already
        diagnosis.fault(description.removeprefix("ValueError: ") if named else f"{config.id} failed with {description}")
    return diagnosis
