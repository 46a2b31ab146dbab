"""A check whether frames look as they did when the run began: other frames make its evaluations incomparable."""

from collections.abc import Sequence
from typing import Any

from agent.run.files import load, save
from agent.run.folder import Run
from envs.faults import in_words
from envs.simulate.fingerprint import differences, fingerprint


def recorded(run: Run) -> dict[str, Any]:
    """Return the fingerprint of each environment when the run began, by its title."""
    return load(run.folder / "environment.json")


def recognise(run: Run, adapters: Sequence[Any]) -> str:
    """Record in a new run what its frames depend on (package versions, renderer, a frame's hash); compare it in a run that goes on.

    Args:
        run: that begins or goes on.
        adapters: one of each of its environments.

    Returns:
        A warning that names the differences; '' if frames look the same.
    """
    file = run.folder / "environment.json"
    try:
        now = {adapter.config.title: adapter.apply(fingerprint) for adapter in adapters}
    except Exception as error:  # an environment may raise anything; without a fingerprint the run goes on all the same
        now = {run.config.task: {"id": run.config.task, "fault": in_words(error)}}
    if not file.exists():
        save(file, now)
    then = recorded(run)  # of a new run: what was just saved, so nothing differs
    changed = "; ".join(filter(None, (differences(then.get(title, {}), fingerprints) for title, fingerprints in now.items())))
    return changed and f"This run began where frames look different, so its evaluations cannot be compared: {changed}."
