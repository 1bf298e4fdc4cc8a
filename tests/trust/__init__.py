"""Proofs of what the service promises: each module breaks something on purpose and counts what was lost.

A harness is a module with `run(full: bool) -> list[Figure]`. It raises when a promise is broken, and `NotHere` where
the machine lacks what it needs. Its docstring says, for the page, how the promise was tested. `make test` runs each
with `full=False` (seconds), `make trust` with `full=True`, which writes `docs/trust.md`.
"""

import importlib
from pathlib import Path
from types import ModuleType


def harnesses() -> dict[str, ModuleType]:
    """Every module here that has `run`, by name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if not path.stem.startswith("test_"))
    modules = {name: importlib.import_module(f"tests.trust.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}
