"""What an environment changes for the whole process is put back."""

from pathlib import Path

import pytest
import torch

from envs import EnvConfig
from envs.make import make

RUDE = """
import os, sys, tempfile
from envs.tasks.reach import Reach

class Rude(Reach):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        import torch
        os.chdir(tempfile.gettempdir())
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

class Broken(Rude):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        raise RuntimeError("it broke")
"""


@pytest.mark.parametrize("name", ["Rude", "Broken"])
def test_folder_and_torch_are_as_before(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rude.py").write_text(RUDE)
    monkeypatch.chdir(tmp_path)
    config = EnvConfig(id=f"rude.py:{name}", cameras=("front",))
    if name == "Rude":
        make(config).close()
    else:
        with pytest.raises(ValueError, match="it broke"):
            make(config)
    assert Path.cwd() == tmp_path and torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    with pytest.raises(ValueError, match="it broke"):  # the file is found again, by a path relative to that folder
        make(config.model_copy(update={"id": "rude.py:Broken"}))
