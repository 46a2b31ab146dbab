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
from benchmarks.house import breaches

ROOT = Path(__file__).resolve().parent.parent
OURS = [ROOT / "etude.py", *(file for folder in ("agent", "envs", "policies", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py")))]
HEAVY = {"torch", "transformers"}
MAY_BE_HEAVY = ("policies/", "agent/learning/", "agent/ground/train.py", "agent/ground/pretrain.py", "benchmarks/")


def each(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(ROOT))) for file in files])


def imports(node: ast.AST, inside_functions: bool = True) -> Iterator[str]:
    """Yield the dotted names that a module imports; what is under `if TYPE_CHECKING` does not run and does not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif inside_functions or not isinstance(child, ast.FunctionDef):
            yield from imports(child, inside_functions)


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def test_imports_point_down_and_no_stage_knows_another():
    assert not breaches(ROOT)


PLANTED = {
    "a stage that knows another": (
        "agent/collect/stage.py",
        "from agent.tune import stage",
        "agent.collect.stage imports the stage agent.tune.stage",
    ),
    "one that does so in a function": (
        "agent/collect/jobs.py",
        "def f():\n    from agent.tune.stage import x",
        "agent.collect.jobs imports the stage agent.tune.stage",
    ),
    "a service that knows a stage": ("agent/run/folder.py", "import agent.collect.stage", "agent.run.folder imports the stage agent.collect.stage"),
    "records that know a stage": ("agent/records.py", "import agent.collect.stage", "agent.records imports the stage agent.collect.stage"),
    "whoever calls the loop": ("agent/tune/stage.py", "from agent.improve import x", "agent.tune.stage imports agent.improve, which only cli may"),
    "an environment that knows the agent": ("envs/make.py", "import agent.records", "envs.make imports agent.records; envs must not know agent"),
    "a policy that knows an environment": ("policies/vlm.py", "import envs.make", "policies.vlm imports envs.make; policies must not know envs"),
    "a circle of modules": ("agent/run/files.py", "def f():\n    import agent.run.folder", "circle: agent.run.folder -> agent.run.files"),
    "a circle of folders": ("agent/run/files.py", "import agent.rollout.pool", "circle: agent.rollout -> agent.run"),
}


@pytest.mark.parametrize("breach", PLANTED)
def test_a_breach_is_found_wherever_it_is_planted(breach: str, tmp_path: Path):
    sound = {
        "agent/cli.py": "import agent.improve",
        "agent/improve.py": "import agent.collect.stage, agent.tune.stage",
        "agent/collect/stage.py": "from agent.rollout import pool\nimport agent.collect.jobs",
        "agent/collect/jobs.py": "from agent.records import x",
        "agent/tune/stage.py": "if TYPE_CHECKING:\n    import agent.collect.stage",
        "agent/rollout/pool.py": "import envs.make, policies.vlm, agent.run.folder",
        "agent/run/folder.py": "import agent.run.files",
        **dict.fromkeys(("agent/records.py", "agent/run/files.py", "envs/make.py", "policies/vlm.py"), ""),
    }
    file, planted, says = PLANTED[breach]
    for name, text in sound.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert breaches(tmp_path) == []
    (tmp_path / file).write_text(f"{sound[file]}\n{planted}\n")
    assert [told for told in breaches(tmp_path) if told.startswith(says)], breaches(tmp_path)


def test_relative_imports_are_written_out():
    assert not [file for file in OURS for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom) and node.level]


@each([file for file in OURS if not str(file.relative_to(ROOT)).startswith(MAY_BE_HEAVY)])
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


@each([ROOT / "agent/config/config.py", ROOT / "agent/config/keys.py", ROOT / "envs/__init__.py", ROOT / "policies/keys.py"])
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
