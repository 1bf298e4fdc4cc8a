"""The items of STROBE (von Elm et al., Lancet 2007;370:1453-7) that a report can fill, in short words of ours."""

_AUTHORS = "for the authors"
_ITEMS = (
    ("1 Title and summary", f"In short; the wording is {_AUTHORS}"),
    ("2, 3 Background and aims", _AUTHORS),
    ("4 Design", "Limits: one group of treated patients, compared with themselves"),
    ("5 Setting", _AUTHORS),
    ("6 Participants", f"Patients; how they were found is {_AUTHORS}"),
    ("7 Variables", "Definitions"),
    ("8 Sources and measurement", "Definitions; each result has its own upper limit"),
    ("9 Bias", "Limits"),
    ("10 Size of the study", f"Patients; how it was planned is {_AUTHORS}"),
    ("11 Quantitative variables", "Definitions, Methods"),
    ("12 Statistical methods", "Methods; missing values under Who was left out"),
    ("13 Participants in each step", "Patients: Flow of patients"),
    ("14 Description", "Baseline: Table 1"),
    ("15, 16 Outcomes and main results", "Outcomes: Table 2, with intervals"),
    ("17 Other analyses", "The questions sensitivity and specification-curve of the service"),
    ("18 Key results", "What can be said, and what guards it"),
    ("19 Limitations", "Limits"),
    ("20, 21 Interpretation, generalisability", _AUTHORS),
    ("22 Funding", _AUTHORS),
)


def strobe_items() -> tuple[tuple[str, str], ...]:
    """Each item with the part of the report that gives it."""
    return _ITEMS
