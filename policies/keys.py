"""The config section `policy`."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

LARGEST_RANK = 4096  # of an adapter: as wide as the layers of large models, so that more would add nothing
LARGEST_ALPHA = 1_000_000  # more than a hundred times the largest rank; far larger ones overflow
LORA_OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # of `policy.lora`: what each may be
    "r": (f"a whole number from 1 to {LARGEST_RANK}", lambda value: type(value) is int and 1 <= value <= LARGEST_RANK),
    "lora_alpha": (f"a number above 0, at most {LARGEST_ALPHA:,}", lambda value: type(value) in (int, float) and 0 < value <= LARGEST_ALPHA),
    "use_rslora": ("true or false", lambda value: type(value) is bool),
    "use_dora": ("true or false", lambda value: type(value) is bool),
    "target_modules": ("a list of names, or a regular expression", lambda value: isinstance(value, list) or _is_expression(value)),
}


def _is_expression(value: Any) -> bool:
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        return False


def replaced(text: str, known: Sequence[str]) -> str:
    """Return a text whose placeholders, single words in braces, are all known; others would reach the model as they stand.

    Text in braces that is no placeholder, such as JSON, may stand there.

    Raises:
        ValueError: a placeholder is not known, or is not written as one: `{ instruction }`, `{{instruction}}`, `{instruction`.
    """
    for found in re.findall(r"\{+[^{}]*\}*", text):
        inner = found.strip("{}")
        meant = re.fullmatch(r"[\w\s!.:\[\]-]*", inner) and any(re.search(rf"\b{name}\b", inner) for name in known)
        if (meant and found != f"{{{inner}}}") or ((meant or re.fullmatch(r"\S*", inner)) and inner not in known and found.endswith("}")):
            names = f"the placeholders here are {', '.join(f'{{{name}}}' for name in known)}" if known else "there are no placeholders here"
            raise ValueError(f"nothing replaces {found}; {names}")
    return text


class PolicyConfig(BaseModel):
    """Which model acts, and how it turns frames into actions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = "nano"
    """`nano` (embedded), a hub id, a local folder, or a policy class of your own: `file.py:Class` (docs/extend.md)."""
    prompt: str = "{instruction} : how far to the first ?"
    """The prompt; `{instruction}` is replaced. The default is a question that the embedded model can answer before any training: the offset from the
    tool to the first object that the instruction names, which is nearly an action. Another model may prefer "You drive a robot arm. {instruction}.
    Reply with the next moves.". `{advantage}` becomes "good" or "bad" (`curate.conditioned_weight`), `{state}` the proprioception (`state`)."""
    state: dict[NonNegativeInt, tuple[float, float]] = {}
    """Numbers for `{state}` in `prompt`: indices of the environment's proprioceptive state, each with its range. `{8: [0, 0.03]}` is the finger
    opening of our own arm, metres. They are written like actions, and clipped to the range."""
    codec: Literal["bins", "digits"] = "bins"
    """How actions are written: special tokens, or plain numbers for any off-the-shelf model."""
    num_bins: int = Field(default=33, ge=2)
    """Bins an action dimension, with `bins`; `digits` has 100. Odd: zero is a bin's centre."""
    scale: float = Field(default=1.0, ge=1)
    """The bins cover the action box, scaled this much about its middle; actions are clipped to the box. The embedded model's answers about distances
    reach 0.4 m. With 0.4 / (metres that a whole action moves in a decision) a number means as much in an action. Discrete ones are not scaled."""
    thought: str = ""
    """Chain of thought before the action: fixed words, and a number of the policy's own choice for each #, a coordinate or an offset. Empty: none."""
    sample: Literal["reply", "action"] = "reply"
    """Tokens that are sampled when episodes are collected: the whole reply, or the action alone after the most probable thought. Use `action` where
    the thought describes what the frames show: less probable thoughts would only be wrong."""
    chunk_size: int = Field(default=1, ge=1, le=1000)
    """H, actions per decision; more is faster, and blinder."""
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    """Sampling temperature when episodes are collected; evaluation is greedy."""
    train: Literal["auto", "text", "all", "lora", "lora+connector"] = "auto"
    """Trained weights: the text model, everything, or LoRA adapters on the text model. `auto`: everything where the embedded model has never seen
    such a scene (PyBullet, pygame, MiniGrid) and no MuJoCo state explains it; else the text model. `lora+connector` also trains the whole connector
    (projector) between vision tower and text model: it learns where a new scene's objects are. Stage `ground` trains the same, but all for `text`."""
    lora: dict[str, bool | int | float | str | list[str]] = {}
    """Options of LoRA, named as in peft's `LoraConfig`: `{r: 32, use_dora: true}`. Possible are `r` (16), `lora_alpha` (twice `r`), `use_rslora`,
    `use_dora` and `target_modules` (all linear layers of the text model). Replies are scored as they are acted, so there is no dropout."""
    batch_size: int = Field(default=64, ge=1)
    """Rows of a forward pass when acting. Smaller batches are padded to it, or to a smaller number that gives the same bits: so results do not depend
    on the number of live episodes."""
    layers: PositiveInt | None = None
    """Keep the first so many layers of the text model, and drop the others, to make a large model faster. SmolVLA (arXiv 2506.01844) keeps 16 of
    32. Fewer layers know less: 8 of SmolLM2's 30 lose much of its English. null: all."""
    precision: Literal["auto", "float32", "bfloat16", "4bit"] = "auto"
    """Precision of the vision tower and of the forward pass in training. `auto`: bfloat16 where the device has it, which takes half the time and
    shifts ratios by about 1 %; else float32. On a GPU, bfloat16 also stores the weights that are not trained, in half the memory. `4bit`: as
    `auto`, and the layers under LoRA adapters are stored in four bits (NF4, as QLoRA, arXiv 2305.14314); it needs `pip install 'etude[bits]'`."""
    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1."""
    trust_remote_code: bool = False
    """Run Python that comes with a model from the hub. Off unless you trust its author."""

    @field_validator("model")
    @classmethod
    def _model_is_no_address(cls, model: str) -> str:
        if address := re.fullmatch(r"https?://[^/]+/?([^/]+/[^/?#]+)?.*", model):
            raise ValueError(f"an address is given, and a hub id is needed, as in {address[1] or 'HuggingFaceTB/SmolVLM-256M-Instruct'}")
        return model

    @field_validator("prompt")
    @classmethod
    def _prompt_is_replaced(cls, prompt: str) -> str:
        return replaced(prompt, ("instruction", "state", "advantage"))

    @field_validator("thought")
    @classmethod
    def _thought_has_no_placeholders(cls, thought: str) -> str:
        return replaced(thought, ())

    @model_validator(mode="after")
    def _fits_together(self) -> "PolicyConfig":
        if bool(self.state) != ("{state}" in self.prompt):
            raise ValueError("policy.state says which numbers {state} in policy.prompt stands for; give both, or neither")
        if self.lora and not self.train.startswith("lora"):
            raise ValueError(f"policy.lora has options, and policy.train is {self.train!r}; set policy.train to lora, or leave policy.lora out")
        if self.precision == "4bit" and not self.train.startswith("lora"):
            raise ValueError(
                f"policy.precision is 4bit, and policy.train is {self.train!r}; weights of four bits learn by adapters; set policy.train to lora"
            )
        if any(low >= high for low, high in self.state.values()):
            raise ValueError("a range in policy.state is empty; its first number must be the smaller one")
        return self

    @field_validator("lora")
    @classmethod
    def _known_options(cls, lora: dict[str, object]) -> dict[str, object]:
        if unknown := lora.keys() - LORA_OPTIONS:
            raise ValueError(f"policy.lora has no option {min(unknown)!r}; it has {', '.join(LORA_OPTIONS)}")
        for name, value in lora.items():
            kind, fits = LORA_OPTIONS[name]
            if not fits(value):
                raise ValueError(f"policy.lora's {name} is {value!r}; give {kind}")
        return lora

    @property
    def trains_features(self) -> bool:
        """Return whether image tokens change in training, so that none can be stored."""
        return self.train in ("all", "lora+connector")

    def ask(self, instruction: str, advantage: bool = True, state: str = "") -> str:
        """Return `prompt` for an instruction; `advantage` as in `Situation`, `state` as text in the numbers of the codec."""
        # The instruction last: braces in it must not be replaced.
        filled = self.prompt.replace("{advantage}", "good" if advantage else "bad").replace("{state}", state)
        return filled.replace("{instruction}", instruction)
