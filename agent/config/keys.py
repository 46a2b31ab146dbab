"""What each stage is given: a section of a config each. Every key says what it does; nothing unknown gets through."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from envs.values import Value


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
    """Who demonstrates: empty for the environment's own `oracle(steps)`, `module:function` or `file.py:function` (f(env, observation) -> action),
    `module:Class` with `get_action(observation)` (Meta-World's policies), or the folder of an expert that `etude expert` made."""
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
    """Gradient steps on questions; null: 600 for the embedded model in MuJoCo environments whose frames etude draws, but 0 for our own tasks, which
    it was made with, and 0 for every other model."""
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
    """Practice: hot takes on seeds that are new every cycle."""

    seeds: int = Field(default=64, ge=1)
    """Practice seeds a cycle."""
    takes: int = Field(default=8, ge=1)
    """K, attempts at each of them."""
    refill: int = Field(default=0, ge=0)
    """Further seeds a cycle at most, `seeds` at a time, until `seeds` of all had takes that ended differently: where a task is nearly solved, or
    nearly hopeless, most seeds tell nothing (dynamic sampling, arXiv 2503.14476). Not where the critic labels alone."""
    guided: int = Field(default=0, ge=0)
    """Guided takes a cycle, on seeds of their own: before each decision candidates are tried in a copy of the moment, and the mean of those that earn
    most is carried out (expert iteration, arXiv 1705.08439, one decision deep). All of them become demonstrations. Needs an environment that a
    snapshot can put back, in this process (no `env.timeout`), with a reward that shows the way, on whatever scale."""
    foresight: int = Field(default=32, ge=2)
    """Candidates before each decision of a guided take: what the policy holds most probable, and others always at the same places around it."""
    wander: float = Field(default=0.2, ge=0, lt=1)
    """Share of a guided take's decisions at which the policy's own is carried out all the same, while the better one is what is learnt: so lessons
    come from where its errors lead, too (DAgger, arXiv 1011.0686). More, where one error leads to the next."""
    num_envs: int = Field(default=64, ge=1)
    """Environments at a time; changes the speed, never the episodes."""
    attention: float = Field(default=0.3, gt=0)
    """Where a run has several environments: practice is in proportion to weight times exp((0.5 - success) / this); large spreads it evenly."""
    max_fault_share: float = Field(default=0.2, ge=0, le=1)
    """The run stops with a sentence when more of a cycle's episodes than this were spoilt by the environment."""


class LabelConfig(Strict):
    """Who says whether a take was good."""

    by: Literal["env", "both", "critic"] = "env"
    """`env`: the environment's reward and success. `both`: the same, but where its reward stays the same throughout a take, and so says nothing of
    how it went, the model's own opinion after each decision stands in for it. `critic`: the model itself, which looks at the frames after every
    decision; no reward or success of the environment then reaches a lesson of any cycle, and practice goes on after a success, unless the
    environment itself ends there. Exams ask the environment, to measure and to promote; demonstrations are taken at its word."""
    detector: str = ""
    """A success detector of your own in the place of the model, where `by` is `both` or `critic`: `file.py:function`, f(frames, instruction) ->
    probability (docs/extend.md). It is calibrated, measured and guarded as the model is. Empty: the model itself."""
    judge: Literal["champion", "referee"] = "champion"
    """Who gives the model's verdict: the champion, which learns to from critic lessons (`tune.critic`), or, with `critic`, a referee: the model as it
    was before its warm start, which learns from demonstrations what a success looks like (`study`), and then neither learns nor forgets anything."""
    study: int = Field(default=80, ge=0)
    """Steps of descent on lessons of demonstrations that a referee takes, once, before practice. None where it tells success without: where it rates
    the success of demonstrations above what was before in 85 % of all comparisons; and none are kept where it does so less often afterwards."""
    question: str = "is it done: {instruction} ?"
    """What the critic is asked about a moment, to be answered by yes or no. The embedded model has been taught to answer the default."""
    way: str = ""
    """With `critic`, a second question about a moment, answered by a way in three number tokens, which the embedded model has learnt:
    "{instruction} : how far to the first ?". How short it is counts beside the yes, as much as demonstrations say, and instead of the yes it is the
    reward from which credit comes. Empty: not asked."""
    countdown: str = "how many steps to go: {instruction} ?"
    """What the model is asked about a moment where `curate.credit` is `steps`; it answers with a digit, and learns to from its demonstrations."""
    lessons: int = Field(default=256, ge=2)
    """Lessons for the critic a cycle (`tune.critic`), as many yes as no: moments of the demonstrations and, but with `critic`, of practice with the
    environment's word."""


class CurateConfig(Strict):
    """What a cycle teaches, from its episodes and from the library of earlier ones."""

    rule: str = ""
    """A curation rule of your own: `file.py:function`, f(episodes, labels) -> Lessons (docs/extend.md). Empty: ours, by the keys below."""
    pool: int = Field(default=2, ge=1)
    """Cycles to learn from at most: the present one, and those before it that were rolled back, whose takes are still the champion's own."""
    best_takes: int = Field(default=1, ge=0)
    """Successful takes of each mixed seed (some takes succeed, some fail) that become demonstrations: the fastest ones."""
    replay: int = Field(default=512, ge=0)
    """Decisions from earlier successes that are shown again each cycle."""
    hindsight: float = Field(default=0.0, ge=0)
    """Weight of demonstrations from failed takes that fulfilled another instruction than theirs ("touch the blue ball"), told as if that had been
    asked; others have 1. The fastest of each seed also makes a preference pair. 0: none."""
    conditioned: float = Field(default=0.0, ge=0)
    """Weight of practice itself as demonstrations, each told whether it was better than expected: `{advantage}` in `policy.prompt` is then "good" or
    "bad", and whoever acts is asked for "good" (advantage-conditioned imitation, RECAP, arXiv 2511.14759). Others have 1. 0: none."""
    pairs_per_seed: int = Field(default=2, ge=0)
    """Preference pairs drawn from each mixed seed."""
    contrast: int = Field(default=0, ge=0)
    """Preference pairs a cycle, at most, of a better decision that a guided take found (`collect.guided`) and what the policy wanted to do there."""
    pairs_by: Literal["fork", "trajectory"] = "fork"
    """`fork` compares a success and a failure at the decision where they part, in one situation; `trajectory` all that they did from where they
    part (GRAPE, arXiv 2411.19309), which costs as many replies a pair as they have decisions."""
    credit: Literal["progress", "reward", "outcome", "steps"] = "progress"
    """What a decision is credited with, and those before it by `discount`: how much nearer to the goal it brought the take, by the reward at its end;
    the mean reward of its steps; nothing but the success (with `discount` 1 all decisions of a take share it); or, with `steps`, how much nearer by
    the model's own word on how many decisions are left (`label.countdown`), whatever the environment's reward says."""
    discount: float = Field(default=0.7, ge=0, le=1)
    """Per decision, of the credit that follows a decision (its return-to-go)."""
    success_bonus: float = Field(default=1.0, ge=0)
    """Added to the credit of the decision that succeeds."""
    groups: Literal["all", "mixed"] = "all"
    """Which seeds feed the policy gradient: all, or only those whose takes ended differently."""


class TuneConfig(Strict):
    """Optimisation. The three losses are added with these weights; 0 switches one off."""

    policy_gradient: float = Field(default=1.0, ge=0)
    """Weight of the clipped policy gradient with per-decision advantage (PPO, arXiv 1707.06347; clip-higher, arXiv 2503.14476)."""
    imitation: float = Field(default=0.1, ge=0)
    """Weight of the log-likelihood of demonstrations and replayed successes."""
    filtered: float = Field(default=0.0, ge=0)
    """Weight of the log-likelihood of those trials that turned out better than expected (advantage-filtered imitation, arXiv 2505.03181): it learns
    from a cycle's own takes as the policy gradient does, without ratios, and without pushing anything down."""
    preference: float = Field(default=0.05, ge=0)
    """Weight of DPO on the cycle's pairs (arXiv 2305.18290) with its anchor."""
    critic: float = Field(default=0.1, ge=0)
    """Weight of the critic's own lessons, where there is a critic (`label.by`): without them it forgets, as the actor learns."""
    loss: str = ""
    """A further term of the loss, of your own: `file.py:function`, f(forward, config) -> (loss, figures) (docs/extend.md). Empty: none."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the cycle's trials (or demonstrations, if there are none)."""
    batch: int = Field(default=256, ge=1)
    """Trials a step; demonstrations and pairs ride along in proportion, at most eight times as many of each."""
    lr: float = Field(default=5e-4, gt=0)
    """Learning rate, which falls to 2 % of this by a cosine over all steps; no weight decay."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the learning rate also rises; with 0.3 it comes to 0.8 of `lr` at most. Adam's first steps follow the signs of a
    few batches, whatever the gradient's size: a longer warm-up keeps them from deciding where a cycle has few steps."""
    preference_by: Literal["sigmoid", "ipo", "robust"] = "sigmoid"
    """Which preference loss: `sigmoid` is DPO, `ipo` (arXiv 2310.12036) aims at a finite margin, `robust` (arXiv 2403.00409) expects that a share
    `flipped` of the pairs is the wrong way round."""
    flipped: float = Field(default=0.1, ge=0, lt=0.5)
    """Of the pairs, with `robust`: share that is the wrong way round."""
    displacement: float = Field(default=5.0, gt=0)
    """Nats that chosen replies may have lost since the champion, on average over a batch of pairs; beyond that a step has no preference loss but its
    anchor. A preference won by making both replies improbable teaches nothing (likelihood displacement, arXiv 2410.08847)."""
    beta: float = Field(default=0.1, gt=0)
    """Of DPO: how strongly a preference pulls away from the champion."""
    anchor: float = Field(default=0.2, ge=0)
    """Weight of the chosen reply's negative log-likelihood inside the preference loss; without it DPO lowers both."""
    clip_low: float = Field(default=0.2, gt=0)
    """The policy ratio may fall to 1 - this before its gradient is cut."""
    clip_high: float = Field(default=0.28, gt=0)
    """The policy ratio may rise to 1 + this before its gradient is cut."""
    ratio_guard: float = Field(default=5.0, gt=1)
    """Tokens whose ratio is above this have no gradient: the upper clip lets a bad reply through, however far it is from what was sampled."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the champion, nats a token, estimated on the trials' credited tokens."""
    entropy: float = Field(default=0.0, ge=0)
    """Weight of the policy's entropy, subtracted from the loss."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass in training; `auto` is bfloat16 where the device has it, which halves the time and shifts ratios by about 1 %; else
    float32."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class Phase(Strict):
    """Another way to practise and to learn, later in a run."""

    first: int = Field(ge=2)
    """The cycle that it begins with."""
    collect: dict[str, Value] = {}
    """Keys of `collect` that have other values from then on; `num_envs` has one for the whole run."""
    curate: dict[str, Value] = {}
    """Keys of `curate` likewise; `credit` has one value for the whole run."""
    tune: dict[str, Value] = {}
    """Keys of `tune` likewise."""


class EvaluateConfig(Strict):
    """The exam. Gate seeds decide promotions; final seeds are seen only at the end, so the reported gain is not selected on."""

    episodes: int = Field(default=200, ge=1)
    """Gate seeds a cycle, the same for champion and challenger, and new in each cycle: on the old ones the champion was chosen, and looks better than
    it is."""
    prolong: int = Field(default=2, ge=0)
    """How often both get as many further gate seeds while the candidate is ahead, but not beyond `alpha`; each look may err once more."""
    final_episodes: int = Field(default=400, ge=1)
    """Test seeds, for base model, warm start and last champion."""
    variations: dict[Annotated[str, Field(pattern=r"^[\w .-]+$")], dict[str, Value]] = {}
    """Evaluations of generalisation, at the end, of the better of base model and warm start and of the last champion: a name, and changes of
    `env.kwargs` under which the test seeds are taken (our own tasks: `{variation: {camera: 0.03}}`). Nothing is decided by them."""
    alpha: float = Field(default=0.3, gt=0, le=1)
    """A candidate is promoted if it does better on the gate seeds with an exact two-sided McNemar p of at most this; one that is truly as good is
    promoted in 20 % of cycles with the defaults (docs/learning.md has the table)."""


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
