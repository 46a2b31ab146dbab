"""What is known of a run's scenes before it begins, and which weights train because of that (`policy.train: auto`)."""

from contextlib import closing
from pathlib import Path

from agent.config.config import Config
from agent.config.read import read_own
from agent.rollout.environments import Environments
from envs import pretrained
from envs.adapt import Adapter
from envs.host import Proxy

Place = Adapter | Proxy


def answered_by_simulator(place: Place) -> bool:
    """Return whether MuJoCo's state answers questions about the frames of an environment."""
    # With a history the frames of earlier observations come first, and the questions' "view 1" would mean one of them.
    return place.drawn_by_mujoco and place.config.history == 1


def settled_weights(config: Config, run: Path | None = None) -> Config:
    """Return the config with `text` or `all` in the place of `policy.train: auto`; a run that goes on has one of them in its config already.

    The embedded model sees nothing but its own tasks, and MuJoCo scenes that stage `ground` can ask the simulator about. Elsewhere its vision
    tower has to learn with the policy. A model from the hub has seen pictures of many kinds, so its text model alone trains.

    Args:
        config: as the user gave it.
        run: folder of the run, which need not exist; None: there is none.

    Raises:
        ValueError: an environment cannot be made.
    """
    if config.policy.train != "auto":
        return config
    train = "text"
    if run is not None and (run / "config.yaml").exists():
        train = read_own(run / "config.yaml").policy.train
    elif config.policy.model == "nano" and not all(map(pretrained, config.envs)):
        with closing(Environments(config.envs, 1)) as environments:
            train = "all" if strange(environments.firsts) else "text"
    return config.model_copy(update={"policy": config.policy.model_copy(update={"train": train})})


def strange(places: list[Place]) -> list[str]:
    """Return the titles of environments whose scenes the embedded model has never seen, and no simulator's state can be asked about."""
    return [place.config.title for place in places if not pretrained(place.config) and not answered_by_simulator(place)]


def in_a_sentence(config: Config, places: list[Place]) -> str:
    """Return what the embedded model has never seen, and what trains because of that, as a sentence; '' where it knows all scenes."""
    titles = strange(places) if config.policy.model == "nano" else []
    if not titles:
        return ""
    learns = {
        "text": "its vision tower learns in stage ground alone (policy.train is text; all would train it with the policy)",
        "all": "its vision tower learns too (policy.train is all)",
    }.get(config.policy.train, f"policy.train is {config.policy.train}")
    asked = "" if config.ground.steps == 0 else ", first from questions that frames, actions and time answer (stage ground)"
    return (
        f"The embedded model has never seen scenes like those of {', '.join(titles)}, and no MuJoCo state can be asked about them: {learns}{asked}."
    )
