"""Config = the stages' settings together; `configure` reads it."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from agent.config.keys import (
    CollectConfig,
    CurateConfig,
    DemonstrateConfig,
    EvaluateConfig,
    GroundConfig,
    LabelConfig,
    Phase,
    Strict,
    TrackConfig,
    TuneConfig,
)
from envs import EnvConfig
from policies import PolicyConfig

ONE, SEVERAL = "one environment", "several environments"
Envs = Annotated[
    Annotated[EnvConfig, Tag(ONE)] | Annotated[tuple[EnvConfig, ...], Tag(SEVERAL)],
    Discriminator(lambda given: SEVERAL if isinstance(given, list | tuple) else ONE),
]


class Config(Strict):
    """One run."""

    seed: int = Field(default=0, ge=0, lt=50)
    """Of everything drawn in this run: practice seeds, sampling, batches. Exam seeds are the same for every run."""
    cycles: int = Field(default=10, ge=0)
    """Improvement cycles."""
    minutes: float = Field(default=0, ge=0)
    """No new cycle begins after this many minutes of work in finished stages; 0: no limit. What was decided by it holds when a run goes on."""
    threads: int = Field(default=2, ge=1)
    """Of torch; two processes with two threads each are slower than one on two cores."""
    processes: int = Field(default=1, ge=1)
    """That practise and sit exams side by side, each with the model and `collect.num_envs` environments of its own, on one thread; training stays
    one process. 1: practice in this process, on `threads`. The episodes are those of one process on one thread."""
    env: Envs = EnvConfig()
    """One environment, or a list of several: one policy then learns them all, and instructions tell it which is which."""
    policy: PolicyConfig = PolicyConfig()
    ground: GroundConfig = GroundConfig()
    demonstrate: DemonstrateConfig = DemonstrateConfig()
    collect: CollectConfig = CollectConfig()
    label: LabelConfig = LabelConfig()
    curate: CurateConfig = CurateConfig()
    tune: TuneConfig = TuneConfig()
    phases: tuple[Phase, ...] = ()
    """What changes later in a run: each phase begins with its cycle `first`, and changes keys of `collect`, `curate` and `tune` over those of the
    phases before."""
    evaluate: EvaluateConfig = EvaluateConfig()
    track: TrackConfig = TrackConfig()

    @property
    def envs(self) -> tuple[EnvConfig, ...]:
        """Return all environments."""
        return (self.env,) if isinstance(self.env, EnvConfig) else self.env

    @property
    def task(self) -> str:
        """Return what the run is about, in words."""
        return " + ".join(env.title for env in self.envs)

    def at(self, cycle: int) -> "Config":
        """Return the config as it is in a cycle, 1, 2, ..., whose phase has begun; it has no phases.

        Raises:
            ValidationError: a phase changes keys that are not there, or to values that do not go together.
        """
        if not self.phases:
            return self
        content = {**self.model_dump(), "phases": ()}
        for phase in self.phases:
            if phase.first <= cycle:
                for section in ("collect", "curate", "tune"):
                    content[section] = content[section] | getattr(phase, section)
        return Config(**content)

    @model_validator(mode="after")
    def _follow(self) -> "Config":
        firsts = [phase.first for phase in self.phases]
        if firsts != sorted(set(firsts)):
            raise ValueError(f"phases begin with cycles {', '.join(map(str, firsts))}; put each later than the one before")
        if any("num_envs" in phase.collect or "credit" in phase.curate for phase in self.phases):
            raise ValueError("collect.num_envs and curate.credit are of a whole run, and no phase can change them")
        return self

    @model_validator(mode="after")
    def _asks_nobody(self) -> "Config":
        if self.label.by == "critic" and (self.collect.refill or self.collect.guided):
            raise ValueError("collect.refill and guided go by the environment's word, which label.by critic must not know; set them to 0")
        return self

    @model_validator(mode="after")
    def _is_measured(self) -> "Config":
        if self.label.by == "critic" and not self.demonstrate.episodes:
            raise ValueError("label.by critic learns from demonstrations what its word is worth; give demonstrate.episodes more than 0")
        return self

    @model_validator(mode="after")
    def _refers(self) -> "Config":
        if self.label.judge == "referee" and self.label.by != "critic":
            raise ValueError(
                "label.judge referee goes with label.by critic; where the environment is asked, the champion learns to judge from its word"
            )
        if self.label.detector and self.label.by == "env":
            raise ValueError("label.detector says how episodes went where label.by is both or critic; with env nobody asks it")
        if self.label.detector and (self.label.judge == "referee" or self.label.way):
            raise ValueError("label.detector judges in the place of the model; leave label.judge and label.way as they are")
        if self.label.way and self.label.by != "critic":
            raise ValueError("label.way is a second question to a critic whose word is the only one; it goes with label.by critic")
        return self

    @model_validator(mode="after")
    def _tells(self) -> "Config":
        if self.curate.conditioned and "{advantage}" not in self.policy.prompt:
            raise ValueError("curate.conditioned tells the policy how practice turned out, for which policy.prompt needs the word {advantage} in it")
        return self

    @model_validator(mode="after")
    def _counts(self) -> "Config":
        if self.curate.credit == "steps" and not (self.tune.critic and self.demonstrate.episodes):
            raise ValueError(
                "curate.credit steps asks the model how many decisions are left, which it learns from demonstrations and its own takes: "
                "give demonstrate.episodes and tune.critic more than 0"
            )
        return self

    @model_validator(mode="after")
    def _prefers(self) -> "Config":
        if self.collect.guided and not (self.tune.imitation or self.curate.contrast):
            raise ValueError("collect.guided finds better decisions, from which nothing is learnt without tune.imitation or curate.contrast above 0")
        if self.curate.contrast and not (self.tune.preference and self.collect.guided):
            raise ValueError("curate.contrast makes preference pairs of guided takes; give tune.preference and collect.guided more than 0")
        return self

    @model_validator(mode="after")
    def _foresees(self) -> "Config":
        far = next((env.title for env in self.envs if env.timeout), None)
        if self.collect.guided and far:
            raise ValueError(f"collect.guided tries actions in a copy of the moment, which {far} has in another process; set env.timeout to 0")
        return self

    @field_validator("env")
    @classmethod
    def _fit(cls, env: Envs) -> Envs:
        several = () if isinstance(env, EnvConfig) else env
        if len({each.title for each in several}) < len(several):
            raise ValueError("two environments have one name; give each an env.name of its own")
        if len({(each.sources, each.history, each.size, each.action_repeat) for each in several}) > 1:
            raise ValueError("environments of one run must have the same cameras, history, size and action_repeat")
        if isinstance(env, tuple) and not env:
            raise ValueError("the list is empty; name an environment")
        return env
