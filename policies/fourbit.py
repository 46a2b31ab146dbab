"""Weights of four bits: the linear layers under LoRA adapters as NF4, as QLoRA stores them (arXiv 2305.14314), by bitsandbytes.

Each block of 64 weights shares a scale, and each weight is one of 16 levels. A forward pass expands them again.
"""

import logging
from typing import Any

import torch

from policies.bits import check_installed
from policies.families import lora_targets

# Wherever it is installed, peft imports it, and it then warns that a faster kernel for a CPU is missing.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def quantise(model: Any, chosen: Any) -> None:
    """Store the linear layers that LoRA adapts in four bits, in place; peft then adapts them as it does for QLoRA.

    Args:
        model: in float32, without adapters.
        chosen: `target_modules`, as of `policies.families.lora_targets`.
    """
    check_installed("policy.precision 4bit")
    import bitsandbytes

    packed: Any = bitsandbytes.nn.Params4bit  # its types name no arguments
    for name in lora_targets(model, chosen):
        layer = model.get_submodule(name)
        small = bitsandbytes.nn.Linear4bit(layer.in_features, layer.out_features, bias=layer.bias is not None, quant_type="nf4")
        small.weight = packed(layer.weight.detach(), requires_grad=False, quant_type="nf4", compress_statistics=True)
        small.bias = layer.bias
        small.support_avx512bf16_for_cpu = False  # else acting on a CPU multiplies in bfloat16, and learning does not
        model.set_submodule(name, small.to(layer.weight.device))  # moving it quantises it, also from a CPU to a CPU
    model.is_loaded_in_4bit = True  # peft asks this of a model, and takes its own layers for such weights


def expand(model: Any) -> Any:
    """Return a model without adapters after storing its four-bit weights as float32 again, in place."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for name, layer in [each for each in model.named_modules() if isinstance(each[1], Linear4bit)]:
        plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device=layer.weight.device)
        plain.weight.data = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        plain.bias = layer.bias
        model.set_submodule(name, plain)
    model.is_loaded_in_4bit = False
    return model.float()
