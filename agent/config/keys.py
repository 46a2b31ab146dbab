"""The settings of each stage. Every key says what it does; an unknown key is an error."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from envs.values import Value
from policies.keys import replaced

# The practice seeds of a run are a range of 100,000, which these keys of `collect` share; no two cycles of a run have a seed in common.
PRACTICE_SEEDS = {"num_seeds": 50_000, "lookahead_episodes": 30_000, "dynamic_sampling": 20_000}


class Strict(BaseModel):
    """Frozen; unknown keys are errors, and so are infinity and NaN where a number is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Those from `action` on, and `where`, `way`, `instruction`, `colour`, `done`, are asked where no simulator answers.
Kind = Literal[
    "where", "offset", "way", "instruction", "pair", "plan", "relation", "colour", "count", "done",
    "action", "apart", "same", "moved", "left", "position", "nearer",
]  # fmt: skip


class GroundConfig(Strict):
    """Grounding in a new environment, before the warm start: questions about frames. MuJoCo's state answers them; elsewhere frames, actions, time."""

    model_config = ConfigDict(serialize_by_alias=True)

    steps: int | None = Field(default=None, ge=0)
    """Gradient steps on questions. null: 600 for the embedded model, and 0 for others. Our own tasks need none: the embedded model was made with
    them."""
    batch_size: int = Field(default=24, ge=1)
    """Scenes a gradient step, with six questions about each. For a large model take fewer, and more steps: `etude compose`'s model answered more
    questions rightly after as much CPU time with 6."""
    kinds: tuple[Kind, ...] = ()
    """Kinds of questions to ask; empty: all. Fewer kinds are learnt faster: name those that the policy's prompt needs."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """Peak learning rate."""
    sources: dict[str, str] = Field(default={}, alias="from")
    """Positions, for further questions where there is no MuJoCo state: a name, and the entry of `info` or `observation` that holds one to three
    numbers (`{ball: info.ball_xy, goal: observation.goal}`)."""
    tool: str = ""
    """Site or body that questions call the tool. Empty: a site of that name, else the end of the robot's longest chain of bodies."""


class DemonstrateConfig(Strict):
    """The warm start: behaviour cloning of a few episodes of an expert or of a stored dataset, before the first cycle."""

    episodes: int = Field(default=40, ge=0, le=100_000)
    """Expert episodes, or the largest number of episodes of the dataset. 0 starts from the base model as it is."""
    dataset: str = ""
    """Folder of a LeRobotDataset v3.0, or `minari:ID` of a local Minari dataset. Empty: an expert demonstrates."""
    cameras: tuple[str, ...] = ()
    """The dataset's cameras that stand for those of `env.cameras`, in that order. Empty: they have the same names."""
    steps_per_row: float | None = Field(default=None, gt=0)
    """Environment steps that one row of a LeRobotDataset of another producer lasts: 2 for 10 rows a second in an environment of 20 steps, 0.4 for 50
    rows. Rows that are merged add their rewards. null: 1, and a dataset with another rate than the environment's is refused until this key says what
    is meant."""
    expert: str = ""
    """Who demonstrates. Empty: the environment's own `oracle(steps)`. Or `module:function` or `file.py:function` (f(env, observation) -> action), or
    `module:Class` with `get_action(observation)` (Meta-World's policies), or the folder of an expert made by `etude expert`."""
    noise: float = Field(default=0.0, ge=0, le=1e3)
    """Standard deviation of Gaussian noise added to the executed expert actions; the recorded actions stay clean (DART, arXiv 1703.09327)."""
    steps: int = Field(default=60, ge=1)
    """Gradient steps of behaviour cloning, on 64 replies each."""
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    """Peak learning rate."""


class CollectConfig(Strict):
    """Rollouts for practice: sampled episodes on seeds that are new every cycle."""

    num_seeds: int = Field(default=64, ge=1, le=PRACTICE_SEEDS["num_seeds"])
    """Practice seeds a cycle."""
    episodes_per_seed: int = Field(default=8, ge=1, le=10_000)
    """K, sampled episodes of each practice seed."""
    dynamic_sampling: int = Field(default=0, ge=0, le=PRACTICE_SEEDS["dynamic_sampling"])
    """Largest number of further seeds a cycle, drawn until `num_seeds` seeds are mixed: some of their episodes succeed, some fail. The policy
    gradient then uses mixed seeds only (DAPO, arXiv 2503.14476). Use it where most seeds always succeed or always fail. 0: off."""
    lookahead_episodes: int = Field(default=0, ge=0, le=PRACTICE_SEEDS["lookahead_episodes"])
    """Look-ahead episodes a cycle, on seeds of their own. Before each decision, candidate actions are tried in a copy of the simulator, and the mean
    of the best ones is executed (expert iteration, arXiv 1705.08439, one decision deep). All of them become demonstrations. Needs an environment that
    a snapshot can restore, in this process (no `env.timeout`), with a dense reward of any scale."""
    lookahead_candidates: int = Field(default=32, ge=2)
    """Candidates before each decision of a look-ahead episode: the policy's most probable action, and others at fixed offsets around it."""
    lookahead_policy_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of a look-ahead episode's decisions that execute the policy's own action, while the better one is recorded as the target. Demonstrations
    then also start from the policy's own mistakes (DAgger, arXiv 1011.0686). Raise it where one error leads to the next."""
    num_envs: int = Field(default=64, ge=1)
    """Environments stepped side by side. Changes the speed, never the episodes."""


class LabelConfig(Strict):
    """Who decides whether an episode succeeded."""

    by: Literal["env", "both", "detector"] = "env"
    """`env`: the environment's reward and success. `both`: the same, but where the reward is constant over an episode, the success detector's
    probability after each decision replaces it. `detector`: the success detector alone, which sees the frames after every decision. The environment's
    reward and success then reach no training data, and an episode goes on after a success unless the environment itself ends it. Evaluations
    always ask the environment; demonstrations count as the environment reports them."""
    detector: str = "champion"
    """The success detector. `champion`: the model that acts, trained on detector examples too. `base`: the base model, trained
    once on demonstrations before the first cycle, then frozen; only with `by: detector`. Or one of your own, `file.py:function`, f(frames,
    instruction) -> probability (docs/extend.md). Each is calibrated, measured and guarded alike."""
    question: str = "is it done: {instruction} ?"
    """Question to the detector about a moment, answered by yes or no. The embedded model has been taught to answer the default."""
    distance_question: str = ""
    """With `by: detector`, a second question about a moment, answered by an offset in three number tokens: "{instruction} : how far to the first ?".
    A logistic regression on demonstrations combines both answers; the distance is the reward that credit comes from. Empty: not asked."""

    @field_validator("question", "distance_question")
    @classmethod
    def _questions_are_replaced(cls, question: str) -> str:
        return replaced(question, ("instruction",))

    @property
    def own_detector(self) -> str:
        """Return the name of the user's own detector; '' where the model is the detector."""
        return "" if self.detector in ("champion", "base") else self.detector


class CurateConfig(Strict):
    """Training data of a cycle, from its episodes and from those of earlier cycles."""

    rule: str = ""
    """A curation rule of your own: `file.py:function`, f(episodes, labels) -> TrainingData (docs/extend.md). Empty: the built-in rules below."""
    best_episodes: int = Field(default=1, ge=0)
    """Successful episodes of each mixed seed (some episodes succeed, some fail) that become demonstrations: the fastest ones."""
    replay: int = Field(default=512, ge=0)
    """Decisions from earlier successes that are imitated again each cycle."""
    hindsight_weight: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of relabelled demonstrations: failed episodes that fulfilled another instruction than their own ("touch the blue ball"), with that
    instruction (HER, arXiv 1707.01495). Others weigh 1. The fastest of each seed also makes a preference pair. 0: none."""
    conditioned_weight: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of advantage-conditioned imitation (RECAP, arXiv 2511.14759): every practice decision is a demonstration whose prompt says whether it
    was better than expected. `{advantage}` in `policy.prompt` is then "good" or "bad", and the acting policy is asked for "good". 0: none."""
    lookahead_pairs: int = Field(default=0, ge=0)
    """Largest number of preference pairs a cycle from look-ahead episodes: the better decision that was found, against the policy's own."""
    pairs_by: Literal["decision", "trajectory"] = "decision"
    """`decision`: a success and a failure of one seed are compared at the first decision in which they differ. `trajectory`: all decisions from there
    on are compared (GRAPE, arXiv 2411.19309), at the cost of as many replies a pair as there are decisions."""
    credit: Literal["progress", "reward", "outcome", "steps_to_go"] = "progress"
    """Credit of a decision: what it is thought to have earned of the reward (credit assignment). `discount` passes it back to earlier decisions.
    `progress`: the increase of the reward over the decision. `reward`: the mean reward of its steps. `outcome`: success alone (with `discount` 1 all
    decisions of an episode share it). `steps_to_go`: the decrease of the number of remaining decisions, as the model itself predicts it; the
    environment's reward is not used."""
    discount: float = Field(default=0.7, ge=0, le=1)
    """Discount of later credit, per decision, in the return of a decision."""


class TuneConfig(Strict):
    """Optimisation. The loss is the sum of these terms with these coefficients; 0 switches a term off."""

    pg_coef: float = Field(default=1.0, ge=0, le=1e6)
    """Clipped policy gradient with per-decision advantage (PPO, arXiv 1707.06347; clip-higher, arXiv 2503.14476)."""
    bc_coef: float = Field(default=0.1, ge=0, le=1e6)
    """Behaviour cloning: negative log-likelihood of demonstrations and replayed successes."""
    filtered_bc_coef: float = Field(default=0.0, ge=0, le=1e6)
    """Advantage-filtered behaviour cloning (arXiv 2505.03181): negative log-likelihood of those policy samples that turned out better than expected.
    It uses the same episodes as the policy gradient, without ratios and without lowering any probability."""
    dpo_coef: float = Field(default=0.05, ge=0, le=1e6)
    """DPO on the cycle's preference pairs (arXiv 2305.18290), with `rpo_alpha` inside it."""
    kl_coef: float = Field(default=0.0, ge=0, le=1e6)
    """KL divergence from the champion, nats a token, estimated on the policy samples."""
    ent_coef: float = Field(default=0.0, ge=0, le=1e6)
    """Entropy bonus: the policy's mean entropy is subtracted from the loss."""
    loss: str = ""
    """A further term of your own: `file.py:function`, f(forward, config) -> (loss, figures) (docs/extend.md). Empty: none."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the cycle's policy samples (or demonstrations, if there are none)."""
    batch_size: int = Field(default=256, ge=1)
    """Policy samples a step. Demonstrations and pairs join in proportion, at most eight times as many of each."""
    micro_batch_tokens: int = Field(default=32768, ge=1)
    """Most tokens of a forward pass in training; a larger step is split into micro-batches, whose gradients add up to the same gradient. It sets peak
    memory, not the result. It is halved by itself where a GPU runs out of memory. Where not even one reply fits, the backward pass computes layers
    again (gradient checkpointing). Lower it for a large model on a CPU."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """Peak learning rate; it falls to 2 % of this by a cosine over all steps. There is no weight decay."""
    warmup_ratio: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the learning rate also rises; with 0.3 it reaches 0.8 of `learning_rate` at most. Adam's first steps follow the
    signs of a few batches whatever the gradient's size. A longer warm-up helps where a cycle has few steps."""
    optim: Literal["adamw", "adamw_8bit"] = "adamw"
    """Optimiser, named as in transformers. `adamw_8bit` keeps its two moments in one byte each instead of four (arXiv 2110.02861): for
    `policy.train: text` or `all` with a large model. It needs `pip install 'etude[bits]'`."""
    dpo_loss_type: Literal["sigmoid", "ipo", "robust"] = "sigmoid"
    """`sigmoid`: DPO. `ipo` (arXiv 2310.12036): aims at a finite margin. `robust` (arXiv 2403.00409): expects that 10 % of the pairs are flipped."""
    dpo_beta: float = Field(default=0.1, gt=0)
    """Beta of DPO: the larger, the closer the policy stays to the champion."""
    rpo_alpha: float = Field(default=0.2, ge=0)
    """Weight of the chosen reply's negative log-likelihood inside the DPO loss (RPO, arXiv 2404.19733). Without it DPO lowers both replies."""
    clip_range: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.2, 0.28)
    """The policy ratio may fall to 1 - the first and rise to 1 + the second before its gradient is cut."""


class Phase(Strict):
    """Other settings from a later cycle on."""

    first: int = Field(ge=2)
    """The cycle that it begins with."""
    collect: dict[str, Value] = {}
    """Keys of `collect` that have other values from then on; `num_envs` has one for the whole run."""
    curate: dict[str, Value] = {}
    """Keys of `curate` likewise; `credit` has one value for the whole run."""
    tune: dict[str, Value] = {}
    """Keys of `tune` likewise."""


class EvaluateConfig(Strict):
    """Evaluation. Gate seeds decide promotions. Test seeds are used only at the end, so that nothing was selected on them."""

    gate_episodes: int = Field(default=200, ge=1, le=100_000)
    """Gate seeds a cycle, the same for champion and candidate, and new in each cycle: the champion was chosen on the old ones, and looks better on
    them than it is."""
    extra_rounds: int = Field(default=2, ge=0, le=100)
    """How often both get as many further gate seeds, while the candidate is ahead but not beyond `gate_alpha`. Each round may err once more."""
    test_episodes: int = Field(default=400, ge=1, le=100_000)
    """Test seeds, for base model, warm start and last champion."""
    variations: dict[Annotated[str, Field(pattern=r"^[\w .-]+$", max_length=60)], dict[str, Value]] = {}
    """Evaluations of generalisation, at the end, of the better of base model and warm start and of the last champion: a name, and changes of
    `env.kwargs` on the test seeds (our own tasks: `{variation: {camera: 0.03}}`). Nothing is decided by them."""
    gate_alpha: float = Field(default=0.3, gt=0, le=1)
    """A candidate is promoted if it passes more gate seeds, with an exact two-sided McNemar p of at most this. An equal candidate is promoted in 20 %
    of cycles with the defaults (table in docs/learning.md)."""


class TrackConfig(Strict):
    """Where figures and videos go. `metrics.jsonl` is always written."""

    mode: Literal["offline", "online", "off"] = "offline"
    """Weights & Biases: `offline` writes into the run folder (`etude sync` later), `online` needs a login, `off`."""
    project: str = "etude"
    """W&B project; WANDB_PROJECT wins over the default. So do WANDB_MODE, and WANDB_NAME over the folder's name."""
    entity: str = ""
    """W&B user or team that owns the project. Empty: WANDB_ENTITY, or the account that is logged in."""
    group: str = ""
    """W&B group of this run, such as the name of an experiment with several seeds. Empty: WANDB_RUN_GROUP, or none."""
    job_type: str = ""
    """W&B job type, which tells the runs of one group apart. Empty: WANDB_JOB_TYPE, or none."""
    tags: tuple[str, ...] = ()
    """W&B tags, by which runs are filtered. Empty: WANDB_TAGS, or none."""
    notes: str = ""
    """A sentence about the run, shown in W&B. Empty: WANDB_NOTES, or none."""
    tensorboard: bool = False
    """Writes all figures for TensorBoard too, into the folder `tensorboard` of the run; needs `pip install 'etude[tensorboard]'`."""
    videos: bool = True
    """Videos of a best and a worst episode of each cycle, of the first eight episodes of each evaluation, and before/after videos in the report."""

    @field_validator("mode", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare off as false
