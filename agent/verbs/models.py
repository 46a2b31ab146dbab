"""Verbs that make models and experts: expert, pretrain, compose."""

from pathlib import Path


def expert(arguments: list[str]) -> None:
    """Run the verb `expert`."""
    import tyro

    import agent.config.read as configure
    from agent.rollout.experts import plan, train

    if len(arguments) < 2 or any(argument.startswith("-") for argument in arguments[:2]):
        raise ValueError("etude expert needs CONFIG and OUT, as in: etude expert configs/envs/robotics-fetch-reach.yaml experts/fetch")
    env, *others = configure.read(Path(arguments[0])).envs
    if others:
        raise ValueError(f"{arguments[0]} has {1 + len(others)} environments; an expert is trained in one: give it a config of its own.")

    # `tyro` makes options of the arguments, and their help of the docstring.
    def run(algorithm: str = "sac", steps: int = 100_000, seed: int = 0, horizon: int = 12, candidates: int = 64) -> str:
        """Make an expert, and examine it on new seeds.

        Args:
            algorithm: sac or ppo: trained by Stable-Baselines3 on the observation's vectors; the same command goes on after a stop.
                lookahead: not trained; plans each action in copies of the simulator, by the environment's dense reward.
            steps: of sac and ppo: decisions at most.
            seed: of sac and ppo.
            horizon: of lookahead: actions in a plan, each held for env.action_repeat steps.
            candidates: of lookahead: plans tried before each action.
        """
        out = Path(arguments[1])
        if algorithm == "lookahead":
            rate = plan(env, out, horizon=horizon, candidates=candidates)
        else:
            rate = train(env, out, algorithm=algorithm, steps=steps, seed=seed)
        return f"success {rate}, written {out}"

    try:
        print(tyro.cli(run, prog="etude expert CONFIG OUT", args=arguments[2:]))
    except ModuleNotFoundError as error:
        raise ValueError(f"An expert is trained by Stable-Baselines3 ({error}): pip install 'etude[baselines]'.") from error


def pretrain(arguments: list[str]) -> None:
    """Run the verb `pretrain`."""
    import tyro

    from agent.ground.pretrain import pretrain

    if not arguments:
        raise ValueError("etude pretrain needs OUT, as in: etude pretrain models/base")
    print(tyro.cli(pretrain, prog="etude pretrain", args=["--out", *arguments]))  # tyro wants a name for what the user gives without one


def compose(arguments: list[str]) -> None:
    """Run the verb `compose`."""
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("etude compose needs OUT, as in: etude compose models/smol")
    if arguments[1:]:
        raise ValueError(
            f"{arguments[1]!r} is one argument too many; it is only: etude compose OUT (policy.layers of a config keeps its first layers)"
        )
    from agent.run.base import write_model
    from agent.run.files import new_folder
    from policies.compose import compose

    out = new_folder(Path(arguments[0]))  # before the long work: a folder with files is refused at once
    model, processor = compose()
    write_model(out, model, processor)
    print(f"{model.num_parameters() / 1e6:.1f} M parameters, written {out}")
