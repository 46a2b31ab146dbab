"""Verbs that make models and experts: expert, pretrain, compose."""

from argparse import SUPPRESS
from typing import Any

from agent.verbs.usage import Usage, path, whole

EXPERT = """Make an expert of the config's environment, to demonstrate, and examine it on new seeds. Training goes on after a stop."""
PRETRAIN = """Make the embedded base model from nothing: etude-nano, trained to answer questions about frames of our own tasks.

No action is a target, and no seed of a run is used. The same command goes on after a stop. At the end OUT holds a Hugging Face folder for
policy.model, and pretrain.json with the settings and the accuracy on held-out scenes, which is printed too."""

COMPOSE = """Make a multimodal LLM of 135 M parameters from SmolLM2 and the embedded model's vision tower, for policy.model."""


def expert(arguments: list[str]) -> None:
    """Run the verb `expert`."""
    usage = Usage("expert", EXPERT, "etude expert configs/envs/robotics-fetch-reach.yaml experts/fetch")
    what = usage.add_argument_group("what")
    what.add_argument("config", metavar="CONFIG", type=path, help="a YAML file with one environment")
    what.add_argument("out", metavar="OUT", type=path, help="folder of the expert, for demonstrate.expert")
    kinds = "sac or ppo: trained on the observation's vectors (sac); lookahead: plans in copies of the simulator, by the environment's dense reward"
    what.add_argument("--algorithm", choices=("sac", "ppo", "lookahead"), default="sac", help=kinds)
    training = usage.add_argument_group("training, of sac and ppo")
    training.add_argument("--steps", metavar="N", type=whole(1), default=100_000, help="decisions at most (100000)")
    training.add_argument("--seed", metavar="N", type=whole(), default=0, help="of weights, exploration and episodes (0)")
    planning = usage.add_argument_group("planning, of lookahead")
    planning.add_argument("--horizon", metavar="N", type=whole(1), default=12, help="actions in a plan, each held for env.action_repeat steps (12)")
    planning.add_argument("--candidates", metavar="N", type=whole(2), default=64, help="plans tried before each action (64)")
    given, _ = usage.read(arguments)

    import agent.config.read as configure
    from agent.rollout.experts import plan, train

    env, *others = configure.read(given.config).envs
    if others:
        raise ValueError(f"{given.config} has {1 + len(others)} environments; an expert is trained in one: give it a config of its own.")
    try:
        if given.algorithm == "lookahead":
            success = plan(env, given.out, horizon=given.horizon, candidates=given.candidates)
        else:
            success = train(env, given.out, algorithm=given.algorithm, steps=given.steps, seed=given.seed)
    except ModuleNotFoundError as error:
        raise ValueError(f"An expert is trained by Stable-Baselines3 ({error}): pip install 'etude[baselines]'.") from error
    print(f"success {success}, written {given.out}")


def pretrain(arguments: list[str]) -> None:
    """Run the verb `pretrain`."""
    usage = Usage("pretrain", PRETRAIN, "etude pretrain models/base --device cuda --processes 8")
    what = usage.add_argument_group("what")
    what.add_argument("out", metavar="OUT", type=path, help="a new folder, for the model; or that of a command that was stopped")
    # What is not given is left to the defaults of the function itself.
    own: dict[str, Any] = {"metavar": "N", "default": SUPPRESS}
    what.add_argument("--base", **{**own, "metavar": "FOLDER"}, type=path, help="an earlier etude-nano to begin from (None: from nothing)")
    training = usage.add_argument_group("training")
    training.add_argument("--see", **own, type=whole(), help="gradient steps of the first part, of all weights (4000)")
    training.add_argument("--read", **own, type=whole(), help="gradient steps of the second part, of the text model alone (6000)")
    training.add_argument("--num-scenes", **own, type=whole(1), help="drawn from our own tasks in equal shares (24000)")
    training.add_argument("--seed", **own, type=whole(), help="environment seed of the first scene (40000000)")
    training.add_argument("--batch", **own, type=whole(1), help="scenes a step (24)")
    training.add_argument("--questions", **own, type=whole(1), help="about each scene of a batch, and twice as many in the second part (6)")
    machine = usage.add_argument_group("machine")
    machine.add_argument("--device", **{**own, "metavar": "DEVICE"}, help="of torch (cpu); the second part is not needed on a GPU")
    machine.add_argument("--threads", **own, type=whole(1), help="of torch (2)")
    machine.add_argument("--processes", **own, type=whole(1), help="that draw scenes (1); the result is the same for any number")
    given, _ = usage.read(arguments)

    from agent.ground.pretrain import pretrain

    print(pretrain(**vars(given)))


def compose(arguments: list[str]) -> None:
    """Run the verb `compose`."""
    usage = Usage("compose", COMPOSE, "etude compose models/smol")
    what = usage.add_argument_group("what")
    what.add_argument("out", metavar="OUT", type=path, help="a new folder, for the model; policy.layers of a config keeps the first of its 30 layers")
    told = "with what stage ground taught its first layers on a task (slide), and without the other layers: a run then needs ground.steps 0"
    what.add_argument("--grounded", metavar="TASK", default="", help=told)
    given, _ = usage.read(arguments)

    from agent.ground.pretrain import frames_of_tasks
    from agent.run.base import write_model
    from agent.run.files import new_folder, writable
    from policies import grounded
    from policies.compose import compose

    if given.grounded not in ("", *grounded.names()):
        raise ValueError(f"--grounded is {given.grounded!r}; a composed model was grounded on: {', '.join(grounded.names())}.")
    out = new_folder(given.out)  # before the long work: a folder with files is refused at once
    with writable(out):  # so is one that cannot be made
        model, processor = compose(frames_of_tasks())
        if given.grounded:
            grounded.add(model, given.grounded)
        write_model(out, model, processor)
    print(f"{model.num_parameters() / 1e6:.1f} M parameters, written {out}")
