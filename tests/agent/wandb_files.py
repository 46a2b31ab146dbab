"""What W&B wrote into a run's folder offline, read back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.run.received import records


@dataclass
class Received:
    """All starts of one run folder together."""

    runs: list[Any] = field(default_factory=list)  # a record a start and update of its settings
    rows: list[dict[str, Any]] = field(default_factory=list)  # of the history, with `_step`; media and tables as dicts
    axes: dict[str, str] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> dict[str, list[str]]:
        """What each of our artifacts was made from, by `name:alias` without the id of the W&B run."""
        found = {}
        for artifact in self.artifacts:
            if artifact.type != "run_table":
                metadata, (alias,) = json.loads(artifact.metadata), {*artifact.aliases} - {"latest"}
                found[f"{artifact.name}:{alias}".partition("-")[2]] = [each.partition("-")[2] or each for each in metadata["made_from"]]
        return found


def nested(items: Any) -> dict[str, Any]:
    """The items of a record as they were logged."""
    whole: dict[str, Any] = {}
    for item in items:
        path = list(item.nested_key) or [item.key]
        if len(path) > 1:  # a picture, a video or a table: name, then its fields
            whole.setdefault(path[0], {})[path[1]] = json.loads(item.value_json)
        else:
            whole[path[0]] = json.loads(item.value_json)
    return whole


def received(folder: Path) -> Received:
    """What W&B received of a run, over all its starts."""
    import wandb

    wandb.teardown()  # `finish` of a run returns before its file is on disk; this waits until W&B's own process has written it and has ended
    all_of = Received()
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        names: dict[int, str] = {}
        for record in records(file):
            if record.HasField("run"):
                all_of.runs.append(record.run)
            if record.HasField("metric"):
                names[len(names) + 1] = record.metric.name or record.metric.glob_name
                all_of.axes[names[len(names)]] = record.metric.step_metric or names.get(record.metric.step_metric_index, "")
            if record.HasField("history"):
                row = nested(record.history.item)
                all_of.rows.append({key: value for key, value in row.items() if not key.startswith("_") or key == "_step"})
            if record.HasField("artifact"):
                all_of.artifacts.append(record.artifact)
            if record.HasField("alert"):
                all_of.alerts.append(record.alert.text)
            if record.HasField("summary"):
                all_of.summary |= nested(record.summary.update)
    return all_of
