"""The wheel: what is in it, and that it serves in an environment that has nothing else."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.api.test_server import STOPPED, environment, started

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def build(source, directory, *targets):
    """The files that the build backend makes of a source tree."""
    wanted = [word for target in targets for word in ("--target", target)]
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory), *wanted]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return sorted(directory.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution and the wheel of this checkout."""
    wheel, source = build(ROOT, tmp_path_factory.mktemp("built"), "sdist", "wheel")
    return source, wheel


def installer(environment):
    """The command that installs into an environment: uv where `make` could get it, as it is faster, else pip."""
    python = environment / "bin" / "python"
    if UV.exists():
        return [UV, "pip", "install", "--system-certs", "--python", python]
    return [sys.executable, "-m", "pip", "--python", python, "install"]


def pins():
    """The versions that are shipped, as constraints: without hashes, and without the names of extras."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lines = re.findall(r"^([\w.-]+)(?:\[.*?\])?(==.*?) \\$", lock, re.MULTILINE)
    return [f"{name}{version}" for name, version in lines]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of an environment with the wheel, what it needs, and no extra."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory / "venv")
    install = installer(directory / "venv")
    constraints = directory / "constraints.txt"
    constraints.write_text("\n".join(pins()), encoding="utf-8")
    small = next(pin for pin in pins() if pin.startswith("cachetools=="))
    if subprocess.run([*install, small], capture_output=True, check=False).returncode:
        pytest.skip("the package index cannot be reached, so that the wheel cannot be installed")
    subprocess.run([*install, "--constraint", constraints, built[1]], check=True, capture_output=True)
    return directory / "venv" / "bin"


@pytest.fixture
def elsewhere(tmp_path):
    """A directory that is not the checkout, with a package of somebody else that is called `app` too."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise ImportError('not this one')\n", encoding="utf-8")
    return tmp_path


def test_the_wheel_holds_the_package_with_its_migrations_and_its_documentation_and_nothing_else(built):
    names = zipfile.ZipFile(built[1]).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"app", "myoresponse"}
    ours = {path.relative_to(ROOT) for path in (ROOT / "app").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    scripts = {path.relative_to(ROOT) for path in (ROOT / "alembic").rglob("*") if path.suffix in {".py", ".mako"}}
    held = {Path(name) for name in names if name.startswith("app/")}
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    told = {Path("docs") / name for name in ("CHANGELOG.md", "README.md", "SECURITY.md")}
    assert held == ours | {"app" / path for path in scripts | pages | told}
    assert Path("app/py.typed") in held


def test_the_source_distribution_gives_the_same_wheel(built, tmp_path):
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    [again] = build(tree, tmp_path / "again", "wheel")
    assert again.read_bytes() == built[1].read_bytes()


@pytest.mark.slow
def test_the_wheel_serves_where_nothing_else_is_installed(installed, elsewhere):
    program = str(installed / "myoresponse")
    variables = environment(f"sqlite:///{elsewhere / 'x.db'}")

    def run(command, **settings):
        return subprocess.run(
            [program, command], cwd=elsewhere, env=variables | settings, capture_output=True, text=True, check=False
        )

    for command in ("migrate", "demo"):
        assert run(command).returncode == 0
    with started([program, "serve"], variables, elsewhere) as server:
        status, body = server.ask("GET", "/v1/studies/demo/analyses/response-rates")
        assert (status, b'"responders": 14' in body) == (200, True)
        status, body = server.ask("GET", "/v1/studies/demo/datasets/adsl.parquet")
        assert (status, b"myoresponse[parquet]" in body) == (501, True)
        status, body = server.ask("GET", "/v1/studies/demo/datasets/adsl.xpt")
        assert (status, b"myoresponse[xpt]" in body) == (501, True)
        server.stop()
        assert server.process.returncode in STOPPED
    refused = run("migrate", MYORESPONSE_DATABASE_URL="postgresql://somebody@127.0.0.1/x")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "myoresponse[postgres]" in refused.stderr
