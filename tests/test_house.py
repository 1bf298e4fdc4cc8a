"""The house rules that no single module can break quietly."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "alembic",
    "app",
    "benchmarks",
    "compose.yaml",
    "deploy",
    "docs",
    "examples",
    "openapi.yaml",
    "pyproject.toml",
    "requirements-test.lock",
    "requirements.lock",
    "tests",
}


def broken_contracts(root: Path) -> str:
    """What import-linter objects to in the tree below `root`; nothing if every contract is kept."""
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    run = subprocess.run(
        [sys.executable, "-c", lint], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr if run.returncode else ""


def copy_of_the_house(to: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", to)
    shutil.copytree(ROOT / "app", to / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return to


def test_imports_go_one_way_through_the_rooms():
    assert broken_contracts(ROOT) == ""


@pytest.mark.slow
def test_an_import_in_the_wrong_direction_is_noticed(tmp_path):
    intrusions = {
        "timeline": "app.protocol",
        "protocol": "app.derive",
        "readers": "starlette",
        "derive": "sqlalchemy",
        "estimate": "app.derive",
        "store": "app.submission",
        "analyses": "scipy",
        "submission": "app.http",
        "http": "app.api",
        "fhir": "app.hl7v2",
        "hl7v2": "sqlalchemy",
        "datasets": "pyarrow",
        "bulk": "pyreadstat",
        "api": "lifelines",
    }
    house = copy_of_the_house(tmp_path)
    for room, module in intrusions.items():
        (house / "app" / room / "intruder.py").write_text(f"import {module}\n", encoding="utf-8")
    objections = broken_contracts(house)
    unnoticed = {
        room: module
        for room, module in intrusions.items()
        if not re.search(rf"app\.{room}\.intruder\s*->\s*{re.escape(module)}", objections)
    }
    assert unnoticed == {}


@pytest.mark.slow
def test_a_room_without_a_place_in_the_house_is_noticed(tmp_path):
    house = copy_of_the_house(tmp_path)
    (house / "app" / "annex.py").touch()
    assert "annex" in broken_contracts(house)


def test_nothing_is_put_away_in_a_drawer():
    drawer = re.compile(r"(utils?|helpers?|commons?|misc|shared|stuff)(\.py)?")
    assert [str(path) for path in (ROOT / "app").rglob("*") if drawer.fullmatch(path.name)] == []


def test_a_file_is_about_one_subject_and_never_over_700_lines():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "app").rglob("*.py")
    }
    assert {name: count for name, count in lines.items() if count > 700} == {}


def test_the_migrations_do_not_shadow_the_library_they_are_named_after():
    assert (ROOT / "alembic").is_dir()
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_the_top_of_the_tree_holds_what_a_newcomer_expects_and_nothing_else():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree, so that generated files cannot be told from the project's own")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {name.split("/")[0] for name in listed.stdout.splitlines()} == TOP_LEVEL


def test_the_running_version_is_the_published_one():
    assert app.__version__ == PROJECT["project"]["version"]


def locked(name: str) -> dict[str, list[str]]:
    """The versions that a lock pins, by package: more than one where they differ by Python version."""
    pins: dict[str, list[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+(?:\[[\w,-]+\])?)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE
    ):
        pins.setdefault(canonicalize_name(package.split("[")[0]), []).append(version)
    return pins


EXTRAS = PROJECT["project"]["optional-dependencies"]
SHIPPED = sum((wanted for extra, wanted in EXTRAS.items() if extra != "spark"), PROJECT["project"]["dependencies"])
TESTED = SHIPPED + PROJECT["dependency-groups"]["test"] + PROJECT["build-system"]["requires"]


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", SHIPPED),
        ("requirements-test.lock", TESTED),
        ("tests/spark/requirements.lock", EXTRAS["spark"]),
    ],
)
def test_the_locks_are_what_pyproject_asks_for(lock, requirements):
    """A changed range without `make lock` would go unnoticed otherwise: nothing but the locks is ever installed."""
    pins = locked(lock)
    unmet = [
        str(wanted)
        for wanted in map(Requirement, requirements)
        for version in pins.get(canonicalize_name(wanted.name), ["0"])
        if version not in wanted.specifier
    ]
    assert unmet == []


def test_the_tests_run_on_the_versions_that_are_shipped():
    shipped, tested = locked("requirements.lock"), locked("requirements-test.lock")
    assert {name: tested.get(name) for name in shipped} == shipped


@pytest.mark.parametrize(
    "lock",
    ["requirements.lock", "requirements-test.lock", "benchmarks/requirements.lock", "tests/spark/requirements.lock"],
)
def test_the_locks_hold_hashes_and_no_addresses(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
