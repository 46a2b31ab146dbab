"""Videos of the first episodes of an evaluation, as the policy saw them, and what stands beside them in a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from agent.records import Episode
from agent.rollout.session import Session
from agent.run.mp4 import write

SHOWN = 8  # episodes of an evaluation; the same seeds for every policy of one evaluation, whatever their outcome
SIZE = 256  # height and width of a video, pixels


class FirstOfEach:
    """Keeps the first `SHOWN` episodes of an evaluation, of several environments as many of each.

    Args:
        num_envs: number of environments; 0: no episode is kept.
    """

    def __init__(self, num_envs: int) -> None:
        self.episodes: list[Episode] = []
        self._share = max(SHOWN // num_envs, 1) if num_envs else 0

    def see(self, episode: Episode) -> None:
        """Keep an episode, unless its environment has its share; one without an instruction lost its reset and has nothing to show."""
        if episode.instruction and sum(each.task == episode.task for each in self.episodes) < self._share:
            self.episodes.append(episode)


def write_videos(session: Session, episodes: Sequence[Episode], scores: Sequence[float], name: str) -> list[dict[str, Any]]:
    """Write a video of each episode into `evaluate/videos`, and return a row for each: seed, instruction, outcome, detector's score, file.

    Args:
        session: of the run.
        episodes: to show.
        scores: the success detector's, one an episode; empty: no detector was asked.
        name: of the evaluation.
    """
    folder, rows = session.run.folder / "evaluate" / "videos", []
    for number, episode in enumerate(episodes):
        env = session.environments.firsts[session.environments.of(episode.task)]
        fps = env.rate / (env.config.action_repeat * session.config.policy.chunk_size)  # one frame a decision
        frames = [_enlarged(frames[-len(env.config.sources)]) for frames in episode.frames]  # the newest frame of the first camera
        success = episode.success and not episode.faults
        file = write(frames, folder / f"{name}-{number}.mp4", f"{episode.instruction} ({'success' if success else 'failure'})", fps)
        told = {"task": episode.task, "seed": episode.seed, "instruction": episode.instruction, "success": success}
        rows.append({**told, "score": round(scores[number], 4) if len(scores) else None, "video": file.name})
    return rows


def _enlarged(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.NEAREST))  # pixels stay as the policy sees them
