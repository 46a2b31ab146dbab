"""The command line: what is asked is printed, and what makes no sense is one sentence that changes nothing."""

import contextlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import cli

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def etude(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["etude", *arguments])
    cli.main()


def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    etude("--version", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == f"etude {VERSION}\n"


def test_the_version_of_a_clone_that_is_not_installed(tmp_path: Path) -> None:
    """Without site-packages there is no metadata; agent.cli itself needs nothing from there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-S", "-m", "agent.cli", "--version"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment).stdout == f"etude {VERSION}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []], ids=str)
def test_help_is_printed_and_fits_a_terminal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    etude(*arguments, monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert said.split() == cli.HELP.split() and max(map(len, said.splitlines())) <= 80


def test_a_terminal_that_knows_few_characters_shows_the_others_by_their_codes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    code = "import sys; from agent.cli import main; sys.argv = ['etude', '--version']; main(); print('gr\\u00fcn', '\\udcff')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[1:] == [r"gr\xfcn \udcff"] and not done.stderr, done.stderr


VERBS = re.findall(r"^  etude ([a-z-]+) ", cli.HELP, re.MULTILINE)


@pytest.mark.parametrize("asked", ["--help", "-h"])
@pytest.mark.parametrize("verb", dict.fromkeys(VERBS))
def test_every_verb_has_a_help_of_its_own(verb: str, asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        etude(verb, asked, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert told.startswith(f"usage: etude {verb}") and told != cli.HELP
    assert max(map(len, told.splitlines())) <= (80 if verb != "improve" else 150)  # tyro draws the keys


def test_the_help_of_pretrain_has_the_functions_own_defaults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from agent.ground.pretrain import pretrain

    with pytest.raises(SystemExit, match="0"):
        etude("pretrain", "models/base", "--help", monkeypatch=monkeypatch)
    told = " ".join(capsys.readouterr().out.split())
    (_, out), *options = inspect.signature(pretrain).parameters.items()
    assert "etude pretrain [-h]" in told and told.index("OUT") > 0 and out.default is inspect.Parameter.empty
    for name, parameter in options:
        assert re.search(rf"--{name.replace('_', '-')} [A-Z]+ [^()]*\({parameter.default}[:)]", told), name


@pytest.mark.parametrize("verb", ["info", "merge", "export"])
def test_the_verbs_of_datasets_have_one_too(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        etude("dataset", verb, "--help", monkeypatch=monkeypatch)
    assert capsys.readouterr().out.startswith(f"usage: etude dataset {verb}")


def test_help_of_improve_has_its_forms_and_every_key_in_sections(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        etude("improve", "-h", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert said.startswith("usage: etude improve CONFIG RUN") and "--until STAGE" in said and "[--cycles +N]" in said
    assert all(part in said for part in ("env options", "evaluate options", "--env.kwargs YAML", "--phases YAML", "--evaluate.variations YAML"))


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m agent.cli improve --help | head -2"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tasks extra", "'extra' is one argument too many; it is only: etude tasks"),
        ("report RUN extra", "'extra' is one argument too many; it is only: etude report RUN"),
        ("watch RUN --now", "'--now' is one argument too many; it is only: etude watch RUN"),
        ("check", "needs the ID of an environment or a config, as in: etude check"),
        ("check --env.size 3", "needs the ID of an environment or a config"),
        ("check --config", "--config needs a FILE"),
        ("check --config --env.size 3", "--config needs a FILE"),
        ("check Reacher-v5 --env.size 3 --config", "--config needs a FILE"),
        ("check Reacher-v5 --env.size 3 --config nowhere.yaml", "Config nowhere.yaml cannot be read"),
        ("check Reacher-v5 --env.size 3 --config=nowhere.yaml", "Config nowhere.yaml cannot be read"),
        ("check nowhere.yaml", "Config nowhere.yaml cannot be read"),
        ("check --thorough nowhere.yml --env.size 3", "Config nowhere.yml cannot be read"),
        ("check --config= --env.size 3", "--config needs a FILE"),
        ("check --config=a.yaml --config b.yaml", "--config needs one FILE"),
        ("improve c.yaml RUN/out --until=lunch", "--until is 'lunch'; give one stage of a cycle: collect, label"),
        ("improve c.yaml RUN/out --until", "--until needs a STAGE (collect, label, curate, tune, evaluate), as in"),
        ("check Reacher-v5 extra", "'extra' is not an override"),
        ("expert c.yaml --steps 3", "the following arguments are required: OUT; see etude expert --help"),
        ("expert c.yaml RUN/out --algorithm=dqn", "argument --algorithm: invalid choice: 'dqn'"),
        ("expert nowhere.yaml RUN/out", "Config nowhere.yaml cannot be read"),
        ("pretrain", "the following arguments are required: OUT; see etude pretrain --help"),
        ("pretrain RUN/out --see=many", "argument --see: 'many' is no whole number of at least 0"),
        ("compose", "the following arguments are required: OUT; see etude compose --help"),
        ("compose OUT --layers 8", "unrecognized arguments: --layers 8; see etude compose --help"),
        ("compose OUT --grounded push", "--grounded is 'push'; a composed model was grounded on: "),
        ("compose RUN", "holds files already; name a new folder"),
        ("compose /dev/null", "/dev/null cannot be written (File exists); name another folder"),
        ("compose RUN/config.yaml/out", "cannot be written (Not a directory); name another folder"),
        ("compose RUN/config.yaml", "is a file; name a new folder"),
        ("improve c.yaml", "needs CONFIG and RUN"),
        ("evaluate", "the following arguments are required: POLICY; see etude evaluate --help"),
        ("evaluate nano", "nano is an untrained model; name an environment or a config too"),
        ("evaluate runs/none etude/Reach-v0 --episodes many", "'many' is no whole number of at least 1"),
        ("evaluate RUN", "has no champion.json; it has one after its warm start"),
        ("evaluate RUN/none", "There is no run in"),
        ("evaluate nano nowhere.yaml", "Config nowhere.yaml cannot be read"),
        ("evaluate nano etude/Reach-v0 --env.siz 3", "Unknown override '--env.siz'; did you mean '--env.size'?"),
        ("evaluate --env.siz=3 nano etude/Reach-v0", "Unknown override '--env.siz'; did you mean '--env.size'?"),
        ("evaluate nano etude/Reach-v0 --max-minutes soon", "command line: max_minutes is 'soon'"),
        ("evaluate nano etude/Reach-v0 --seed=3 --threads=many", "command line: threads is 'many'"),
        ("evaluate nano etude/Reach-v0 --minutes 3", "unrecognized arguments: --minutes 3; see etude evaluate --help"),
        ("evaluate nano etude/Reach-v0 --episodes 1000000000000", "'1000000000000' is more than 100000"),
        ("play RUN --first-seed 18446744073709551616", "'18446744073709551616' is more than 2147483647"),
        ("evaluate nano etude/Reach-v0 extra", "unrecognized arguments: extra"),
        ("play", "the following arguments are required: POLICY"),
        ("play RUN --episodes 0", "'0' is no whole number of at least 1"),
        ("export RUN", "the following arguments are required: OUT"),
        ("export RUN RUN/out", "has no champion.json"),
        ("export nano RUN/out", "nano is no policy of a run"),
        ("compare RUN", "needs two runs or more"),
        ("compare RUN RUN", "is named twice"),
        ("compare RUN RUN/none", "is not finished, so it has no test evaluation yet"),
        ("serve RUN", "has no champion.json"),
        ("serve RUN --patience 0", "'0' is no number of seconds above 0"),
        ("serve nano", "nano was never trained here"),
        ("dataset fly", "etude dataset has no 'fly'; allowed are info, merge, export"),
        ("dataset info RUN", "There is no dataset of etude in"),
        ("dataset info ''", "argument FOLDER: the path is empty; see etude dataset info --help"),
        ("dataset merge '' RUN/out", "argument FOLDER: the path is empty"),
        ("compare '' ''", "argument RUN: the path is empty"),
        ("dataset merge RUN", "the following arguments are required: OUT"),
        ("dataset export RUN RUN/out --every-step", "There is no dataset of etude in"),
        ("sync nowhere", "needs the folder of a run"),
        ("completion", "needs one of bash, zsh, fish"),
        ("completion tcsh", "needs one of bash, zsh, fish"),
        ("completion bash extra", "one argument too many"),
        ("--version extra", "'extra' is one argument too many; it is only: etude --version"),
        ("pretrain RUN/out --device nope", "--device is 'nope'"),
        ("fly", "Unknown verb 'fly'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as stopped:
        etude(*shlex.split(line.replace("RUN", str(tmp_path))), monkeypatch=monkeypatch)
    said: Any = capsys.readouterr()
    assert stopped.value.code == 1 and says in said.err and said.err.count("\n") == 1 and not said.out
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
