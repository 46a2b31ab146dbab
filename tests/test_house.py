"""The rules of the house: who may import whom, what every key and field carries, how long a thing may be."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent
import envs
import policies

ROOT = Path(__file__).resolve().parent.parent
OURS = [file for folder in ("agent", "envs", "policies", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]
STAGES = {"ground", "collect", "label", "critic", "curate", "tune", "evaluate"}
ABOVE = {
    "improve",
    "bearings",
    "cli",
    "report",
    "pretrain",
    "teach",
    "film",
    "expert",
    "check",
    "demonstrate",
    "demonstrations",
    "warm_start",
    "curriculum",
    "crew",
    "judge",
    "referee",
    "ready",
    "guards",
}  # no stage knows them; `run` and `track` hold what stages are given
# these know nobody above themselves
BELOW = {"records", "losses", "config", "settings", "configure", "dataset", "recordings", "workers", "files", "folder", "clock", "base"}
HEAVY = {"torch", "transformers"}
MAY_BE_HEAVY = {
    "policies/vlm.py",
    "policies/processor.py",
    "policies/scoring.py",
    "policies/precision.py",
    "policies/features.py",
    "policies/nano/build.py",
    "policies/sb3.py",
}
MAY_BE_HEAVY |= {
    "agent/learning/trainer.py",
    "agent/learning/optimiser.py",
    "agent/learning/losses.py",
    "agent/ground/train.py",
    "agent/ground/pretrain.py",
}


def each(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(ROOT))) for file in files])


def imports(node: ast.AST, inside_functions: bool = True) -> Iterator[str]:
    """Yield the dotted names that a module imports; what is under `if TYPE_CHECKING` does not run and does not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"relative import of {child.module}: write the whole name"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif inside_functions or not isinstance(child, ast.FunctionDef):
            yield from imports(child, inside_functions)


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@each([file for file in OURS if file.is_relative_to(ROOT / "envs") or file.is_relative_to(ROOT / "policies")])
def test_envs_and_policies_know_neither_agent_nor_each_other(file: Path):
    own = file.relative_to(ROOT).parts[0]
    assert not {name for name in imports(tree(file)) if name.split(".")[0] in {"agent", "envs", "policies"} - {own}}


@each([file for file in OURS if file.is_relative_to(ROOT / "agent") and file.stem in STAGES | BELOW])
def test_stages_stand_side_by_side(file: Path):
    known = {name.split(".")[1] for name in imports(tree(file)) if name.startswith("agent.")}
    assert not known & (STAGES | ABOVE) - {file.stem}


@each([file for file in OURS if str(file.relative_to(ROOT)) not in MAY_BE_HEAVY and file.parts[-2] != "benchmarks"])
def test_torch_is_imported_only_where_it_must_be(file: Path):
    assert not {name for name in imports(tree(file), inside_functions=False) if name.split(".")[0] in HEAVY}


def test_no_folder_without_a_subject():
    folders = {path for top in ("agent", "envs", "policies", "tests", "benchmarks", "configs", "docs") for path in (ROOT / top).rglob("*")}
    folders |= set(ROOT.iterdir())
    assert not [path for path in folders if path.is_dir() and path.name in {"utils", "common", "core", "helpers", "scripts"}]


@pytest.mark.parametrize("package", [agent, envs, policies])
def test_the_packages_imported_are_ours(package: object):
    assert Path(next(iter(package.__path__))).parent == ROOT


def test_a_users_folders_do_not_shadow_ours_and_help_loads_nothing_heavy(tmp_path: Path):
    for name in ("agent", "envs", "policies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the folder of a user was imported')")
    script = tmp_path / "bin" / "etude"  # a console script: its own folder, not the working folder, comes first on the path
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom pathlib import Path\n"  # ours come last, where an installation puts them
        f"sys.path = [each for each in sys.path if not (Path(each) / 'agent' / 'cli.py').exists()] + [{str(ROOT)!r}]\n"
        "from agent.cli import main\nmain()\n"
        "print('heavy:', {'torch', 'transformers', 'mujoco', 'gymnasium'} & set(sys.modules))\n"
        "import envs, policies\nprint(envs.__file__, policies.__file__)\n"
    )
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "MUJOCO_GL": "egl"})
    assert done.returncode == 0, done.stderr
    assert "etude improve CONFIG RUN" in done.stdout
    assert "heavy: set()" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{ROOT}/envs/__init__.py {ROOT}/policies/__init__.py"


@each(sorted((ROOT / "configs").rglob("*.yaml")))
def test_every_key_of_a_config_file_carries_a_comment(file: Path):
    lines = ["", *file.read_text().splitlines()]
    keys = [i for i, line in enumerate(lines) if re.match(r"\s*[\w-]+:(\s|$)", line)]
    assert keys
    assert not [lines[i] for i in keys if "# " not in lines[i] and not lines[i - 1].lstrip().startswith("# ")]


@each([ROOT / "agent/config/config.py", ROOT / "agent/config/keys.py", ROOT / "envs/__init__.py", ROOT / "policies/__init__.py"])
def test_every_config_field_says_what_it_means(file: Path):
    models = [node for node in tree(file).body if isinstance(node, ast.ClassDef) and node.bases]
    assert models and all(ast.get_docstring(model) for model in models)
    silent = []
    for model in models:
        for field, after in zip(model.body, [*model.body[1:], None], strict=True):
            section = isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation).endswith("Config")  # its class has the docstring
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
            if isinstance(field, ast.AnnAssign) and not section and not documented:
                silent.append(f"{model.name}.{ast.unparse(field.target)}")
    assert not silent


@each(OURS)
def test_nothing_is_too_long_to_read_in_one_go(file: Path):
    functions = [node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef)]
    assert len(file.read_text().splitlines()) <= 300
    assert not [f"{node.name}: {length} lines" for node in functions if (length := (node.end_lineno or 0) - node.lineno + 1) > 60]
