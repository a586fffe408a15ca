"""The workflows can be read, ask for no more rights than they need, and pin what they run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from .tree import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def jobs(name: str) -> dict[str, Any]:
    (path,) = [path for path in WORKFLOWS if path.stem == name]
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_bounded(path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}, "each job asks for what it needs"
    assert workflow["concurrency"]
    assert "pull_request_target" not in text
    assert "secrets." not in text
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        assert {step["uses"] for step in job["steps"] if "uses" in step and not PINNED.fullmatch(step["uses"])} == set()
        assert "${{" not in "".join(step.get("run", "") for step in job["steps"]), "expressions go through env"
    for line in text.splitlines():
        assert "uses:" not in line or re.search(r"# v\d+\.\d+\.\d+$", line), "a pinned action names its version"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_make_targets_and_scripts_of_a_workflow_exist(path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"run: (.+)", path.read_text(encoding="utf-8"))
    targets = {target for command in commands for target in re.findall(r"\bmake ([\w-]+)", command)}
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()
    scripts = {script for command in commands for script in re.findall(r"scripts/[\w.-]+", command)}
    assert {script for script in scripts if not (ROOT / script).exists()} == set()


def test_only_a_tag_publishes() -> None:
    publish = jobs("wheels")["publish"]
    assert publish["if"] == "github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')"
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == ["wheels", "sdist"]


def test_the_oldest_and_the_newest_of_everything_are_tried() -> None:
    matrix = jobs("ci")["tests"]["strategy"]["matrix"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest_python = re.search(r'requires-python = ">=([\d.]+)"', project)
    oldest_torch = re.search(r'"torch>=([\d.]+)"', project)
    assert oldest_python
    assert oldest_torch
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert matrix["python"][0] == oldest_python[1]
    (pair,) = matrix["include"]
    assert pair["python"] == oldest_python[1]
    assert pair["torch"].startswith(f"{oldest_torch[1]}.")
    built = re.search(r"^build = \[(.+)\]$", project, re.MULTILINE)
    assert built
    for python in matrix["python"]:
        assert f'"cp{python.replace(".", "")}-*"' in built[1]
