"""The questions that can be asked of a study, in groups, each with what is known of its answer already."""

from typing import Any

from app.analyses import QUESTIONS
from app.pages.headlines import headlines
from app.pages.page import Names, Page, PageReading

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Did they respond?", ("response-rates", "improvement-score", "definition-of-improvement", "specification-curve")),
    ("How did values change?", ("weekly-change", "ck-change", "repeated-measures")),
    ("How long does CK stay normal?", ("ck-normal-time", "ck-normal-interval", "ck-normal-groups")),
    ("Which other treatment was needed?", ("steroid-sparing",)),
    ("Is it safe?", ("adverse-reactions", "safety")),
    ("Who was treated, and how?", ("baseline-table", "courses")),
    ("Do groups differ?", ("comparisons",)),
    ("How far can this be trusted?", ("caveats", "sensitivity")),
    ("What to do next?", ("planning", "what-is-missing")),
)
ABOUT = {
    "response-rates": "The share of patients who meet each declared rule, with exact intervals.",
    "improvement-score": "The total improvement score of 2016 (0 to 100), and who reached a minimal, moderate or major "
    "response.",
    "definition-of-improvement": "Patients with at least three of six measures better, and at most two worse.",
    "specification-curve": "The same rate under every definition that could have been chosen.",
    "weekly-change": "The change of each measure at each week after treatment, tested and adjusted.",
    "ck-change": "The change of CK after treatment, compared with its change before it in the same patients.",
    "repeated-measures": "All visits in one model, which uses the values of patients who missed a visit.",
    "ck-normal-time": "How soon CK becomes normal and for how long, as a survival curve.",
    "ck-normal-interval": "The same, when it is said openly that a change between two visits was not seen.",
    "ck-normal-groups": "The times of several groups: log-rank test and hazard ratios.",
    "adverse-reactions": "Patients with an adverse reaction, and which ones.",
    "safety": "Adverse events per infusion, course and year, how soon, and how severe.",
    "steroid-sparing": "Doses of glucocorticoids added up, the time until they are low, and responses without them.",
    "baseline-table": "Table 1 of a paper: age, sex, diagnosis, values before treatment.",
    "courses": "Courses and doses, and the response to a second or later course.",
    "comparisons": "Rates and changes of groups side by side, and endpoints of the same patients.",
    "caveats": "Each known reason for caution, counted in these data.",
    "sensitivity": "Whether a result hangs on one choice or on one patient.",
    "planning": "How many patients a next study needs, if what was seen is true.",
    "what-is-missing": "Which values, of which patient and until when, would let more patients be judged.",
}
"""What each question is for, in a sentence."""


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    study = names["study"]
    report = await reading.json(f"/v1/studies/{study}/analyses", reading.pinned)
    studies = await reading.if_allowed("/v1/studies", [("limit", "100")])
    known: dict[str, list[str]] = {}
    for each in headlines(report["analyses"]) if report["populations"]["safety"] else ():
        known.setdefault(each.question, []).append(each.sentence)
    listed = [
        (title, [(QUESTIONS[name], ABOUT[name], known.get(name, [])) for name in questions])
        for title, questions in GROUPS
    ]
    others = [each for each in (studies or {"items": []})["items"] if each["id"] != study]
    return {"listed": listed, "others": others, "report": report}


PAGES = (Page("/v1/studies/{study}/analyses", "questions.html", _fill),)
