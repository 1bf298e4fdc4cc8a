"""Each promise of `docs/trust.md`, with small counts."""

import pytest

from tests.trust import harnesses
from tests.trust.__main__ import page
from tests.trust.figures import PROMISES, NotHere

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", harnesses())
def test_the_promise_is_kept(name):
    try:
        figures = harnesses()[name].run(full=False)
    except NotHere as missing:
        pytest.skip(str(missing))
    assert figures
    assert {figure.promise for figure in figures} <= set(PROMISES)


def test_the_page_has_a_section_for_each_promise_with_a_figure_and_names_what_was_not_run(monkeypatch):
    import tests.trust.__main__ as program

    class Harness:
        """Faults are injected."""

    monkeypatch.setattr(program, "harnesses", lambda: {"faults": Harness, "traces": Harness})
    measured = {"date": "2026-11-29", "counts": "full", "figures": [["P4", "faults injected", "30"]]}
    missing = {"date": "2026-11-29", "counts": "full", "figures": [], "not_run": "there is no strace"}
    written = page({"faults": measured, "traces": missing, "gone": measured})
    assert "## P4. A refused or failed document leaves nothing behind." in written
    assert "| faults injected | 30 | full | 2026-11-29 |" in written
    assert "Tested by `tests/trust/faults.py`: Faults are injected." in written
    assert "- `traces`: there is no strace" in written
    assert "P5" not in written
    assert "gone" not in written
