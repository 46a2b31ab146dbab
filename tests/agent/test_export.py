"""An exported policy is the policy of its run: for transformers and peft alone, and for `load_policy` elsewhere."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import etude
from agent.export import export
from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run.files import load, save
from agent.source import find
from policies.loading import NANO
from policies.policy import Situation
from policies.prompts import Prompts
from tests.agent.runs import make
from tests.families import FAMILIES

pytestmark = pytest.mark.slow  # four models are made, exported and loaded again
ROOT = Path(__file__).resolve().parents[2]
WORDS = "Touch the red ball"
LORA = {"train": "lora", "lora": {"r": 4}}
KINDS: dict[str, tuple[dict[str, Any], bool]] = {
    "whole model": ({}, False),
    "adapter, thought": ({"train": "lora", "lora": {"r": 4, "use_dora": True}, "thought": "## move", "num_bins": 65}, False),
    "adapter over four bits": ({**LORA, "precision": "4bit"}, False),
    "merged adapter over four bits": ({**LORA, "precision": "4bit"}, True),
    "merged adapter, connector": ({**LORA, "train": "lora+connector"}, True),
    "digits": ({"model": "smolvlm", "codec": "digits", **LORA, "chunk_size": 2, "prompt": "{instruction}. Reply with the next move."}, False),
}
# Without etude: its packages cannot be imported, wherever they lie on the path.
PLAIN = """
import sys
sys.modules.update(dict.fromkeys(("etude", "agent", "policies", "envs")))
import json, numpy as np
for place in sys.argv[2:]:
    sys.path.insert(0, place)
    sys.modules.pop("act", None)
    import act
    policy = act.Policy()
    reply, logits = policy.reply(list(np.load(sys.argv[1])), "Touch the red ball")
    np.savez(place + "/plain.npz", reply=reply, logits=np.stack([each.numpy() for each in logits]), actions=policy.actions(reply))
"""


# A model in the cache of the hub: its adapter is exported without it.
HUB = """
import sys, json
from pathlib import Path
from tests.agent.runs import make
import etude
from agent.export import export
from agent.source import find
from policies.loading import load
make(Path("run"), policy={"model": "etude-tests/tiny", "train": "lora", "lora": {"r": 4}, "precision": "float32"})
export(find("run"), Path("out"))
assert not Path("out/base").exists() and json.loads(Path("out/adapter_config.json").read_text())["base_model_name_or_path"] == "etude-tests/tiny"
import numpy as np
frames = np.zeros((2, 64, 64, 3), np.uint8)
own, back = find("run").load(), etude.load_policy("out").model
sys.path.insert(0, "out")
import act
from policies.policy import Situation
from policies.prompts import Prompts
replies = [each.act([Situation("touch it", frames)], None)[0].tokens.tolist() for each in (own, back)]
assert own.name == back.name and replies == [act.Policy().reply(list(frames), "touch it")[0]] * 2
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, folder_of: Callable[[str], Path]) -> Any:
    """Runs of several kinds, their exports, and what plain transformers and peft make of these."""
    root, frames = tmp_path_factory.mktemp("export"), np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    np.save(root / "frames.npy", frames)
    for kind, (policy, merged) in KINDS.items():
        make(root / f"{kind} run", policy={"precision": "float32", **policy, **({"model": str(folder_of("smolvlm"))} if "model" in policy else {})})
        export(find(str(root / f"{kind} run")), root / kind, merged)
    done = subprocess.run([sys.executable, "-c", PLAIN, root / "frames.npy", *(root / kind for kind in KINDS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root, frames


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_and_peft_alone_give_the_same_logits(exported: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, frames = exported
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # `4bit` multiplies in bfloat16 where it can, and plain transformers do not
    policy, plain = find(str(root / f"{kind} run")).load(), np.load(root / kind / "plain.npz")
    situation = Situation(WORDS, frames)
    (decision,) = policy.act([situation], None)
    assert plain["reply"].tolist() == decision.tokens.tolist()
    np.testing.assert_array_equal(plain["actions"], decision.actions)
    with torch.no_grad():
        ours = policy.distribution([situation], decision.tokens[None])[0]
    theirs = torch.as_tensor(plain["logits"])[:, policy.codec.vocabulary_U] / policy.temperature
    theirs = theirs.masked_fill(ours == -torch.inf, -torch.inf).log_softmax(-1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_every_family_acts_by_transformers_alone(family: str, tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    make(tmp_path / "run", policy={"precision": "float32", "codec": "digits", "model": str(folder_of(family))})
    export(find(str(tmp_path / "run")), tmp_path / "out")
    found: Any = importlib.util.spec_from_file_location("act", tmp_path / "out" / "act.py")
    found.loader.exec_module(act := importlib.util.module_from_spec(found))
    (decision,) = find(str(tmp_path / "run")).load().act([Situation(WORDS, frames)], None)
    assert act.Policy().reply(list(frames), WORDS)[0] == decision.tokens.tolist()


def test_what_act_would_see_otherwise_is_not_exported(tmp_path: Path, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "run", policy={"precision": "float32", "codec": "digits", "model": str(folder_of("llava"))})
    own = Prompts.whole
    monkeypatch.setattr(Prompts, "whole", lambda prompts, text, frames: own(prompts, text, 255 - frames))
    with pytest.raises(ValueError, match=r"cannot be exported: act\.py makes another pixel_values .*; copy the run's folder instead"):
        export(find(str(tmp_path / "run")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_load_policy_gives_the_same_episodes_in_another_folder(exported: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = exported
    (root / kind).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    try:
        policy = etude.load_policy("elsewhere")
    finally:
        (tmp_path / "elsewhere").rename(root / kind)
    own = find(str(root / f"{kind} run")).load()
    environments = Environments(policy.env, 4)
    first, second = (list(rollout(each, environments, [Job(30_000_000 + i) for i in range(3)])) for each in (own, policy.model))
    environments.close()
    assert [each.tokens.tolist() for each in first] == [each.tokens.tolist() for each in second]
    assert own.name == policy.model.name


def test_an_adapter_of_a_model_on_the_hub_is_exported_alone(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--etude-tests--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(NANO, cached / "snapshots" / ("0" * 40), ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", HUB], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_changed_export_is_refused(exported: Any) -> None:
    folder = exported[0] / "adapter, thought"
    file = folder / "adapter_model.safetensors"
    raw = file.read_bytes()
    save_file({name: value * 1.01 for name, value in load_file(file).items()}, file)
    with pytest.raises(ValueError, match="is not what was exported; export the run again"):
        etude.load_policy(folder)
    file.write_bytes(raw)


def test_no_code_that_an_export_names_is_run(exported: Any, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a stranger was run')")
    folder = exported[0] / "whole model"
    raw, content = (folder / "etude.json").read_bytes(), load(folder / "etude.json")
    config, place = content["config"], f"{tmp_path}/evil.py:Class"
    for change, says in (
        ({"policy": {**config["policy"], "model": place}}, "names no Hugging Face model"),
        ({"env": {**config["env"], "id": place}}, "no code that an export names is run; name it"),
        ({"env": {**config["env"], "id": "subprocess:call", "kwargs": {"args": ["false"]}}}, "no code that an export names is run; name it"),
    ):
        save(folder / "etude.json", {**content, "config": {**config, **change}})
        with pytest.raises(ValueError, match=says):
            find(str(folder)).within("")
        with pytest.raises(ValueError, match=says):
            etude.evaluate(etude.load_policy(folder), 1)
    named = {**config["env"], "id": "subprocess:call", "name": "etude/Slide-v0", "kwargs": {"args": ["false"]}}
    save(folder / "etude.json", {**content, "config": {**config, "env": named}})
    (env,) = find(str(folder)).within("etude/Slide-v0").config.envs
    assert env.id == "etude/Slide-v0" and not env.kwargs, "the user's word counts, and not the name that a stranger chose"
    save(folder / "etude.json", {**content, "config": {**config, "policy": {**config["policy"], "trust_remote_code": True}}})
    assert not find(str(folder)).config.policy.trust_remote_code
    (folder / "etude.json").write_bytes(raw)


def test_what_cannot_be_exported_is_one_sentence(exported: Any, tmp_path: Path) -> None:
    run = find(str(exported[0] / "whole model run"))
    with pytest.raises(ValueError, match="has no LoRA adapters"):
        export(run, tmp_path / "out", merged=True)
    with pytest.raises(ValueError, match=r"also trained the connector, which no adapter file holds; add --merged"):
        export(find(str(exported[0] / "merged adapter, connector run")), tmp_path / "out")
    with pytest.raises(ValueError, match="is no policy of a run"):
        export(find("nano"), tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        export(run, tmp_path / "full")
    assert not (tmp_path / "out").exists()


def test_the_card_has_the_results_of_the_champion_alone(exported: Any) -> None:
    root, _ = exported
    run, name = root / "whole model run", find(str(root / "whole model run")).name
    assert "None: its run is not finished" in (root / "whole model" / "README.md").read_text()
    rate = {"rate": 0.5, "low": 0.4, "high": 0.6, "n": 400}
    gain = {"gain": 0.1, "gain_low": 0.05, "gain_high": 0.15, "p_value": 0.01}
    content = {"task": "t", "seed": 0, "cycles": 1, "promoted": 1, "base": rate, "before": rate, "before_is": "base", "after": rate, **gain}
    for policy, says in ((name, "| this policy | 50.0 % [40.0, 60.0], n = 400 |"), ("0123", "it is not the last champion of its run")):
        (run / "summary.json").write_text(json.dumps({**content, "policy": policy, "seconds": {}}))
        export(find(str(run)), root / f"card {policy}")
        assert says in (root / f"card {policy}" / "README.md").read_text()
    (run / "summary.json").unlink()
