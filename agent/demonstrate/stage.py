"""Stage `demonstrate` of a run: an expert x environments x seeds, or a dataset -> episodes in the policy's own action tokens."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agent.demonstrate import datasets
from agent.demonstrate.sources import Dataset
from agent.demonstrate.target import Tally, Target
from agent.records import SEEDS, Episode, Job, num_env_steps, success_rate
from agent.rollout.copies import Copies
from agent.rollout.environments import Environments
from agent.rollout.experts import everyone
from agent.rollout.recording import store
from agent.rollout.rollout import MAX_FAULT_SHARE, unlike
from agent.rollout.session import Session
from agent.rollout.sharing import spread
from agent.rollout.thoughts import ponder
from agent.run.files import load
from agent.run.folder import Run
from agent.run.tracking import Track
from envs.adapt import Adapter
from envs.faults import NoExpert, in_words
from envs.moments import Observation, Outcome

Limits = tuple[int, np.ndarray, np.ndarray]
"""Of a codec: H, and float[A] twice, the smallest and largest actions."""


class FaultBudget:
    """Counts demonstrations that were lost to a fault of their environment or expert, and raises an error when there are too many.

    Args:
        of: number of all planned demonstrations.
        share: largest share of these that may be faulty.
        count: number of faulty ones so far, before a kill.

    Attributes:
        first: the reason of the first faulty demonstration since this object was made; '' without one.
    """

    def __init__(self, of: int = 1, share: float = 0.0, count: int = 0) -> None:
        self.of, self.share, self.count, self.first = of, share, count, ""

    def __call__(self, why: str) -> None:
        """Count one more faulty demonstration.

        Raises:
            ValueError: there are too many.
        """
        self.count, self.first = self.count + 1, self.first or why
        if self.count > self.share * self.of:
            raise ValueError(f"{self.count} of {self.of} demonstrations were faulty, more than {100 * self.share:g} %; the last: {why}.")


def record(
    environments: Environments,
    codec: Any,
    jobs: Sequence[Job],
    noise: float = 0.0,
    expert: Callable[[Adapter], np.ndarray] = Adapter.oracle,
    leave_out: Callable[[str], None] | None = None,
    processes: int = 1,
) -> Iterator[Episode]:
    """Yield an expert's episodes, with targets in the policy's own action tokens. The expert is closed-loop: it sees the state before every action.

    Args:
        environments: those of the run.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        jobs: seed and kind of each episode; `noise` seeds the disturbance.
        noise: standard deviation of a Gaussian added to the executed actions, in the environment's units; the targets stay clean (DART).
        expert: an environment in its present state -> float32[A].
        leave_out: called with the reason, which names environment, seed and decision, for each faulty episode; None: a faulty one is an error.
        processes: processes that make episodes side by side, which are the same for any number of them.

    Raises:
        ValueError: too many episodes are faulty, or there is no expert.
    """
    leave_out = leave_out or FaultBudget()  # its defaults tolerate no fault
    with Copies(environments, processes) as copies:
        # The codec stays here: its class may be the user's, which another process does not know.
        limits = codec.chunk, codec.low, codec.high
        for (job, *_), call in copies.run(_demonstrated, ((job.kind, (job, limits, noise, expert)) for job in jobs)):
            try:
                episode = call()
            except NoExpert:  # a mistake in the config, which would cost every episode
                raise
            except RuntimeError as error:
                why = str(error)
            except (TimeoutError, ChildProcessError) as error:  # the environment hung or died in its own process
                why = in_words(error)
            else:
                targets = episode.actions if episode.target_actions is None else episode.target_actions
                tokens = np.stack([codec.encode(each) for each in targets])  # of the actions alone; `ponder` puts the policy's thoughts before them
                yield replace(episode, tokens=tokens, logprobs=np.zeros(tokens.shape, np.float32))  # nothing was sampled
                continue
            leave_out(f"{environments.configs[job.kind].title}, seed {job.seed}, {why}")


def _demonstrated(adapter: Adapter, job: Job, limits: Limits, noise: float, expert: Callable[[Adapter], np.ndarray]) -> Episode:
    """Return an expert's episode, without tokens.

    Raises:
        RuntimeError: what went wrong in it.
    """
    # `Experts` load this environment's expert here, before the reset: an import may take longer than `env.timeout` allows for a step.
    of = getattr(expert, "of", None)
    act = of(adapter.config) if of else expert
    live = _Demonstration(adapter, limits, noise, np.random.default_rng(job.noise), act)
    try:
        live.observations.append(adapter.reset(job.seed))
        while not live.over:
            live.decide()
        return live.episode(job)
    except NoExpert:  # a mistake in the config, which would cost every episode
        raise
    except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
        raise RuntimeError(f"{f'decision {len(live.rewards)}' if live.observations else 'reset'}: {in_words(error)}") from error


@dataclass
class _Demonstration:
    """A demonstration while it is made; fields as of `Episode`."""

    adapter: Adapter
    limits: Limits
    noise: float
    rng: np.random.Generator
    expert: Callable[[Adapter], np.ndarray]
    observations: list[Observation] = field(default_factory=list)
    meant: list[np.ndarray] = field(default_factory=list)
    """float32[H, A] each, the expert's own actions: the targets."""
    executed: list[np.ndarray] = field(default_factory=list)
    """float32[H, A] each, the same with noise."""
    rewards: list[np.ndarray] = field(default_factory=list)
    first_success: int | None = None
    outcome: Outcome | None = None

    @property
    def over(self) -> bool:
        return self.outcome is not None and (self.outcome.terminated or self.outcome.truncated)

    def decide(self) -> None:
        """Let the expert act for one decision of the policy: H actions, each held for `action_repeat` environment steps."""
        (chunk, low, high), repeat = self.limits, self.adapter.config.action_repeat
        meant, executed, rewards = [], [], np.full(chunk * repeat, np.nan, np.float32)  # NaN: steps after the end of the episode
        for h in range(chunk):
            if not self.over:
                meant.append(self.adapter.actions.from_env(self.expert(self.adapter)))
                disturbed = meant[-1] + self.rng.normal(0, self.noise, len(meant[-1]))
                executed.append(np.clip(disturbed, low, high).astype(np.float32))
                # Nothing is drawn within a chunk: the policy would see no frame there either.
                self.outcome = self.adapter.step(executed[-1][None], look=False)
                rewards[h * repeat : (h + 1) * repeat] = self.outcome.rewards
                if self.outcome.success and self.first_success is None:
                    self.first_success = len(self.rewards)  # index of this decision, which is appended below
        for decisions, some in ((self.meant, meant), (self.executed, executed)):
            decisions.append(np.stack([*some, *[some[-1]] * (chunk - len(some))]))  # the last action fills up the chunk in which the episode ended
        self.rewards.append(rewards)
        self.observations.append(self.adapter.observe())

    def episode(self, job: Job) -> Episode:
        """Return the record of the finished episode."""
        outcome, none = self.outcome, np.zeros((len(self.meant), 0))
        assert outcome is not None, "an episode lasts at least one step"
        return Episode(
            task=self.adapter.config.title,
            seed=job.seed,
            attempt=job.attempt,
            policy="oracle",  # for any expert; each cycle replays all decisions of such episodes
            instruction=self.observations[0].instruction,
            frames=np.stack([o.frames for o in self.observations]),
            actions=np.stack(self.executed),
            tokens=none.astype(np.int64),
            logprobs=none.astype(np.float32),
            rewards=np.stack(self.rewards),
            success=self.first_success is not None,
            first_success=self.first_success,
            success_at_end=outcome.success_at_end,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            achieved=outcome.achieved,
            states=None if self.observations[0].state is None else np.stack([o.state for o in self.observations]),  # type: ignore[arg-type]
            target_actions=unlike(self.meant, self.executed),  # None without noise
        )


def demonstrate(session: Session, track: Track) -> None:
    """Stage `demonstrate`: the demonstrations of an expert or of a dataset, for the warm start, into `start/` and `demonstrate.json`.

    Args:
        session: of the run.
        track: for progress bar, notes and figures.

    Raises:
        ValueError: too many demonstrations are faulty, there is no expert, the dataset is unsuitable, or no demonstration succeeds.
    """
    run = session.run
    folder, config = run.folder / "start", run.config.demonstrate
    kinds = spread(config.episodes, [env.weight for env in run.config.envs])
    base = SEEDS["demonstrations"] + 100_000 * run.config.seed
    jobs = [Job(base + i, 0, (run.config.seed, 0, i), kind) for i, kind in enumerate(kinds)]  # the 0 stands where practice has its cycle
    tally = Tally()  # of a dataset

    def go() -> dict[str, Any]:
        with track.bar("demonstrate", len(jobs)) as step:
            kept, codec, target = [episode.seed for episode in run.episodes(folder)], session.policy.codec, Target.of(session.environments.first)
            # After a kill an expert goes on behind the last job whose episode is on disk. Jobs before it without an episode were faulty.
            begun = 1 + max((i for i, job in enumerate(jobs) if job.seed in kept), default=-1)
            faulty = FaultBudget(len(jobs), MAX_FAULT_SHARE, 0 if config.dataset else begun - len(kept))
            if config.dataset:
                # Seeds of a dataset are its own, or missing, so episodes on disk are skipped by number. The dataset is read from its beginning.
                episodes = itertools.islice(datasets.stored(run.config, target, codec, tally), len(kept), None)
            else:
                # Where the detector labels alone, episodes go on after their success: more examples of fulfilled instructions for the detector.
                environments, expert = session.practice_environments, everyone(run.config.envs, config.expert)
                episodes = record(environments, codec, jobs[begun:], config.noise, expert, faulty, run.config.processes)
            store(session, folder, ponder(session.policy, episodes) if codec.thought_length else episodes, lambda episode: step(1))
        recorded = run.episodes(folder)
        for line in tally.lines():
            track.note(f"of the {len(recorded) + tally.reasons.total()} episodes of {config.dataset} that were read, {line}: left out")
        if faulty.count:
            first = f"; the first: {faulty.first}" if faulty.first else ""  # '' where all of them were before a kill
            track.note(f"{faulty.count} of {len(jobs)} demonstrations were faulty and are left out{first}")
        figures = {"episodes": len(recorded), "success": success_rate(recorded)}
        figures |= {"left_out": faulty.count} if faulty.count else {}
        if config.dataset:
            figures |= datasets.figures(recorded, tally, target)
        else:
            figures |= {"env_steps": num_env_steps(recorded)}
        loss, sentences = datasets.loss_figures(recorded, codec, target.box if config.dataset else None)
        if loss:
            shares = ", ".join(f"{100 * share:.0f}" for share in loss.values())
            track.note(f"The codec loses {shares} % of the standard deviation of the demonstrations' actions, number by number.")
        if tally.idle:
            sentences.append(f"{tally.idle} of {tally.decisions} decisions do nothing, and are left out.")
        for sentence in [*(Dataset.of(run.config, target).sentences() if config.dataset and config.episodes else ()), *sentences]:
            track.note(sentence)
        return {"figures": figures | loss}

    run.keep(folder / "demonstrate.json", go)
    track.log(run.metrics())
    check_success_demonstrated(run)  # not in `go`, so that it is checked also where `keep` only reads the stage file of an earlier start


def check_success_demonstrated(run: Run) -> None:
    """Check that at least one demonstration succeeds, where the model is trained on demonstrations to predict success or steps to go.

    Raises:
        ValueError: no demonstration succeeds.
    """
    folder = run.folder / "start"
    # The key that needs a success; '' for none.
    key = (
        "label.by detector" if run.config.label.by == "detector" else "curate.credit steps_to_go" if run.config.curate.credit == "steps_to_go" else ""
    )
    figures = load(folder / "demonstrate.json")["figures"]
    if key and not figures["success"]:
        raise ValueError(
            f"{key} needs demonstrations of a success, and none of the {figures['episodes']} in {folder} is one; "
            "give a demonstrate.expert or a demonstrate.dataset that succeeds, and a new run folder."
        )
