"""Rows of `metrics.jsonl` and W&B, with the names of TRL and Stable-Baselines3 for figures that these have too (docs/metrics.md)."""

from pathlib import Path
from typing import Any

from agent.run.files import load
from agent.run.layout import STAGES, gate_seconds, stage_folders

# Stage files whose figures are logged, in the order of the stages: this is the order of the rows.
LOGGED = ("ground", "demonstrate", "base_detector", "collect", "detector", "steps_to_go", *STAGES[1:], "cycle")
PREFIX = {"collect": "rollout", "evaluate": "eval"}  # of metric names; other stages have their own name as prefix
NAMES = {  # figures by stage whose metric is not just PREFIX/figure
    "collect": {"success": "rollout/success_rate", "lookahead_success": "rollout/lookahead_success_rate"},
    "label": {"success": "label/success_rate"},
    "demonstrate": {"success": "demonstrate/success_rate"},
    "curate": {"practice_success": "curate/success_rate", "pass_at_k": "rollout/pass@k"},
    "evaluate": {
        "base_rate": "eval/base_success_rate",
        "gate_rate": "eval/success_rate",
        "champion_rate": "eval/champion_success_rate",
        "gate_low": "eval/success_rate_low",
        "gate_high": "eval/success_rate_high",
        "gate_gain": "eval/gain",
        "gate_p_value": "eval/p_value",
        "won": "eval/wins",
        "lost": "eval/losses",
    },
}
STEP = {  # figures of a gradient step; all others have the prefix train/
    "dpo_loss": "dpo/loss",
    "displacement": "dpo/displacement",
    "margins": "rewards/margins",
    "accuracies": "rewards/accuracies",
    "chosen_logps": "logps/chosen",
    "rejected_logps": "logps/rejected",
}


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return every logged row so far, in the order of the stages, as in `metrics.jsonl`.

    Each row has `cycle` and `stage`; a row of one gradient step also has `step`. Figures have names such as `rollout/success_rate`. Other rows have
    `env_steps`: environment steps of demonstrations and practice so far.
    """
    rows, env_steps = [], 0
    for number, folder in stage_folders(run).items():
        for stage in LOGGED:
            if (folder / f"{stage}.json").exists():
                content = load(folder / f"{stage}.json")
                now = {"cycle": max(number, 0), "stage": stage}  # grounding (-1) and warm start (0) are both cycle 0
                # `step` begins at 0 in every stage; `Track` numbers the steps through the run for W&B.
                rows += [{**now, "step": row["step"], **_step(row)} for row in content.get("rows", [])]
                # The episodes of a gate are in files of their own, and `evaluate.json` has only the seconds since the last of them.
                seconds = content.get("seconds", 0.0) + (gate_seconds(run, number) if stage == "evaluate" else 0.0)
                named = _named(stage, {**content.get("figures", {}), "seconds": round(seconds, 2)})
                env_steps += named.get(f"{PREFIX.get(stage, stage)}/env_steps", 0)
                rows.append({**now, **named, **({"env_steps": env_steps} if env_steps else {})})
    return rows


def _step(row: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one gradient step by their metric names."""
    return {STEP.get(key, f"train/{key}"): value for key, value in row.items() if key != "step"}


def _named(stage: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a stage by their metric names; `success/TASK`, of one task alone, becomes `rollout/success_rate/TASK`."""
    named = {}
    for key, value in figures.items():
        name, slash, task = key.partition("/")
        named[NAMES.get(stage, {}).get(name, f"{PREFIX.get(stage, stage)}/{name}") + slash + task] = value
    return named
