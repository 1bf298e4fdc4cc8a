"""Messages of public test suites, and the ways in which CK was seen to be coded: each gets the verdict beside it."""

import csv
from pathlib import Path

import pytest

from app.hl7v2.oru_results import ReadMessage
from tests.hl7v2.hl7v2_messages import faults, feed, obx, oru, read
from tests.real.sources import DATA

FOLDER = DATA / "hl7v2_oru"
FILES = ["LAB-ORU-1.hl7", "LAB-ORU-2.hl7", "ORU-R01-RMGEAD.hl7"]
CODINGS = FOLDER / "ck_codings_seen.csv"


def codings() -> list[dict[str, str]]:
    """The rows about HL7 v2."""
    if not CODINGS.exists():
        return []
    with CODINGS.open(encoding="utf-8", newline="") as lines:
        return [
            row for row in csv.DictReader(line for line in lines if line.strip()) if row["source_format"] == "HL7v2"
        ]


def message(name: str) -> bytes:
    """A file, or a skip that says what is missing."""
    file = Path(FOLDER, name)
    if not file.exists():
        pytest.skip(f"the public data set hl7v2_oru/{name} is not beside this project")
    return file.read_bytes()


@pytest.mark.parametrize("name", FILES[:2])
def test_a_message_for_training_is_refused_by_a_study_of_patients(name):
    assert faults(message(name)) == [("MSH-11", "not_production")]


@pytest.mark.parametrize(("name", "left"), list(zip(FILES, [{"code": 10}, {"code": 10}, {"code": 1}], strict=True)))
def test_a_message_without_muscle_enzymes_is_read_and_left_alone(name, left):
    assert read(message(name), feed(test=True))[:2] == ((), left)


def test_results_that_were_pending_or_preliminary_become_final_in_the_next_message():
    """Scores stand in for what a study might declare: the files hold blood counts, in units that no enzyme has."""
    declared = feed(test=True, local_codes={"LN|20570-8": "MMT", "LN|11156-7": "ADL"})
    first, second = (read(message(name), declared) for name in FILES[:2])
    assert first.skipped == {"code": 8, "status": 1}
    assert [scores(each) for each in (first, second)] == [
        [("MMT", 40.1, "preliminary", "82503246")],
        [("ADL", 8.2, "final", "82503246"), ("MMT", 39.7, "final", "82503246")],
    ]
    (before,), (after,) = first.histories, second.histories
    assert before.patient == after.patient == "10006579"
    assert before.assessments[0].identity == after.assessments[1].identity
    assert before.attributes == after.attributes


def scores(found: ReadMessage) -> list[tuple[str, float | None, str, str | None]]:
    (patient,) = found.histories
    return [(fact.code, fact.score, fact.status, fact.id) for fact in patient.assessments]


def test_the_list_of_codings_is_the_one_that_the_verdicts_are_about():
    if not CODINGS.exists():
        pytest.skip("the public data set hl7v2_oru/ck_codings_seen.csv is not beside this project")
    assert len(codings()) == len(VERDICTS)


VERDICTS = [
    ("2157-6", "U/L", "kept"),
    ("2157-6", "U/L^units per liter^UCUM", "kept"),
    ("CK", "U/L", "kept"),
    ("CK", "U/L", "kept"),
    ("2157-6", "ng/mL", "code"),
    ("2157-6", "ng/mL", "code_conflict"),
    ("2157-6", "U/L", "code_conflict"),
    ("13969-1", "ng/mL", "code"),
]
"""Code and unit of each row, and what becomes of it: kept as CK, skipped for its code, or refused."""


@pytest.mark.parametrize(("row", "verdict"), list(zip(codings(), VERDICTS, strict=False)))
def test_every_coding_of_ck_that_was_seen_gets_its_verdict(row, verdict):
    assert verdict[:2] == (row["code"], row["unit"])
    coding = f"{row['code']}^{row['text']}^{row['coding_system']}"
    body = oru(obx(f3=coding, f5=row["value"], f6=row["unit"], f7=row["reference_range"], f8=row["flag"]))
    told = faults(body)
    became = told[0][1] if told else "kept" if read(body).histories else next(iter(read(body).skipped))
    assert became == verdict[2]
    assert (became == "kept") == (row["is_total_serum_ck"] == "yes")
    if became == "kept":
        (patient,) = read(body).histories
        (fact,) = patient.labs
        low, high = row["reference_range"].split("-")
        assert (fact.code, fact.value, fact.unit) == ("CK", float(row["value"]), "U/L")
        assert (fact.lower_limit, fact.upper_limit) == (float(low), float(high))
