"""`adtte`: for how long CK stays normal, and how long it takes from day 0 to the first normal CK."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.datasets.parameters import EFFFL, IDENTIFIERS, SAFFL, TRTSDT, Origin, fact_address
from app.datasets.parquet import dates, days_since
from app.datasets.variables import Column, Dataset, DatasetDescription, Datum, adam
from app.derive.doses import is_glucocorticoid
from app.derive.ordered_drugs import counted_drugs
from app.derive.per_patient import first_where, included
from app.derive.rescue_treatment import ABNORMAL, CENSORED, DIED, RESCUED
from app.derive.study import DerivedStudy
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import NO_TIME, Bools, Ints, Words
from app.timeline.drugs import drug_key
from app.timeline.source_facts import end_address
from app.timeline.vocabulary import LAB_CODES

BECOMES = "TTNORM"
STAYS: dict[str, RescueStrategy] = {
    "CKNORM": "treatment_policy",
    "CKNORMC": "composite",
    "CKNORMH": "hypothetical",
    "CKNORMK": "competing",
}
"""The time with normal CK under each strategy for a rescue or death before CK is abnormal again."""
_TEXTS = {
    "CKNORM": "Time CK Stays Normal (days)",
    "CKNORMC": "Time CK Stays Normal, Rescue or Death an Event (days)",
    "CKNORMH": "Time CK Stays Normal, Censored at Rescue (days)",
    "CKNORMK": "Time CK Stays Normal, Rescue and Death Competing (days)",
    BECOMES: "Time to First Normal CK (days)",
}
_ABNORMAL, _NORMAL = "First CK above its upper limit of normal", "First normal CK"
_RESCUE, _DEATH = "Second course or new immunosuppressant", "Death"
_RESCUE_WITH_STEROIDS = "Second course, new immunosuppressant, or more glucocorticoids"
_LAST = "Last CK of known normality"
DESCRIPTION = DatasetDescription(
    name="adtte",
    label="Time-to-Event Analysis Dataset",
    structure="One row for each patient in the risk set of each time; `adsl` says why the others are not.",
    standard="ADaM basic data structure for time to event (BDS-TTE)",
    key=("STUDYID", "USUBJID", "PARAMN"),
    variables=(
        *IDENTIFIERS,
        SAFFL,
        EFFFL,
        TRTSDT,
        adam("PARAMCD", "Parameter Code", "text", "Which time.",
             "CKNORM: from the first normal CK after day 0 to the first later CK above its limit, for patients whose "
             "CK was abnormal before, whatever treatment followed. CKNORMC, CKNORMH and CKNORMK: the same where a "
             "second course, a new immunosuppressant or death came first, under the strategies `composite`, "
             "`hypothetical` and `competing`. TTNORM: from day 0 to the first normal CK after it, for "
             "patients whose CK was abnormal before.",
             codelist=tuple(_TEXTS)),
        adam("PARAM", "Parameter", "text", "The same in words.", "One text for each PARAMCD.",
             codelist=tuple(_TEXTS.values())),
        adam("PARAMN", "Parameter (N)", "integer", "Number of the time.", "1 to 5 in the order of the codes."),
        adam("STARTDT", "Time-to-Event Origin Date for Subject", "date", "The day from which the time is counted.",
             "Day of the first normal CK after day 0; TTNORM: TRTSDT."),
        adam("ADT", "Analysis Date", "date", "The day of the event or of censoring.",
             "Day of the event, else of the last CK whose normality is known; CKNORMC, CKNORMH and CKNORMK: day of the "
             "rescue or death that came first and not after that CK, or STARTDT where it came before that."),
        adam("AVAL", "Analysis Value", "integer", "The time.", "ADT minus STARTDT; nothing is added.", unit="d"),
        adam("CNSR", "Censor", "integer", "Whether the time is censored.",
             "0 at the event, 1 where it was not seen. CKNORMH: 2 where the rescue censored. CKNORMK: 2 where the "
             "rescue and 3 where death came first."),
        adam("EVNTDESC", "Event or Censoring Description", "text", "What happened on ADT.", "One text for each reason.",
             codelist=(_ABNORMAL, _RESCUE, _RESCUE_WITH_STEROIDS, _DEATH, _NORMAL, _LAST)),
        adam("CNSDTDSC", "Censor Date Description", "text", "What the date of censoring is.",
             "Empty where CNSR is 0, else EVNTDESC.", codelist=(_RESCUE, _RESCUE_WITH_STEROIDS, _DEATH, _LAST)),
        fact_address("SRCID", "Address of the Source Fact of ADT",
                     "The CK of ADT, the infusion or medication of the rescue, or `RECORD/ended` of the records of a "
                     "patient who died."),
        fact_address("STARTSRC", "Address of the Source Fact of STARTDT", "The fact that STARTDT is taken from."),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Time:
    """One parameter: the patients in its risk set, and for each the start and end in days from day 0, and the cause."""

    name: str
    patient: Ints
    start: Ints
    end: Ints
    cause: Ints


def adtte(origin: Origin) -> Dataset:
    """The dataset, ordered by patient and parameter."""
    study = origin.study
    ck, infusion, rescue = _ck_facts(origin), first_infusion_facts(origin), _rescue_facts(origin)
    rows: list[tuple[int, list[Datum]]] = []
    names = [variable.name for variable in DESCRIPTION.variables]
    for time in _times(study):
        columns = _columns(origin, time)
        keys = list(
            zip(time.patient.tolist(), time.start.tolist(), time.end.tolist(), time.cause.tolist(), strict=True)
        )
        columns["SRCID"] = [
            rescue.get(i) if cause == RESCUED
            else " ".join(map(end_address, origin.sources.records[i])) if cause == DIED
            else ck.get((i, end))
            for i, _, end, cause in keys
        ]  # fmt: skip
        columns["STARTSRC"] = [infusion[i] if time.name == BECOMES else ck.get((i, start)) for i, start, _, _ in keys]
        cells = zip(*(columns[name] for name in names), strict=True)
        rows += [(i, list(row)) for (i, *_), row in zip(keys, cells, strict=True)]
    rows.sort(key=lambda row: row[0])
    return Dataset.of(DESCRIPTION, {name: [row[k] for _, row in rows] for k, name in enumerate(names)})


def _times(study: DerivedStudy) -> Iterator[_Time]:
    episodes, first = study.remission_episodes, study.first_normal
    patient = np.flatnonzero(included(episodes.reason))
    for name, strategy in STAYS.items():
        outcome = study.outcomes(strategy)
        cause = outcome.cause
        if strategy == "hypothetical":
            cause = np.where(outcome.cut, RESCUED, cause)
        start = episodes.start[patient]
        yield _Time(name, patient, start, start + outcome.duration[patient], cause[patient])
    patient = np.flatnonzero(first.evaluable)
    cause = np.where(first.reached[patient], ABNORMAL, CENSORED)
    yield _Time(BECOMES, patient, np.zeros(len(patient), dtype=np.int64), first.time[patient], cause)


def _columns(origin: Origin, time: _Time) -> dict[str, Column]:
    size, day0 = len(time.patient), origin.study.exposure.day0[time.patient]
    event = _NORMAL if time.name == BECOMES else _ABNORMAL
    steroids = origin.study.protocol.ck_normal_time.steroid_rescue is not None
    rescue = _RESCUE_WITH_STEROIDS if steroids else _RESCUE
    words = {CENSORED: _LAST, ABNORMAL: event, RESCUED: rescue, DIED: _DEATH}
    codes = {CENSORED: 1, ABNORMAL: 0, RESCUED: 0, DIED: 0} if time.name == "CKNORMC" else {
        CENSORED: 1, ABNORMAL: 0, RESCUED: 2, DIED: 3,
    }  # fmt: skip
    causes = time.cause.tolist()
    return {
        **origin.identifiers(time.patient),
        **origin.populations(time.patient),
        "PARAMCD": [time.name] * size,
        "PARAM": [_TEXTS[time.name]] * size,
        "PARAMN": [list(_TEXTS).index(time.name) + 1] * size,
        "STARTDT": dates(day0 + time.start),
        "ADT": dates(day0 + time.end),
        "AVAL": (time.end - time.start).tolist(),
        "CNSR": [codes[cause] for cause in causes],
        "EVNTDESC": [words[cause] for cause in causes],
        "CNSDTDSC": [words[cause] if codes[cause] else None for cause in causes],
    }


def first_infusion_facts(origin: Origin) -> Words:
    """The address of the infusion that defines day 0 of each patient, `None` for untreated patients."""
    return _infusion_facts(origin, np.ones(len(origin.study.exposure.given), dtype=np.bool_))


def _infusion_facts(origin: Origin, chosen: Bools) -> Words:
    """The address of each patient's first chosen infusion of the treatment, `None` where there is none."""
    study, size = origin.study, len(origin.study.cohort)
    exposure, infusions = study.exposure, study.cohort.infusions
    given, who = exposure.given, infusions.patient
    row = first_where(given.patient, size, chosen)
    addresses: Words = np.full(size, None, dtype=np.object_)
    if len(given):
        mine = np.maximum(row, 0)[who]
        same = (infusions.product == given.product[mine]) & (infusions.instant == given.instant[mine])
        rows = np.flatnonzero((row[who] >= 0) & (infusions.day == given.day[mine]) & same)[::-1]
        addresses[who[rows]] = origin.sources.infusions[rows]
    return addresses


def _rescue_facts(origin: Origin) -> dict[int, str]:
    """The address of the infusion or medication that was the first rescue of each patient who had one."""
    study = origin.study
    counted = counted_drugs(study.cohort)
    exposure, table, day = study.exposure, counted.taken, study.rescues.treated
    second = _infusion_facts(origin, exposure.further)
    listed = {drug_key(drug) for drug in study.protocol.ck_normal_time.immunosuppressants}
    drugs = [drug_key(name) for name in table.drug]
    starts = days_since(table.start_day, exposure.day0[table.patient])
    before = {(patient, name) for patient, name, start in zip(table.patient, drugs, starts, strict=True) if start <= 0}
    facts: dict[int, str] = {}
    for row in np.flatnonzero((starts > 0) & (starts == day[table.patient])):
        patient = int(table.patient[row])
        if drugs[row] in listed and (patient, drugs[row]) not in before:
            facts.setdefault(patient, origin.sources.medications[counted.rows[row]])
    by_course = (day != NO_TIME) & (exposure.second_course == day)
    return _steroid_facts(origin) | facts | {int(i): second[i] for i in np.flatnonzero(by_course)}


def _steroid_facts(origin: Origin) -> dict[int, str]:
    """The address of the last begun glucocorticoid at the rise or pulse that was the first rescue of each patient."""
    study = origin.study
    counted, rescued = counted_drugs(study.cohort), study.rescues
    table = counted.taken
    by_steroid = (rescued.treated != NO_TIME) & (rescued.steroid == rescued.treated)
    if not by_steroid.any():
        return {}
    at = (study.exposure.day0 + rescued.steroid)[table.patient]
    begun = by_steroid[table.patient] & is_glucocorticoid(table.drug) & (table.start_day <= at)
    rows = np.flatnonzero(begun & ((table.end_day == NO_TIME) | (table.end_day >= at)))
    rows = rows[np.argsort(table.start_day[rows], kind="stable")]
    return dict(zip(table.patient[rows].tolist(), origin.sources.medications[counted.rows[rows]].tolist(), strict=True))


def _ck_facts(origin: Origin) -> dict[tuple[int, int], str]:
    """The address of the CK value that analyses use, by patient and day; days are counted from day 0."""
    records = origin.study.analysis_values("CK")
    addresses = origin.sources.labs[origin.study.cohort.labs.code == LAB_CODES.index("CK")]
    keys = zip(records.patient.tolist(), records.day.tolist(), strict=True)
    return dict(zip(keys, addresses[records.row].tolist(), strict=True))
