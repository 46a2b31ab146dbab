"""How a scene may differ from those that were practised: for exams of generalisation on our own tasks, by config."""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from envs.simulate.render import mujoco

POST = 0.012, 0.03  # radius and half height of a distractor, metres
APART = 0.075  # distance of a distractor from everything else on the table, metres


@dataclass(frozen=True)
class Variation:
    """What differs; nothing by default."""

    camera: float = 0.0
    """The front camera stands up to this far from its place along each axis, metres; another place for every seed."""
    light: float = 0.0
    """All lights are brighter or darker by up to this share, another one for every seed."""
    wording: Literal["own", "other"] = "own"
    """`other`: instructions in words that the task itself never uses."""
    distractors: int = 0
    """Coloured posts on the table that no instruction names and nothing touches."""
    pairs: Literal["all", "seen", "unseen"] = "all"
    """Which pairs of colour and noun an instruction may name: one colour of each noun is kept for `unseen`; practise on `seen`."""

    def __post_init__(self) -> None:
        known = {"wording": ("own", "other"), "pairs": ("all", "seen", "unseen")}
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"variation {name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}.")

    def build(self, file: str) -> Any:
        """Return the MuJoCo model of an XML file, with the distractors in it."""
        if not self.distractors:
            return mujoco.MjModel.from_xml_path(file)
        spec = mujoco.MjSpec.from_file(file)
        for i in range(self.distractors):
            body = spec.worldbody.add_body(name=f"post_{i}", pos=[0.3, 0, POST[1]])
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[*POST, 0], contype=0, conaffinity=0)
        return spec.compile()

    def admits(self, instruction: str, colours: tuple[str, ...]) -> bool:
        """Return whether an instruction names only pairs that it may."""
        named = re.findall(rf"\b({'|'.join(colours)}) (\w+)", instruction)
        strange = [(colours.index(colour) + len(noun)) % len(colours) == 0 for colour, noun in named]
        return self.pairs == "all" or any(strange) == (self.pairs == "unseen")

    def posts(self, rng: np.random.Generator, others: np.ndarray) -> np.ndarray:
        """Return float[distractors, 2]: places on the table away from float[n, 2] others and from each other, metres."""
        places = list(others)
        for _ in range(self.distractors):
            tried = rng.uniform((0.17, -0.21), (0.44, 0.21), (400, 2))
            room = np.linalg.norm(tried[:, None] - np.array(places)[None], axis=-1).min(1)
            places.append(tried[np.argmax(room > APART)] if (room > APART).any() else tried[np.argmax(room)])
        return np.array(places[len(others) :]).reshape(-1, 2)

    def say(self, sentence: str, seed: int, wordings: tuple[str, ...]) -> str:
        """Return a sentence of the task in the words of this episode; `wordings` as in `Stage`."""
        if self.wording == "own":
            return sentence
        own, *others = wordings
        return re.sub(f"^{own}$", others[seed % len(others)], sentence)


def variation(given: dict[str, Any]) -> Variation:
    """Return what a config says.

    Raises:
        ValueError: an unknown key or value.
    """
    known = [field.name for field in fields(Variation)]
    if strange := [name for name in given if name not in known]:
        raise ValueError(f"Unknown variation {strange[0]!r}; there are {', '.join(known)}.")
    return Variation(**given)
