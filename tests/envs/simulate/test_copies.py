"""What a snapshot must not copy: clients of another program, and renderers."""

import gc
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate.replay import prove, restore, snapshot


class Server:
    """Stands for a physics server in another process: its state is no attribute of the environment."""

    running: ClassVar[dict[int, float]] = {}


class BulletClient:
    """Cuts its server off when it is freed, as PyBullet's does; a copy of it cuts off the same one."""

    def __init__(self) -> None:
        self.number, self.commands = len(Server.running), 0
        Server.running[self.number] = 0.0

    def push(self, force: float) -> float:
        if self.number not in Server.running:
            raise RuntimeError("Not connected to physics server.")
        Server.running[self.number] += force
        self.commands += 1
        return Server.running[self.number]

    def __del__(self) -> None:
        Server.running.pop(self.number, None)


class GLRenderer:
    """A copy of it frees what it shares with the original."""

    freed = 0

    def __init__(self) -> None:
        self.alive = True

    def draw(self, where: float) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[:, int(where) % 16] = 200
        return frame

    def __deepcopy__(self, memo: dict[int, Any]) -> "GLRenderer":
        type(self).freed += 1
        return GLRenderer()


class Physics:
    """Copies itself in its own way, and makes new renderers then, as dm_control's does."""

    def __init__(self) -> None:
        self.contexts: Any = None

    def draw(self, where: float) -> np.ndarray:
        self.contexts = self.contexts or (GLRenderer(), None)
        return self.contexts[0].draw(where)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.contexts = None
        GLRenderer.freed += 1


class Robot(gymnasium.Env):
    """Moves by a client, draws by a renderer that it makes at its first frame; with `remote` its place is known to the server alone."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(-99, 99, (1,)), gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, remote: bool = False, render_mode: str | None = None) -> None:
        self.remote, self.render_mode, self.nested = remote, render_mode, {"parts": [BulletClient()], "physics": Physics()}
        self.viewer: Any = None

    @property
    def client(self) -> BulletClient:
        return self.nested["parts"][0]

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.where = float(self.np_random.uniform(2, 13))
        Server.running[self.client.number] = self.where
        return np.array([self.where], np.float32), {}

    def step(self, action: np.ndarray):
        pushed = self.client.push(float(action[0]))
        self.where = pushed if self.remote else self.where + float(action[0])
        return np.array([self.where], np.float32), self.where, False, False, {"success": False}

    def render(self) -> np.ndarray:
        self.viewer = self.viewer or GLRenderer()
        return self.viewer.draw(self.where) | self.nested["physics"].draw(self.where)


def robot(**kwargs: Any) -> Adapter:
    return Adapter(EnvConfig(id=f"{__name__}:Robot", kwargs=kwargs, cameras=("render",), size=16, action_repeat=1))


def test_neither_clients_nor_renderers_are_copied_and_the_rest_goes_back() -> None:
    adapter, push, freed = robot(), np.ones((1, 1)), GLRenderer.freed
    adapter.reset(0)
    inner: Any = adapter.env.unwrapped
    client, commands = inner.client, inner.client.commands
    moment = snapshot(adapter)
    expected = [adapter.step(push).observation.frames for _ in range(3)]
    for _ in range(2):
        restore(adapter, moment)
        assert inner.client is client and client.commands == commands, "what a client holds in Python goes back in place"
        for frames in expected:
            np.testing.assert_array_equal(adapter.step(push).observation.frames, frames)
    viewer = inner.viewer
    restore(adapter, moment)
    del moment
    gc.collect()
    adapter.step(push)
    assert client.number in Server.running and GLRenderer.freed == freed and inner.viewer is viewer and inner.nested["physics"].contexts


def test_a_renderer_that_was_made_after_the_snapshot_stays() -> None:
    adapter = robot()
    adapter.reset(0, look=False)
    inner: Any = adapter.env.unwrapped
    inner.viewer, moment = None, None
    moment = snapshot(adapter)
    adapter.observe()
    viewer = inner.viewer
    restore(adapter, moment)
    assert viewer is not None and inner.viewer is viewer


@pytest.mark.parametrize(("remote", "exact"), [(False, True), (True, False)])
def test_state_in_another_program_is_not_possible_and_replay_is_proved_all_the_same(remote: bool, exact: bool) -> None:
    adapter = robot(remote=remote)
    proofs = prove(adapter, range(4), np.random.default_rng(0), opening=3, length=3)
    assert proofs["replay"].exact and proofs["replay"].count == 4 and proofs["snapshot"].exact is exact
    assert proofs["snapshot"].difference == ("" if exact else "not possible, as the state of its BulletClient lies outside of Python")
    adapter.reset(0)
    adapter.step(np.ones((1, 1)))


class Fragile(Robot):
    """Breaks for good when a snapshot is restored."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.hurt = Hurt()

    def render(self) -> np.ndarray:
        return np.zeros((16, 16, 3), np.uint8) if Hurt.copied else super().render()


class Hurt:
    copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Hurt":
        Hurt.copied = True
        return Hurt()


def test_a_snapshot_that_spoils_the_environment_does_not_spoil_the_proof_of_replay() -> None:
    adapter = Adapter(EnvConfig(id=f"{__name__}:Fragile", cameras=("render",), size=16, action_repeat=1))
    proofs = prove(adapter, range(3), np.random.default_rng(0), opening=3, length=3)
    assert proofs["replay"].exact and proofs["replay"].count == 3
