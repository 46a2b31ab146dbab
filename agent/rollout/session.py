"""The environments, the process pool and the model of a run; each is made when it is first needed."""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import policies
from agent.config.plugins import load_model
from agent.records import Checkpoint, Episode, Job
from agent.rollout.environments import Environments
from agent.rollout.pool import ProcessPool, configs_of_processes, is_served
from agent.rollout.rollout import rollout
from agent.run import base, layout
from agent.run.files import load, save
from agent.run.folder import Run
from envs import EnvConfig
from policies.policy import Policy, Situation

if TYPE_CHECKING:
    from policies.vlm import Vlm


class Session:
    """Environments, process pool and model of a run, until `close`.

    Args:
        run: whose folder and config are used.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.config = run, run.config
        self.served = is_served(self.config.policy.device)
        """Whether the model of this process decides for all processes."""
        self._policy: Any = None  # a `Vlm`, whose module imports torch; commands that need no model must not wait for that
        self._trainable: Any = None
        self._loaded: Checkpoint | None = None  # whose weights the model holds; None: not known
        self._environments: Environments | None = None
        self._practice_environments: Environments | None = None
        self._process_pool: ProcessPool | None = None
        self._opened: weakref.WeakSet[Environments] = weakref.WeakSet()  # weak: those of a variation are closed and freed after their evaluation

    @property
    def environments(self) -> Environments:
        """Return the environments of this run."""
        if self._environments is None:
            self._environments = self._open(self.config.envs)
        return self._environments

    @property
    def practice_environments(self) -> Environments:
        """Return the environments for practice. Where the detector labels alone, their episodes go on after a success if they can."""
        if self.config.label.by != "detector":  # else an episode's length would tell the detector of the environment's success
            return self.environments
        if self._practice_environments is None:
            self._practice_environments = self._open(tuple(env.model_copy(update={"terminate_on_success": False}) for env in self.config.envs))
        return self._practice_environments

    def variation_environments(self, name: str) -> Environments:
        """Return new environments of a variation in `evaluate.variations`; the caller closes them."""
        changes = self.config.evaluate.variations[name]  # they win over `env.kwargs`
        return self._open(tuple(env.model_copy(update={"kwargs": {**env.kwargs, **changes}}) for env in self.config.envs))

    def _open(self, envs: tuple[EnvConfig, ...]) -> Environments:
        opened = Environments(envs, self.config.collect.num_envs)  # so many in each process of a process pool
        self._opened.add(opened)
        return opened

    def rollout(self, checkpoint: Checkpoint, jobs: Sequence[Job], variation: str = "", practice: bool = False) -> Iterator[Episode]:
        """Yield one episode a job, in the order of the jobs, made by `config.processes` processes.

        Args:
            checkpoint: weights of the policy that acts.
            jobs: seed, sampling noise and kind of environment of each episode.
            variation: a name in `evaluate.variations`, whose environments are used; empty: the run's own.
            practice: whether to use the environments for practice.

        Raises:
            ValueError: a process died, or the weights cannot be loaded.
        """
        if self.config.processes > 1:
            if self._process_pool is None:
                # Loading the base model compares its fingerprint with the run's, or writes it into the run. The workers only compare.
                _ = self.policy
                configs = configs_of_processes(self.config, policies.count_gpus() if self.served else 0, self.served)
                self._process_pool = ProcessPool(self.run.folder, configs)
                self.served &= configs[0].policy == self.config.policy  # else each process has a model on a GPU of its own
            acting = self.load_checkpoint(checkpoint) if self.served else checkpoint
            with contextlib.closing(self._process_pool.rollout(acting, jobs, variation, practice)) as made:
                for episode, features in made:
                    self.policy.add_features(features)
                    yield episode
            return
        yield from self.play(self.load_checkpoint(checkpoint), jobs, variation, practice)

    def play(self, policy: Policy, jobs: Sequence[Job], variation: str = "", practice: bool = False) -> Iterator[Episode]:
        """Yield one episode a job, made in the environments of this process; arguments as of `rollout`."""
        # A variation is only ever evaluated, so it has no environments for practice.
        environments = self.variation_environments(variation) if variation else self.practice_environments if practice else self.environments
        try:
            yield from rollout(policy, environments, jobs)
        finally:  # also where the caller stops iterating
            if variation:
                environments.close()

    @property
    def policy(self) -> "Vlm":
        """Return the one model in memory; `load_checkpoint` puts other weights into it."""
        if self._policy is None:
            self._trainable = None  # frees the memory of a model that stage `ground` trained; its weights lie in the run's folder
            self._policy = self._load({"model": str(model)} if (model := base.grounded(self.run.folder)) else {})
        return self._policy

    def trainable_base(self) -> "Vlm":
        """Return the base model for stage `ground`, with all weights trainable or LoRA's; the same object until `policy` is loaded."""
        if self._trainable is None:
            self._trainable = self._load({} if self.config.policy.train.startswith("lora") else {"train": "all"})
        return self._trainable

    def _load(self, changes: dict[str, Any]) -> "Vlm":
        policies.set_threads(self.config.threads)  # a setting of the whole process
        first = self.environments.first
        frames = np.zeros((len(first.config.frame_names), first.config.size, first.config.size, 3), np.uint8)
        situation = Situation("", frames, np.zeros(first.state_size, np.float32) if first.state_size else None)
        policy = load_model(self.config.policy.model_copy(update=changes), self.environments.actions, situation)
        if "model" not in changes:  # the model after grounding is the run's own product, and its stage file holds its digests
            self.run.began_from(policy.base_name, getattr(policy, "base_parts", {}))
        return policy

    def load_checkpoint(self, checkpoint: Checkpoint) -> "Vlm":
        """Return the model with the weights of a checkpoint in it.

        Raises:
            ValueError: the weights cannot be read, or their fingerprint is not the checkpoint's name.
        """
        policy = self.policy
        if self._loaded != checkpoint:
            self._loaded = None  # an error below may leave a part of the weights loaded
            try:
                policy.load(checkpoint.weights)
            except ValueError as error:
                raise ValueError(f"{checkpoint.weights}: {error}; {layout.remedy(checkpoint.weights.parent)}") from error
            if checkpoint.name not in ("", policy.name):  # the file was replaced since its fingerprint was recorded
                raise ValueError(
                    f"{checkpoint.weights} holds the weights {policy.name}, and {checkpoint.name} were recorded; "
                    f"{layout.remedy(checkpoint.weights.parent)}"
                )
            self._loaded = checkpoint
        return policy

    def record_champion(self, checkpoint: Checkpoint) -> None:
        """Write `champion.json`: the champion's weights, action space and pictures, by which `agent.actor` loads it without its environment."""
        file = self.run.folder / "champion.json"
        weights = str(checkpoint.weights.relative_to(self.run.folder))  # relative, so that a run's folder can be moved
        first = self.environments.first
        content = {"weights": weights, "policy": checkpoint.name, "actions": first.actions.description()}
        content["pictures"] = {name: spec.description() for name, spec in first.specs.items()}
        if not file.exists() or load(file) != content:  # a finished run that is started again changes no file
            self.run.still_there()
            save(file, content)

    def weights_changed(self) -> None:
        """Note that training changes the model's weights, so that `load_checkpoint` reads its file next time."""
        self._loaded = None

    def close(self) -> None:
        """End the process pool, and close the environments."""
        if self._process_pool is not None:
            self._process_pool.close()
        for environments in self._opened:
            environments.close()
