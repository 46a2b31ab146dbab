"""In which precision matrices are multiplied: bfloat16 is twice as fast where the device has it, and ten times slower where it is emulated."""

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def half(precision: Precision, device: str) -> bool:
    """Return whether `precision` is bfloat16 on this device; `auto` is, where the device multiplies it without emulation."""
    if precision != "auto":
        return precision == "bfloat16"
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    asked = getattr(torch.cpu, "get_capabilities", dict)  # older versions of torch do not know
    return kind == "cpu" and any(there for name, there in asked().items() if name.endswith("bf16"))


def autocast(precision: Precision, device: str) -> torch.autocast:
    """Return a context in which matrices are multiplied in this precision."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half(precision, device))


def attention(precision: Precision, device: str) -> str:
    """Return the faster attention kernel: on a CPU the backward pass of `sdpa` is slow in bfloat16, and twice as fast as `eager` in float32."""
    return "eager" if torch.device(device).type == "cpu" and half(precision, device) else "sdpa"
