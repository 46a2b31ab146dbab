"""What a run works with: its environments, its processes, and the one model in memory; each is made when it is first needed."""

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import policies
from agent.config.plugins import load_model
from agent.records import Episode, Job, Player
from agent.rollout.environments import Workers
from agent.rollout.pool import Crew
from agent.rollout.rollout import collect
from agent.run import base, layout
from agent.run.files import load, save
from agent.run.folder import Run
from envs import EnvConfig

if TYPE_CHECKING:
    from policies.vlm import Vlm


class Session:
    """Environments, processes and model of a run, for as long as it works.

    Args:
        run: whose config says which.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.config = run, run.config
        self._policy: Any = None
        self._student: Any = None
        self._loaded: Player | None = None
        self._workers: Workers | None = None
        self._rehearsal: Workers | None = None
        self._crew: Crew | None = None
        self._opened: weakref.WeakSet[Workers] = weakref.WeakSet()

    @property
    def workers(self) -> Workers:
        """Return the environments of this run."""
        if self._workers is None:
            self._workers = self._open(self.config.envs)
        return self._workers

    @property
    def rehearsal(self) -> Workers:
        """Return the environments for practice: where the critic labels, they go on after a success if they can, so as not to tell of it."""
        if self.config.label.by != "critic":
            return self.workers
        if self._rehearsal is None:
            self._rehearsal = self._open(tuple(env.model_copy(update={"until_success": False}) for env in self.config.envs))
        return self._rehearsal

    def varied(self, name: str) -> Workers:
        """Return environments of a variation that `evaluate.variations` names."""
        changes = self.config.evaluate.variations[name]
        return self._open(tuple(env.model_copy(update={"kwargs": {**env.kwargs, **changes}}) for env in self.config.envs))

    def _open(self, envs: tuple[EnvConfig, ...]) -> Workers:
        opened = Workers(envs, self.config.collect.num_envs)
        self._opened.add(opened)
        return opened

    def perform(self, player: Player, jobs: Sequence[Job], variation: str = "", practice: bool = False) -> Iterator[Episode]:
        """Yield one episode a job, in the order of the jobs, by a player, in as many processes as `config.processes` says.

        Args:
            player: who acts.
            jobs: what to attempt.
            variation: of the environments, a name in `evaluate.variations`; empty: as they are.
            practice: in the environments for practice.

        Raises:
            ValueError: one of several processes died.
        """
        if self.config.processes > 1:
            if self._crew is None:
                _ = self.policy  # what the first load of the model writes down is written here, once
                self._crew = Crew(self.run.folder, self.config.processes)
            yield from self._crew.perform(player, jobs, variation, practice)
            return
        workers = self.varied(variation) if variation else self.rehearsal if practice else self.workers
        try:
            yield from collect(self.play(player), workers, jobs)
        finally:
            if variation:
                workers.close()

    @property
    def policy(self) -> "Vlm":
        """Return the one model in memory; `play` says whose weights it holds."""
        if self._policy is None:
            self._student = None
            self._policy = self._load({"model": str(model)} if (model := base.grounded(self.run.folder)) else {})
        return self._policy

    def student(self, train: str) -> "Vlm":
        """Return the base model, to learn to see an environment with all of it or with its text model; there is one, until `policy` is loaded."""
        if self._student is None:
            self._student = self._load({"train": train})
        return self._student

    def _load(self, changes: dict[str, Any]) -> "Vlm":
        policies.set_threads(self.config.threads)
        policy = load_model(self.config.policy.model_copy(update=changes), self.workers.actions)
        if "model" not in changes:
            self.run.began_from(policy.base_name)
        return policy

    def play(self, player: Player) -> "Vlm":
        """Return the model with a player's weights in it.

        Raises:
            ValueError: they cannot be read, or are not those that were recorded under the player's name.
        """
        policy = self.policy
        if self._loaded != player:
            self._loaded = None
            try:
                policy.load(player.weights)
            except ValueError as error:
                raise ValueError(f"{player.weights}: {error}; {layout.remedy(player.weights.parent)}") from error
            if player.name not in ("", policy.name):
                raise ValueError(
                    f"{player.weights} holds the weights {policy.name}, and {player.name} were recorded; {layout.remedy(player.weights.parent)}"
                )
            self._loaded = player
        return policy

    def crown(self, player: Player) -> None:
        """Write down who is champion now, and what its actions are: `champion.json`, by which a policy is loaded outside of its run."""
        file = self.run.folder / "champion.json"
        weights = str(player.weights.relative_to(self.run.folder))
        content = {"weights": weights, "policy": player.name, "actions": self.workers.first.actions.written()}
        if not file.exists() or load(file) != content:
            self.run.still_there()
            save(file, content)

    def dirty(self) -> None:
        """Say that the model's weights are being trained, so `play` must load anew."""
        self._loaded = None

    def close(self) -> None:
        """End the processes, and free the environments."""
        if self._crew is not None:
            self._crew.close()
        for workers in self._opened:
            workers.close()
