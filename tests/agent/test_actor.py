"""A policy apart from its run sees the pictures that it saw in training, whatever the environment calls black and white."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch

import etude
from agent.actor import Actor
from agent.export import export
from agent.serve.server import metadata
from agent.source import find
from envs import EnvConfig
from envs.adapt import Adapter
from envs.make import make as make_env
from envs.simulate import render
from policies import plain
from tests.agent.runs import make

Box = gymnasium.spaces.Box


class Eyes(gymnasium.Env):
    """Pictures of many kinds: floats of two ranges, whole numbers of 0 and 1, channels first, and the last frames as a stack."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space: Any = gymnasium.spaces.Dict(
        {
            "soft": Box(0, 1, (40, 64, 3), np.float32),
            "signed": Box(-1, 1, (24, 24), np.float64),
            "bits": Box(0, 1, (20, 30), np.uint8),
            "deep": gymnasium.spaces.Dict({"stack": Box(0, 255, (4, 90, 70), np.uint8)}),
            "state": Box(-1, 1, (2,)),
        }
    )
    action_space = Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self.look(), {"is_success": False, "instruction": "touch the red ball"}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self.look(), 0.0, False, self.count == 12, {"is_success": False}

    def look(self) -> Any:
        drawn = {name: self.np_random.random(space.shape) for name, space in self.observation_space.items() if name != "deep"}
        soft, bits = drawn["soft"].astype(np.float32), (drawn["bits"] > 0.5).astype(np.uint8)
        stack = self.np_random.integers(0, 255, (4, 90, 70), dtype=np.uint8)
        return {"soft": soft, "signed": 2 * drawn["signed"] - 1, "bits": bits, "deep": {"stack": stack}, "state": np.zeros(2, np.float32)}


class Frames(Eyes):
    """The observation itself is a stack of grey frames, whose numbers are floats of 0 to 1."""

    observation_space: Any = Box(0, 1, (4, 32, 48), np.float32)

    def look(self) -> Any:
        return self.np_random.random((4, 32, 48)).astype(np.float32)


class Bytes(Eyes):
    """Its observation is a picture of bytes."""

    observation_space: Any = Box(0, 255, (32, 48, 3), np.uint8)

    def look(self) -> Any:
        return self.np_random.integers(0, 255, (32, 48, 3), dtype=np.uint8)


KINDS: dict[str, dict[str, Any]] = {
    "eyes": {
        "id": f"{__name__}:Eyes",
        "cameras": ["soft", "signed", "bits", "deep.stack.3"],
        "flip": {"soft": "both", "bits": "vertical", "deep.stack.3": "horizontal"},
        "history": 2,
    },
    "frames": {"id": f"{__name__}:Frames", "cameras": ["observation.0", "observation.3"], "flip": "vertical"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("actor")
    for kind, env in KINDS.items():
        make(folder / kind, env=env, policy={"precision": "float32"})
        export(find(str(folder / kind)), folder / f"{kind} exported")
    return folder


def watched(policy: Actor, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Return a list that grows by the frames of each decision, uint8[F, h, w, 3]."""
    seen: list[np.ndarray] = []
    act = policy.model.act

    def see(situations: Sequence[Any], noise: Any) -> Any:
        seen.extend(each.frames for each in situations)
        return act(situations, noise)

    monkeypatch.setattr(policy.model, "act", see)
    return seen


@pytest.mark.parametrize("source", ["run", "export"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_sees_what_training_saw(runs: Path, kind: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = etude.load_policy(runs / (kind if source == "run" else f"{kind} exported"))
    seen, env, adapter = watched(policy, monkeypatch), make_env(policy.env), Adapter(policy.env)
    observation, _ = env.reset(seed=3)
    frames = [adapter.reset(3).frames]
    for _ in range(3):
        for _ in range(policy.env.action_repeat):
            action = policy.act(observation, "touch the red ball")
            observation = env.step(action)[0]
        frames.append(adapter.step(policy.actions.from_env(action)[None]).observation.frames)
    assert len(seen) == 3 and seen[0].max() > 200
    for one, other in zip(seen, frames, strict=False):
        np.testing.assert_array_equal(one, other)


def test_a_client_names_pictures_as_the_server_does(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flat map, with dotted names and one picture each; the values are told first."""
    policy = etude.load_policy(runs / "eyes")
    seen, told, observation = watched(policy, monkeypatch), metadata(policy), make_env(policy.env).reset(seed=3)[0]
    assert told["picture_values"] == {"soft": [0, 1], "signed": [-1, 1], "bits": [0, 1], "deep.stack.3": [0, 255]}
    policy.decide(observation, "touch the red ball")
    policy.reset()
    sent = {name: observation["deep"]["stack"][3] if name == "deep.stack.3" else observation[name] for name in told["cameras"]}
    policy.decide(sent, "touch the red ball")
    np.testing.assert_array_equal(*seen)


def test_a_refused_observation_is_no_part_of_the_history(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = etude.load_policy(runs / "eyes")
    env = make_env(policy.env)
    first, second = env.reset(seed=1)[0], env.step(None)[0]
    policy.decide(first, "touch the red ball")
    seen = watched(policy, monkeypatch)
    policy.decide(second, "touch the red ball")
    policy.reset()
    policy.decide(first, "touch the red ball")
    with pytest.raises(ValueError, match="add 'bits' to it"):
        policy.decide({name: value for name, value in second.items() if name != "bits"}, "touch the red ball")
    with pytest.raises(ValueError, match=r"The picture 'soft' of the observation cannot be used: .* must lie in \[0, 1\], as its observation space"):
        policy.decide({**second, "soft": second["soft"] * 255}, "touch the red ball")
    failing, act = [RuntimeError("out of memory")], policy.model.act
    monkeypatch.setattr(policy.model, "act", lambda *given: (_ for _ in ()).throw(failing.pop()) if failing else act(*given))
    with pytest.raises(RuntimeError):
        policy.decide(second, "touch the red ball")
    policy.decide(second, "touch the red ball")
    np.testing.assert_array_equal(seen[0], seen[-1])


@pytest.mark.parametrize(
    ("instruction", "says"),
    [("", "is ''; give the task in words"), (" ", "is ' '; give"), (3, "is 3; give"), ("a" * 2001, "has 2001 characters; .* at most 2000"),
     ("lift \ud800", "holds surrogates; decode it anew")],
)  # fmt: skip
def test_an_instruction_that_cannot_be_read_is_one_sentence(runs: Path, instruction: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"^The instruction .*{says}"):
        etude.load_policy(runs / "eyes").act({}, instruction)


@pytest.mark.parametrize(
    ("make_odd", "says"),
    [(lambda each: each.astype(object), "values are of type object"), (lambda each: each.astype(complex), "values are of type complex"),
     (lambda each: torch.as_tensor(each).bfloat16(), "it cannot be made an array .*; give bytes, or floats")],
)  # fmt: skip
def test_a_picture_may_be_a_tensor_and_must_hold_numbers(runs: Path, make_odd: Any, says: str) -> None:
    policy = etude.load_policy(runs / "eyes")
    observation = make_env(policy.env).reset(seed=3)[0]
    tensor = torch.as_tensor(observation["soft"]).requires_grad_()
    np.testing.assert_array_equal(policy._picture({"soft": tensor}, "soft"), policy._picture(observation, "soft"))
    with pytest.raises(ValueError, match=f"^The picture 'soft' of the observation cannot be used: .*{says}"):
        policy.act({**observation, "soft": make_odd(observation["soft"])}, "touch the red ball")


def test_floats_up_to_1_are_no_picture_of_bytes(tmp_path: Path) -> None:
    make(tmp_path / "run", env={"id": f"{__name__}:Bytes", "cameras": ["observation"]})
    policy, picture = etude.load_policy(tmp_path / "run"), np.full((32, 48, 3), 128, np.uint8)
    policy.act(picture, "touch the red ball")
    policy.reset()
    policy.act(picture.astype(np.float32), "touch the red ball")
    policy.reset()
    with pytest.raises(ValueError, match=r"its floats lie between 0 and 1, and those of training between 0 and 255; multiply them by 255"):
        policy.act(picture / 255, "touch the red ball")


@pytest.mark.parametrize("kind", KINDS)
def test_act_py_of_an_export_does_what_training_did(runs: Path, kind: str) -> None:
    policy, alone = etude.load_policy(runs / kind), plain.Policy(runs / f"{kind} exported")
    observation = make_env(policy.env).reset(seed=3)[0]
    if kind == "eyes":
        grey = (observation["signed"], observation["bits"], observation["deep"]["stack"][3])
        pictures = [observation["soft"], *(np.repeat(each[..., None], 3, 2) for each in grey)]
    else:
        pictures = [np.repeat(observation[i][..., None], 3, 2) for i in (0, 3)]
    frames = [plain.frame(each, 64, **spec) for each, spec in zip(pictures * policy.env.history, alone.codec["pictures"], strict=True)]
    np.testing.assert_array_equal(np.stack(frames[-len(pictures) :]), [policy._picture(observation, name) for name in policy.env.sources])
    decided = policy.decide(observation, "touch the red ball")[:: policy.env.action_repeat]
    np.testing.assert_allclose(alone.act(pictures * policy.env.history, "touch the red ball"), decided, atol=1e-6)
    with pytest.raises(ValueError, match="there are 1 pictures, and the policy sees"):
        alone.act(pictures[:1], "touch the red ball")
    card = (runs / f"{kind} exported" / "README.md").read_text()
    assert "64 x 64 pixels" in card and ("turned over (vertical)" in card) and ("from -1 (black) to 1 (white)" in card) == (kind == "eyes")


def test_a_wide_picture_of_a_mujoco_camera_is_cropped_to_what_training_saw(tmp_path: Path) -> None:
    make(tmp_path / "run", env={"id": "etude/Reach-v0", "cameras": ["front"]})
    policy, adapter = etude.load_policy(tmp_path / "run"), Adapter(EnvConfig(cameras=("front",)))
    trained = adapter.reset(3).frames[0].astype(float)
    model, data = adapter.model, adapter.data
    for shape in ((64, 96), (128, 256)):
        wide = render.camera("wide", model, shape).draw(model, data, "front")
        assert np.abs(policy._picture({"front": wide}, "front") - trained).mean() < 3
    with pytest.raises(ValueError, match="an image of 48 x 64 pixels shows less than the square ones of training"):
        policy.act({"front": wide[:64, :48]}, "touch the red ball")
    with pytest.raises(ValueError, match="a picture of 48 x 64 pixels shows less"):
        plain.frame(wide[:64, :48], 64, None, True, "")


def test_a_policy_of_an_earlier_version_takes_bytes(runs: Path) -> None:
    """Its `champion.json` says nothing of pictures."""
    loaded = etude.load_policy(runs / "frames")
    policy = Actor(loaded.model, loaded.env, loaded.actions)
    frame = np.full((64, 64, 3), 200, np.uint8)
    np.testing.assert_array_equal(policy._picture({"observation.0": frame}, "observation.0"), frame)
