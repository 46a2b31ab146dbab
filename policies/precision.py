"""The precision of matrix products, and the attention kernel.

bfloat16 is about twice as fast as float32 where the device supports it, and ten times slower where it is emulated.
"""

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16", "4bit"]


def check_device(name: str, device: str) -> None:
    """Check that torch can work on a device.

    Args:
        name: of the key or option that names the device.
        device: of torch.

    Raises:
        ValueError: it cannot.
    """
    try:
        torch.empty(0, device=device).cpu()  # `meta` has no numbers to give back
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{name} is {device!r}: {first}; give cpu, or cuda where torch finds a GPU.") from error


def half(precision: Precision, device: str) -> bool:
    """Return whether `precision` means bfloat16 on this device; `auto` and `4bit` do where it multiplies bfloat16 without emulation."""
    if precision in ("float32", "bfloat16"):
        return precision == "bfloat16"
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere; `torch.cuda.is_bf16_supported` also counts emulation
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older versions of torch lack it
    return kind == "cpu" and any(supported for name, supported in capabilities().items() if name.endswith("bf16"))  # such as avx512_bf16


def autocast(precision: Precision, device: str) -> torch.autocast:
    """Return a context in which torch multiplies matrices in this precision; trained weights stay float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half(precision, device))


def frozen_dtype(precision: Precision, device: str) -> torch.dtype:
    """Return the type of weights that are not trained: bfloat16 on a GPU that multiplies in it, where they take half the memory; else float32."""
    return torch.bfloat16 if torch.device(device).type == "cuda" and half(precision, device) else torch.float32


def attn_implementation(precision: Precision, device: str) -> str | None:
    """Return the faster attention kernel; None: transformers chooses, which is `sdpa` where the model has it.

    On a CPU the backward pass of `sdpa` is slow in bfloat16, but twice as fast as `eager` in float32.
    """
    return "eager" if torch.device(device).type == "cpu" and half(precision, device) else None
