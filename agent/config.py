"""Config = the stages' configs together. A YAML file, then overrides from the command line; nothing unknown gets through."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from envs import EnvConfig
from policies import PolicyConfig


class Strict(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DemonstrateConfig(Strict):
    """The warm start: imitation of a few takes of an expert or of a stored dataset, before the first cycle."""

    episodes: int = Field(default=40, ge=0)
    """Oracle episodes, or at most so many of the dataset; 0 starts from the base model as it is."""
    dataset: str = ""
    """Folder of a LeRobotDataset v3.0, or `minari:ID` of a local Minari dataset; empty: an expert demonstrates."""
    cameras: tuple[str, ...] = ()
    """The dataset's cameras that stand for those of `env.cameras`, in that order; empty: they have the same names."""
    expert: str = ""
    """Who demonstrates: empty for the environment's own `oracle(steps)`, `module:function` (f(env, observation) -> action), `module:Class` with
    `get_action(observation)` (Meta-World's policies), or the folder of an expert that `etude expert` made."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the Gaussian that disturbs the executed oracle actions; the recorded ones stay clean (DART, arXiv 1703.09327)."""
    steps: int = Field(default=60, ge=1)
    """Gradient steps of imitation."""
    batch: int = Field(default=64, ge=1)
    """Replies a step."""
    lr: float = Field(default=2e-4, gt=0)
    """Peak learning rate."""


class GroundConfig(Strict):
    """Bearings in a new environment, before the warm start: the simulator's own state asks and answers questions about the frames."""

    steps: int | None = Field(default=None, ge=0)
    """Gradient steps on questions; null: 0 for our own tasks, which the embedded model was made with, and 600 for other MuJoCo environments with
    named cameras."""
    scenes: int = Field(default=3000, ge=32)
    """Scenes drawn from random motion, and from the expert's where there is one."""
    batch: int = Field(default=24, ge=1)
    """Scenes a step."""
    questions: int = Field(default=6, ge=1)
    """Asked about each scene of a batch."""
    kinds: tuple[Literal["where", "offset", "way", "instruction", "pair", "plan", "relation", "colour", "count", "done"], ...] = ()
    """Kinds of questions to ask; empty: all. Fewer kinds are learnt faster: those that the policy's prompt needs."""
    train: Literal["all", "text"] = "all"
    """`all` for an environment that looks new; `text` keeps the vision as it is, at a third of the time."""
    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate."""
    tool: str = ""
    """Site or body that questions call the tool; empty: a site of that name, else the end of the robot's longest chain of bodies."""


class CollectConfig(Strict):
    """Practice: hot takes on new seeds every cycle."""

    seeds: int = Field(default=64, ge=1)
    """New practice seeds a cycle."""
    takes: int = Field(default=8, ge=1)
    """K, attempts at each of them."""
    num_envs: int = Field(default=64, ge=1)
    """Environments at a time; changes the speed, never the episodes."""
    max_fault_share: float = Field(default=0.2, ge=0, le=1)
    """The run stops with a sentence when more of a cycle's episodes than this were spoilt by the environment."""


class LabelConfig(Strict):
    """Who says whether a take was good."""

    by: Literal["env"] = "env"
    """`env`: the environment's reward and success."""


class CurateConfig(Strict):
    """What a cycle teaches, from its episodes and from the library of earlier ones."""

    pool: int = Field(default=2, ge=1)
    """Cycles to learn from at most: the present one, and those before it that were rolled back, whose takes are still the champion's own."""
    best_takes: int = Field(default=1, ge=0)
    """Successful takes of each mixed seed (some takes succeed, some fail) that become demonstrations: the fastest ones."""
    replay: int = Field(default=512, ge=0)
    """Decisions from earlier successes that are shown again each cycle; all oracle demonstrations are shown anyway."""
    pairs_per_seed: int = Field(default=2, ge=0)
    """Preference pairs drawn from each mixed seed."""
    discount: float = Field(default=0.7, ge=0, le=1)
    """Per decision, of the progress that follows a decision (its return-to-go)."""
    success_bonus: float = Field(default=1.0, ge=0)
    """Added to the progress of the decision that succeeds."""
    groups: Literal["all", "mixed"] = "all"
    """Which seeds feed the policy gradient: all, or only those whose takes ended differently."""


class TuneConfig(Strict):
    """Optimisation. The three losses are added with these weights; 0 switches one off."""

    policy_gradient: float = Field(default=1.0, ge=0)
    """Weight of the clipped policy gradient with per-decision advantage (PPO, arXiv 1707.06347; clip-higher, arXiv 2503.14476)."""
    imitation: float = Field(default=0.1, ge=0)
    """Weight of the log-likelihood of demonstrations and replayed successes."""
    preference: float = Field(default=0.05, ge=0)
    """Weight of DPO on the cycle's pairs (arXiv 2305.18290) with its anchor."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the cycle's trials (or demonstrations, if there are none)."""
    batch: int = Field(default=256, ge=1)
    """Trials a step; demonstrations and pairs ride along in proportion."""
    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate; constant weight decay 0, cosine decay to 2 %."""
    beta: float = Field(default=0.1, gt=0)
    """Of DPO: how strongly a preference pulls away from the champion."""
    anchor: float = Field(default=0.2, ge=0)
    """Weight of the chosen reply's negative log-likelihood inside the preference loss; without it DPO lowers both."""
    clip_low: float = Field(default=0.2, gt=0)
    """The policy ratio may fall to 1 - this before its gradient is cut."""
    clip_high: float = Field(default=0.28, gt=0)
    """The policy ratio may rise to 1 + this before its gradient is cut."""
    entropy: float = Field(default=0.0, ge=0)
    """Weight of the policy's entropy, subtracted from the loss."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward pass in training; bfloat16 halves its time on CPUs that have it, and shifts ratios by about 1 %."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class EvaluateConfig(Strict):
    """The exam. Gate seeds decide promotions; final seeds are seen only at the end, so the reported gain is not selected on."""

    episodes: int = Field(default=200, ge=1)
    """Gate seeds, the same for champion and challenger."""
    final_episodes: int = Field(default=400, ge=1)
    """Final exam seeds, for the first and the last champion."""
    alpha: float = Field(default=0.3, gt=0, le=1)
    """A challenger is promoted if it does better on the gate seeds with an exact two-sided McNemar p of at most this."""


class TrackConfig(Strict):
    """Where figures and films go. `metrics.jsonl` is always written."""

    mode: Literal["offline", "online", "off"] = "offline"
    """Weights & Biases: `offline` writes into the run folder (`wandb sync` later), `online` needs a login, `off`."""
    project: str = "etude"
    """W&B project."""
    films: bool = True
    """Films of a best and a worst take per cycle, and before/after films in the report."""

    @field_validator("mode", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare off as false


class Config(Strict):
    """One run."""

    seed: int = Field(default=0, ge=0, lt=50)
    """Of everything drawn in this run: practice seeds, sampling, batches. Exam seeds are the same for every run."""
    cycles: int = Field(default=10, ge=0)
    """Improvement cycles."""
    minutes: float = Field(default=0, ge=0)
    """No new cycle begins after this many minutes of work; 0: no limit."""
    threads: int = Field(default=2, ge=1)
    """Of torch; two processes with two threads each are slower than one on two cores."""
    env: EnvConfig = EnvConfig()
    policy: PolicyConfig = PolicyConfig()
    ground: GroundConfig = GroundConfig()
    demonstrate: DemonstrateConfig = DemonstrateConfig()
    collect: CollectConfig = CollectConfig()
    label: LabelConfig = LabelConfig()
    curate: CurateConfig = CurateConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    track: TrackConfig = TrackConfig()


def read(file: Path) -> Config:
    """Return the config in a YAML file.

    Raises:
        ValueError: no such file, not YAML, an unknown key (with the nearest known one), a value of a wrong type or range.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        known = ", ".join(str(path) for path in sorted(Path("configs").glob("*.yaml")))
        raise ValueError(f"Config {file} cannot be read ({error.strerror}); here are: {known or 'none'}.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"Config {file} is not YAML: {str(error).splitlines()[0]}; mend that line.") from error
    if not isinstance(content, dict | None):
        raise ValueError(f"Config {file} holds a {type(content).__name__}; it must hold keys such as 'seed' and 'env'.")
    return parse(content or {}, str(file))


def parse(content: dict[str, Any], source: str) -> Config:
    """Return the config that `content` holds; errors are one sentence each, and name `source`."""
    try:
        return Config(**content)
    except ValidationError as error:
        raise ValueError(" ".join(_sentence(each, source) for each in error.errors())) from None


def _sentence(error: Any, source: str) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{source}: {where} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}."
    model: Any = Config
    for part in error["loc"][:-1]:
        model = model.model_fields[part].annotation
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
    return f"{source}: unknown key {where!r}; " + (f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}.")


def override(config: Config, arguments: list[str]) -> Config:
    """Return the config with overrides from the command line: `--collect.takes 16`, `--env.cameras front wrist`, `--track.films false`.

    `--help` prints every key with its meaning (by tyro) and exits.

    Raises:
        ValueError: an unknown key, or a value of a wrong type or range.
    """
    if "--help" in arguments or "-h" in arguments:
        import tyro

        tyro.cli(Config, default=config, args=["--help"], prog="etude improve CONFIG RUN")
    known, content = dict(_keys(Config)), config.model_dump()
    for name, words in _options(arguments):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise ValueError(f"Unknown override '--{name}'; " + (f"did you mean '--{near[0]}'?" if near else "--help lists all."))
        section, *path = content, *name.split(".")
        for part in path[:-1]:
            section = section[part]
        values = [yaml.safe_load(word) for word in words]
        section[path[-1]] = values if isinstance(section[path[-1]], tuple) or len(values) != 1 else values[0]
    return parse(content, "command line")


def _options(arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield names and values of `--name value ...` and `--name=value`."""
    at = 0
    while at < len(arguments):
        name, equals, value = arguments[at].partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{arguments[at]!r} is not an override; they look like --seed 3.")
        words = [value] if equals else []
        at += 1
        while at < len(arguments) and not arguments[at].startswith("--"):
            words.append(arguments[at])
            at += 1
        yield name[2:].replace("-", "_"), words


def _keys(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        yield from _keys(field.annotation, f"{prefix}{name}.") if nested else [(prefix + name, field)]
