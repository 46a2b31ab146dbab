"""docs/extend.md, followed to the letter in an empty folder; and one sentence for each part that is wrong."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agent.config.keys import TuneConfig
from agent.config.plugins import load_model, plugin
from agent.config.read import parse
from agent.curate.rules import own
from agent.label.detector import detect_with_own
from agent.learning.terms import own_term
from agent.learning.trainer import train
from agent.ready import can_be_asked
from agent.records import Demonstration, Label, PolicySample, TrainingData
from agent.run.files import load
from agent.run.folder import Run
from envs.spaces import Actions
from policies import PolicyConfig
from policies.policy import Situation
from tests.agent.made import episode
from tests.called import apart, etude

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "extend.md"
SHORTER = "--threads 1 --demonstrate.episodes 4 --demonstrate.steps 4 --collect.num_seeds 4 --collect.episodes_per_seed 3"
SHORTER += " --collect.num-envs 4 --policy.batch_size 8"
SHORTER += " --evaluate.gate_episodes 4 --evaluate.test-episodes 4 --track.mode off --track.videos false --ground.steps 0"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    text = PAGE.read_text()
    for file, block in re.findall(r"Write (?:it|this) to `(\w+\.\w+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / file).write_text(block)
    assert {file.name for file in tmp_path.iterdir()} == {"detector.py", "rule.py", "loss.py", "policy.py", "own.yaml"}
    return tmp_path


@pytest.mark.slow
def test_the_page_works_as_it_stands(place: Path) -> None:
    (command,) = re.findall(r"^```\n(etude .*)\n```", PAGE.read_text(), re.MULTILINE)
    done = apart(*command.split()[1:], *SHORTER.split(), "--evaluate.gate_alpha", "1", cwd=place)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    run = Run(place / "runs" / "own")
    (tried,) = re.findall(r"```python\n(import etude\n.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(place), str(ROOT)))}
    shown = subprocess.run([sys.executable, "-c", tried], cwd=place, capture_output=True, text=True, check=True, env=env)
    assert shown.stdout.count("touch the") == 12 and "TrainingData(" in shown.stdout.splitlines()[-1]
    critic = load(run.cycle(1).folder / "detector.json")
    assert len(critic["scores"]) == 12 and critic["figures"]["episodes"] == 12, "the detector was asked about every episode"
    assert load(run.cycle(1).folder / "curate.json")["figures"].keys() >= {"demonstrations", "pass_at_k", "practice_success"}


@pytest.mark.slow
def test_a_detector_alone_labels_and_learns_nothing(place: Path) -> None:
    """With `detector` the user's word is the only one; it has nothing to be taught."""
    words = ["--label.by", "detector", "--curate.rule", "", "--tune.loss", "", "--policy.model", "nano", "--demonstrate.episodes", "6"]
    done = etude("improve", "own.yaml", "runs/alone", *SHORTER.split(), "--cycles", "1", *words, cwd=place)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    run = Run(place / "runs" / "alone")
    figures = load(run.cycle(1).folder / "detector.json")["figures"]
    assert 0 <= figures["demonstration_auroc"] <= 1, "it is held against demonstrations, as the model would be"
    assert load(run.cycle(1).folder / "curate.json")["figures"]["qa_examples"] == 0


def test_a_policy_of_ones_own_acts_and_learns_alike(place: Path) -> None:
    config, actions = PolicyConfig(model=f"{place}/policy.py:Convolutional"), Actions(_box())
    policy: Any = load_model(config, actions)
    rng = np.random.default_rng(0)
    situations = [Situation("go", rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for _ in range(6)]
    drawn = policy.act(situations, rng.random((6, policy.reply_length)))
    again = policy.logprobs(situations, np.stack([each.tokens for each in drawn])).detach().numpy()
    np.testing.assert_allclose(again, np.stack([each.logprobs for each in drawn]), atol=1e-5)
    shown = tuple(Demonstration(each, decision.tokens) for each, decision in zip(situations, drawn, strict=True))
    rows = train(policy, TrainingData(shown), TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=1, learning_rate=1e-2, batch_size=8), steps=12)
    assert rows[-1]["bc_loss"] < 0.5 * rows[0]["bc_loss"]


def _box() -> Any:
    import gymnasium

    return gymnasium.spaces.Box(-1, 1, (3,))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("changed", r"label.detector is 'changed'; give module:function or file.py:function"),
        ("nowhere.py:changed", r"label.detector 'nowhere.py:changed' cannot be used \(FileNotFoundError: there is no file nowhere.py\)"),
        ("{place}/detector.py:lost", r"cannot be used \(AttributeError: .*/detector.py has no 'lost'; it defines changed\)\."),
        ("{place}/bad.py:NUMBER", r"is a int, which cannot be called"),
    ],
)
def test_what_cannot_be_plugged_in_is_one_sentence(name: str, says: str, place: Path) -> None:
    (place / "bad.py").write_text("NUMBER = 3\n")
    with pytest.raises(ValueError, match=says):
        plugin("label.detector", name.replace("{place}", str(place)))


BAD = """
import numpy as np

raises = lambda *given: 1 / 0
short = lambda frames, instruction: np.full(len(frames) - 1, 0.5)
beyond = lambda frames, instruction: np.full(len(frames), 1.5)
nothing = lambda *given: None
episodes = lambda episodes, labels: __import__("agent.records").records.TrainingData(demonstrations=tuple(episodes))
pair = lambda *given: (None, {})


class Bare:
    def __init__(self, config, low, high, counts=None):
        self.chunk = 1
"""


def test_a_part_that_gives_something_else_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    taken, bad = episode(1, 0, [0.1, 0.2], False), f"{tmp_path}/bad.py"
    for name, says in (
        ("raises", r"failed on episode t/1/0: ZeroDivisionError"),
        ("short", "for the 3 observations of t/1/0"),
        ("beyond", "one probability"),
    ):
        with pytest.raises(ValueError, match=says):
            detect_with_own(f"{bad}:{name}", [taken])
    assert len(detect_with_own(f"{bad}:raises", [replace(taken, **_nothing(taken))])[0]) == 0, "an episode without a decision is not looked at"
    for name, says in (
        ("raises", "failed: ZeroDivisionError"),
        ("nothing", "returned a NoneType; return an agent.records.TrainingData"),
        ("episodes", "has a Episode among its demonstrations; each must be an agent.records.Demonstration"),
    ):
        with pytest.raises(ValueError, match=says):
            own(f"{bad}:{name}", [taken], [Label.of(taken)])
    term = plugin("tune.loss", f"{bad}:pair")
    with pytest.raises(ValueError, match=r"tune.loss 'pair' failed .* it must return None, or a loss"):
        own_term("pair", term, SimpleNamespace(), TuneConfig())  # type: ignore[arg-type]
    assert own_term("nothing", plugin("tune.loss", f"{bad}:nothing"), SimpleNamespace(), TuneConfig()) is None  # type: ignore[arg-type]
    for name, says in (("Bare", "lacks config, model, codec, .*; build it on policies.trained.Trained"), ("raises", "cannot be made")):
        with pytest.raises(ValueError, match=says):
            load_model(PolicyConfig(model=f"{bad}:{name}"), Actions(_box()))


WRONG = """
import numpy as np
import torch

from policy import Convolutional


class Flat(Convolutional):
    def features(self, frames):
        return super().features(frames).flatten() if len(frames) > 1 else super().features(frames)


class Listed(Convolutional):
    def features(self, frames):
        return [super().features(frames)] if len(frames) > 1 else super().features(frames)


class Short(Convolutional):
    def distribution(self, situations, tokens_BL, features=None):
        return super().distribution(situations, tokens_BL, features)[:, :2]


class Double(Convolutional):
    def distribution(self, situations, tokens_BL, features=None):
        return super().distribution(situations, tokens_BL, features).double()


class Logits(Convolutional):
    def distribution(self, situations, tokens_BL, features=None):
        return super().distribution(situations, tokens_BL, features) + 1


class Sized(Convolutional):
    def __init__(self, config, low, high, counts=None):
        super().__init__(config, low, high, counts)
        self.reply_length += 1


class Sure(Convolutional):
    def distribution(self, situations, tokens_BL, features=None):
        return super().distribution(situations, tokens_BL, features.cuda_or_none())
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Flat", r"returned float32\[49152\] from features, for 2 observations; return a tensor \[2, \.\.\.\]"),
        ("Listed", r"returned a list from features, for 2 observations; return a tensor \[2, \.\.\.\]"),
        ("Short", r"returned float32\[2, 2, 33\] from distribution, for 2 replies of 3 tokens; return float32\[2, 3, 33\]"),
        ("Double", r"returned float64\[2, 3, 33\] from distribution, for 2 replies of 3 tokens; return float32\[2, 3, 33\]"),
        ("Logits", r"returned probabilities from distribution that add up to 2\.718.*; return the result of log_softmax"),
        ("Sized", r"has reply_length 4, and its codec writes 3 tokens; set it to codec\.length"),
        ("Sure", r"fails with AttributeError: .* when it is asked about frames uint8\[2, 64, 64, 3\]"),
        ("Convolutional", ""),
    ],
)
def test_a_policy_that_returns_something_else_is_one_sentence(name: str, says: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "wrong.py").write_text(WRONG)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "policy", raising=False)
    situation = Situation("go", np.zeros((2, 64, 64, 3), np.uint8))
    if not says:
        load_model(PolicyConfig(model=f"{place}/wrong.py:{name}"), Actions(_box()), situation)
        return
    with pytest.raises(ValueError, match=rf"policy.model '.*wrong.py:{name}' {says}"):
        load_model(PolicyConfig(model=f"{place}/wrong.py:{name}"), Actions(_box()), situation)


def test_a_rule_cannot_change_the_episodes_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        "from agent.records import TrainingData, decisions\n\n\n"
        "def writes(episodes, labels):\n    episodes[0].rewards[:] = 9\n\n\n"
        "def empties(episodes, labels):\n    shown = tuple(decisions(episodes.pop()))\n    labels.clear()\n    return TrainingData(shown)\n"
    )
    episodes = [episode(1, 0, [0.1, 0.2], False), episode(1, 1, [0.1, 0.9], True)]
    labels = [Label.of(each) for each in episodes]
    before = [each.rewards.copy() for each in episodes]
    with pytest.raises(ValueError, match=r"greedy.py:writes' failed: ValueError: .*read-only"):
        own(f"{tmp_path}/greedy.py:writes", episodes, labels)
    made = own(f"{tmp_path}/greedy.py:empties", episodes, labels)
    assert len(made.demonstrations) == 2 and made.notes["seeds"] == 1 and len(episodes) == len(labels) == 2
    for one, other in zip(before, episodes, strict=True):
        np.testing.assert_array_equal(one, other.rewards)
        assert other.rewards.flags.writeable


def _nothing(taken: Any) -> dict[str, Any]:
    cut = {name: getattr(taken, name)[:0] for name in ("actions", "tokens", "logprobs", "rewards")}
    return {**cut, "frames": taken.frames[:1]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"label": {"detector": "a.py:b"}}, "give label.by both or detector"),
        ({"label": {"detector": "referee"}}, "label.detector is 'referee'; give champion, base, file.py:function"),
        ({"label": {"detector": "a.py:b", "by": "detector", "distance_question": "far"}}, "label.detector is one of your own"),
    ],
)
def test_a_detector_goes_with_the_keys_that_ask_it(content: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(content, "test")


def test_a_folder_with_a_colon_is_no_plugin(tmp_path: Path) -> None:
    """As runs that are named by the time of day have it."""
    folder = tmp_path / "2026-11-28T22:41" / "model"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(PolicyConfig(model=str(folder)), Actions(_box()))


@pytest.mark.parametrize("asks", [{"label": {"by": "both"}}, {"curate": {"credit": "steps_to_go"}}])
def test_a_policy_that_answers_nothing_is_asked_nothing(asks: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"asks the model questions, and .* cannot answer any"):
        can_be_asked(SimpleNamespace(config=parse(asks, "test")), object())  # type: ignore[arg-type]


def test_a_term_of_ones_own_changes_nothing_else(place: Path) -> None:
    """One that says nothing leaves a training as it is, though it sees kinds that have no weight."""
    policy: Any = load_model(PolicyConfig(model=f"{place}/policy.py:Convolutional"), Actions(_box()))
    situation = Situation("go", np.zeros((2, 64, 64, 3), np.uint8))
    (drawn,) = policy.act([situation], np.full((1, 3), 0.5))
    shown, samples = (
        (Demonstration(situation, drawn.tokens),) * 5,
        tuple(PolicySample(situation, drawn.tokens, drawn.logprobs, 1.0) for _ in range(40)),
    )
    (place / "silent.py").write_text("def silent(now, config):\n    assert now.samples\n")
    start, made = policy.weights(), []
    for loss in ("", f"{place}/silent.py:silent"):
        policy.put(start)
        config = TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=1, batch_size=2, epochs=1, loss=loss)
        rows = train(policy, TrainingData(shown, samples=samples), config)
        made.append([(row["loss"], row["bc_loss"]) for row in rows])
        assert "clip_fraction" not in rows[0]
    assert len(made[0]) == 3
    np.testing.assert_allclose(made[0], made[1], rtol=1e-5)


def test_a_missing_part_is_said_before_anything_is_written(place: Path) -> None:
    (place / "rule.py").unlink()
    done = etude("improve", "own.yaml", "runs/own", *SHORTER.split(), cwd=place)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not (place / "runs" / "own" / "config.yaml").exists()
    assert "curate.rule 'rule.py:successes' cannot be used" in " ".join(done.stderr.split())


def test_a_term_adds_its_loss_and_its_figures(place: Path) -> None:
    policy: Any = load_model(PolicyConfig(model=f"{place}/policy.py:Convolutional"), Actions(_box()))
    (place / "weigh.py").write_text("def weigh(now, config):\n    return 2.0 * now.entropy, {'twice': 2 * float(now.entropy.detach())}\n")
    shown = (Demonstration(Situation("go", np.zeros((2, 64, 64, 3), np.uint8)), np.zeros(3, np.int64)),)
    off = {"pg_coef": 0, "dpo_coef": 0, "bc_coef": 1, "batch_size": 1}
    start, made = policy.weights(), []
    for loss in ("", f"{place}/weigh.py:weigh"):
        policy.put(start)
        made.append(train(policy, TrainingData(shown), TuneConfig(**off, loss=loss), steps=1)[0])
    assert made[1]["loss"] == pytest.approx(made[0]["loss"] + made[1]["twice"], rel=1e-5) and torch.isfinite(torch.tensor(made[1]["loss"]))
