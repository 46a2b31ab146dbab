"""What the package says of itself in several places is the same in all of them."""

import tomllib
from pathlib import Path

import setuptools
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_citation_and_license_agree_with_the_package() -> None:
    project, cited = PROJECT["project"], yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["title"], cited["version"], cited["license"]) == (project["name"], project["version"], project["license"])
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software" and cited["authors"] == [{"name": "The etude authors"}]
    card = (ROOT / "policies" / "nano" / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(card)["license"] == project["license"].lower()


def test_the_license_is_there_whole_and_goes_into_the_package() -> None:
    (name,) = PROJECT["project"]["license-files"]
    text = (ROOT / name).read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text and "Copyright 2026 The etude authors" in text


def test_every_package_is_installed() -> None:
    ours = {".".join(file.parent.relative_to(ROOT).parts) for top in ("agent", "envs", "policies") for file in (ROOT / top).rglob("*.py")}
    assert ours == set(setuptools.find_packages(str(ROOT), **PROJECT["tool"]["setuptools"]["packages"]["find"]))


def test_every_file_beside_the_code_is_installed() -> None:
    given = PROJECT["tool"]["setuptools"]["package-data"]
    installed = {file for package, patterns in given.items() for each in patterns for file in ROOT.joinpath(*package.split(".")).glob(each)}
    beside = {file for top in ("agent", "envs", "policies") for file in (ROOT / top).rglob("*") if file.is_file()}
    assert installed == {file for file in beside if file.suffix not in (".py", ".pyc")}
