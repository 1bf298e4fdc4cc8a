"""Write docs/claims.md from the rule book and its cases: `python -m tests.spec.render` does it with the definitions."""

import json
from collections.abc import Iterator
from pathlib import Path

from app.analyses.claims import BECAUSE
from tests.spec.book import CLAIMS
from tests.spec.render import case_row, row

CLAIMS_PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
MEASURED = Path(__file__).parents[1] / "trust" / "measured.json"

INTRODUCTION = """\
# Claims: what may be concluded from an answer

Each answer has a list `claims`. Nothing else in an answer, in the report or in a MeasureReport is a conclusion: the
other fields are numbers. One rule book (`app/analyses/claims.py`) decides from the numbers of the answer itself. Each
claim has a `code`, a `text`, a `direction`, the number `n` that it rests on, whether it is `supported`, and in
`because` the codes of what decided. A claim that is not supported stays in the list: its text says what cannot be
concluded. This page is generated from `tests/spec` (`make docs`); each case on it is tested in every build, and each
rule was broken on purpose to see that its cases notice.

**A change is not its cause.** Claims of one treated group are about changes. Why a value changed, no rule can tell
from one group: see the caveats beside the claims, `uncontrolled_pre_post` first.

**Directions.** `improvement` and `worsening` follow the better end of the scale; a lower CK is better. Where neither
end is known to be better, a claim says `increase` or `decrease`, and the onset is an `onset_of_change`.

**Families of tests.** `change` and `onset` use p values that are adjusted over the weeks of one measure on one scale
(the convention `multiplicity`); each measure and scale is a family of its own. `difference` is adjusted by Holm over
all tests of its answer (in `repeated-measures` over its interactions). `change_of_change` is one test. Alpha is that of
the protocol's `weekly_change`.
"""

NOTHING_HAPPENS = """\
`python -m tests.trust no_effect` simulates cohorts in which nothing happens: each patient has a constant level, with
errors around it that are correlated from draw to draw (AR(1), on the logarithm for CK), at the visits and draws of the
demonstration study. The model of repeated measures is asked of twice the patients, and of two groups of four times as
many. A claim keeps its level if the lower 99 % limit of its share (Clopper-Pearson) is not above alpha.
Selection on a high CK makes CK fall without treatment: there the claims of a change are true, and no treatment made
the change."""


def claims_page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_codes(), "", *_rules(), *_null_simulation()])


def _codes() -> Iterator[str]:
    yield "## What decides"
    yield ""
    yield row("code", "meaning")
    yield row("---", "---")
    yield from (row(f"`{code}`", sentence) for code, sentence in BECAUSE.items())


def _rules() -> Iterator[str]:
    yield f"## {CLAIMS.title}"
    yield ""
    yield "Records are written as in [definitions.md](definitions.md#how-to-read-the-cases)."
    yield ""
    for rule in CLAIMS.rules:
        yield f"### `{rule.name}`"
        yield ""
        yield rule.words
        yield ""
        yield row("case", "given", "expected")
        yield row("---", "---", "---")
        yield from (case_row(case) for case in rule.cases)
        yield ""


def _null_simulation() -> Iterator[str]:
    """What `make trust` counted last in cohorts without any treatment."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8")).get("no_effect")
    yield "## How often a claim is supported where nothing happens"
    yield ""
    yield NOTHING_HAPPENS
    yield ""
    if measured is None:
        yield "Not run yet."
        return
    yield row("claim", "supported", "counts", "date")
    yield row("---", "---", "---", "---")
    for _, what, value in measured["figures"]:
        yield row(what, value, measured["counts"], measured["date"])
    yield ""
