"""What a run's folder says so far, finished or not: read once, for the report and for `etude watch`."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.config import Config
from agent.config.read import read_own
from agent.records import Rate, Scorecard
from agent.run import layout
from agent.run.clock import may_begin
from agent.run.files import load
from agent.run.further import finished
from agent.run.layout import STAGES, evaluation_name, gate_of

Content = dict[str, Any]  # of a stage file, or of all stage files of a folder by stage
TIMED = ("ground", "base", "demonstrate", "base_detector", "collect", "detector", "steps_to_go", *STAGES[1:])


@dataclass(frozen=True)
class RunRecord:
    """What lies in a run's folder so far."""

    config: Config
    start: Content  # stage -> content
    cycles: dict[int, Content]  # number -> stage -> content
    evaluations: Content  # 'gate-POLICY-cycle-N' or 'test-POLICY' -> content
    summary: Content  # of `summary.json`; empty while the run is not finished
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Return the record of a run; raises ValueError where there is none, or a damaged one."""
        settings = read_own(folder / "config.yaml")
        cycles = {number: _stages(each) for number, each in layout.cycle_folders(folder).items()}
        summary = layout.summary(folder) if finished(folder, settings) else {}  # a run that goes on has the summary of its earlier end
        return cls(settings, _stages(folder / "ground") | _stages(folder / "start"), cycles, _stages(folder / "evaluate"), summary, folder)

    def now(self) -> str:
        """Return the stage that the run is at."""
        if self.summary:
            return "finished"
        if missing := [stage for stage in ("demonstrate", "tune") if stage not in self.start]:
            return f"warm start, {missing[0]}"
        number = next((n for n in range(1, self.config.cycles + 1) if "cycle" not in self.cycles.get(n, {})), 0)
        # A cycle that has no folder yet may never begin: `max_minutes` can be over.
        late = number and number not in self.cycles and not may_begin(self.folder, number, self.config.max_minutes)
        done = self.cycles.get(number, {})
        return f"cycle {number}, {next((s for s in STAGES if s not in done), STAGES[-1])}" if number and not late else "test evaluation"

    def gate(self, policy: str, cycle: int | None = None) -> Rate | None:
        """Return a policy's success rate on the gate seeds of a cycle, or on all of its gate seeds, if it has none there; None without any."""
        card = self.gate_card(policy, cycle)
        return card.success if card else None

    def gate_card(self, policy: str, cycle: int | None = None) -> Scorecard | None:
        """Return a policy's scorecard on the gate seeds of a cycle, or on all of its gate seeds, if it has none there; None without any."""
        if not policy:  # a cycle without a candidate
            return None
        evaluated = [(gate_of(name), Scorecard(policy, content["outcomes"])) for name, content in self.evaluations.items()]
        found = [card for key, card in evaluated if key == (policy, cycle)] or [card for key, card in evaluated if key[0] == policy]
        return functools.reduce(Scorecard.and_also, found) if found else None

    def champions(self) -> dict[int, Rate]:
        """Return the champion's gate rate before the first cycle (0) and after each finished one."""
        kept = self.start.get("evaluate", {}).get("figures", {}).get("promoted", True)
        names = {0: self.start.get("tune" if kept else "base", {}).get("policy", "")}
        names |= {number: stages["cycle"]["champion"] for number, stages in self.cycles.items() if "cycle" in stages}
        return {number: rate for number, name in names.items() if (rate := self.gate(name))}

    def ends(self) -> dict[str, Rate]:
        """Return the success rates on the test seeds of `base`, `warm start` and `after`, the last champion; without a warm start two of them."""
        parts = {name.replace("_", " "): self.summary.get(name) for name in ("base", "warm_start", "after")}
        return {name: Rate.read(part) for name, part in parts.items() if part}

    def tested(self) -> tuple[Scorecard | None, Scorecard | None]:
        """Return the scorecards of the better start and of the last champion on the test seeds; None where there is none."""
        if not self.summary:
            return None, None
        before = self.start.get({"base": "base", "warm_start": "tune"}[self.summary["before_is"]], {}).get("policy", "")
        return self._test(before), self._test(self.summary["policy"])

    def _test(self, policy: str) -> Scorecard | None:
        content = self.evaluations.get(evaluation_name("test", policy))
        return Scorecard(content["policy"], content["outcomes"], content["effort"]) if content else None

    def instructions(self) -> dict[str, str]:
        """Return the instruction of each test seed, by 'task/seed'; {} in runs of older versions, which have not stored them."""
        return self.evaluations.get(evaluation_name("test", self.summary.get("policy", "")), {}).get("instructions", {})

    def seconds(self) -> dict[str, dict[str, float]]:
        """Return seconds by stage: of the warm start, of each cycle, of the test evaluation, and of all; evaluations count as `evaluate`."""
        by_gate = {name: (gate_of(name)[1], content["seconds"]) for name, content in self.evaluations.items()}
        table: dict[str, dict[str, float]] = {}
        for number, stages in {0: self.start, **self.cycles}.items():
            row = {stage: content["seconds"] for stage, content in stages.items() if stage != "cycle"}
            gate = sum(seconds for cycle, seconds in by_gate.values() if cycle == number)
            table[f"cycle {number}" if number else "warm start"] = {**row, "evaluate": row.get("evaluate", 0.0) + gate}
        table["test evaluation"] = {"evaluate": sum(seconds for cycle, seconds in by_gate.values() if cycle is None)}
        return table | {"all": {stage: sum(row.get(stage, 0.0) for row in table.values()) for stage in TIMED}}


def _stages(folder: Path) -> Content:
    return {file.stem: _load(file, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.json"))}


_load = functools.lru_cache(4096)(lambda file, changed: load(file))  # read again only when `changed`: watching costs little
