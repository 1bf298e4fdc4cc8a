"""The analysis parameters of the datasets: their codes and texts, and the variables that several datasets share."""

from dataclasses import dataclass

import numpy as np

from app.datasets.parquet import dates, yes_no
from app.datasets.variables import CodedColumn, Column, Variable, adam, ours
from app.derive.study import DerivedStudy
from app.timeline.cohort import Ints
from app.timeline.source_facts import Sources


@dataclass(frozen=True, slots=True)
class Parameter:
    """A measure in the datasets: a code of at most six characters, so that `BL` can follow it; a text; the unit."""

    code: str
    text: str
    unit: str


PARAMETERS: dict[str, Parameter] = {
    "CK": Parameter("CK", "Creatine Kinase (U/L)", "U/L"),
    "LDH": Parameter("LDH", "Lactate Dehydrogenase (U/L)", "U/L"),
    "AST": Parameter("AST", "Aspartate Aminotransferase (U/L)", "U/L"),
    "ALT": Parameter("ALT", "Alanine Aminotransferase (U/L)", "U/L"),
    "ALDOLASE": Parameter("ALDOL", "Aldolase (U/L)", "U/L"),
    "MYOGLOBIN": Parameter("MYOGL", "Myoglobin (ug/L)", "ug/L"),
    "MMT": Parameter("MMT", "Manual Muscle Test, Declared Scale (points)", "points"),
    "MMT8": Parameter("MMT8", "Manual Muscle Testing, 8 Groups, Bilateral (points)", "points"),
    "MMT8_UNILATERAL": Parameter("MMT8U", "Manual Muscle Testing, 8 Groups, Unilateral (points)", "points"),
    "MMT26": Parameter("MMT26", "Manual Muscle Testing, 26 Groups (points)", "points"),
    "ADL": Parameter("ADL", "Activities of Daily Living, Declared Scale (points)", "points"),
    "PHYSICIAN_GLOBAL": Parameter("PHYGA", "Physician Global Disease Activity (points)", "points"),
    "PATIENT_GLOBAL": Parameter("PATGA", "Patient or Parent Global Disease Activity (points)", "points"),
    "EXTRAMUSCULAR": Parameter("EXTRM", "Extramuscular Disease Activity (points)", "points"),
    "HAQ": Parameter("HAQ", "Health Assessment Questionnaire (points)", "points"),
    "CHAQ": Parameter("CHAQ", "Childhood Health Assessment Questionnaire (points)", "points"),
    "CMAS": Parameter("CMAS", "Childhood Myositis Assessment Scale (points)", "points"),
}
LOG_CK = Parameter("LNCK", "Natural Logarithm of Creatine Kinase in U/L", "1")

YES, YES_NO = ("Y",), ("Y", "N")
_ADDRESS = (
    "`RECORD/SECTION/CODE/id:NUMBER/SOURCE` where the sender numbered the fact, else "
    "`RECORD/SECTION/CODE/at:TIME/REST`: the fact of that section, code and number (`id`, `source`) or time in `GET "
    "/v1/studies/{study}/patients/{RECORD}` and its history. CODE stands for laboratory results and scores only; REST "
    "is the source of these, the product of an infusion, the drug of a medication (TIME is its start) or the term of "
    "an event."
)


def fact_address(name: str, label: str, what: str) -> Variable:
    """A variable that holds the address of a fact."""
    return ours(name, label, "text", what, _ADDRESS)


IDENTIFIERS: tuple[Variable, ...] = (
    adam("STUDYID", "Study Identifier", "text", "The study.", "Identifier of the study in this service."),
    adam(
        "USUBJID",
        "Unique Subject Identifier",
        "text",
        "The patient, among the patients of all studies.",
        "STUDYID, a slash, and the patient's identifier in the study.",
    ),
)
SAFFL = adam(
    "SAFFL", "Safety Population Flag", "text", "Whether the patient is in the safety set.",
    "Y: at least one infusion of the protocol's products was started.", codelist=YES_NO,
)  # fmt: skip
EFFFL = ours(
    "EFFFL", "Efficacy Population Flag", "text",
    "Whether the patient is in the efficacy set of the protocol, which is neither the full analysis set nor another "
    "one that ADaM names.",
    "Y: SAFFL is Y and a usable value of a measure of the protocol lies after day 0.", codelist=YES_NO,
)  # fmt: skip
TRTSDT = adam(
    "TRTSDT", "Date of First Exposure to Treatment", "date", "Day 0 of the patient.",
    "Date of the first infusion of the index course, in the study's time zone where it declares one.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """What the datasets are made from: the study's name, the data derived from it, and the addresses of its facts."""

    name: str
    study: DerivedStudy
    sources: Sources

    @property
    def subjects(self) -> list[str]:
        """USUBJID of each patient."""
        return [f"{self.name}/{row.id}" for row in self.study.cohort.patients]

    def identifiers(self, patient: Ints) -> dict[str, Column]:
        """The columns of `IDENTIFIERS` for rows of these patients."""
        subjects = self.subjects
        return {"STUDYID": CodedColumn([self.name] * len(subjects), patient), "USUBJID": CodedColumn(subjects, patient)}

    def populations(self, patient: Ints) -> dict[str, Column]:
        """The columns SAFFL, EFFFL and TRTSDT for rows of these patients."""
        study = self.study
        return {
            "SAFFL": CodedColumn(yes_no(study.safety.tolist()), patient),
            "EFFFL": CodedColumn(yes_no(study.efficacy.tolist()), patient),
            "TRTSDT": CodedColumn(dates(study.exposure.day0), patient),
        }


def in_sequence(patient: Ints) -> list[int]:
    """1, 2, 3, ... for the rows of each patient; `patient` is in ascending order."""
    first = np.searchsorted(patient, patient) if len(patient) else patient
    numbers: list[int] = (np.arange(len(patient)) - first + 1).tolist()
    return numbers
