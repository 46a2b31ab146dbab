"""Demonstrations: an expert x environments x seeds -> episodes in the policy's own action tokens."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.demonstrate import datasets
from agent.records import SEEDS, Episode, Job
from agent.rollout.environments import Workers
from agent.rollout.experts import everyone
from agent.rollout.recording import store
from agent.rollout.rollout import unlike
from agent.rollout.session import Session
from agent.rollout.sharing import spread
from agent.rollout.thoughts import ponder
from agent.run.files import load
from agent.run.folder import Run
from agent.run.tracking import Track
from envs.adapt import Adapter
from envs.faults import NoExpert, in_words
from envs.moments import Observation, Outcome


class Spoilt:
    """Demonstrations that their environment or expert spoilt: they are left out, as long as they are few.

    Args:
        of: how many demonstrations there are to be.
        share: of these that may be spoilt.
        count: how many were before.
    """

    def __init__(self, of: int = 1, share: float = 0.0, count: int = 0) -> None:
        self.of, self.share, self.count, self.first = of, share, count, ""

    def __call__(self, why: str) -> None:
        """Count one more, and say why.

        Raises:
            ValueError: these are too many.
        """
        self.count, self.first = self.count + 1, self.first or why
        if self.count > self.share * self.of:
            raise ValueError(f"{self.count} of {self.of} demonstrations were spoilt, more than collect.max_fault_share allows; the last: {why}.")


def demonstrate(
    workers: Workers,
    codec: Any,
    jobs: Sequence[Job],
    noise: float = 0.0,
    expert: Callable[[Adapter], np.ndarray] = Adapter.oracle,
    leave_out: Callable[[str], None] | None = None,
) -> Iterator[Episode]:
    """Yield an expert's episodes, written in the policy's own action tokens; the expert looks at every action, also within a chunk.

    Args:
        workers: where.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        jobs: seeds; the noise seed of a job draws the disturbance.
        noise: standard deviation of a Gaussian added to executed, not to taught, actions.
        expert: the present moment of an environment -> float32[A].
        leave_out: told of an episode that its environment or expert spoilt, in words with environment, seed and decision; None: one is too many.

    Raises:
        ValueError: too many are spoilt, or there is no expert.
    """
    leave_out = leave_out or Spoilt()
    for job in jobs:
        try:
            made = workers.firsts[job.kind].apply(_demonstrated, codec, job, noise, expert)
        except (TimeoutError, ChildProcessError) as error:  # it lives in a process of its own, which is lost
            made = in_words(error)
        if isinstance(made, Episode):
            yield made
        else:
            leave_out(f"{workers.configs[job.kind].title}, seed {job.seed}, {made}")
            workers.renew(job.kind)


def _demonstrated(adapter: Adapter, codec: Any, job: Job, noise: float, expert: Callable[[Adapter], np.ndarray]) -> Episode | str:
    """Return an expert's episode, or what went wrong in it, in words."""
    of = getattr(expert, "of", None)  # looked up before the episode, for it may have to be imported
    show = of(adapter.config) if of else expert
    shown = _Shown(adapter, codec, noise, np.random.default_rng(job.noise), show)
    try:
        shown.observations.append(adapter.reset(job.seed))
        while not shown.over:
            shown.decide()
        return shown.episode(job)
    except NoExpert:
        raise
    except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
        return f"{f'decision {len(shown.rewards)}' if shown.observations else 'reset'}: {in_words(error)}"


@dataclass
class _Shown:
    """A demonstration in the making."""

    adapter: Adapter
    codec: Any
    noise: float
    rng: np.random.Generator
    expert: Callable[[Adapter], np.ndarray]
    observations: list[Observation] = field(default_factory=list)
    meant: list[np.ndarray] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    rewards: list[np.ndarray] = field(default_factory=list)
    first_success: int | None = None
    outcome: Outcome | None = None

    @property
    def over(self) -> bool:
        return self.outcome is not None and (self.outcome.terminated or self.outcome.truncated)

    def decide(self) -> None:
        chunk, held = self.codec.chunk, self.adapter.config.action_repeat
        meant, done, earned = [], [], np.full(chunk * held, np.nan, np.float32)
        for h in range(chunk):
            if not self.over:
                meant.append(self.adapter.actions.from_env(self.expert(self.adapter)))
                disturbed = meant[-1] + self.rng.normal(0, self.noise, len(meant[-1]))
                done.append(np.clip(disturbed, self.codec.low, self.codec.high).astype(np.float32))
                self.outcome = self.adapter.step(done[-1][None], look=False)
                earned[h * held : (h + 1) * held] = self.outcome.rewards
                if self.outcome.success and self.first_success is None:
                    self.first_success = len(self.rewards)
        for decisions, some in ((self.meant, meant), (self.executed, done)):
            decisions.append(np.stack([*some, *[some[-1]] * (chunk - len(some))]))
        self.rewards.append(earned)
        self.observations.append(self.adapter.observe())

    def episode(self, job: Job) -> Episode:
        tokens, outcome = np.stack([self.codec.encode(each) for each in self.meant]), self.outcome
        assert outcome is not None, "an episode lasts at least one step"
        return Episode(
            task=self.adapter.config.title,
            seed=job.seed,
            take=job.take,
            policy="oracle",
            instruction=self.observations[0].instruction,
            frames=np.stack([o.frames for o in self.observations]),
            actions=np.stack(self.executed),
            tokens=tokens,
            logprobs=np.zeros(tokens.shape, np.float32),
            rewards=np.stack(self.rewards),
            success=self.first_success is not None,
            first_success=self.first_success,
            success_at_end=outcome.success_at_end,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            achieved=outcome.achieved,
            states=None if self.observations[0].state is None else np.stack([o.state for o in self.observations]),  # type: ignore[arg-type]
            taught=unlike(self.meant, self.executed),
        )


def show(session: Session, track: Track) -> None:
    """Stage `demonstrate`: episodes of an expert or of a dataset, which the warm start imitates."""
    run = session.run
    folder, config = run.folder / "start", run.config.demonstrate
    kinds = spread(config.episodes, [env.weight for env in run.config.envs])
    base = SEEDS["demonstrations"] + 100_000 * run.config.seed
    jobs = [Job(base + i, 0, (run.config.seed, 0, i), kind) for i, kind in enumerate(kinds)]
    left_out: list[str] = []

    def go() -> dict[str, Any]:
        with track.bar("demonstrate", len(jobs)) as step:
            kept, codec, space = [episode.seed for episode in run.episodes(folder)], session.policy.codec, session.workers.first.actions
            begun = 1 + max((i for i, job in enumerate(jobs) if job.seed in kept), default=-1)  # those before it are kept, or were spoilt
            spoilt = Spoilt(len(jobs), run.config.collect.max_fault_share, 0 if config.dataset else begun - len(kept))
            if config.dataset:
                made = itertools.islice(datasets.stored(run.config, space, codec, left_out.append), len(kept), None)
            else:
                # Where the critic labels alone a take goes on after its success, which shows the critic more of how that looks.
                made = demonstrate(session.rehearsal, codec, jobs[begun:], config.noise, everyone(run.config.envs, config.expert), spoilt)
            store(session, folder, ponder(session.policy, made) if codec.thought_length else made, lambda episode: step(1))
        shown = run.episodes(folder)
        for why, count in Counter(left_out).items():
            track.note(f"{count} of {len(shown) + len(left_out)} episodes of {config.dataset} {why}: left out")
        if spoilt.count:
            first = f"; the first: {spoilt.first}" if spoilt.first else ""
            track.note(f"{spoilt.count} of {len(jobs)} demonstrations were spoilt and are left out{first}")
        figures = {"episodes": len(shown), "success": float(np.mean([e.success for e in shown])) if shown else 0.0}
        figures |= {"left_out": spoilt.count} if spoilt.count else {}
        return {"figures": figures | (datasets.figures(shown, len(left_out), space) if config.dataset else {})}

    run.keep(folder / "demonstrate.json", go)
    track.log(run.metrics())
    success_was_shown(run)


def success_was_shown(run: Run) -> None:
    """Look whether a demonstration succeeds, where the model learns from demonstrations what its own word on success is worth.

    Raises:
        ValueError: none does.
    """
    folder = run.folder / "start"
    key = "label.by critic" if run.config.label.by == "critic" else "curate.credit steps" if run.config.curate.credit == "steps" else ""
    figures = load(folder / "demonstrate.json")["figures"]
    if key and not figures["success"]:
        raise ValueError(
            f"{key} needs demonstrations of a success, and none of the {figures['episodes']} in {folder} is one; "
            "give a demonstrate.expert or a demonstrate.dataset that succeeds, and a new run folder."
        )
