"""Labels: what each episode is worth, by the environment's word."""

from collections.abc import Sequence

from agent.records import Episode, Label


def label(episodes: Sequence[Episode]) -> list[Label]:
    """Return one label an episode: its return, its success, and an instruction that it fulfilled unasked, if there is one."""
    return [Label(episode.total_reward, episode.success, "env", None, episode.unasked and episode.unasked[0]) for episode in episodes]
