"""`adae`: every adverse event, and whether it counts as an adverse reaction."""

import numpy as np

from app.datasets.parameters import EFFFL, IDENTIFIERS, SAFFL, TRTSDT, YES, YES_NO, Origin, fact_address, in_sequence
from app.datasets.parquet import adam_days, dates, days_since, integers, texts, yes, yes_no
from app.datasets.variables import Dataset, DatasetDescription, adam, ours
from app.derive.adverse_reactions import after_treatment

_SEVERITIES = {
    "mild": "MILD", "moderate": "MODERATE", "severe": "SEVERE", "life_threatening": "LIFE THREATENING",
    "fatal": "FATAL",
}  # fmt: skip
_RELATIONS = {
    **{word: word.upper() for word in ("definite", "probable", "possible", "unlikely", "unrelated", "unknown")},
    "true": "RELATED",
    "false": "NOT RELATED",
}
DESCRIPTION = DatasetDescription(
    name="adae",
    label="Adverse Event Analysis Dataset",
    structure="One row for each adverse event.",
    standard="ADaM occurrence data structure (OCCDS)",
    key=("STUDYID", "USUBJID", "ASEQ"),
    variables=(
        *IDENTIFIERS,
        adam("ASEQ", "Analysis Sequence Number", "integer", "Number of the row among those of the patient.",
             "1, 2, 3, ... by onset, an unknown one first, then by content."),
        SAFFL,
        EFFFL,
        TRTSDT,
        adam("AETERM", "Reported Term for the Adverse Event", "text", "What happened.",
             "As sent; it is not coded by any dictionary. Analyses compare terms without regard to case."),
        adam("AESEV", "Severity/Intensity", "text", "Severity.",
             "As sent; LIFE THREATENING and FATAL are not in CDISC's codelist. Empty where it was not sent.",
             codelist=tuple(_SEVERITIES.values())),
        adam("AESER", "Serious Event", "text", "Whether a criterion of seriousness was met.",
             "As sent; empty where it was not sent.", codelist=YES_NO),
        adam("AEREL", "Causality", "text", "Relation to the infusion.",
             "As sent; RELATED and NOT RELATED where the sender answered yes or no. Empty where it was not sent.",
             codelist=tuple(_RELATIONS.values())),
        adam("ASTDT", "Analysis Start Date", "date", "The day of the onset.",
             "As sent, in the study's time zone where it declares one and a clock time was sent. Empty where unknown."),
        adam("ASTDY", "Analysis Start Relative Day", "integer", "Day of the onset as CDISC counts: no day 0.",
             "ASTDY0 + 1 on and after day 0, else ASTDY0.", unit="d"),
        ours("ASTDY0", "Start Day, First Infusion Is 0", "integer", "Day of the onset as the protocol counts.",
             "ASTDT minus TRTSDT.", unit="d"),
        adam("TRTEMFL", "Treatment Emergent Analysis Flag", "text", "Whether the event counts as after treatment.",
             "Y: SAFFL is Y and the onset is not before the first infusion; on day 0 clock times decide where both are "
             "known. An unknown onset counts.", codelist=YES),
        ours("ARELFL", "Related Analysis Flag", "text", "Whether the event is an adverse reaction.",
             "Y: TRTEMFL is Y and AEREL is one of the relations that the protocol counts; an empty AEREL is UNKNOWN.",
             codelist=YES),
        fact_address("SRCID", "Address of the Source Fact", "The fact that holds the event."),
    ),
)  # fmt: skip


def adae(origin: Origin) -> Dataset:
    """The dataset, ordered by patient and onset."""
    study = origin.study
    events, day0 = study.cohort.events, study.exposure.day0
    patient = events.patient
    day = days_since(events.day, day0[patient])
    emergent = after_treatment(study.cohort, study.exposure)
    related = np.zeros(len(events), dtype=np.bool_)
    related[emergent] = study.reactions.related
    return Dataset.of(
        DESCRIPTION,
        {
            **origin.identifiers(patient),
            **origin.populations(patient),
            "ASEQ": in_sequence(patient),
            "AETERM": texts(events.term),
            "AESEV": [None if word is None else _SEVERITIES[word] for word in events.severity],
            "AESER": yes_no(events.serious.tolist()),
            "AEREL": [None if word is None else _RELATIONS[word] for word in events.related],
            "ASTDT": dates(events.day),
            "ASTDY": integers(adam_days(day)),
            "ASTDY0": integers(day),
            "TRTEMFL": yes(emergent),
            "ARELFL": yes(related),
            "SRCID": texts(origin.sources.events),
        },
    )
