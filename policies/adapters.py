"""LoRA adapters (arXiv 2106.09685), by peft: added to a model, and merged into its weights."""

from typing import Any

import torch

from policies import families, fourbit
from policies.keys import PolicyConfig


def add(model: Any, config: PolicyConfig) -> Any:
    """Return a model with new adapters on its text model, as `policy.lora` describes them, over weights of four bits where these are asked for.

    Args:
        model: frozen, in float32.
        config: the section `policy`.

    Raises:
        ValueError: an option of the adapters cannot be, or the model has no connector to be trained.
    """
    from peft import LoraConfig, get_peft_model

    targets = families.lora_targets(model, chosen := config.lora.get("target_modules", "all-linear"))
    if config.precision == "4bit":
        fourbit.quantise(model, chosen)
    options: dict[str, Any] = {"r": 16, **config.lora, "target_modules": targets}
    torch.manual_seed(0)  # for the initial values of A; B is zero, so a new adapter changes nothing
    try:
        adapted = get_peft_model(model, LoraConfig(**{"lora_alpha": 2 * options["r"], **options}))
    except (TypeError, ValueError) as error:  # of peft, about options that do not go together
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"policy.lora is {config.lora}: {first}") from error
    if config.train == "lora+connector":
        families.train_connector(model, config.model)
    return adapted


def merged(adapted: Any) -> Any:
    """Return the base model in float32, with the adapters added to its weights; from then on it can no longer be trained.

    In float32: an adapter's small change would be lost in weights of bfloat16, or of four bits.
    """
    if not getattr(adapted.base_model.model, "is_loaded_in_4bit", False):
        return adapted.float().merge_and_unload()
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    options, weights = adapted.peft_config["default"], get_peft_model_state_dict(adapted, save_embedding_layers=False)
    plain = get_peft_model(fourbit.expand(adapted.unload()), options)
    set_peft_model_state_dict(plain, weights)
    return plain.merge_and_unload()
