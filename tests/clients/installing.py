"""Packages that a test installs into a folder of its own, by a lock."""

import fcntl
import os
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def install(command: list[str | Path], folder: Path, *, wrong: tuple[str, ...]) -> None:
    """Run an installer. Where it cannot reach its packages the test is skipped; a lock that is `wrong` is a failure."""
    told = subprocess.run(
        command, cwd=folder, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if told.returncode == 0:
        return
    if any(word in told.stderr for word in wrong):
        pytest.fail(f"The lock is not as it should be:\n{told.stderr}")
    lines = told.stderr.strip().splitlines() or ["without a word"]
    pytest.skip(f"{Path(command[0]).name} could not install packages: {lines[-1]}")


@cache
def installed_typescript(base: Path) -> Path:
    """A folder with the generator and the compiler, and the types of the API generated there. What is installed and
    generated is made once, also for the process of tests beside this one; the programs in the folder are its own.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("There is no Node.")
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "typescript"
    made.mkdir(exist_ok=True)
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "api.d.ts").exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(HERE / name, made)
            install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], made, wrong=("EINTEGRITY", "EUSAGE"))
            run(made, "openapi-typescript", ROOT / "openapi.yaml", "--default-non-nullable", "false",
                "--output", "api.d.ts")  # fmt: skip
    folder = base / "programs"
    folder.mkdir()
    for name in ("package.json", "api.d.ts"):
        shutil.copy(made / name, folder)
    (folder / "node_modules").symlink_to(made / "node_modules")
    return folder


def run(folder: Path, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the packages."""
    command = [folder / "node_modules" / ".bin" / program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def compiled(folder: Path, *, emit: bool = False, whole: bool = False, **texts: str) -> str:
    """What the compiler says of texts, by name. If `emit` is true, it makes a program of each of them. Only if `whole`
    is true, it also checks the types of the API and of packages by themselves, which takes most of its time.
    """
    for name, text in texts.items():
        (folder / f"{name}.ts").write_text(text, encoding="utf-8")
    flags = "--strict --target es2022 --module nodenext --lib es2022,dom"
    flags += ("" if emit else " --noEmit") + ("" if whole else " --skipLibCheck")
    return run(folder, "tsc", *shlex.split(flags), *(f"{name}.ts" for name in texts)).stdout
