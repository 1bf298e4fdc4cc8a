"""The datasets: what is described is what is there, and every row says why it counts or does not."""

import io
import json
import math
import re
import tempfile
from collections import Counter
from datetime import date

import numpy as np
import pyreadstat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from app import datasets
from app.datasets import NAMES, arrow_lines, as_csv, csv_parts, describe
from app.datasets.measured import REASONS
from app.datasets.parameters import LOG_CK, PARAMETERS
from app.datasets.parquet import adam_days, as_parquet
from app.datasets.transport import as_transport
from app.datasets.transport import continued as further
from app.datasets.variables import Dataset, distinct
from app.derive.study import DerivedStudy
from app.errors import NotAcceptable
from app.protocol.model import Visits, WeeklyChange
from app.protocol.presets import PRESETS, SEED_2008
from app.readers.csv_lines import digits, lines_of_columns, written_cells
from app.timeline.cohort import NO_TIME, AssessmentRow, Cohort, EventRow, InfusionRow, LabRow, MedicationRow, PatientRow
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES
from tests.datasets.tables import HEADER, continued, exported, made, of_csv, of_parquet, of_transport, types_of
from tests.repetition import repeats
from tests.twin.cohorts import PROTOCOLS, changed, cohorts, protocols
from tests.twin.cohorts import rows as twin_rows

DAY = 12_884
"""2005-04-11."""
HOUR = 3_600_000_000
FEWER = settings(max_examples=repeats(10, thorough=25))
"""Four datasets are made, written and read again in each example."""
DIFFERENT = [*PRESETS.values(), *PROTOCOLS[8:]]
DIFFERENT = DIFFERENT[:: max(1, len(DIFFERENT) // repeats(len(DIFFERENT)))]


def ck(day, value=100.0, *, limit=163.0, sign=None, hour=None, who="P1", lab="A"):
    instant = None if hour is None else (DAY + day) * 24 * HOUR + hour * HOUR
    return LabRow(who, "CK", DAY + day, instant, False, value, limit, sign, None, lab)


def score(day, value, code="MMT", who="P1"):
    return AssessmentRow(who, code, DAY + day, None, False, value, None, None)


def infusion(day, hour=None, who="P1", product="IVIG"):
    instant = None if hour is None else (DAY + day) * 24 * HOUR + hour * HOUR
    return InfusionRow(who, product, DAY + day, instant, False, 0.4, "g/kg", None)


def cohort(labs=(), scores=(), infusions=None, events=(), people=None):
    infusions = [infusion(0)] if infusions is None else infusions
    people = people or [PatientRow("P1", sex="female", birth_year=1953)]
    return Cohort.assemble(people, list(labs), list(scores), list(infusions), [], list(events))


def rows(name, of, protocol=SEED_2008):
    types = types_of(next(each for each in describe(protocol) if each.name == name).variables)
    return of_csv("".join(as_csv(made(name, of, protocol))), types)


def only(found, **fields):
    [row] = [row for row in found if all(row[name] == value for name, value in fields.items())]
    return row


# --- descriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.digest[7:13])
def test_names_and_labels_keep_to_what_a_transport_file_takes(protocol):
    described = describe(protocol)
    assert tuple(each.name for each in described) == NAMES
    for each in described:
        names = [variable.name for variable in each.variables]
        short = [variable.transport for variable in each.variables]
        assert len(set(names)) == len(set(short)) == len(names)
        parts = [name for variable in each.variables if variable.type == "text" for name in short
                 if re.fullmatch(continued(variable.transport), name)]  # fmt: skip
        assert parts == [], "a variable has the name that a part of a long text would get"
        assert set(each.key) <= set(names)
        for variable in each.variables:
            assert len(variable.label) <= 40
            if each.name != "ard":
                assert variable.transport == variable.name
            assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,7}", variable.transport), variable.name
            assert variable.meaning.endswith((".", ")", "`")), variable.name
            assert variable.derivation


def test_every_measure_has_a_parameter_of_its_own():
    assert list(PARAMETERS) == [*LAB_CODES, *ASSESSMENT_CODES]
    codes = [each.code for each in PARAMETERS.values()]
    assert len({*codes, LOG_CK.code}) == len(codes) + 1
    assert max(map(len, codes)) <= 6
    assert all(f"({each.unit})" in each.text for each in PARAMETERS.values())


def test_names_of_adam_are_told_from_our_own():
    ours = {v.name for each in describe(SEED_2008) for v in each.variables if v.standard == "ours"}
    assert {"EFFFL", "ADY0", "SRCID", "ARELFL", "RESP01FL", "CKBL"} <= ours
    assert ours.isdisjoint({"USUBJID", "AVAL", "ADY", "AWTDIFF", "ANRHI", "CNSR", "TRTEMFL", "AESEV", "EOSSTT"})


def test_a_column_that_is_not_described_is_refused():
    description = describe(SEED_2008)[2]
    with pytest.raises(ValueError, match="adtte"):
        Dataset.of(description, {"STUDYID": []})


# --- visits -----------------------------------------------------------------------------------------------------------


def test_cdisc_counts_days_without_a_day_0():
    days = np.array([-2, -1, 0, 1, 2, NO_TIME])
    assert adam_days(days).tolist() == [-2, -1, 1, 2, 3, NO_TIME]
    found = rows("adeff", cohort([ck(-1), ck(0), ck(1)]))
    assert [(row["ADY0"], row["ADY"]) for row in found if row["PARAMCD"] == "CK"] == [(-1, -1), (0, 1), (1, 2)]


def test_a_window_names_its_target_and_its_ends_in_days_of_cdisc():
    found = rows("adeff", cohort([ck(-27), ck(-3), ck(8), ck(30)]))
    week_1, before = only(found, PARAMCD="CK", AVISITN=1), only(found, PARAMCD="CK", AVISITN=-4)
    columns = ("ADY", "AWTARGET", "AWTDIFF", "AWLO", "AWHI", "ANL01FL")
    assert [week_1[name] for name in columns] == [9, 8, 1, 5, 11, "Y"]
    assert [before[name] for name in columns] == [-27, -28, 1, -31, -25, "Y"]
    baseline = only(found, PARAMCD="CK", ABLFL="Y")
    assert [baseline[name] for name in ("AVISIT", "AVISITN", "AWTARGET", "AWLO", "AWHI")] == [
        "Baseline",
        0,
        None,
        None,
        1,
    ]


def test_a_window_does_not_reach_across_day_0():
    wide = changed(
        SEED_2008,
        visits=Visits(weeks=(-4, 1, 4), tolerance_days=10),
        weekly_change=WeeklyChange(weeks=(1, 4)),
    )
    found = [row for row in rows("adeff", cohort([ck(-2), ck(-1), ck(1), ck(7)]), wide) if row["PARAMCD"] == "CK"]
    assert [(row["ADY0"], row["AVISITN"], row["AWLO"]) for row in found] == [
        (-2, None, None), (-1, 0, None), (1, 1, 2), (7, 1, 2),
    ]  # fmt: skip


def test_of_two_equally_near_the_later_stands_for_the_week_and_the_other_says_why():
    found = rows("adeff", cohort([ck(0), ck(5), ck(9), ck(20)]))
    told = {row["ADY0"]: (row["AVISITN"], row["ANL01FL"], row["ANL02FL"], row["ANLREAS"]) for row in found
            if row["PARAMCD"] == "CK"}  # fmt: skip
    assert told == {
        0: (0, "Y", "Y", None),
        5: (1, None, "Y", "not_nearest"),
        9: (1, "Y", "Y", None),
        20: (None, None, "Y", "outside_windows"),
    }


def test_every_reason_for_not_using_a_value_is_told():
    people = [PatientRow("P1", ended_day=DAY + 30, ended_reason="died"), PatientRow("P2")]
    labs = [ck(0, hour=8), ck(0, hour=10), ck(7, hour=8), ck(7, hour=9), ck(31), ck(3, who="P2"), ck(5), ck(18)]
    scores = [score(0, 101), score(0, 5, "ADL")]
    protocol = changed(
        SEED_2008,
        scales={"MMT": SEED_2008.scales["MMT"]},
        responses=SEED_2008.responses[:1],
        weekly_change=SEED_2008.weekly_change.model_copy(update={"measures": ("CK",)}),
    )
    found = rows("adeff", cohort(labs, scores, [infusion(0, hour=9)], people=people), protocol)
    reasons = Counter(row["ANLREAS"] for row in found if row["PARAMCD"] != "LNCK")
    assert reasons == Counter(dict.fromkeys(REASONS, 1) | {None: 2})


@pytest.mark.parametrize(
    ("value", "sign", "aval", "avalc", "indicator", "dtype"),
    [
        (163.0, None, 163.0, None, "NORMAL", None),
        (163.1, None, 163.1, None, "HIGH", None),
        (10.0, "<", 5.0, "<10", "NORMAL", "HALFBOUND"),
        (200.0, "<=", 100.0, "<=200", None, "HALFBOUND"),
        (163.0, ">", 163.0, ">163", "HIGH", "BOUND"),
        (163.0, ">=", 163.0, ">=163", None, "BOUND"),
    ],
)
def test_a_bound_is_told_beside_the_number_that_it_counts_as(value, sign, aval, avalc, indicator, dtype):
    found = rows("adeff", cohort([ck(0, 500), ck(7, value, sign=sign)]))
    row = only(found, PARAMCD="CK", ADY0=7)
    assert [row[name] for name in ("AVAL", "AVALC", "ANRHI", "ANRIND", "BNRIND", "BASE", "DTYPE")] == [
        aval, avalc, 163, indicator, "HIGH", 500, dtype,
    ]  # fmt: skip
    assert row["CHG"] == aval - 500
    assert row["PCHG"] == pytest.approx(100 * (aval - 500) / 500)
    logarithm = only(found, PARAMCD="LNCK", ADY0=7)
    assert (logarithm["PARAMTYP"], logarithm["DTYPE"]) == ("DERIVED", dtype)
    assert (logarithm["AVAL"], logarithm["CHG"]) == (math.log(aval), pytest.approx(math.log(aval / 500)))
    assert logarithm["SRCID"] == row["SRCID"]


def test_a_ck_of_0_has_no_logarithm():
    found = rows("adeff", cohort([ck(0, 0), ck(7, 5)]))
    assert [(row["ADY0"], row["BASE"], row["CHG"]) for row in found if row["PARAMCD"] == "LNCK"] == [(7, None, None)]
    assert [row["PCHG"] for row in found if row["PARAMCD"] == "CK"] == [None, None]


def test_a_limit_that_the_protocol_borrows_is_the_one_told():
    borrowing = changed(SEED_2008, upper_limit="nearest_same_laboratory")
    labs = [ck(0, 500), ck(7, 100, limit=None), ck(14, 100, limit=None, lab="B")]
    for protocol, limits in ((SEED_2008, [163, None, None]), (borrowing, [163, 163, None])):
        found = [row for row in rows("adeff", cohort(labs), protocol) if row["PARAMCD"] == "CK"]
        assert [row["ANRHI"] for row in found] == limits
        assert found[1]["ANRIND"] == ("NORMAL" if limits[1] else None)


@pytest.mark.parametrize("infusions", [None, []], ids=["treated", "not-treated"])
def test_the_limit_that_is_borrowed_is_the_nearest_in_time_for_whoever_was_treated(infusions):
    borrowing = changed(SEED_2008, upper_limit="nearest_same_laboratory")
    labs = [ck(-30, limit=150), ck(-1, limit=160), ck(0, limit=None), ck(300, limit=190)]
    found = [row for row in rows("adeff", cohort(labs, infusions=infusions), borrowing) if row["PARAMCD"] == "CK"]
    assert [row["ANRHI"] for row in found] == [150, 160, 160, 190]


# --- subjects, times, events ------------------------------------------------------------------------------------------


def test_a_subject_says_who_was_treated_how_and_how_it_ended():
    people = [
        PatientRow("P1", "female", 1953, "polymyositis", 49.5, True, DAY + 100, "died"),
        PatientRow("P2", "other"),
        PatientRow("P3", ended_day=DAY, ended_reason="completed"),
    ]
    infusions = [infusion(0), infusion(1), infusion(40), infusion(50, product="SCIG"), infusion(3, who="P3")]
    first, second, third = rows("adsl", cohort([ck(0, 500)], [], infusions, people=people))
    assert (first["USUBJID"], first["AGE"], first["AGEU"], first["SEX"]) == ("trial/P1", 52, "YEARS", "F")
    assert (first["WEIGHTBL"], first["STERRSFL"], first["DIAG"]) == (49.5, "Y", "polymyositis")
    days = ("TRTSDT", "TRTEDT", "CRS1EDT", "CRS2SDT")
    assert [first[name] for name in days] == [
        date(2005, 4, 11),
        date(2005, 5, 21),
        date(2005, 4, 12),
        date(2005, 5, 21),
    ]
    assert (first["INFUSN"], first["COURSEN"], first["TRT01A"], first["CKBL"]) == (3, 2, "IVIG", 500)
    assert [first[name] for name in ("EOSSTT", "DCSREAS", "DTHFL")] == ["DISCONTINUED", "DIED", "Y"]
    assert first["DTHDT"] == first["EOSDT"] == date(2005, 7, 20)
    assert [second[name] for name in ("SEX", "AGE", "SAFFL", "EFFFL", "EFFREAS", "EOSSTT", "FUPDAYS", "TRT01A")] == [
        "OTHER", None, "N", "N", "not_treated", "ONGOING", 0, None,
    ]  # fmt: skip
    assert (second["TRTSDT"], second["TRTSSRC"], second["CRS1DOSE"]) == (None, None, None)
    assert [third[name] for name in ("EOSSTT", "DCSREAS", "DTHFL", "EFFREAS")] == [
        "COMPLETED", None, None, "no_value_after_baseline",
    ]  # fmt: skip
    assert (first["TRTSSRC"], third["TRTSSRC"]) == ("infusions/0", "infusions/4")


def test_a_verdict_that_could_not_be_given_has_its_reason():
    found = rows("adsl", cohort([ck(0, 500), ck(7, 100)], [score(7, 60)]))[0]
    assert (found["RESP01FL"], found["RESP01RS"]) == (None, "no_baseline")
    assert (found["RESP03FL"], found["RESP03RS"]) == ("Y", None)
    described = {v.name: v for v in describe(SEED_2008)[0].variables}
    assert '"percent_of_baseline": 70' in described["RESP03FL"].derivation
    assert "(primary for CK)" in described["RESP03FL"].meaning


def test_times_are_counted_in_days_from_the_fact_that_starts_them():
    found = rows("adtte", cohort([ck(0, 500), ck(10, 163), ck(30, 100), ck(60, 164), ck(90, 100)]))
    stays, becomes = only(found, PARAMCD="CKNORM"), only(found, PARAMCD="TTNORM")
    columns = ("STARTDT", "ADT", "AVAL", "CNSR", "SRCID", "STARTSRC")
    assert [stays[name] for name in columns] == [date(2005, 4, 21), date(2005, 6, 10), 50, 0, "labs/3", "labs/1"]
    assert [becomes[name] for name in columns] == [date(2005, 4, 11), date(2005, 4, 21), 10, 0, "labs/1", "infusions/0"]
    assert (stays["CNSDTDSC"], becomes["EVNTDESC"]) == (None, "First normal CK")
    censored = rows("adtte", cohort([ck(0, 500), ck(10, 500), ck(20, 500, limit=None)]))
    assert [(row["PARAMCD"], row["AVAL"], row["CNSR"], row["SRCID"]) for row in censored] == [
        ("TTNORM", 10, 1, "labs/1")
    ]
    assert censored[0]["CNSDTDSC"] == "Last CK of known normality"
    assert rows("adsl", cohort([ck(0, 500), ck(10, 500)]))[0]["CKNRREAS"] == "never_normal"


def test_a_rescue_or_death_that_came_first_is_told_by_strategy_and_leads_to_its_fact():
    labs = [ck(0, 500), ck(10, 100), ck(60, 164)]
    drugs = [
        MedicationRow("P1", "Methotrexate", DAY + 30, None, None, None),
        MedicationRow("P1", "azathioprine", DAY - 5, DAY + 5, None, None),
        MedicationRow("P1", "azathioprine", DAY + 30, None, None, None),
    ]
    columns = ("PARAMCD", "AVAL", "CNSR", "SRCID")

    def told(person, medications=(), infusions=None, of=labs):
        cohort = Cohort.assemble([person], list(of), [], infusions or [infusion(0)], list(medications), [])
        return [tuple(row[name] for name in columns) for row in rows("adtte", cohort)][:4]

    stays = ("CKNORM", 50, 0, "labs/2")
    assert told(PatientRow("P1"), drugs) == [
        stays,
        ("CKNORMC", 20, 0, "medications/1"),
        ("CKNORMH", 20, 2, "medications/1"),
        ("CKNORMK", 20, 2, "medications/1"),
    ]
    second = [infusion(0), infusion(1), infusion(30), infusion(31)]
    assert {row[-1] for row in told(PatientRow("P1"), drugs, second)[1:]} == {"infusions/2"}
    died = PatientRow("P1", ended_day=DAY + 40, ended_reason="died")
    assert told(died, of=[*labs[:2], ck(40, 100)]) == [
        ("CKNORM", 30, 1, "labs/2"),
        ("CKNORMC", 30, 0, "P1/ended"),
        ("CKNORMH", 30, 1, "labs/2"),
        ("CKNORMK", 30, 3, "P1/ended"),
    ]
    assert {row[1:] for row in told(died, drugs, second, labs[:2])} == {(0, 1, "labs/1")}  # told after the last CK


def test_a_declared_steroid_rescue_is_told_and_leads_to_the_glucocorticoid_that_began():
    protocol = changed(SEED_2008, ck_normal_time={"steroid_rescue": {"pulse": 250.0}})
    drugs = [
        MedicationRow("P1", "prednisolone", DAY - 9, None, 10.0, "mg/d"),
        MedicationRow("P1", "mPSL", DAY + 30, DAY + 32, 1.0, "g/d"),
        MedicationRow("P1", "MTX", DAY + 31, None, 15.0, "mg/wk"),
    ]
    labs = [ck(0, 500), ck(10, 100), ck(60, 164)]
    people = Cohort.assemble([PatientRow("P1")], labs, [], [infusion(0)], drugs, [])
    found = {row["PARAMCD"]: row for row in rows("adtte", people, protocol)}
    told = found["CKNORMC"]
    assert (told["AVAL"], told["SRCID"]) == (20, "medications/1")
    assert told["EVNTDESC"] == "Second course, new immunosuppressant, or more glucocorticoids"
    without = {row["PARAMCD"]: row for row in rows("adtte", people)}["CKNORMC"]
    assert (without["AVAL"], without["SRCID"]) == (21, "medications/2")
    assert without["EVNTDESC"] == "Second course or new immunosuppressant"


def test_an_order_that_does_not_count_is_not_the_fact_of_a_rescue():
    protocol = changed(SEED_2008, ck_normal_time={"steroid_rescue": {"pulse": 250.0}})
    drugs = [
        MedicationRow("P1", "mPSL", DAY + 20, DAY + 40, 2.0, "g/d", True),
        MedicationRow("P1", "mPSL", DAY + 30, DAY + 32, 1.0, "g/d"),
        MedicationRow("P1", "MTX", DAY + 15, None, 15.0, "mg/wk", True),
        MedicationRow("P1", "MTX", DAY + 31, None, 15.0, "mg/wk"),
    ]
    labs = [ck(0, 500), ck(10, 100), ck(60, 164)]
    people = Cohort.assemble([PatientRow("P1")], labs, [], [infusion(0)], drugs, [])
    told = {row["PARAMCD"]: row for row in rows("adtte", people, protocol)}["CKNORMC"]
    assert (told["AVAL"], told["SRCID"]) == (20, "medications/2")
    told = {row["PARAMCD"]: row for row in rows("adtte", people)}["CKNORMC"]
    assert (told["AVAL"], told["SRCID"]) == (21, "medications/3")


def test_a_course_of_another_product_that_began_on_day_0_is_not_the_fact_of_a_rescue():
    """SCIG goes on with the course of day 0 on the day on which the second course begins."""
    protocol = changed(SEED_2008, treatment={"products": ("IVIG", "SCIG", "XIG")})
    scig = [infusion(day, product="SCIG") for day in (0, 13, 20)]
    given = [*scig, infusion(0), infusion(20, product="XIG")]
    people = cohort([ck(0, 500), ck(10, 100), ck(60, 164)], [], given)
    found = {row["PARAMCD"]: row for row in rows("adtte", people, protocol)}
    assert (found["CKNORMC"]["AVAL"], found["CKNORMC"]["SRCID"]) == (10, "infusions/4")
    [subject] = rows("adsl", people, protocol)
    assert (subject["COURSEN"], subject["CRS2SDT"]) == (3, date(2005, 5, 1))
    [subject] = rows("adsl", cohort([ck(0, 500)], [], [infusion(0), scig[0]]), protocol)
    assert (subject["COURSEN"], subject["CRS2SDT"]) == (2, None)


def test_only_who_was_abnormal_before_is_in_the_time_to_the_first_normal_ck():
    found = only(rows("adtte", cohort([ck(0, 500), ck(10, 163)])), PARAMCD="TTNORM")
    assert (found["AVAL"], found["CNSR"]) == (10, 0)
    for before, why in (
        ([ck(0, 100)], "normal_at_baseline"),
        ([ck(0, 100, limit=None)], "baseline_normality_unknown"),
        ([], "no_baseline"),
    ):
        people = cohort([*before, ck(10, 163)])
        assert rows("adtte", people) == []
        assert [row["TTNRREAS"] for row in rows("adsl", people)] == [why]


def test_an_event_says_whether_it_counts_and_an_unknown_onset_does():
    def event(day, related, *, who="P1", hour=None, severity=None, serious=None, term="Rash"):
        onset = None if day is None else DAY + day
        instant = None if hour is None else (DAY + day) * 24 * HOUR + hour * HOUR
        return EventRow(who, onset, instant, False, term, severity, serious, related)

    events = [
        event(-1, "definite"), event(0, "true", hour=8), event(0, "true", hour=10), event(None, None, severity="fatal"),
        event(3, "false", serious=True), event(4, "unlikely", severity="life_threatening", serious=False),
        event(5, "possible", who="P2"),
    ]  # fmt: skip
    people = [PatientRow("P1"), PatientRow("P2")]
    found = rows("adae", cohort([], [], [infusion(0, hour=9)], events, people))
    columns = ("ASTDY", "ASTDY0", "AEREL", "AESEV", "AESER", "TRTEMFL", "ARELFL")
    assert [tuple(row[name] for name in columns) for row in found] == [
        (None, None, None, "FATAL", None, "Y", "Y"),
        (-1, -1, "DEFINITE", None, None, None, None),
        (1, 0, "RELATED", None, None, None, None),
        (1, 0, "RELATED", None, None, "Y", "Y"),
        (4, 3, "NOT RELATED", None, "Y", "Y", None),
        (5, 4, "UNLIKELY", "LIFE THREATENING", "N", "Y", None),
        (None, None, "POSSIBLE", None, None, None, None),
    ]
    assert [row["ASEQ"] for row in found] == [1, 2, 3, 4, 5, 6, 1]


# --- every cohort -----------------------------------------------------------------------------------------------------


@FEWER
@given(cohorts(4), protocols())
def test_what_is_described_is_what_is_there(cohort, protocol):
    tables = exported(cohort, protocol, "csv")
    for each in describe(protocol)[:-1]:
        found = tables[each.name]
        keys = [tuple(row[name] for name in each.key) for row in found]
        assert len(set(keys)) == len(keys)
        for variable in each.variables:
            if variable.codelist is not None:
                assert {row[variable.name] for row in found} <= {None, *variable.codelist}, variable.name
        assert keys == sorted(keys)


@FEWER
@given(cohorts(4), protocols())
def test_all_formats_hold_the_same_and_the_same_bytes_every_time(cohort, protocol):
    for name in NAMES[:-1]:
        one = made(name, cohort, protocol)
        types = types_of(one[0].description.variables)
        content = as_parquet(one, HEADER)
        transported = as_transport(one, HEADER)
        in_csv = of_csv("".join(as_csv(one)), types)
        assert in_csv == of_parquet(content) == of_transport(transported, one[0].description.variables)
        assert as_parquet(made(name, cohort, protocol), HEADER) == content
        assert as_transport(made(name, cohort, protocol), HEADER) == transported


@FEWER
@given(cohorts(4), protocols(), st.integers(1, 12))
def test_a_dataset_does_not_depend_on_the_size_of_its_pieces(cohort, protocol, rows_at_once):
    for name in NAMES[:-1]:
        [whole] = made(name, cohort, protocol)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets, "ROWS_AT_ONCE", rows_at_once)
            pieces = made(name, cohort, protocol)
        assert list(as_csv(pieces)) == list(as_csv([whole]))
        assert of_parquet(as_parquet(pieces, HEADER)) == of_parquet(as_parquet([whole], HEADER))
        assert as_transport(pieces, HEADER) == as_transport([whole], HEADER)


@FEWER
@given(cohorts(4), protocols())
def test_arrow_and_the_plain_writer_give_the_same_bytes(cohort, protocol):
    for name in NAMES[:-1]:
        pieces = made(name, cohort, protocol)
        plain = "".join(as_csv(pieces)).encode()
        for with_arrow in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(arrow_lines, "is_installed", lambda answer=with_arrow: answer)
                assert b"".join(csv_parts(pieces[0].description, pieces)) == plain


@FEWER
@given(cohorts(4), protocols(), st.sampled_from([0, 1, 3]))
def test_columns_that_arrow_writes_together_are_those_that_it_writes_apart(cohort, protocol, few):
    for name in NAMES[:-1]:
        pieces = made(name, cohort, protocol)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrow_lines, "FEW", few)  # with 0 all neighbours are together
            patch.setattr(arrow_lines, "NEAR", 10**6)
            together = [part for piece in pieces for part in arrow_lines.lines(piece)]
        assert b"".join(together).decode() == "".join(list(as_csv(pieces))[1:])


@given(st.lists(st.one_of(st.just(NO_TIME), st.integers(-40, 40), st.integers(-(2**61), 2**61))))
@example([])
@example([NO_TIME, NO_TIME])
@example([5, NO_TIME, -3, 5, 4])
@example([7, -(2**61), NO_TIME])
def test_distinct_values_are_those_that_sorting_finds(values):
    column = np.array(values, dtype=np.int64)
    for found, expected in zip(distinct(column), np.unique(column, return_inverse=True), strict=True):
        assert found.tolist() == expected.tolist()


_FEW_DIGITS = st.builds(lambda digits, places: digits / 10**places, st.integers(-(10**12), 10**12), st.integers(0, 9))


@settings(max_examples=repeats(100, thorough=1000))
@given(st.lists(st.one_of(st.floats(), _FEW_DIGITS), max_size=20))
@example([0.0, -0.0, 1e-4, 9.9e-5, 1e10, 9999999999.9, 1e16, 5e-324, math.nan, math.inf, -2.5])
def test_arrow_prints_a_number_as_the_plain_writer_does(values):
    found = arrow_lines.printed(np.array(values, dtype=np.float64)).to_pylist()
    assert found == [digits(value) if math.isfinite(value) else None for value in values]


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(alphabet='ab,"\r\n=+-@\t 0é'), st.text()), max_size=6))
@example(["=1", "a"])
@example(['say "a"', "a,b", "a\r", "\tb"])
def test_a_cell_alone_is_written_as_in_a_line(cells):
    lines = list(lines_of_columns(["c", "d"], [cells, [1] * len(cells)]))[1:]
    assert [f"{cell},1\r\n" for cell in written_cells(cells)] == lines


def test_the_patients_of_a_large_dataset_are_made_a_piece_at_a_time(monkeypatch):
    people = [PatientRow(who) for who in ("P1", "P2", "P3")]
    of = cohort([ck(day, who=who) for who in ("P1", "P3") for day in range(4)], infusions=[], people=people)
    monkeypatch.setattr(datasets, "ROWS_AT_ONCE", 5)
    pieces = made("adsl", of, SEED_2008)
    assert [list(piece.columns[1]) for piece in pieces] == [["trial/P1", "trial/P2"], ["trial/P3"]]
    monkeypatch.setattr(datasets, "ROWS_AT_ONCE", 12)
    assert [len(piece) for piece in made("adsl", of, SEED_2008)] == [3]


@FEWER
@given(cohorts(4), protocols())
def test_each_fact_is_a_row_and_those_left_out_are_those_that_are_flagged(cohort, protocol):
    study = DerivedStudy(cohort, protocol)
    found = exported(cohort, protocol, "parquet")
    sent = [row for row in found["adeff"] if row["PARAMTYP"] is None]
    places = Counter(row["SRCID"] for row in sent)
    assert places == Counter([*(f"labs/{i}" for i in range(len(cohort.labs))),
                              *(f"assessments/{i}" for i in range(len(cohort.assessments)))])  # fmt: skip
    for code in {row["PARAMCD"] for row in sent}:
        measure = next(name for name, each in PARAMETERS.items() if each.code == code)
        mine = [row for row in sent if row["PARAMCD"] == code]
        if measure in {"MMT", "ADL"} and measure not in protocol.scales:
            continue
        flags, records = study.analysis_values(measure).flags, study.analysis_values(measure)
        for reason in ("scale_mismatch", "after_death", "day_0_post_dose", "duplicate_draw"):
            assert sum(row["ANLREAS"] == reason for row in mine) == flags.get(reason, 0), (measure, reason)
        assert sum(row["ANL02FL"] == "Y" for row in mine) == len(records.day)
        for week in (0, *protocol.visits.weeks):
            chosen = [row for row in mine if row["ANL01FL"] and row["AVISITN"] == week]
            assert len(chosen) == (study.weeks(measure)[week] >= 0).sum()
        for row in mine:
            assert (row["ANL01FL"] is None) == (row["ANLREAS"] is not None)
            if row["AWTARGET"] is not None:
                assert row["AWLO"] <= row["ADY"] <= row["AWHI"]
                assert row["AWTDIFF"] == abs(row["ADY0"] - 7 * row["AVISITN"])


@FEWER
@given(twin_rows(4), protocols(), st.randoms(use_true_random=False))
def test_no_byte_depends_on_the_order_of_arrival(found, protocol, random):
    before = {name: "".join(as_csv(made(name, found.cohort(), protocol))) for name in NAMES[:-1]}
    for table in (found.patients, found.labs, found.assessments, found.infusions, found.events):
        random.shuffle(table)
    assert {name: "".join(as_csv(made(name, found.cohort(), protocol))) for name in NAMES[:-1]} == before


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_parquet_file_says_what_it_holds_and_what_it_was_made_from():
    content = as_parquet(made("adeff", cohort([ck(0)]), SEED_2008), HEADER)
    file = parquet.ParquetFile(io.BytesIO(content))
    schema = file.schema_arrow
    assert [str(schema.field(name).type) for name in ("USUBJID", "AVAL", "ADT", "ADY", "DTYPE")] == [
        "string", "double", "date32[day]", "int64", "string",
    ]  # fmt: skip
    assert schema.field("AVAL").metadata == {b"label": b"Analysis Value"}
    assert schema.field("ADY").metadata == {b"label": b"Analysis Relative Day", b"unit": b"d"}
    about = {name.decode(): text.decode() for name, text in schema.metadata.items()}
    assert (about["dataset"], about["study"], about["revision"]) == ("adeff", "trial", "3")
    assert (about["protocol"], about["data"], about["software"]) == ("sha256:p", "sha256:d", "s 1")
    assert re.search(rb"20\d\d-\d\d-\d\d", content.replace(b"2026-11-22T10:00:00Z", b"")) is None


@pytest.mark.parametrize("protocol", DIFFERENT, ids=lambda protocol: protocol.digest[7:13])
@pytest.mark.parametrize("name", NAMES)
def test_a_study_without_patients_or_infusions_has_every_column(name, protocol):
    for of in (Cohort.assemble([], [], [], [], [], []), cohort([ck(0)], [score(0, 50)], infusions=())):
        one = made(name, of, protocol)
        types = types_of(one[0].description.variables)
        text = "".join(as_csv(one))
        assert text.split("\r\n")[0] == ",".join(types)
        assert of_csv(text, types) == of_parquet(as_parquet(one, HEADER))
        transported = as_transport(one, HEADER)
        assert of_transport(transported, one[0].description.variables) == of_csv(text, types)
        short = [each.transport for each in one[0].description.variables]
        assert [name for name in read_by_readstat(transported)[0] if name in short] == short
        assert list(of_parquet(as_parquet(one, HEADER))[0] if len(one[0]) else types) == list(types)
    assert len(rows("adeff", cohort([ck(0)], infusions=()))) == 2


def read_by_readstat(content):
    """The table and its description as pyreadstat reads them."""
    with tempfile.NamedTemporaryFile(suffix=".xpt") as file:
        file.write(content)
        file.flush()
        return pyreadstat.read_xport(file.name)


def test_a_transport_file_has_the_names_labels_lengths_and_formats_that_sas_expects():
    one = made("adeff", cohort([ck(0), ck(8, 41, sign="<")]), SEED_2008)
    content = as_transport(one, HEADER)
    assert (content[:20], content[80:112]) == (b"HEADER RECORD*******", b"SAS     SAS     SASLIB  6.06    ")
    assert len(content) % 80 == 0
    table, about = read_by_readstat(content)
    variables = one[0].description.variables
    assert (about.table_name, about.file_label) == ("ADEFF", "Efficacy Analysis Dataset")
    assert about.column_names_to_labels == {each.transport: each.label for each in variables}
    assert {name for name, form in about.original_variable_types.items() if form == "DATE9"} == {"TRTSDT", "ADT"}
    assert all(about.variable_storage_width[each.name] == 8 for each in variables if each.type != "text")
    assert about.variable_storage_width["AVALC"] == len("<41")
    assert str(about.creation_time) == str(about.modification_time) == "2026-11-22 10:00:00"
    assert content.count(b"22NOV26:10:00:00") == 4
    assert table["ADT"].tolist() == 2 * [date(2005, 4, 11), date(2005, 4, 19)]
    assert table["AVAL"].tolist() == [100, 20.5, math.log(100), math.log(20.5)]
    assert table["ABLFL"].tolist() == ["Y", "", "Y", ""]
    assert table["AWTARGET"].fillna(-99).tolist() == [-99, 8, -99, 8]


def test_a_text_of_more_than_200_bytes_goes_on_in_further_variables_of_a_transport_file():
    term = "é" * 99 + "x" + "  " + "y" * 230
    events = [EventRow("P1", DAY, None, False, each, None, None, None) for each in (term, "short")]
    one = made("adae", cohort(events=events), SEED_2008)
    content = as_transport(one, HEADER)
    table, about = read_by_readstat(content)
    place = list(table).index("AETERM")
    assert list(table)[place : place + 4] == ["AETERM", "AETERM1", "AETERM2", "AESEV"]
    assert {about.column_names_to_labels[name] for name in ("AETERM", "AETERM1", "AETERM2")} == {
        "Reported Term for the Adverse Event"
    }
    assert max(about.variable_storage_width.values()) <= 200
    found = of_transport(content, one[0].description.variables)
    assert sorted(row["AETERM"] for row in found) == sorted([term, "short"])
    assert [further("AETERM", n) for n in (0, 2)] + [further("PARAMCD1", 10)] == ["AETERM", "AETERM2", "PARAMC10"]


@pytest.mark.parametrize("value", [1e-300, 1e-79, 7.3e75, 1e300])
def test_a_number_that_sas_cannot_hold_is_refused_and_not_changed(value):
    with pytest.raises(NotAcceptable):
        as_transport(made("adeff", cohort([ck(0, value)]), SEED_2008), HEADER)


def test_the_least_number_of_sas_and_zero_are_two_numbers():
    one = made("adeff", cohort([ck(-9, 0.0), ck(-3, 16.0**-65), ck(-1, 2.0**53 - 1)]), SEED_2008)
    table, _ = read_by_readstat(as_transport(one, HEADER))
    assert table["AVAL"][table["PARAMCD"] == "CK"].tolist() == [0, 16.0**-65, 2.0**53 - 1]


def test_what_a_sender_wrote_is_never_a_formula():
    event = EventRow("P1", DAY, None, False, '=HYPERLINK("x")', None, None, None)
    one = made("adae", cohort(events=[event]), SEED_2008)
    assert "'=HYPERLINK" in "".join(as_csv(one))
    assert of_parquet(as_parquet(one, HEADER))[0]["AETERM"] == '=HYPERLINK("x")'


@FEWER
@given(st.lists(st.floats(0, 1e7, allow_nan=False), min_size=1, max_size=6))
@example([5e-324, 1.0])
@example([2.0, 5e-324])
def test_numbers_are_read_again_to_the_last_bit(values):
    labs = [ck(i, value + 0.0) for i, value in enumerate(values)]
    for reader in ("csv", "parquet", "xpt"):
        if reader == "xpt" and any(0 < value < 1e-78 for value in values):
            continue  # no number of SAS: the next test
        found = [row["AVAL"] for row in exported(cohort(labs), SEED_2008, reader)["adeff"] if row["PARAMCD"] == "CK"]
        assert found == values


def test_rules_are_written_in_the_listing_as_json():
    derivation = {v.name: v.derivation for v in describe(SEED_2008)[0].variables}["RESP01FL"]
    rule = json.loads(derivation.rpartition(". Empty")[0])
    assert rule == SEED_2008.responses[0].rule.model_dump(mode="json")
