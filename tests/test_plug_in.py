"""docs/plug-in.md, followed to the letter by somebody in an empty folder; only the run is made shorter."""

import json
import re
from pathlib import Path

import pytest

from tests.called import etude

PAGE = Path(__file__).parent.parent / "docs" / "plug-in.md"
SHORTER = "--threads 1 --cycles 1 --ground.steps 4 --demonstrate.episodes 4 --demonstrate.steps 5 --collect.num_seeds 3"
SHORTER += (
    " --collect.episodes_per_seed 3 --collect.num-envs 4 --evaluate.gate_episodes 4 --evaluate.test-episodes 4 --track.mode off --policy.batch_size 8"
)


@pytest.mark.slow
def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    written = {kind: content for kind, content in blocks if kind}
    (tmp_path / "disc.py").write_text(written["python"])
    (tmp_path / "disc.yaml").write_text(written["yaml"])
    commands = [line for kind, content in blocks if not kind for line in content.splitlines()]
    assert [command.split()[1] for command in commands] == ["check", "improve", "improve", "report"]
    for command in commands:
        line = command.split()[1:] + (SHORTER.split() if "runs/disc" in command and "improve" in command else [])
        done = etude(*line, cwd=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        assert "check" not in command or "Ready." in done.stdout
        # As the page explains the two lines.
        assert "smoke" not in command or re.search(r"warm start: .*, base model: [^\0]*\ncycle 1: candidate .* over the champion: ", done.stdout)
    logged = [json.loads(row)["stage"] for row in (tmp_path / "runs" / "smoke" / "metrics.jsonl").read_text().splitlines()]
    stages = ("ground", "demonstrate", "collect", "label", "curate", "tune", "evaluate", "cycle")
    assert set(stages) <= set(logged) and logged.count("evaluate") == 2, "the smoke test goes through every stage, and both gates"
    assert (tmp_path / "check-disc-py-Disc.png").exists() and (tmp_path / "runs" / "disc" / "report.html").stat().st_size > 1000
    assert "oracle succeeds in 20 of 20" in etude("check", "disc.py:Disc", "--config", "disc.yaml", cwd=tmp_path).stdout
