"""Videos of evaluations: the first episodes of each environment, with what stands beside them; and the champion's rate after a gate."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from agent.config.read import parse
from agent.evaluate.shown import SHOWN, FirstOfEach, write_videos
from agent.evaluate.stage import gate_figures
from agent.evaluate.statistics import compare
from agent.records import Episode, Scorecard
from agent.rollout.session import Session
from agent.run.folder import Run
from tests.agent.made import episode


def first_of_each(num_envs: int, episodes: list[Episode]) -> list[Episode]:
    kept = FirstOfEach(num_envs)
    for each in episodes:
        kept.see(each)
    return kept.episodes


def test_each_environment_has_as_many_videos_and_an_episode_without_a_reset_none() -> None:
    made = [replace(episode(seed, 0, [0.1], False), task=task) for task in "ab" for seed in range(10)]
    lost = replace(made[0], instruction="")
    shown = first_of_each(2, [lost, *made[1:]])
    assert [(each.task, each.seed) for each in shown] == [*(("a", seed) for seed in range(1, 5)), *(("b", seed) for seed in range(4))]
    assert len(first_of_each(1, made[:10])) == SHOWN and first_of_each(0, made) == []


def test_a_video_shows_one_frame_a_decision_at_the_robots_speed(tmp_path: Path) -> None:
    config = parse({"env": {"id": "etude/Reach-v0", "name": "t"}, "track": {"mode": "off"}}, "test")
    session = Session(Run(tmp_path / "run", config).begin())
    try:
        made = episode(3, 0, [0.1, 0.2, 0.9], True), episode(4, 0, [0.1, 0.2], False)
        won, lost = (replace(each, frames=np.repeat(each.frames, 2, axis=1)) for each in made)  # Reach has two cameras
        first, second = write_videos(session, [won, lost], [0.91234, 0.2], "gate-a-cycle-1")
    finally:
        session.close()
    assert first == {"task": "t", "seed": 3, "instruction": "touch the red ball", "success": True, "score": 0.9123, "video": "gate-a-cycle-1-0.mp4"}
    assert not second["success"]
    with av.open(str(tmp_path / "run" / "evaluate" / "videos" / first["video"])) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert times[1] == pytest.approx(0.2), "Reach makes 20 steps a second, and holds each action for 4"
    assert len(times) == 4 + 5, "observations, and the last one held for a second"


@pytest.mark.parametrize("promoted", [True, False])
def test_the_champions_rate_is_that_of_the_policy_that_goes_on(promoted: bool, tmp_path: Path) -> None:
    run = Run(tmp_path, parse({"track": {"mode": "off"}}, "test"))
    before, after = (Scorecard(name, {f"t/{seed}": seed < passed for seed in range(20)}) for name, passed in (("b", 7), ("a", 13)))
    figures = gate_figures(run, compare(after, before), after, promoted)
    assert figures["champion_rate"] == (0.65 if promoted else 0.35)
