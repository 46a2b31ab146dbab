"""Fingerprints: alike for the same environment, and in words where something changed."""

from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate.fingerprint import differences, fingerprint


def test_the_same_environment_has_the_same_fingerprint() -> None:
    adapter = Adapter(EnvConfig())
    first = fingerprint(adapter)
    adapter.reset(3)
    assert fingerprint(adapter) == first == fingerprint(Adapter(EnvConfig()))
    assert {"mujoco", "gymnasium"} <= first["packages"].keys() and first["renderer"] and differences(first, fingerprint(adapter)) == ""


def test_what_changed_is_named() -> None:
    here, other = fingerprint(Adapter(EnvConfig())), fingerprint(Adapter(EnvConfig(size=32)))
    assert here["frames"] != other["frames"] and "frames was" in differences(here, other)
    moved = here | {"packages": here["packages"] | {"mujoco": "3.1.0"}}
    assert differences(moved, here) == "", "another version that draws the same frames"
    assert "3.1.0" in differences(moved | {"frames": "0"}, here)
