"""Artifacts of a run for W&B, with what each was made from: demonstrations -> first policy -> episodes of a cycle -> candidate -> champion.

W&B draws its graph between runs. A run folder is one W&B run, so the chain within it is in each artifact's metadata, as `made_from`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.run.files import load
from agent.run.layout import LOOKAHEAD, cycle_folder, cycle_folders

CHAMPION = ("config.yaml", "champion.json", "base.json", "environment.json", "summary.json")  # what `load_policy` needs, and the results


@dataclass(frozen=True)
class Artifact:
    """Files of a run that W&B keeps as one version of an artifact."""

    kind: str  # dataset or model
    name: str  # without the id of the W&B run, which is put before it
    alias: str  # of this version, beside W&B's own `latest`
    files: dict[str, Path]  # by their paths in the artifact
    made_from: tuple[str, ...]  # artifacts as `name:alias`
    uploaded: bool = False  # False: W&B keeps paths and checksums alone
    figures: tuple[tuple[str, Any], ...] = ()  # further metadata

    @property
    def reference(self) -> str:
        """Return `name:alias`, by which other artifacts name this one."""
        return f"{self.name}:{self.alias}"


def demonstrations(run: Path) -> list[Artifact]:
    """Return the artifact of the demonstrations, if there are any."""
    files = _inside(run / "start" / "episodes")
    return [Artifact("dataset", "demonstrations", "start", files, ())] if files else []


def episodes(run: Path, cycle: int) -> list[Artifact]:
    """Return the artifact of the episodes of a cycle, look-ahead episodes among them."""
    folder = cycle_folder(run, cycle)
    files = {f"{part}/{name}": file for part in ("episodes", f"{LOOKAHEAD}/episodes") for name, file in _inside(folder / part).items()}
    return [Artifact("dataset", "episodes", f"cycle-{cycle}", files, (policy_of(run, load(folder / "collect.json")["policy"]),))] if files else []


def policy(run: Path, cycle: int) -> list[Artifact]:
    """Return the artifact of the policy that a cycle trained; cycle 0 stands for the warm start."""
    folder = cycle_folder(run, cycle) if cycle else run / "start"
    made_from = tuple(each.reference for each in (demonstrations(run) if cycle == 0 else episodes(run, cycle)))
    if cycle:  # training goes on from the champion that collected the episodes
        made_from = (*made_from, policy_of(run, load(folder / "collect.json")["policy"]))
    weights, figures = folder / "policy.safetensors", (("policy", load(folder / "tune.json")["policy"]),)
    files = {weights.name: weights} if weights.is_file() else {}  # a run goes on without the weights of a rolled-back candidate
    return [Artifact("model", "policy", f"cycle-{cycle}" if cycle else "warm-start", files, made_from, figures=figures)]


def champion(run: Path, results: dict[str, Any]) -> list[Artifact]:
    """Return the artifact of the last champion: a folder that `etude.load_policy` loads.

    Args:
        run: folder of the run.
        results: content of its `summary.json`, which becomes metadata.
    """
    content = load(run / "champion.json")
    files = {name: run / name for name in (*CHAMPION, content["weights"]) if (run / name).is_file()}
    files |= {f"{part}/{name}": file for part in ("ground", "code") for name, file in _inside(run / part).items()}
    made_from, rates = (policy_of(run, content["policy"]),), {name: results[name] for name in ("before", "after")}
    figures = {f"{name}/{key}": rate[key] for name, rate in rates.items() for key in ("rate", "low", "high", "n")}
    return [Artifact("model", "champion", f"cycles-{results['cycles']}", files, made_from, True, (("policy", content["policy"]), *figures.items()))]


def policy_of(run: Path, name: str) -> str:
    """Return the artifact, as `name:alias`, of the weights with this fingerprint; `base model` for its own."""
    for number, folder in {0: run / "start", **cycle_folders(run)}.items():
        if (folder / "tune.json").exists() and load(folder / "tune.json")["policy"] == name:
            return f"policy:cycle-{number}" if number else "policy:warm-start"
    return "base model"


def _inside(folder: Path) -> dict[str, Path]:
    """Return the files in a folder by their paths relative to it."""
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
