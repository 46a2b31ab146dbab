"""The three kinds of datasets that demonstrations come from, as `Episode`s in the policy's own action tokens, failures among them.

n = recorded environment steps of an episode; T, H, A, F as in `records`; C = cameras.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agent.config.config import Config
from agent.demonstrate import readers
from agent.demonstrate.cells import reading
from agent.demonstrate.lerobot import STATE, LeRobot
from agent.demonstrate.oddities import oddities, state_sentences
from agent.demonstrate.outcomes import silence
from agent.demonstrate.survey import Survey, outlier_sentences, range_sentences
from agent.demonstrate.target import Tally, Target
from agent.records import Episode
from agent.run import episodes as dataset
from envs.frames import picture
from envs.success import Success

MINARI = "minari:"  # the prefix of a Minari id
NO_SEED = -1  # of an episode whose dataset has no seed for it
STRANGE = "have a label that the environment does not have"
ALIKE = 0.05  # share by which two rates may differ and still be the same


def survey_of(source: str) -> Survey:
    """Return the survey of all actions of `demonstrate.dataset`, without frames and whatever the environment is.

    Raises:
        ValueError: there is no such dataset, it is damaged, or it has no usable action.
    """
    tally = Tally()
    if source.startswith(MINARI):
        actions = readers.minari_actions(source.removeprefix(MINARI), tally.leave_out)
    else:
        actions = LeRobot(Path(source).expanduser()).actions(tally.leave_out)
    if not (rows := [each for each in actions if len(each)]):
        why = ", ".join(tally.lines(3)) or "it is empty"
        raise ValueError(f"demonstrate.dataset {source} has no usable episode ({why}); name another one, or an expert in demonstrate.expert.")
    if len({each.shape[1] for each in rows}) > 1:
        raise ValueError(f"demonstrate.dataset {source} has actions of several sizes; record one robot in a dataset.")
    return Survey.of(rows)


class Dataset:
    """The dataset that a config names.

    Args:
        config: names it, its cameras and the environment.
        target: of the environment.
    """

    def __init__(self, config: Config, target: Target) -> None:
        self.config, self.target, self.env, self.source = config.demonstrate, target, config.envs[0], config.demonstrate.dataset
        self.ranges = config.policy.state
        self.has_state = True
        """Whether the episodes' states are those of the environment; others only tell where nothing moves."""

    @staticmethod
    def of(config: Config, target: Target) -> "Dataset":
        """Return the dataset of the kind that it is.

        Raises:
            ValueError: there is none, it is damaged, or it does not suit the environment.
        """
        source, others = config.demonstrate.dataset, config.envs[1:]
        if others:
            raise ValueError(f"demonstrate.dataset {source} serves one environment, and this run has {1 + len(others)}; name experts instead.")
        files = None if source.startswith(MINARI) else LeRobot(Path(source).expanduser())
        if files is not None and "etude" not in files.info:  # only `agent.run.episodes` writes that key
            return Foreign(config, target, files)
        if config.demonstrate.steps_per_row not in (None, 1):
            kind = "a Minari dataset, whose rows are steps" if files is None else "episodes of a run, whose rows are decisions"
            raise ValueError(f"demonstrate.steps_per_row is for a LeRobotDataset of another producer, and {source} holds {kind}; remove that key.")
        return Minari(config, target) if files is None else Own(config, target, files)

    @cached_property
    def survey(self) -> Survey:
        """The survey of all its actions; errors as of `survey_of`, and ValueError where they have another size than the environment's."""
        survey = survey_of(self.source)
        readers.check_width(self.source, len(survey.low), len(self.target.actions), self.env)
        return survey

    def episodes(self, codec: Any, tally: Tally) -> Iterator[Episode]:
        """Yield all usable episodes, failures among them."""
        raise NotImplementedError

    def sentences(self) -> list[str]:
        """Return what a user should know before a policy learns from it; [] where nothing is unusual."""
        if self.target.actions.counts.any():  # labels have neither units nor a middle
            return []
        return outlier_sentences(self.survey) + range_sentences(self.survey, *self.target.box)

    @property
    def needed(self) -> set[str]:
        """Return which columns its episodes need in this run, of those that some runs do not need."""
        return set()

    def _allowed(self, recordings: Iterator[readers.Recording], tally: Tally) -> Iterator[readers.Recording]:
        """Yield the recordings whose labels the environment has."""
        for each in recordings:
            if wrong := self.target.unknown(each.actions):
                tally.leave_out(STRANGE, f"episode {each.number}, {wrong}")
            else:
                yield each

    def _episode(self, recording: readers.Recording, frames: np.ndarray, codec: Any) -> Episode:
        """Return a recording as an episode of the policy's decisions; `frames` with their history, uint8[T + 1, F, h, w, 3]."""
        env, hits, seed = self.env, recording.hits, recording.seed
        held = cut(recording.actions, self.target.actions.counts, env.action_repeat, codec.chunk, self.survey)
        span, tokens = env.action_repeat * codec.chunk, np.stack([codec.encode(each) for each in held])
        rewards = np.full(len(held) * span, np.nan, np.float32)  # NaN: steps of the last decision that were not recorded
        rewards[: len(hits)] = recording.rewards
        return Episode(
            task=env.title,
            seed=NO_SEED if seed is None or seed >= 2**63 else seed,  # Minari draws seeds of 64 bits; a dataset on disk holds signed ones
            attempt=recording.number,
            policy="oracle",  # as for any expert; each cycle replays all decisions of such episodes
            instruction=recording.instruction,
            frames=frames,
            actions=held,
            tokens=tokens,
            logprobs=np.zeros(tokens.shape, np.float32),
            rewards=rewards.reshape(len(held), span),
            success=bool(hits.any()),
            first_success=int(hits.argmax()) // span if hits.any() else None,  # steps to decisions
            success_at_end=bool(hits[-1]),
            terminated=bool(hits[-1]),  # a recording that does not end in a success counts as cut off
            truncated=not hits[-1],
            achieved=recording.achieved,
            states=recording.states,
        )


class Minari(Dataset):
    """A local Minari dataset; the environment draws its frames, with their history."""

    def episodes(self, codec: Any, tally: Tally) -> Iterator[Episode]:
        """Yield all usable episodes, replayed."""
        env = self.env
        if env.action_bounds is not None:  # bounds of the policy, which must not clip what was recorded
            survey = self.survey
            # One pair, wide enough for every number.
            env = env.model_copy(update={"action_bounds": (float(survey.low.min()), float(survey.high.max()))})
        span = env.action_repeat * codec.chunk
        for each in self._allowed(readers.minari(self.source.removeprefix(MINARI), env, span, tally.leave_out), tally):
            yield self._episode(each, each.frames, codec)


class Foreign(Dataset):
    """A LeRobotDataset of any producer.

    Raises:
        ValueError: its cameras, actions, state or rate do not suit the environment.
    """

    def __init__(self, config: Config, target: Target, files: LeRobot) -> None:
        super().__init__(config, target)
        self.files, self.cameras = files, _cameras(config, files)
        readers.check_width(files.root, files.sizes.get(files.targets, 0), len(target.actions), self.env)
        size = files.sizes.get(STATE, 0)
        self.has_state = target.state_size == size > 0  # by its size alone: a dataset does not say what its numbers mean
        if self.ranges and not self.has_state:
            has = f"{size} numbers in {STATE}" if size else f"no {STATE}"
            where = f"demonstrate.dataset {files.root} has {has}, and {self.env.id} has {target.state_size or 'an unknown number'} in its state"
            raise ValueError(f"{where} (env.state), which policy.state puts into the prompt; name the same state, or leave policy.state empty.")
        if config.demonstrate.steps_per_row is None and self.other_rate:
            rates = f"has {files.fps:g} rows a second, and {self.env.id} takes {target.rate:g} steps a second"
            ratio = (target.rate or 0) / files.fps  # `or` serves the type alone: without a rate there is no other one
            remedy = f"set demonstrate.steps_per_row to {ratio:.4g} if an action lasts as long as its row, or to 1 if a row is a step"
            raise ValueError(f"demonstrate.dataset {files.root} {rates}; {remedy}.")
        self.steps_per_row = config.demonstrate.steps_per_row or 1.0
        rule = Success(self.env.success)
        self.rule = rule if not files.success_column and "next.reward" in files.columns and rule.of_reward else None
        """`env.success`, where it can tell a success from the recorded rewards and nothing else can."""

    @property
    def needed(self) -> set[str]:
        """Return which columns its episodes need in this run, of those that some runs do not need."""
        videos = any(self.files.features[key]["dtype"] == "video" for key in self.cameras)
        return ({STATE} if self.has_state else set()) | ({"timestamp"} if videos else set())

    @property
    def other_rate(self) -> bool:
        """Return whether the environment declares another rate than the dataset's."""
        return self.target.rate is not None and abs(self.target.rate / self.files.fps - 1) > ALIKE

    def episodes(self, codec: Any, tally: Tally) -> Iterator[Episode]:
        """Yield all usable episodes, failures among them."""
        _ = self.survey  # first, so that a dataset without a usable action is refused before its frames are read
        span = self.env.action_repeat * codec.chunk
        success = None if self.rule is None else self._hits
        recordings = self.files.recordings(
            self.cameras, tally.leave_out, span=span, size=self.env.size, steps_per_row=self.steps_per_row, state=self.has_state, success=success
        )
        for each in self._allowed(recordings, tally):
            yield self._episode(each, _remembered(each.frames, self.env.history), codec)

    def _hits(self, rewards: np.ndarray) -> np.ndarray:
        """Return whether `env.success` holds after each row, bool[n], by the rewards of the rows as they were recorded, float64[n]."""
        assert self.rule is not None, "asked only where there is one"
        totals = np.cumsum(rewards)  # `total_reward` of the rule: the sum up to each row
        return np.array([self.rule({}, None, float(now), float(total)) for now, total in zip(rewards, totals, strict=True)])

    def sentences(self) -> list[str]:
        """Return what a user should know before a policy learns from it."""
        said = [*super().sentences(), *oddities(self.files)]
        said += state_sentences(self.files, self.ranges, self.target.state_box) if self.has_state else []
        if self.other_rate:
            rates = f"{self.files.fps:g} rows a second, and {self.env.id} takes {self.target.rate:g} steps"
            said.append(f"The dataset has {rates}; a row lasts {self.steps_per_row:g} of them (demonstrate.steps_per_row).")
        elif self.target.rate is None and self.config.steps_per_row is None:
            remedy = "set demonstrate.steps_per_row to the steps that a row lasts, or to 1 if that is right"
            said.append(f"{self.env.id} declares no rate, so each of {self.files.fps:g} rows a second is taken for one environment step; {remedy}.")
        if self.rule is not None:
            said.append("The dataset has no success column, so env.success decides by its rewards.")
        elif not self.files.success_column:
            has = "" if "next.reward" not in self.files.columns else "; an env.success over reward or total_reward would be asked of its rewards"
            said.append(f"{silence(self.files.columns)}{has}.")
        if STATE in self.files.sizes and not self.has_state:
            told = f"{self.files.sizes[STATE]} numbers, and that of the environment {self.target.state_size or 'an unknown number'} (env.state)"
            said.append(f"The dataset's {STATE} has {told}, so a policy does not get it.")
        return said


# Fields that mean something in practice alone. `policy_tokens` are also in the codec of the policy that collected, which may be another one.
NOT_SHOWN: dict[str, Any] = {"policy_tokens": None, "lookahead_gains": None, "hindsight": None}


class Own(Dataset):
    """Episodes that a run of etude stored, one row a decision. Actions are encoded anew: the codec may be another one now."""

    def __init__(self, config: Config, target: Target, files: LeRobot) -> None:
        super().__init__(config, target)
        self.files, self.cameras = files, _cameras(config, files)

    def episodes(self, codec: Any, tally: Tally) -> Iterator[Episode]:
        """Yield all usable episodes, failures among them."""
        env, root = self.env, self.files.root
        chosen = [[*self.files.features].index(key) for key in self.cameras]  # cameras are the first features that etude writes
        with reading(root):
            recorded = dataset.read(root)
        for episode in recorded:
            if episode.faults or not len(episode):
                tally.leave_out("were faulty", f"episode {episode.id}")
                continue
            _, chunk, width = episode.actions.shape
            readers.check_width(root, width, len(self.target.actions), env)
            # Stored actions are held ones, so they cannot be cut anew for another chunk or action_repeat. Rewards are one an environment step.
            if (chunk, held := episode.rewards.shape[1] // chunk) != (codec.chunk, env.action_repeat):
                here = f"policy.chunk_size {codec.chunk} and env.action_repeat {env.action_repeat}"
                raise ValueError(f"demonstrate.dataset {root} was recorded with chunk {chunk} and action_repeat {held}, not {here}; set them alike.")
            if wrong := self.target.unknown(episode.targets.reshape(-1, width)):
                tally.leave_out(STRANGE, f"episode {episode.id}, {wrong}")
                continue
            frames = np.stack([[picture(frame, env.size) for frame in observation[chosen]] for observation in episode.frames])
            tokens = np.stack([codec.encode(each) for each in episode.targets])  # targets, not executed actions: those of a noisy expert differ
            blank = np.zeros(tokens.shape, np.float32)
            yield replace(episode, policy="oracle", frames=_remembered(frames, env.history), tokens=tokens, logprobs=blank, **NOT_SHOWN)


def _cameras(config: Config, files: LeRobot) -> list[str]:
    """Return the features that stand for `env.cameras`, in that order."""
    env, names = config.envs[0], config.demonstrate.cameras or config.envs[0].sources
    if len(names) != len(env.sources):
        raise ValueError(f"demonstrate.cameras names {len(names)} cameras, and env.cameras {len(env.sources)}; name one for each.")
    return [files.camera(name) for name in names]


def _remembered(frames: np.ndarray, history: int) -> np.ndarray:
    """Return uint8[T + 1, F, h, w, 3] for uint8[T + 1, C, h, w, 3]: the frames of the last `history` observations, oldest first."""
    step = np.arange(len(frames))
    # Before the beginning nothing moved: the first frames are repeated, as an Adapter does.
    return np.concatenate([frames[np.maximum(step - age, 0)] for age in range(history - 1, -1, -1)], 1)


def cut(actions_nA: np.ndarray, counts_A: np.ndarray, action_repeat: int, chunk: int, survey: Survey | None = None) -> np.ndarray:
    """Return the decisions of a recording at the environment's control rate, float32[T, H, A].

    A policy holds each action for `action_repeat` steps, so the recorded actions of each such stretch become one action (`Survey.held`).

    Args:
        actions_nA: float[n, A], one recorded action a step.
        counts_A: int[A], number of values of a discrete dimension, 0 where it is continuous.
        action_repeat: steps that an action is held for.
        chunk: H.
        survey: of the whole dataset; None: of this recording.
    """
    survey = survey or Survey.of([actions_nA])
    # The last stretch may be shorter.
    held = [survey.held(actions_nA[start : start + action_repeat], counts_A) for start in range(0, len(actions_nA), action_repeat)]
    held += held[-1:] * (-len(held) % chunk)  # the last action fills up its chunk
    return np.stack(held).reshape(-1, chunk, actions_nA.shape[1]).astype(np.float32)
