"""What an expert is shown of an observation: every number that is no picture."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space, Text, Tuple

from agent.rollout.vectors import low_dimensional, vector

EYE = Box(0, 255, (8, 8, 3), np.uint8)
ARM = Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("space", "observation", "shown"),
    [
        (Dict({"pos": ARM, "goal": Discrete(3)}), {"pos": [1, 2], "goal": 1}, {"pos": [1, 2], "goal": [0, 1, 0]}),
        (Dict({"eye": EYE, "arm": Dict({"at": ARM, "grip": Box(0, 1, ())})}), {"eye": 0, "arm": {"at": [1, 2], "grip": 0.5}}, {"arm": [1, 2, 0.5]}),
        (Tuple([EYE, ARM, MultiBinary(2)]), (0, [1, 2], [1, 0]), {"": [1, 2, 1, 0]}),
        (Box(-1, 1, (2, 2)), [[1, 2], [3, 4]], {"": [1, 2, 3, 4]}),
        (ARM, [1, 2], {"": [1, 2]}),
    ],
)
def test_numbers_of_every_kind_are_shown(space: Space, observation: object, shown: dict[str, list[float]]) -> None:
    flat, leaves = low_dimensional(space)
    assert {name: vector(observation, parts).tolist() for name, parts in leaves.items()} == shown
    sizes = {name: part.shape for name, part in flat.items()} if isinstance(flat, Dict) else {"": flat.shape}
    assert sizes == {name: (len(numbers),) for name, numbers in shown.items()}


@pytest.mark.parametrize("space", [EYE, Dict({"eye": EYE, "words": Text(9)}), Box(0, 255, (8, 8), np.uint8)])
def test_pictures_and_texts_alone_are_refused(space: Space) -> None:
    with pytest.raises(ValueError, match="has nothing low-dimensional"):
        low_dimensional(space)
