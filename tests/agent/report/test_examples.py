"""Examples of pairs: what is stored of them is right, and nothing of a run depends on them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agent.config.read import parse
from agent.records import Episode, Job, PreferencePair, TrainingData
from agent.report import examples
from agent.report.arrows import tool_moves
from agent.report.pairs import bars, browser
from agent.report.record import RunRecord
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run.files import load
from agent.run.folder import Run
from agent.run.labels import row
from agent.run.layout import EXAMPLES
from envs import EnvConfig
from policies.codec import Codec
from policies.scripted import Random

CONFIG = {"env": {"id": "etude/Reach-v0"}, "cycles": 1, "track": {"mode": "off"}}


class Notes(list):
    """Keeps what a track would print."""

    note = list.append


class Played:
    """A run with practice in the real environment, and what `examples.of_cycle` needs of a session."""

    def __init__(self, folder: Path) -> None:
        self.run = Run(folder, parse(CONFIG, "test")).begin()
        self.config, self.environments = self.run.config, Environments(EnvConfig(), 2)
        space = self.environments.first.actions
        self.codec = Codec(np.arange(65)[:, None], space.low, space.high, 1)
        self.policy = SimpleNamespace(codec=self.codec)
        self.cycle = self.run.cycle(1)
        jobs = [Job(seed, attempt, (seed, attempt)) for seed in (0, 1) for attempt in (0, 1)]
        self.episodes = [
            replace(each, success=False, first_success=None) for each in rollout(Random(space.low, space.high, 1), self.environments, jobs)
        ]
        self.episodes = [self._written(each) for each in self.episodes]
        self.episodes[0] = replace(self.episodes[0], success=True, first_success=2)
        self.run.store(self.cycle.folder, self.episodes, {"etude/Reach-v0": 5.0})
        rows = [row(each, each, None) for each in self.episodes]
        self.run.keep(self.cycle.folder / "label.json", lambda: {"figures": {}, "episodes": rows, "alarms": []})

    def _written(self, episode: Episode) -> Episode:
        """Return an episode whose replies are those of its actions."""
        tokens = np.stack([self.codec.encode(each) for each in episode.actions])
        return replace(episode, tokens=tokens, logprobs=np.zeros(tokens.shape, np.float32))

    def pair(self, t: int = 0, kind: str = "decision") -> PreferencePair:
        good, bad = self.episodes[:2]
        return PreferencePair.of(good.situation(t), good.tokens[t], bad.tokens[t], kind, (good.id, bad.id, t))


@pytest.fixture
def played(tmp_path: Path) -> Any:
    made = Played(tmp_path)
    yield made
    made.environments.close()


def stored(played: Any, *pairs: PreferencePair) -> dict[str, Any]:
    notes = Notes()
    examples.of_cycle(played, played.cycle, TrainingData(pairs=pairs), notes)
    assert not notes
    return load(played.cycle.folder / EXAMPLES)


def test_an_example_says_what_both_replies_were_and_how_their_episodes_ended(played: Any) -> None:
    content = stored(played, played.pair())
    assert content["counts"] == {"decision": 1}
    (made,) = content["examples"]
    good, bad = played.episodes[:2]
    assert (made["task"], made["seed"], made["decision"]) == ("etude/Reach-v0", "0", 0)
    np.testing.assert_allclose(made["chosen"]["actions"], played.codec.decode(good.tokens[0]))
    np.testing.assert_allclose(made["rejected"]["actions"], played.codec.decode(bad.tokens[0]))
    assert (made["chosen"]["success"], made["chosen"]["decisions"]) == (True, 3)
    assert (made["rejected"]["success"], made["rejected"]["decisions"]) == (False, len(bad))
    assert len(made["frames"]) == 2 and all(frame.startswith("data:image/webp;base64,") for frame in made["frames"])


def test_arrows_point_to_where_the_tool_went(played: Any) -> None:
    # The second decision of an episode: the tool must be where the first one moved it.
    episode, adapter = played.episodes[0], played.environments.first
    moves = tool_moves(adapter, 0, list(episode.actions[:1]), episode.frames[1], [episode.actions[1], np.zeros_like(episode.actions[1])], "")
    first = tool_moves(adapter, 0, [], episode.frames[0], [episode.actions[0]], "")
    assert first[1] == moves[0] != moves[1]
    # Doing nothing leaves it there, but for what is left of the motion.
    assert np.abs(np.array(moves[2]) - moves[0]).max() < np.abs(np.array(moves[1]) - moves[0]).max()
    # The pixel of the arrow's beginning shows the tool: moving it changes the frame there.
    before, after = played.episodes[0].frames[0, 0], played.episodes[0].frames[1, 0]
    x, y = (min(int(64 * each), 63) for each in first[0])
    assert np.abs(before[y - 2 : y + 3, x - 2 : x + 3].astype(int) - after[y - 2 : y + 3, x - 2 : x + 3]).max() > 30


def test_there_are_no_arrows_where_the_frame_is_not_the_one_that_was_seen(played: Any) -> None:
    episode, adapter = played.episodes[0], played.environments.first
    other = episode.frames[0].copy()
    other[0, 0, 0] += 1
    assert tool_moves(adapter, 0, [], other, [episode.actions[0]], "") == []
    assert tool_moves(adapter, 1, [], episode.frames[0], [episode.actions[0]], "") == []


def test_arrows_are_stored_with_videos_alone(played: Any) -> None:
    assert len(stored(played, played.pair())["examples"][0]["arrows"]) == 3
    (played.cycle.folder / EXAMPLES).unlink()
    played.config = parse(CONFIG | {"track": {"mode": "off", "videos": False}}, "test")
    assert "arrows" not in stored(played, played.pair())["examples"][0]


def test_a_slow_simulator_costs_the_arrows_alone(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SECONDS", -1)
    (made,) = stored(played, played.pair())["examples"]
    assert "arrows" not in made and made["chosen"]["success"]


def test_an_environment_that_breaks_in_a_replay_costs_the_arrows_alone(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise SystemExit("the simulator has gone")

    before = played.environments.first
    monkeypatch.setattr(before, "reset", breaks)
    assert "arrows" not in stored(played, played.pair())["examples"][0]
    assert played.environments.first is not before, "it is replaced, for nobody knows its state"


def test_a_resumed_run_keeps_its_examples(played: Any) -> None:
    stored(played, played.pair())
    before = (played.cycle.folder / EXAMPLES).read_bytes()
    stored(played, played.pair(1), played.pair(2))
    assert (played.cycle.folder / EXAMPLES).read_bytes() == before


def test_of_many_pairs_some_of_each_kind_are_kept(played: Any) -> None:
    many = [played.pair(t % 3, "decision") for t in range(100)] + [played.pair(t % 3, "hindsight") for t in range(3)]
    chosen = examples.spread(many, 24)
    assert len(chosen) == 24 and sum(pair.kind == "hindsight" for pair in chosen) == 3
    assert [pair.kind for pair in chosen[:4]] == ["hindsight", "decision"] * 2
    assert examples.spread([], 24) == [] and len(examples.spread(many[:5], 24)) == 5


def test_lookahead_decisions_are_shown_where_they_are_imitated_alone(played: Any) -> None:
    episode = played.episodes[0]
    gains = np.zeros(len(episode), np.float32)
    gains[1] = 0.25
    own = np.where(gains[:, None] > 0, (episode.tokens + 1) % 65, episode.tokens)
    looked = replace(episode, policy_tokens=own, lookahead_gains=gains)
    (pair,) = examples.decided([looked])
    made = examples.example(pair, [looked], played.codec, 2)
    assert (made["kind"], made["decision"], made["gain"], made["rejected"]["success"]) == ("lookahead", 1, 0.25, None)
    np.testing.assert_allclose(made["rejected"]["actions"], played.codec.decode(own[1]))


def test_pairs_of_a_users_rule_without_known_episodes_are_shown_without_an_outcome(played: Any) -> None:
    pair = replace(played.pair(), provenance=("mine", "yours", 0))
    (made,) = stored(played, pair)["examples"]
    assert made["chosen"]["success"] is None and "arrows" not in made
    (card,) = browser(RunRecord.read(played.run.folder))["cards"]
    assert card["sides"][0]["words"] == "outcome not known"


def test_an_error_costs_the_examples_not_the_run(played: Any) -> None:
    notes, broken = Notes(), replace(played.pair(), provenance=None)  # pyright: ignore[reportArgumentType]
    examples.of_cycle(played, played.cycle, TrainingData(pairs=(broken,)), notes)
    assert "no examples for the report" in notes[0] and not (played.cycle.folder / EXAMPLES).exists()


def test_bars_begin_at_zero_or_at_the_bound() -> None:
    drawn = str(bars([0.5, 3.0], [-0.5, 2.0], [-1.0, 2.0], [1.0, 4.0]))
    assert drawn.count('class="fill c-champion"') == 2 and "0.50" in drawn and "-0.50" in drawn
    many = str(bars([float(i) for i in range(20)], [0.0] * 20, [0.0] * 20, [20.0] * 20))
    assert many.count('class="track"') == 8 and "a20<" in many and "a1<" not in many, "those that differ most"
