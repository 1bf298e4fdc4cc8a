"""`adsl`: one row for each patient."""

import json
from collections.abc import Iterator
from datetime import date

import numpy as np

from app.datasets.parameters import EFFFL, IDENTIFIERS, PARAMETERS, SAFFL, TRTSDT, YES, YES_NO, Origin, fact_address
from app.datasets.parquet import dates, integers, numbers, texts, yes, yes_no
from app.datasets.times import first_infusion_facts
from app.datasets.variables import Column, Dataset, DatasetDescription, Variable, adam, ours
from app.derive.doses import index_dose_per_kg
from app.derive.per_patient import first_reason, first_where
from app.protocol.model import Protocol
from app.timeline.cohort import NO_TIME, Ints, PatientRow
from app.timeline.source_facts import patient_address
from app.timeline.times import EPOCH_DAY

_SEXES = {"female": "F", "male": "M", "other": "OTHER", "unknown": "U"}
_DISCONTINUED = {"withdrawn", "lost", "died", "other"}
_PEOPLE: tuple[Variable, ...] = (
    adam("SUBJID", "Subject Identifier for the Study", "text", "The patient.", "The pseudonym in the study."),
    adam("AGE", "Age", "integer", "Age in the year of the first infusion.",
         "Year of TRTSDT minus the year of birth; the day of birth is never known here.", unit="a"),
    adam("AGEU", "Age Units", "text", "Unit of AGE.", "Empty where AGE is.", codelist=("YEARS",)),
    adam("SEX", "Sex", "text", "Sex as recorded.", "OTHER is not in CDISC's codelist; empty where never stated.",
         codelist=tuple(_SEXES.values())),
    ours("DIAG", "Diagnosis", "text", "Diagnosis as at the start of treatment.", "As sent."),
    ours("STERRSFL", "Steroid Resistance Flag", "text", "Whether corticosteroids had failed before.", "As sent.",
         codelist=YES_NO),
    ours("WEIGHTBL", "Baseline Weight (kg)", "number", "Body weight; the name is that of the CDISC pilot study.",
         "As sent; its date is not known.", unit="kg"),
    SAFFL,
    EFFFL,
    ours("EFFREAS", "Reason EFFFL Is N", "text", "Why the patient is not in the efficacy set.", "The first that holds.",
         codelist=("not_treated", "no_value_after_baseline")),
    adam("TRT01P", "Planned Treatment for Period 01", "text", "The treatment.",
         "The products of the protocol, joined by ` or `."),
    adam("TRT01A", "Actual Treatment for Period 01", "text", "The product that was given first.",
         "Product of the first infusion, as sent; empty for the untreated."),
    TRTSDT,
    adam("TRTEDT", "Date of Last Exposure to Treatment", "date", "Day of the last infusion of the treatment.",
         "Of all courses of the protocol's products."),
    ours("CRS1EDT", "End Date of the Index Course", "date", "Day of the last infusion of the index course.",
         "Courses by the protocol's gap rule."),
    ours("CRS2SDT", "Start Date of the Second Course", "date", "Day on which the first course after day 0 began.",
         "Courses by the protocol's gap rule; one of another product that began on day 0 is part of the treatment."),
    ours("INFUSN", "Number of Infusions", "integer", "Infusions of the protocol's products.", "A count."),
    ours("COURSEN", "Number of Courses", "integer", "Courses of the protocol's products.",
         "Courses by the protocol's gap rule."),
    ours("CRS1DOSE", "Dose of the Index Course per Weight", "number", "Dose of the index course by body weight.",
         "Sum over its infusions; empty where a dose or a weight that is needed is unknown.", unit="g/kg"),
    ours("FUPDAYS", "Days of Follow-up", "integer", "Days from day 0 to the last thing known, both counted.",
         "The last of all values, infusions, events and the end of participation; 0 for the untreated.", unit="d"),
    adam("EOSSTT", "End of Study Status", "text", "Whether and how participation ended.",
         "COMPLETED and DISCONTINUED as sent; ONGOING where no end was sent.",
         codelist=("COMPLETED", "DISCONTINUED", "ONGOING")),
    adam("EOSDT", "End of Study Date", "date", "Last day in the study.", "As sent."),
    adam("DCSREAS", "Reason for Discontinuation from Study", "text", "Why participation ended early.",
         "As sent, in capitals; empty unless EOSSTT is DISCONTINUED.",
         codelist=tuple(sorted(word.upper() for word in _DISCONTINUED))),
    adam("DTHFL", "Subject Death Flag", "text", "Whether the patient died.", "Y: participation ended by death.",
         codelist=YES),
    adam("DTHDT", "Date of Death", "date", "Day of death.", "EOSDT where DTHFL is Y."),
)  # fmt: skip
_TIMES: tuple[Variable, ...] = (
    ours("CKNRREAS", "Reason for No CKNORM Time", "text", "Why the patient is not in the risk set of CKNORM.",
         "The first that holds; empty for patients with a row in `adtte`."),
    ours("TTNRREAS", "Reason for No TTNORM Time", "text", "Why the patient is not in the risk set of TTNORM.",
         "The first that holds; empty for patients with a row in `adtte`."),
    ours("SRCID", "Addresses of the Patient's Records", "text", "The records that the row is made of.",
         "`RECORD/patient`, the surviving record first, those merged into it after it, separated by spaces: the "
         "attributes of the patient in `GET /v1/studies/{study}/patients/{RECORD}`."),
    fact_address("TRTSSRC", "Address of the First Infusion", "The fact that TRTSDT is taken from."),
)  # fmt: skip


def describe(protocol: Protocol) -> DatasetDescription:
    """The dataset under a protocol; each measure and each response rule of the protocol has its variables."""
    return DatasetDescription(
        name="adsl",
        label="Subject-Level Analysis Dataset",
        structure="One row a patient; records of one person are one.",
        standard="ADaM subject-level analysis dataset (ADSL)",
        key=("STUDYID", "USUBJID"),
        variables=(*IDENTIFIERS, *_PEOPLE, *_baselines(protocol), *_verdicts(protocol), *_TIMES),
    )


def _baselines(protocol: Protocol) -> Iterator[Variable]:
    for measure in protocol.measures:
        yield ours(
            f"{PARAMETERS[measure].code}BL", f"Baseline {measure}", "number", f"AVAL of the baseline of {measure}.",
            "The row of `adeff` with this measure and ABLFL Y.", unit=PARAMETERS[measure].unit,
        )  # fmt: skip


def _verdicts(protocol: Protocol) -> Iterator[Variable]:
    for number, response in enumerate(protocol.responses, 1):
        rule, which = response.rule, "primary" if response.primary else "not primary"
        definition = json.dumps(rule.model_dump(mode="json"), sort_keys=True)
        yield ours(
            f"RESP{number:02}FL", f"Responder by Rule {number}, {rule.measure}", "text",
            f"Whether the patient responded by rule {number} of the protocol ({which} for {rule.measure}).",
            f"{definition}. Empty where the rule could not judge.", codelist=YES_NO,
        )  # fmt: skip
        yield ours(
            f"RESP{number:02}RS", f"Rule {number} Not Evaluable, {rule.measure}", "text",
            f"Why rule {number} could not judge the patient.", "The first that holds; empty where it could.",
        )  # fmt: skip


def adsl(origin: Origin) -> Dataset:
    """The dataset, ordered by patient."""
    study = origin.study
    people, size = study.cohort.patients, len(study.cohort)
    everyone = np.arange(size)
    weight = np.array([np.nan if row.weight_kg is None else row.weight_kg for row in people], dtype=np.float64)
    baselines: dict[str, Column] = {
        f"{PARAMETERS[measure].code}BL": numbers(study.at_week(measure, 0)) for measure in study.protocol.measures
    }
    return Dataset.of(
        describe(study.protocol),
        {
            **origin.identifiers(everyone),
            **origin.populations(everyone),
            **_attributes(people, study.exposure.day0),
            "WEIGHTBL": numbers(weight),
            "EFFREAS": texts(first_reason(study.left_out, size)),
            **_treatment(origin),
            **_end(people),
            **baselines,
            **_judged(origin),
            "CKNRREAS": texts(study.remission_episodes.reason),
            "TTNRREAS": texts(study.first_normal.reason),
            "SRCID": [" ".join(map(patient_address, records)) for records in origin.sources.records],
            "TRTSSRC": texts(first_infusion_facts(origin)),
        },
    )


def _attributes(people: tuple[PatientRow, ...], day0: Ints) -> dict[str, Column]:
    ages = [
        None if row.birth_year is None or day == NO_TIME else date.fromordinal(day + EPOCH_DAY).year - row.birth_year
        for row, day in zip(people, day0.tolist(), strict=True)
    ]
    return {
        "SUBJID": [row.id for row in people],
        "AGE": ages,
        "AGEU": [None if age is None else "YEARS" for age in ages],
        "SEX": [None if row.sex is None else _SEXES[row.sex] for row in people],
        "DIAG": [row.diagnosis for row in people],
        "STERRSFL": yes_no([row.steroid_resistant for row in people]),
    }


def _treatment(origin: Origin) -> dict[str, Column]:
    study, size = origin.study, len(origin.study.cohort)
    exposure, given = study.exposure, study.exposure.given
    first = first_where(given.patient, size, np.ones(len(given), dtype=np.bool_)).tolist()
    return {
        "TRT01P": [" or ".join(study.protocol.treatment.products)] * size,
        "TRT01A": [None if row < 0 else given.product[row] for row in first],
        "TRTEDT": dates(_last_day(given.patient, given.day, size)),
        "CRS1EDT": dates(_last_day(given.patient[exposure.index], given.day[exposure.index], size)),
        "CRS2SDT": dates(exposure.second_course_day),
        "INFUSN": exposure.infusions.tolist(),
        "COURSEN": exposure.courses.tolist(),
        "CRS1DOSE": numbers(index_dose_per_kg(study.cohort, exposure)),
        "FUPDAYS": integers(study.follow_up_days),
    }


def _last_day(patient: Ints, day: Ints, size: int) -> Ints:
    last = np.full(size, NO_TIME, dtype=np.int64)
    np.maximum.at(last, patient, day)
    return last


def _end(people: tuple[PatientRow, ...]) -> dict[str, Column]:
    died = np.array([row.ended_reason == "died" for row in people], dtype=np.bool_)
    ended = np.array([NO_TIME if row.ended_day is None else row.ended_day for row in people], dtype=np.int64)
    status: dict[str | None, str] = {None: "ONGOING", "completed": "COMPLETED"}
    status |= dict.fromkeys(_DISCONTINUED, "DISCONTINUED")
    return {
        "EOSSTT": [status[row.ended_reason] for row in people],
        "EOSDT": dates(ended),
        "DCSREAS": [row.ended_reason.upper() if row.ended_reason in _DISCONTINUED else None for row in people],
        "DTHFL": yes(died),
        "DTHDT": dates(np.where(died, ended, NO_TIME)),
    }


def _judged(origin: Origin) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for number, response in enumerate(origin.study.protocol.responses, 1):
        verdict = origin.study.response(response.rule)
        rows = zip(verdict.reason, verdict.responder.tolist(), strict=True)
        columns[f"RESP{number:02}FL"] = yes_no([None if reason else responder for reason, responder in rows])
        columns[f"RESP{number:02}RS"] = texts(verdict.reason)
    return columns
