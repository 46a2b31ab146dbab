"""Whether a run goes on where frames look as they did when it began."""

from collections.abc import Sequence
from typing import Any

from agent.run.files import load, save
from agent.run.folder import Run
from envs.faults import in_words
from envs.simulate.fingerprint import differences, fingerprint


def recorded(run: Run) -> dict[str, Any]:
    """Return what was written down of each environment when the run began."""
    return load(run.folder / "environment.json", plain=lambda content: bool(content) and all("frames" in each for each in content.values()))


def recognise(run: Run, adapters: Sequence[Any]) -> str:
    """Write down what the environment's frames depend on; a run that goes on gets a sentence for what is not as it was, else ''."""
    file = run.folder / "environment.json"
    try:
        now = {adapter.config.title: adapter.apply(fingerprint) for adapter in adapters}
    except Exception as error:  # an environment may raise anything; here it costs only the fingerprint
        now = {run.config.task: {"id": run.config.task, "fault": in_words(error)}}
    if not file.exists():
        save(file, now)
    then = recorded(run)
    changed = "; ".join(filter(None, (differences(then.get(title, {}), each) for title, each in now.items())))
    return changed and f"This run began where frames look different, so its evaluations cannot be compared: {changed}."
