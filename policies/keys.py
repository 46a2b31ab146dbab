"""The config section `policy`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator


class PolicyConfig(BaseModel):
    """Which model acts, and how it turns frames into actions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "nano"
    """`nano` (embedded), a hub id, a local folder, or a policy class of your own: `file.py:Class` (docs/extend.md)."""
    prompt: str = "{instruction} : how far to the first ?"
    """What the model is asked; `{instruction}` is replaced. The default is a question that the embedded model has been taught to answer, so its
    first replies mean something already; another model may prefer "You drive a robot arm. {instruction}. Reply with the next moves.". `{advantage}`
    becomes "good", or "bad" in lessons from practice that turned out worse than expected (`curate.conditioned`), and `{state}` what the robot
    feels (`state`)."""
    state: dict[NonNegativeInt, tuple[float, float]] = {}
    """What `{state}` in `prompt` tells: places in the environment's proprioceptive state, each with the range that a number covers. `{8: [0, 0.03]}`
    is the finger opening of our own arm, metres. Written as in actions; beyond the range it stays at its end."""
    codec: Literal["bins", "digits"] = "bins"
    """How actions are written: special tokens, or plain numbers for any off-the-shelf model."""
    num_bins: int = Field(default=33, ge=2)
    """Bins an action dimension, with `bins`; `digits` has 100. Odd: zero is a bin's centre."""
    scale: float = Field(default=1.0, ge=1)
    """The numbers cover the action box so many times about its middle; beyond, they mean its border. So a number can mean as many metres in an
    action as in the answers that the model knows, and need not be learnt anew. Discrete numbers stay as they are."""
    thought: str = ""
    """What the policy says before its actions and builds them on (a chain of thought): words as they stand here, and a number of its own choice for
    each #, a coordinate or an offset. Empty: it acts at once."""
    explore: Literal["reply", "action"] = "reply"
    """What is sampled in practice: the whole reply, or the action alone, after the thought that the policy holds most probable. Where a thought says
    what is seen, other thoughts are errors that no practice is needed to know."""
    chunk: int = Field(default=1, ge=1)
    """H, actions per decision; more is faster and blinder."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling in practice; the exam is greedy."""
    train: Literal["text", "all", "lora"] = "text"
    """What learns: the text model, everything, or LoRA adapters on the text model."""
    lora_rank: int = Field(default=16, ge=1)
    """r of LoRA; alpha is twice as much."""
    rows: int = Field(default=64, ge=1)
    """Rows of every batch when acting."""
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """Attention kernel; `auto` is the faster one: `eager` for bfloat16 on a CPU, else `sdpa`."""
    vision_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the vision tower; `auto` is bfloat16 where the device has it, which is twice as fast, else float32 (emulated, it is ten times slower)."""
    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1."""
    trust_remote_code: bool = False
    """Run Python that comes with a model from the hub. Off unless you trust its author."""

    @model_validator(mode="after")
    def _feels(self) -> "PolicyConfig":
        if bool(self.state) != ("{state}" in self.prompt):
            raise ValueError("policy.state says which numbers {state} in policy.prompt stands for; give both, or neither")
        if any(low >= high for low, high in self.state.values()):
            raise ValueError("a range in policy.state is empty; its first number must be the smaller one")
        return self

    def ask(self, instruction: str, advantage: bool = True, state: str = "") -> str:
        """Return `prompt` for an instruction; `advantage` as in `Situation`, `state` in the words of the codec."""
        filled = self.prompt.replace("{advantage}", "good" if advantage else "bad").replace("{state}", state)
        return filled.replace("{instruction}", instruction)
