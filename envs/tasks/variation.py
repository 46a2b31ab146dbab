"""Variations of our own tasks, set by config, for evaluations of generalisation: scenes differ from those that were trained on."""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from envs.simulate.render import mujoco

POST = 0.012, 0.03  # radius and half height of a distractor, a cylinder, metres
APART = 0.075  # smallest distance of a distractor from anything else on the table, metres


@dataclass(frozen=True)
class Variation:
    """How scenes differ from the usual ones; by default they do not."""

    camera: float = 0.0
    """Largest displacement of the front camera along each axis, metres; drawn for every seed."""
    light: float = 0.0
    """Largest relative change of the brightness of all lights, such as 0.4; drawn for every seed."""
    wording: Literal["own", "other"] = "own"
    """`other`: paraphrased instructions, which the task itself never uses."""
    distractors: int = 0
    """Number of coloured posts on the table; no instruction names them, and nothing collides with them."""
    pairs: Literal["all", "seen", "unseen"] = "all"
    """Which pairs of colour and noun an instruction may name. One colour of each noun is reserved for `unseen`, so train on `seen`."""

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
        """Return whether an instruction may be used: with `unseen` it names at least one reserved pair, with `seen` none."""
        named = re.findall(rf"\b({'|'.join(colours)}) (\w+)", instruction)
        # Any fixed rule would do that reserves one colour of each noun; this one needs no list of nouns.
        reserved = [(colours.index(colour) + len(noun)) % len(colours) == 0 for colour, noun in named]
        return self.pairs == "all" or any(reserved) == (self.pairs == "unseen")

    def posts(self, rng: np.random.Generator, others: np.ndarray) -> np.ndarray:
        """Return float[distractors, 2], positions on the table, metres, apart from each other and from the float[n, 2] positions `others`."""
        places = list(others)
        for _ in range(self.distractors):
            # The first of 400 that is far enough from everything, or the farthest: unlike rejection sampling, this always ends.
            tried = rng.uniform((0.17, -0.21), (0.44, 0.21), (400, 2))
            room = np.linalg.norm(tried[:, None] - np.array(places)[None], axis=-1).min(1)
            places.append(tried[np.argmax(room > APART)] if (room > APART).any() else tried[np.argmax(room)])
        return np.array(places[len(others) :]).reshape(-1, 2)

    def reword(self, sentence: str, seed: int, wordings: tuple[str, ...]) -> str:
        """Return an instruction of the task, paraphrased with `wording: other`; `wordings` as in `Stage`."""
        if self.wording == "own":
            return sentence
        own, *others = wordings
        return re.sub(f"^{own}$", others[seed % len(others)], sentence)


def variation(given: dict[str, Any]) -> Variation:
    """Return the variation that a config gives as a dict.

    Raises:
        ValueError: an unknown key or value.
    """
    known = [field.name for field in fields(Variation)]
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"Unknown variation {unknown[0]!r}; allowed are {', '.join(known)}.")
    return Variation(**given)
