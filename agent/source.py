"""Which policy a word names, on the command line and in Python: a run, a checkpoint in a run, an exported folder, or an untrained model.

| word | what acts |
|---|---|
| `RUN` | the champion of a run |
| `RUN/cycle-003`, `RUN/start`, `RUN/start/base.safetensors` | a candidate, the warm start, or the base model of a run |
| `OUT`, or the hub id of that folder | the policy that `etude export RUN OUT` wrote |
| `nano`, another hub id, a local model, `file.py:Class` | a model that was never trained here |
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.config.config import Config
from agent.config.plugins import load_model
from agent.config.read import override, parse, read, read_own
from agent.run import base
from agent.run.code import with_own_code
from agent.run.files import digest, load
from envs import TASKS, EnvConfig
from envs.faults import in_words
from envs.frames import PictureSpec
from envs.spaces import Actions
from policies import PolicyConfig

EXPORT = "etude.json"  # in an exported folder: what `load_policy` needs beside the Hugging Face files


@dataclass(frozen=True)
class Source:
    """A policy that can be loaded."""

    title: str  # as it was named
    config: Config  # of its run; of an untrained model, a config that names it
    actions: Actions | None = None  # of its run's environments; None: never trained, so it fits any
    name: str = ""  # recorded fingerprint of its weights
    run: Path | None = None  # folder of its run
    weights: Path | None = None  # to load into the model; None: the model itself has them
    exported: Path | None = None  # folder of the export
    base: str | None = None  # recorded fingerprint of an export's base model on the hub
    pictures: dict[str, PictureSpec] = field(default_factory=dict)  # by the names of its cameras; empty: never trained, or by an earlier version

    def load(self, actions: Actions | None = None) -> Any:
        """Return the policy.

        Args:
            actions: of the environment, for an untrained model.

        Raises:
            ValueError: it cannot be loaded, or its weights or its base model differ from the recorded ones.
        """
        actions = self.actions or actions
        if actions is None:  # only an untrained model fits any action space
            raise ValueError(
                f"{self.title} was never trained here, so its actions are unknown; give a run, a checkpoint in one, or an exported folder."
            )
        model = load_model(self.config.policy, actions)
        if self.exported:
            from policies.exporting import load_exported  # imports torch

            load_exported(model, self.exported, self.name, self.base)
            return model
        if self.run and not base.grounded(self.run):  # a grounded base model is a file of the run, whose digest `grounded` has checked
            base.compare(self.run, self.config.policy.model, model.base_name, getattr(model, "base_parts", {}))
        if self.weights:
            try:
                model.load(self.weights)
            except ValueError as error:
                raise ValueError(f"{self.weights}: {error}.") from error
            if model.name != self.name:
                # Weights are written before their name is recorded, so no kill leaves this; a cycle deleted and made again may.
                raise ValueError(f"{self.weights} holds the weights {model.name}, and {self.name} were recorded.")
        return model

    def spec(self, camera: str) -> PictureSpec:
        """Return how the pictures of a camera became frames in training."""
        return self.pictures.get(camera, PictureSpec())

    def on(self, device: str) -> "Source":
        """Return the policy on another torch device; empty: where it was."""
        policy = self.config.policy.model_copy(update={"device": device} if device else {})
        return replace(self, config=self.config.model_copy(update={"policy": policy}))

    def within(self, env: str, keys: list[str] | None = None) -> "Source":
        """Return the policy in another environment.

        Args:
            env: a config file, whose environments are taken, and for an untrained model the other sections too; or the id of an environment,
                which is seen by the same cameras, at the same size and rate. Empty: the environments of its run.
            keys: overrides of config keys, as on the command line.

        Raises:
            ValueError: there is no such config, an override is wrong, or no environment is known.
        """
        own, config = self.config, self.config
        if env.endswith((".yaml", ".yml")):
            given = read(Path(env))
            # Codec and chunk belong to trained weights.
            policy = own.policy if self.actions else given.policy.model_copy(update={"model": own.policy.model})
            config = given.model_copy(update={"policy": policy, "threads": own.threads if self.actions else given.threads})
        elif env:
            # With the kwargs and the success rule of its run. The name of an export's environment is a stranger's choice, so its id alone counts.
            same = [each for each in own.envs if self.actions and (env == each.id or (env == each.name and not self.exported))]
            config = self._readable().model_copy(update={"env": same[0] if same else self._seen(EnvConfig(id=env))})
        elif self.actions is None:
            raise ValueError(f"{self.title} is an untrained model; name an environment or a config too, as in: {self.title} etude/Slide-v0")
        else:
            self.refuse_foreign_code()
        config = self._bounded(override(config, keys) if keys else config)
        if self.actions and (other := next((each for each in config.envs if _sight(each) != _sight(own.envs[0])), None)):
            raise ValueError(
                f"{self.title} sees {_told_sight(own.envs[0])}, and {other.title} gives {_told_sight(other)}; "
                "set env.cameras, env.history and env.size as in its run."
            )
        return replace(self, config=config)

    def refuse_foreign_code(self) -> None:
        """Raise ValueError for an export whose environments are not our own: making one runs code with arguments that a stranger names."""
        foreign = next((env.id for env in self.config.envs if self.exported and env.id not in TASKS), "")
        if foreign:
            raise ValueError(f"{self.title} was trained in {foreign}, and no code that an export names is run; name it: {self.title} {foreign}")

    def beside(self, other: "Source", keys: list[str]) -> "Source":
        """Return the policy in the environments of another one, seen by its own cameras; `keys` as of `within`."""
        config = self._readable().model_copy(update={"env": tuple(map(self._seen, other.config.envs))})
        return replace(self, config=self._bounded(override(config, keys) if keys else config))

    def _bounded(self, config: Config) -> Config:
        """Return a config in which a trained policy's own bounds of actions stand where it has `quantiles`, or none."""
        if not self.actions:
            return config
        own = self.config.envs[0].action_bounds
        envs = tuple(env if env.action_bounds not in (None, "quantiles") else env.model_copy(update={"action_bounds": own}) for env in config.envs)
        return config.model_copy(update={"env": envs[0] if isinstance(config.env, EnvConfig) else envs})

    def _readable(self) -> Config:
        """Return the config; of an untrained model with the codec that its tokenizer can write."""
        if self.actions or ":" in self.title:  # a policy class has no tokenizer
            return self.config
        from policies.loading import writable  # imports torch

        return self.config.model_copy(update={"policy": writable(self.config.policy)})

    def _seen(self, env: EnvConfig) -> EnvConfig:
        """Return an environment as a trained policy sees it: by the cameras of its run, at the same size and rate."""
        own = self.config.envs[0]
        # What its weights were trained on.
        like = ("size", "history", "action_repeat", "state", "flip", "free_cameras", "geom_groups", "action_bounds")
        return env.model_copy(update={"cameras": own.sources, **{key: getattr(own, key) for key in like}}) if self.actions else env

    def check(self, actions: Actions, env: EnvConfig) -> None:
        """Raise ValueError if a trained policy gives other actions than an environment takes.

        Args:
            actions: of the environment.
            env: its config.
        """
        own = self.actions
        if own and any(not np.array_equal(getattr(own, part), getattr(actions, part)) for part in ("low", "high", "counts")):
            raise ValueError(f"{self.title} gives {_told(own)}, and {env.title} takes {_told(actions)}; name an environment with the same actions.")


def find(name: str) -> Source:
    """Return the policy that a word names; see the table above.

    Raises:
        ValueError: there is none, its run has no champion yet, or a hub cannot be asked that might have it.
    """
    path = Path(name)
    if path.is_dir() and (path / EXPORT).is_file():
        return _exported(path)
    if path.is_dir() and (path / "config.yaml").is_file():
        return _champion(name, path)
    weights = path / "policy.safetensors" if path.is_dir() else path
    if weights.is_file() and (weights.parent.parent / "config.yaml").is_file():
        return _checkpoint(name, weights)
    folder = path.is_dir() and not (path / "config.json").is_file()  # a model of Hugging Face has this file
    # `runs/slide` looks like a hub id. Where a folder `runs` exists, a run or a folder is meant.
    if folder or (not path.exists() and ":" not in name and path.parent != Path() and path.parent.is_dir()):
        raise ValueError(
            f"There is no run in {name} (no config.yaml), no export and no model; give a run, a checkpoint in it, an exported folder or a model."
        )
    if exported := _on_hub(name):
        return replace(_exported(exported), title=name)
    return Source(name, Config(policy=PolicyConfig(model=name)))


def _on_hub(name: str) -> Path | None:
    """Return the folder of an export that lies on the Hugging Face hub, downloaded into its cache; None: that is no hub id of an export.

    Raises:
        ValueError: it is one, and cannot be downloaded; or the hub cannot be asked, and its cache has no such model.
    """
    if name.count("/") != 1 or ":" in name or Path(name).exists():
        return None
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache  # takes a quarter of a second to read
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        there = HfApi().file_exists(name, EXPORT)  # one request, where a download tries again for half a minute
    except (HfHubHTTPError, HFValidationError):  # nobody may read it, or there is no such id: the model's own loading says which
        return None
    except Exception as error:  # no network, of the types of several libraries
        there = isinstance(try_to_load_from_cache(name, EXPORT), str)
        if not there and not isinstance(try_to_load_from_cache(name, "config.json"), str):
            why = in_words(error)
            raise ValueError(f"{name} is nothing on this machine, and the Hugging Face hub cannot be asked for it ({why}).") from error
    if not there:
        return None
    try:
        return Path(snapshot_download(name))
    except OSError as error:
        raise ValueError(f"The export {name} cannot be downloaded from the hub: {error}") from error


def _champion(title: str, run: Path) -> Source:
    if not (run / "champion.json").exists():
        raise ValueError(f"The run in {run} has no champion.json; it has one after its warm start.")
    champion = load(run / "champion.json")
    return _of_run(title, run, run / champion["weights"], champion["policy"])


def _checkpoint(title: str, weights: Path) -> Source:
    run = weights.parent.parent
    if not (run / "champion.json").exists():
        raise ValueError(f"The run in {run} has no champion.json; it has one after its warm start, and its checkpoints can be used from then on.")
    stage = weights.with_name("tune.json" if weights.name == "policy.safetensors" else "base.json")
    if not stage.exists():  # it is written after the weights, which are otherwise those of an unfinished stage
        raise ValueError(f"{weights} is no finished checkpoint ({stage.name} is not there yet); wait for its stage, or name another one.")
    return _of_run(title, run, weights, load(stage)["policy"])


def _of_run(title: str, run: Path, weights: Path, name: str) -> Source:
    config = with_own_code(run, read_own(run / "config.yaml"))  # the user's files may have changed or gone since
    if grounded := base.grounded(run):
        config = config.model_copy(update={"policy": config.policy.model_copy(update={"model": str(grounded)})})
    champion = load(run / "champion.json")
    actions = Actions.from_description(champion["actions"])  # stored, so that no environment needs to be made here
    pictures = TypeAdapter(dict[str, PictureSpec]).validate_python(champion.get("pictures", {}))  # earlier versions did not write them
    return Source(title, config, actions, name, run, weights, pictures=pictures)


class _Export(BaseModel):
    """The content of `etude.json`, as `agent.export` writes it."""

    config: dict[str, Any]
    actions: dict[str, Any]
    name: str
    files: dict[str, str]
    model: str | None
    base: str | None
    pictures: dict[str, PictureSpec] = {}  # none in exports of earlier versions


def _exported(folder: Path) -> Source:
    """Return the policy of an export. Its folder may come from a stranger, so that no code in it, or named by it, is run."""
    file, at = folder / EXPORT, ""
    try:
        content, at = _Export.model_validate(load(file)), " at actions"
        actions = Actions.from_description(content.actions)
    except Exception as error:  # `load` and pydantic raise a ValueError, numpy and Gymnasium many types by what `actions` holds
        if isinstance(error, ValidationError) and (place := error.errors()[0]["loc"]):  # empty: all of it
            at = f" at {'.'.join(map(str, place))}"
        raise ValueError(f"{file} is damaged{at}; export the run again.") from error
    for name, recorded in content.files.items():
        if not (folder / name).is_file() or digest(folder / name) != recorded:
            raise ValueError(f"{folder / name} is {'not what was exported' if (folder / name).is_file() else 'gone'}; export the run again.")
    try:
        config = parse(content.config, str(file))
    except ValueError as error:
        raise ValueError(f"{error} Where another version of etude wrote it, use that version, or export the run again.") from error
    inside = {None: config.policy.model, ".": str(folder), "base": str(folder / "base")}  # None: the base model is a hub id
    if (model := inside.get(content.model, ":")) == ":" or ":" in config.policy.model:  # a name such as `file.py:Class` would be imported
        raise ValueError(f"{file} names no Hugging Face model; export the run again.")
    policy = config.policy.model_copy(update={"model": model, "trust_remote_code": False})
    config = config.model_copy(update={"policy": policy})
    return Source(str(folder), config, actions, content.name, exported=folder, base=content.base, pictures=content.pictures)


def _sight(env: EnvConfig) -> tuple[int, int]:
    return len(env.frame_names), env.size


def _told_sight(env: EnvConfig) -> str:
    """Return what a policy sees of an environment, in words."""
    count = len(env.frame_names)
    return f"{count} frame{'s' if count > 1 else ''} of {env.size} pixels ({', '.join(env.frame_names)})"


def _told(actions: Actions) -> str:
    """Return an action space in words."""
    kind = type(actions.space).__name__
    return f"{len(actions)} numbers from {actions.low.min():g} to {actions.high.max():g} ({kind})"
