"""docs/use.md, followed by somebody who has a run in runs/slide."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.records import Job
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.folder import Run
from tests.agent.runs import make
from tests.called import apart

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "docs" / "use.md").read_text(), re.MULTILINE | re.DOTALL)
# The page's client, with ours in place of openpi's, which is no dependency.
OURS = "import sys; sys.path.insert(0, {root!r})\nimport numpy as np\nfront = wrist = np.zeros((64, 64, 3), np.uint8)\n"
OURS += "from tests.agent.serve.client import Client as WebsocketClientPolicy\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run of Slide, and a few of its episodes."""
    folder = tmp_path_factory.mktemp("use")
    run = folder / "runs" / "slide"
    make(run, env={"id": "etude/Slide-v0"})
    session = Session(Run(run).begin())
    episodes = list(rollout(session.policy, session.environments, [Job(seed) for seed in range(2)]))
    session.run.store(run / "start", episodes, {"etude/Slide-v0": 5.0})
    session.close()
    return folder


def run_in(place: Path, *command: Any, code: int = 0) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=place, capture_output=True, text=True)
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_page_works_as_it_stands(place: Path) -> None:
    commands = [line for kind, content in BLOCKS if not kind for line in content.splitlines()]
    commands = [each for each in commands if "serve" not in each and "push" not in each]  # they need a server; their own tests have one
    assert [command.split()[1] for command in commands] == ["evaluate"] * 3 + ["play", "export"] + ["dataset"] * 3
    shorter = {"evaluate": ["--videos", "1"]}  # of 8
    done = [apart(*(words := command.split()[1:]), *shorter.get(words[0], []), cwd=place) for command in commands]
    assert not any(each.returncode for each in done), [each.stderr[-2000:] for each in done]
    told = [each.stdout for each in done]
    assert all("n = 8" in each for each in told[:3]) and "difference: " in told[1]
    assert (place / "play.mp4").exists() and (place / "evaluations" / "nano-etude-Reach-v0" / "evaluation.json").exists()
    assert "2 episodes" in told[5] and "2 were there twice" in told[6] and "slide-steps, 2 episodes" in told[7]
    loop, evaluation, exported, client = (content for kind, content in BLOCKS if kind == "python")
    run_in(place, "-c", loop)
    assert "n = 8" in run_in(place, "-c", evaluation)
    (place / "plain.py").write_text("import sys\nsys.modules.update(dict.fromkeys(('etude', 'agent', 'policies', 'envs')))\n" + exported)
    run_in(place / "slide-policy", "-c", (place / "plain.py").read_text())
    served(place, client)


def served(place: Path, client: str) -> None:
    """The command that serves, and the client of the page."""
    (command,) = [line for kind, content in BLOCKS if not kind for line in content.splitlines() if "serve" in line]
    server = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", *command.replace("8000", "0").split()[1:]], cwd=place, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        line = server.stdout.readline()
        port = re.search(r"serving runs/slide at ws://127\.0\.0\.1:(\d+); Ctrl-C ends it", line)
        assert port, line
        lines = [each for each in client.splitlines() if not each.startswith("from openpi_client")]
        code = OURS.format(root=str(ROOT)) + "\n".join(lines).replace("8000", port[1]) + "\nprint(actions.shape)"
        assert run_in(place, "-c", code).splitlines() == ["['front', 'wrist']", "(4, 3)"]
    finally:
        server.terminate()
        server.wait()
