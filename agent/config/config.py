"""`Config`: all settings of a run, and the checks that concern several sections. `agent.config.read` reads it from YAML."""

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

# Tags decide by the type of the value, so that an error concerns one of the two forms alone. `read` removes them from its sentences.
ONE, SEVERAL = "one environment", "several environments"
Envs = Annotated[
    Annotated[EnvConfig, Tag(ONE)] | Annotated[tuple[EnvConfig, ...], Tag(SEVERAL)],
    Discriminator(lambda given: SEVERAL if isinstance(given, list | tuple) else ONE),
]


class Config(Strict):
    """Settings of one run."""

    seed: int = Field(default=0, ge=0, lt=50)  # each run seed has 100,000 practice seeds of a range of 10 million (`records.SEEDS`)
    """Run seed, from which everything in this run is drawn: practice seeds, sampling, batches. Evaluation seeds are the same for every run."""
    cycles: int = Field(default=10, ge=0)
    """Improvement cycles."""
    max_minutes: float = Field(default=0, ge=0)
    """No new cycle begins after this many minutes of work in finished stages; 0: no limit. The decision is stored, and holds when a run goes on."""
    threads: int = Field(default=2, ge=1, le=1024)
    """Torch threads. Two processes with two threads each are slower than one process on two cores."""
    processes: int = Field(default=1, ge=1, le=1024)
    """Processes for rollouts in practice and in evaluations, for demonstrations, and for the scenes of stage `ground`. On a CPU each has the model
    and `collect.num_envs` environments, on one thread. On a GPU one model decides for all of them: for `collect.num_envs` environments, while as
    many others step. With `policy.device: cuda` and several GPUs each GPU has a model, and the processes belong to them in turn. Training uses one
    process. The episodes do not depend on the number of processes. 1: all in this process, on `threads`."""
    env: Envs = EnvConfig()
    """One environment, or a list of several: one policy then learns all of them, and tells them apart by their instructions."""
    policy: PolicyConfig = PolicyConfig()
    ground: GroundConfig = GroundConfig()
    demonstrate: DemonstrateConfig = DemonstrateConfig()
    collect: CollectConfig = CollectConfig()
    label: LabelConfig = LabelConfig()
    curate: CurateConfig = CurateConfig()
    tune: TuneConfig = TuneConfig()
    phases: tuple[Phase, ...] = ()
    """Changes later in a run. Each phase begins with its cycle `first`, and changes keys of `collect`, `curate` and `tune`; changes of earlier phases
    stay."""
    evaluate: EvaluateConfig = EvaluateConfig()
    track: TrackConfig = TrackConfig()

    @property
    def envs(self) -> tuple[EnvConfig, ...]:
        """Return all environments."""
        return (self.env,) if isinstance(self.env, EnvConfig) else self.env

    @property
    def task(self) -> str:
        """Return the titles of all environments as one text."""
        return " + ".join(env.title for env in self.envs)

    def at(self, cycle: int) -> "Config":
        """Return the config of a cycle, 1, 2, ..., with the changes of the phases that have begun, and without phases.

        Raises:
            ValidationError: a phase changes unknown keys, or sets values that are not allowed, or not together.
        """
        if not self.phases:
            return self
        # Made anew from plain values, not copied with changes, so that all checks apply to the changed values too.
        content = {**self.model_dump(), "phases": ()}
        for phase in self.phases:
            if phase.first <= cycle:
                for section in ("collect", "curate", "tune"):  # the later of two phases wins
                    content[section] = content[section] | getattr(phase, section)
        return Config(**content)

    @model_validator(mode="after")
    def _follow(self) -> "Config":
        firsts = [phase.first for phase in self.phases]
        if firsts != sorted(set(firsts)):
            raise ValueError(f"phases begin with cycles {', '.join(map(str, firsts))}; put each later than the one before")
        # Environments are made once a run; `credit` also decides what the warm start teaches, and how episodes are labelled.
        if any("num_envs" in phase.collect or "credit" in phase.curate for phase in self.phases):
            raise ValueError("collect.num_envs and curate.credit are of a whole run, and no phase can change them")
        return self

    @model_validator(mode="after")
    def _detector_alone(self) -> "Config":
        alone = self.label.by == "detector"  # then practice must not depend on the environment's reward or success
        if alone and (self.collect.dynamic_sampling or self.collect.lookahead_episodes):
            raise ValueError("collect.dynamic_sampling and lookahead_episodes need the environment's reward, and label.by is detector; set both to 0")
        if alone and not self.demonstrate.episodes:
            raise ValueError("label.by detector calibrates the detector on demonstrations; give demonstrate.episodes more than 0")
        if self.label.distance_question and not alone:
            raise ValueError("label.distance_question is a second question to a detector that labels alone; it needs label.by detector")
        return self

    @model_validator(mode="after")
    def _detector_fits(self) -> "Config":
        detector, by = self.label.detector, self.label.by
        if detector not in ("champion", "base") and ":" not in detector:
            raise ValueError(f"label.detector is {detector!r}; give champion, base, file.py:function or module:function")
        if detector == "base" and by != "detector":
            raise ValueError("label.detector base needs label.by detector; with env or both the champion learns from the environment's labels")
        if self.label.own_detector and by == "env":
            raise ValueError("label.detector names a detector of your own, which label.by env never uses; give label.by both or detector")
        if self.label.own_detector and self.label.distance_question:
            raise ValueError("label.distance_question is a question to the model, and label.detector is one of your own; remove one of them")
        return self

    @model_validator(mode="after")
    def _advantage_in_prompt(self) -> "Config":
        # Without the placeholder good and bad replies would be imitated for the same prompt.
        if self.curate.conditioned_weight and "{advantage}" not in self.policy.prompt:
            raise ValueError("curate.conditioned_weight puts the advantage of a decision into its prompt; put {advantage} into policy.prompt")
        return self

    @model_validator(mode="after")
    def _steps_to_go_are_learnt(self) -> "Config":
        if self.curate.credit == "steps_to_go" and not self.demonstrate.episodes:
            raise ValueError(
                "curate.credit steps_to_go lets the model predict how many decisions are left, which it learns from demonstrations and from its own "
                "episodes: give demonstrate.episodes more than 0"
            )
        return self

    @model_validator(mode="after")
    def _something_is_learnt(self) -> "Config":
        tune = self.tune
        if self.cycles and not (tune.pg_coef or tune.bc_coef or tune.filtered_bc_coef or tune.dpo_coef or tune.loss):
            raise ValueError(
                "a cycle learns nothing where tune.pg_coef, bc_coef, filtered_bc_coef and dpo_coef are all 0 and tune.loss names no term; "
                "give one of them, or set cycles to 0"
            )
        return self

    @model_validator(mode="after")
    def _lookahead_is_used(self) -> "Config":
        collect, curate = self.collect, self.curate
        if collect.lookahead_episodes and not (self.tune.bc_coef or curate.lookahead_pairs):
            raise ValueError("collect.lookahead_episodes teaches nothing without tune.bc_coef or curate.lookahead_pairs; give one more than 0")
        if curate.lookahead_pairs and not (self.tune.dpo_coef and collect.lookahead_episodes):
            raise ValueError("curate.lookahead_pairs needs look-ahead episodes; give tune.dpo_coef and collect.lookahead_episodes more than 0")
        apart = next((env.title for env in self.envs if env.timeout), None)  # an environment with a time limit has a process of its own
        if collect.lookahead_episodes and apart:
            raise ValueError(f"collect.lookahead_episodes copies the simulator, and {apart} runs in another process; set env.timeout to 0")
        return self

    @field_validator("env")
    @classmethod
    def _fit(cls, env: Envs) -> Envs:
        several = () if isinstance(env, EnvConfig) else env
        if len({member.title for member in several}) < len(several):  # titles are keys of outcomes and figures
            raise ValueError("two environments have one name; give each an env.name of its own")
        # One policy sees them all, and their episodes share one dataset.
        if len({(member.sources, member.history, member.size, member.action_repeat) for member in several}) > 1:
            raise ValueError("environments of one run must have the same cameras, history, size and action_repeat")
        if isinstance(env, tuple) and not env:  # an empty list passes both checks above
            raise ValueError("the list is empty; name an environment")
        return env
