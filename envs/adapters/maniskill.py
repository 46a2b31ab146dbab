"""`maniskill:PickCube-v1`: one environment of ManiSkill 3 (arXiv 2410.00425) at a time, with numpy in place of batched tensors.

ManiSkill simulates with SAPIEN, not MuJoCo, and draws with Vulkan: it needs a GPU whose driver has that.
"""

from typing import Any

import gymnasium


def make(name: str, render_mode: str | None = None, max_episode_steps: int | None = None, **options: Any) -> gymnasium.Env:
    """Return the environment `maniskill:NAME`.

    Its observation holds pictures, `sensor_data.base_camera.rgb` among them; its actions are those of `control_mode: pd_ee_delta_pose`, -1 to 1, of
    which 1 is 10 cm or 0.1 rad a step, and 1 opens the gripper. `info["success"]`: bool.

    Args:
        name: as ManiSkill registers it.
        render_mode: `rgb_array`, or none.
        max_episode_steps: time limit; None: ManiSkill's own.
        options: further arguments of ManiSkill's environment.

    Raises:
        ValueError: no frame can be drawn on this machine.
    """
    from mani_skill import envs  # pyright: ignore[reportMissingImports]
    from mani_skill.utils.wrappers.gymnasium import CPUGymWrapper  # pyright: ignore[reportMissingImports]

    gymnasium.register_envs(envs)
    chosen = {"obs_mode": "rgb", "control_mode": "pd_ee_delta_pose", "sim_backend": "physx_cpu", "render_mode": render_mode} | options
    try:
        return CPUGymWrapper(gymnasium.make(name, num_envs=1, max_episode_steps=max_episode_steps, disable_env_checker=True, **chosen))
    except RuntimeError as error:
        if not any(word in str(error) for word in ("vk::", "rendering device")):
            raise
        raise ValueError(f"ManiSkill needs a GPU with a Vulkan driver to draw, and this machine has none ({error})") from error
