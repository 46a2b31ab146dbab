"""Keys of a config that have no effect together with its other keys, in sentences."""

from collections.abc import Iterator

from agent.config.config import Config


def idle(config: Config) -> Iterator[str]:
    """Yield a sentence for each reason why keys that differ from their default have no effect."""
    given, usual = config.model_dump(), Config().model_dump()
    for reason, section, keys in _useless(config):
        if names := [f"{section}.{key}" for key in keys if given[section][key] != usual[section][key]]:
            yield f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect, since {reason}."
    if late := [phase.first for phase in config.phases if phase.first > config.cycles]:
        yield f"The phase from cycle {late[0]} never begins, since cycles is {config.cycles}."


def _useless(config: Config) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield reasons that hold, each with the section and the keys that it makes useless."""
    demonstrate = config.demonstrate
    cycles = [config.at(first) for first in (1, *(phase.first for phase in config.phases if phase.first <= config.cycles))]
    if not demonstrate.episodes:
        yield "demonstrate.episodes is 0", "demonstrate", ("noise", "steps", "learning_rate", "cameras", "steps_per_row")
    elif not demonstrate.dataset:
        yield "demonstrate.dataset is empty", "demonstrate", ("cameras", "steps_per_row")
    else:
        yield "demonstrate.dataset takes the expert's place", "demonstrate", ("noise",)
    if not config.ground.steps:
        yield "ground.steps is 0", "ground", ("batch_size", "kinds", "learning_rate")
    if not any(each.collect.lookahead_episodes for each in cycles):
        yield "collect.lookahead_episodes is 0", "collect", ("lookahead_candidates", "lookahead_policy_share")
        yield "collect.lookahead_episodes is 0", "curate", ("lookahead_pairs",)
    if not any(each.tune.dpo_coef for each in cycles):
        yield "tune.dpo_coef is 0", "tune", ("dpo_loss_type", "dpo_beta", "rpo_alpha")
        yield "tune.dpo_coef is 0", "curate", ("lookahead_pairs", "pairs_by")
    if not any(each.tune.pg_coef for each in cycles):
        yield "tune.pg_coef is 0", "tune", ("clip_range",)
    if config.policy.codec == "digits":
        yield "policy.codec is digits", "policy", ("num_bins",)
