"""Each answer that a decision about equal facts changes says before that the decision waits."""

import copy
import json
from datetime import date, timedelta

import pytest

from app.analyses import QUESTIONS, answer
from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, study_comparison
from app.analyses.undecided_facts import UNDECIDED
from app.demo import TIMELINES
from app.protocol.model import Protocol
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from app.timeline.same_facts import KIND_OF, alike, pair_of

PATIENTS = 4
SLOW = {"specification-curve", "sensitivity", "repeated-measures"}
"""Their figures are those of the others, under many definitions."""
RESCUED = {"steroid_rescue": {"rise": 20, "over": "day_0"}, "rescue": "composite"}


def protocol():
    """A protocol in which a rise of the dose is a rescue treatment."""
    declared = SEED_2008.model_dump(mode="json")
    declared["ck_normal_time"] |= RESCUED
    return Protocol.model_validate_json(json.dumps(declared))


def read(document):
    return normalise(Timeline.model_validate_json(json.dumps(document)), 2**62)


def cohort(documents):
    return Cohort.of_histories(map(read, documents))


def documents(kind):
    """Patients of the demonstration study, of each of whom a second source states one fact of this kind again."""
    found = json.loads(TIMELINES.read_text(encoding="utf-8"))[:PATIENTS]
    for document in found:
        first = document["infusions"][0]
        day = date.fromisoformat(first["time"][:10])
        if kind == "infusion":
            document["infusions"].append(first | {"time": f"{day}T12:00:00+09:00", "id": "1", "source": "EHR"})
            draw = {"code": "CK", "time": f"{day}T15:00:00+09:00", "value": 4321, "unit": "U/L", "upper_limit": 200}
            document["labs"] = [draw]
        elif kind == "medication":
            drug = {"drug": "prednisolone", "dose": 30, "unit": "mg/d", "end": str(day + timedelta(400))}
            taken = drug | {"start": str(day - timedelta(60)), "id": "1", "source": "CRF"}
            again = drug | {"start": str(day + timedelta(3)), "id": "2", "source": "EHR"}
            document["medications"] = [taken | {"issued": "2015-01-01T00:00:00Z"}, again]
        else:
            event = {"term": "headache", "severity": "mild", "serious": False, "related": "possible"}
            onset = event | {"onset": str(day + timedelta(2))}
            document["adverse_events"] = [onset, onset | {"id": "1", "source": "EHR"}]
    return found


def decided(given, kind):
    """The same, after a person said of each pair that its facts are one."""
    found = copy.deepcopy(given)
    for document in found:
        facts = getattr(read(document), KIND_OF[kind])
        pairs = {pair_of(kind, one.identity, other.identity) for one, other in alike(facts, facts, None)}
        document["decisions"] = [
            {"kind": kind, "facts": [*pair[1:]], "decision": "same", "at": "2016-01-01T00:00:00Z"} for pair in pairs
        ]
    return found


def apart(found):
    """An answer without the caveats about what waits, and these."""
    document = json.loads(found.model_dump_json())
    codes = {*UNDECIDED.values()}
    if found.analysis == "caveats":
        document["results"] = [row for row in document["results"] if row["code"] not in codes]
    waiting = {each["code"] for each in document["caveats"] if each["code"] in codes and each["applies"]}
    document["caveats"] = [each for each in document["caveats"] if each["code"] not in codes]
    return document, waiting


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNDECIDED)
def test_each_answer_that_a_decision_changes_says_before_that_it_waits(kind):
    rules, given = protocol(), documents(kind)
    before, after = cohort(given), cohort(decided(given, kind))
    changed = set()
    for name, question in QUESTIONS.items():
        if name in SLOW:
            continue
        for by in (None, "course") if question.by_course else (None,):
            options = question.options_type(by=by)
            (one, waiting), (other, none) = (apart(answer(name, each, rules, options)) for each in (before, after))
            assert none == set()
            if one != other:
                changed.add(name)
                assert UNDECIDED[kind] in waiting, (name, by)
    assert {"baseline-table", "caveats"} <= changed or kind == "adverse_event"
    assert {"safety", "adverse-reactions"} <= changed or kind == "medication"
    assert {"steroid-sparing", "ck-normal-time"} <= changed or kind != "medication"


def test_a_comparison_of_studies_says_what_waits_in_either():
    given = documents("infusion")
    with_pairs, without = NamedCohort("one", cohort(given)), NamedCohort("two", cohort(decided(given, "infusion")))
    for both, begins in (((with_pairs, without), "Where"), ((without, with_pairs), "The other study: Where")):
        found = study_comparison(*both, SEED_2008, BetweenStudies(), same_protocol=True)
        [told] = [each for each in found.caveats if each.code == "undecided_infusions"]
        assert told.text.startswith(begins)
        assert told.text.endswith(f"{PATIENTS}, in {PATIENTS} of {PATIENTS} patients.")
