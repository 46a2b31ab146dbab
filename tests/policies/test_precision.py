"""bfloat16 only where it is not emulated."""

import pytest
import torch

from policies.precision import attn_implementation, autocast, half


@pytest.mark.parametrize("there", [True, False])
def test_auto_asks_the_processor(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": there, "amx_bf16": False})
    assert half("auto", "cpu") == there
    assert attn_implementation("auto", "cpu") == ("eager" if there else None)  # None: transformers takes sdpa, where the model has it
    with autocast("auto", "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if there else torch.float32)


def test_what_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert half("bfloat16", "cpu") and not half("float32", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    assert half("bfloat16", "cpu") and not half("float32", "cpu")
