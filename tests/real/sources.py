"""Public data of real patients, read where it lies, as the records of somebody who would send them.

Nothing of it is in this project: where the folder is absent the tests that need it say so and are skipped. Times of
days to come (two of the sources were shifted by their publishers) are moved into the past by whole weeks a patient, so
that weekdays, gaps and the order of everything stay.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
ZONE = "America/Panama"
"""No source says where its clocks stood; this zone never changes its clocks, so that every local time exists once."""
FIRST = date(2010, 1, 4)


@dataclass(frozen=True)
class Result:
    """One result as the source has it: its own code with the name of its code system, and the numbers as text."""

    system: str
    code: str
    name: str
    time: datetime | date
    value: str
    unit: str
    number: str
    upper_limit: str = ""
    lower_limit: str = ""
    issued: datetime | None = None


@dataclass(frozen=True)
class Subject:
    """One patient; `id` is empty where the source does not say whose results they are."""

    id: str
    sex: str | None = None
    birth_year: int | None = None
    results: list[Result] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A data set: what a study must declare to read it, and its patients."""

    name: str
    local_codes: dict[str, str]
    subjects: list[Subject]


def rows(*path: str) -> list[dict[str, str]]:
    """A table, or a skip that says what is missing."""
    file = DATA.joinpath(*path)
    if not file.exists():
        pytest.skip(f"the public data set {'/'.join(path)} is not beside this project")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def mimic() -> Source:
    """Muscle enzymes of 50 patients of an intensive care unit; 40 CK results belong to nobody known."""
    labels = {row["ITEMID"]: row["LABEL"] for row in rows("mimic3_demo", "d_labitems_muscle.csv")}
    sexes = {row["subject_id"]: row["gender"] for row in rows("mimic3_demo", "patients.csv")}
    subjects: dict[str, Subject] = {}
    for number, row in enumerate(rows("mimic3_demo", "labevents_muscle.csv"), 1):
        who = row["SUBJECT_ID"]  # results that are nobody's may be anybody's, so each is a record by itself
        subject = subjects.setdefault(who or f"nobody {number}", Subject(who, _sex(sexes.get(who))))
        at = datetime.fromisoformat(row["CHARTTIME"])
        subject.results.append(
            Result("MIMIC", row["ITEMID"], labels[row["ITEMID"]], at, row["VALUE"], row["VALUEUOM"], f"le-{number}")
        )
    codes = {"MIMIC|50910": "CK", "MIMIC|50954": "LDH", "MIMIC|50861": "ALT", "MIMIC|50878": "AST"}
    return Source("mimic", codes, [_in_the_past(subject) for subject in subjects.values()])


def eicu() -> Source:
    """Muscle enzymes of several hospitals, in minutes from admission, each with the minute of its last revision.

    Three rows have no result, and nobody would send them.
    """
    patients = {row["patientunitstayid"]: row for row in rows("eicu_demo", "patient.csv")}
    admission = datetime.combine(FIRST, datetime.min.time()).replace(hour=8)
    subjects: dict[str, Subject] = {}
    for row in rows("eicu_demo", "lab_muscle.csv"):
        if not row["labresult"]:
            continue
        stay = row["patientunitstayid"]
        about = patients[stay]
        subject = subjects.setdefault(stay, Subject(stay, about["gender"].lower() or None))
        at, issued = (
            admission + timedelta(minutes=int(row[name])) for name in ("labresultoffset", "labresultrevisedoffset")
        )
        subject.results.append(
            Result("eICU", row["labname"], row["labname"], at, row["labresult"],
                   row["labmeasurenameinterface"] or row["labmeasurenamesystem"], row["labid"], issued=issued)
        )  # fmt: skip
    codes = {"eICU|CPK": "CK", "eICU|LDH": "LDH", "eICU|ALT (SGPT)": "ALT", "eICU|AST (SGOT)": "AST"}
    return Source("eicu", codes, list(subjects.values()))


def cdisc() -> Source:
    """A trial in SDTM form: each result with the range of its laboratory."""
    about = {row["USUBJID"]: row for row in rows("cdisc_pilot", "dm.csv")}
    subjects: dict[str, Subject] = {}
    for row in rows("cdisc_pilot", "lb.csv"):
        who, said = row["USUBJID"], about[row["USUBJID"]]
        born = int(said["RFSTDTC"][:4]) - int(said["AGE"]) if said["RFSTDTC"] and said["AGE"] else None
        subject = subjects.setdefault(who, Subject(who, _sex(said["SEX"]), born))
        text = row["LBDTC"]
        at = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
        subject.results.append(
            Result("CDISC", row["LBTESTCD"], row["LBTEST"], at, row["LBORRES"], row["LBORRESU"], row["LBSEQ"],
                   row["LBORNRHI"], row["LBORNRLO"])
        )  # fmt: skip
    return Source("cdisc", {f"CDISC|{code}": code for code in ("CK", "ALT", "AST")}, list(subjects.values()))


def nhanes(every: int = 1) -> Source:
    """One morning of 2,935 people in a survey, or of each so many-th of them: CK, LDH, AST and ALT, no limits."""
    subjects = []
    codes = {"LBXSCK": "CK", "LBXSLDSI": "LDH", "LBXSASSI": "AST", "LBXSATSI": "ALT"}
    for row in rows("nhanes_ck", "biopro_j_muscle.csv")[::every]:
        results = [
            Result("NHANES", name, name, date(2018, 1, 15), row[name], "IU/L", f"{row['SEQN']}-{code}")
            for name, code in codes.items()
            if row[name]
        ]
        sex = {"1": "male", "2": "female"}[row["RIAGENDR"]]
        subjects.append(Subject(row["SEQN"], sex, 2018 - int(row["RIDAGEYR"]), results))
    return Source("nhanes", {f"NHANES|{name}": code for name, code in codes.items()}, subjects)


def heart_failure() -> Iterator[tuple[str, str]]:
    """The row and the CPK of each patient of a heart-failure cohort, in mcg/L: a mass, and no activity."""
    for row in rows("heart_failure_cpk", "heart_failure.csv"):
        yield row["row"], row["creatinine_phosphokinase"]


def dastmalchi() -> list[dict[str, str]]:
    """13 published patients: CK in ukat/L and MMT-8 before and after."""
    return rows("myositis_published", "dastmalchi2008_patients.csv")


def in_zone(at: datetime | date) -> str:
    """A time as RFC 3339 writes it, with the offset of the zone; a date stays a date."""
    if not isinstance(at, datetime):
        return at.isoformat()
    return at.replace(tzinfo=ZoneInfo(ZONE)).isoformat()


def results_of(source: Source, meaning: str) -> Iterable[Result]:
    """The results whose code means this."""
    return (
        result
        for subject in source.subjects
        for result in subject.results
        if source.local_codes.get(f"{result.system}|{result.code}") == meaning
    )


def _sex(letter: str | None) -> str | None:
    return {"F": "female", "M": "male"}.get(letter or "")


def _in_the_past(subject: Subject) -> Subject:
    """The same record from `FIRST` on."""
    earliest = date.fromisoformat(min(str(result.time) for result in subject.results)[:10])
    weeks = timedelta(weeks=(earliest - FIRST).days // 7)
    return replace(subject, results=[replace(result, time=result.time - weeks) for result in subject.results])
