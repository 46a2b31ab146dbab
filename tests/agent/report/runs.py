"""Runs made by hand, finished and not, for the tests of the report."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.config.read import parse
from agent.evaluate.statistics import account, compare
from agent.records import Scorecard
from agent.run.files import write_text
from agent.run.folder import Run

GATE, FINAL = 200, 400
PLAN = ((60, True), (100, True), (96, False), (104, False), (150, True))  # gate seeds that each cycle's candidate passes, and promoted
VIDEO = b"\x00\x00\x00 ftypisom a video"


def card(name: str, kind: str, passed: int) -> dict[str, Any]:
    """Return the scorecard of a policy that passes the first seeds of an evaluation."""
    count = {"gate": GATE, "test": FINAL}[kind]
    return asdict(Scorecard(name, {f"etude/Reach-v0/{seed}": seed < passed for seed in range(count)}))


def tuned(name: str, steps: int, preference: bool = True) -> dict[str, Any]:
    """Return the content of a tune stage."""
    pairs = {"chosen_logps": -5.0, "rejected_logps": -7.5, "margins": 0.4} if preference else {}
    rows = [{"step": i, "loss": 1.0 / (i + 1), "entropy": 1.5 - 0.01 * i, "approx_kl": 0.002 * i, **pairs} for i in range(steps)]
    return {"figures": {"steps": steps}, "rows": rows, "policy": name}


def start(folder: Path, instruction: str = "", cycles: int = len(PLAN), max_minutes: float = 0) -> Run:
    """Return a run whose warm start is done."""
    run = Run(folder, parse({"cycles": cycles, "max_minutes": max_minutes, "env": {"instruction": instruction}}, "test")).begin()
    run.keep(folder / "start" / "demonstrate.json", lambda: {"figures": {"episodes": 20, "success": 1.0}})
    run.keep(folder / "start" / "tune.json", lambda: tuned("base", 40, preference=False))
    return run


def collect(run: Run, number: int, champion: str, faults: tuple[str, ...] = (), earlier: int = 0) -> Path:
    """Do the stages of a cycle up to `curate`."""
    folder = run.cycle(number).folder
    figures = {"success": 0.1 * number, "decisions": 3000, "faults": len(faults)}
    run.keep(folder / "collect.json", lambda: {"figures": figures, "policy": champion, "faults": list(faults[:20])})
    run.keep(folder / "label.json", lambda: {"figures": {"episodes": 512, "success": 0.1 * number}, "episodes": []})
    training_data = {"demonstrations": 731, "pairs": 77, "samples": 2999, "seeds": 64.0, "mixed_seeds": 41.0, "earlier": earlier}
    run.keep(folder / "curate.json", lambda: {"figures": training_data})
    return folder


def close_cycle(run: Run, number: int, champion: tuple[str, int], passed: int, promoted: bool) -> tuple[str, int]:
    """Do the other stages of a cycle; return name and gate seeds of the next champion."""
    folder, name = run.cycle(number).folder, f"candidate{number}"
    run.keep(folder / "tune.json", lambda: tuned(name, 16))
    before, after = (Scorecard(**card(*who, count)) for who, count in (((champion[0], "gate"), champion[1]), ((name, "gate"), passed)))
    for each in (before, after):
        run.keep(run.folder / "evaluate" / f"gate-{each.policy}-cycle-{number}.json", lambda each=each: asdict(each))
    comparison, rate = compare(after, before), after.success
    figures = {"promoted": promoted, "gate_rate": rate.rate, "gate_low": rate.low, "gate_high": rate.high}
    figures |= {"gate_gain": comparison.gain, "gate_p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
    run.keep(folder / "evaluate.json", lambda: {"figures": figures})
    run.keep(folder / "cycle.json", lambda: {"figures": {}, "champion": name if promoted else champion[0], **figures})
    return (name, passed) if promoted else champion


def finish(run: Run, first: str, last: str, passed: tuple[int, int] = (57, 314), base: int = 8) -> None:
    """Evaluate on the test seeds, and write the summary as `evaluation.conclude` does."""
    counts = {"untrained": base, first: passed[0], last: passed[1]}
    for name, count in counts.items():
        run.keep(run.folder / "evaluate" / f"test-{name}.json", lambda name=name, count=count: card(name, "test", count))
    cards, results = {name: Scorecard(**card(name, "test", count)) for name, count in counts.items()}, run.results()
    summary = {"task": run.config.env.id, "seed": 0, "cycles": len(results), "promoted": sum(result["promoted"] for result in results)}
    summary |= account({"base": cards["untrained"], "warm_start": cards[first]}, cards[last]) | {"policy": last, "seconds": {"total": 498.0}}
    write_text(run.folder / "summary.json", json.dumps(summary))


def video(folder: Path, *names: str) -> None:
    """Put videos into a run."""
    (folder / "videos").mkdir()
    for name in names:
        (folder / "videos" / f"{name}.mp4").write_bytes(VIDEO + name.encode())


def whole(folder: Path, instruction: str = "", faults: tuple[str, ...] = ()) -> Run:
    """Return a finished run of five cycles, of which two were rolled back."""
    run, champion = start(folder, instruction), ("base", 30)
    for number, (passed, promoted) in enumerate(PLAN, 1):
        collect(run, number, champion[0], faults if number == 2 else (), earlier=512 if number == 4 else 0)
        champion = close_cycle(run, number, champion, passed, promoted)
    finish(run, "base", champion[0])
    return run
