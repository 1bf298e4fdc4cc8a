"""The requests whose answers are recorded: every address that reads, on every study, with every option of some kind."""

from collections.abc import Iterator
from typing import Any

ANALYSES = (
    "response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions", "baseline-table",
    "ck-normal-interval", "ck-normal-groups", "planning", "what-is-missing", "comparisons", "repeated-measures",
    "specification-curve", "caveats", "sensitivity", "courses", "safety", "improvement-score",
    "definition-of-improvement",
)  # fmt: skip
_CHOICES = (
    "by=diagnosis", "by=sex&level=0.9", "patients=true", "profile=R", "profile=SAS", "profile=lifelines",
    "median=lower&plateau=midpoint_to_last&interval=log", "zeros=pratt&proportion=jeffreys&multiplicity=hochberg",
)  # fmt: skip
ASKED = {
    "demo": _CHOICES,
    "trial": ("", "patients=true", "by=sex", "revision=8", "revision=3&patients=true"),
    "ward": ("", "patients=true&by=sex"),
    "scores": ("", "patients=true"),
    "resources": ("",),
    "empty": ("",),
}
_OWN = {
    "ck-normal-interval": ("resamples=50&patients=true",),
    "ck-normal-time": ("rescue=composite", "rescue=hypothetical", "rescue=competing&patients=true"),
    "comparisons": ("by=diagnosis", "by=sex&reference=male"),
    "safety": ("events=all", "events=all&patients=true"),
    "specification-curve": ("measure=CK", "measure=MMT"),
    "planning": ("power=0.9",),
}
_DATASETS = ("adsl", "adeff", "adtte", "adae", "ard")
_FHIR = ("Patient", "Observation", "MedicationAdministration", "AdverseEvent")
_SEARCHES = (
    "Observation?code=2157-6&_count=5", "Observation?code=http://loinc.org|2157-6&date=ge2005-04-11&_count=50",
    "Observation?_lastUpdated=gt2000-01-01&_count=4", "AdverseEvent?date=2005-04",
    "Observation?_format=json&_total=accurate",
)  # fmt: skip


def addresses(client: Any) -> Iterator[str]:
    """The addresses to ask, some of them found by asking."""
    yield from ("/v1/studies", "/v1/studies?limit=2", "/v1/protocols", "/problems", "/livez", "/nowhere")
    for protocol in client.get("/v1/protocols").json()["items"]:
        yield f"/v1/protocols/{protocol['id']}"
    for study in ("demo", "trial", "ward", "hospital", "resources", "scores", "empty"):
        yield from _of_study(client, study)
    yield from ("/v1/studies/nobody", "/v1/studies/nobody/analyses", "/v1/studies/demo/analyses/nothing")
    yield from ("/v1/studies/demo/comparisons/trial", "/v1/studies/ward/comparisons/scores?level=0.9")
    for refused in (
        "level=2",
        "by=nothing",
        "revision=99999",
        "revision=1&as_of=2020-01-01",
        "as_of=2999-01-01T00:00:00Z",
    ):
        yield f"/v1/studies/demo/analyses/response-rates?{refused}"


def _of_study(client: Any, study: str) -> Iterator[str]:
    home = f"/v1/studies/{study}"
    yield from (home, f"{home}/protocol", f"{home}/revisions", f"{home}/revisions?limit=3", f"{home}/patients?limit=4")
    for patient in [each["patient"]["id"] for each in client.get(f"{home}/patients").json()["items"]][:6]:
        yield from (f"{home}/patients/{patient}", f"{home}/patients/{patient}/history?limit=500")
    yield f"{home}/patients/P99"
    if study in ASKED:
        for options in dict.fromkeys(("", *ASKED[study])):
            yield f"{home}/analyses?{options}".rstrip("?")
            yield from (f"{home}/analyses/{name}?{options}".rstrip("?") for name in ANALYSES)
        for name, choices in _OWN.items():
            yield from (f"{home}/analyses/{name}?{options}" for options in choices)
    yield f"{home}/datasets"
    yield from (f"{home}/datasets/{name}.csv" for name in _DATASETS)
    for name in ("response-rates", "adverse-reactions", "improvement-score"):
        yield f"/fhir/{study}/MeasureReport/{name}"
    yield from (f"/fhir/{study}/{search}" for search in (*_FHIR, *_SEARCHES))
    for kind in _FHIR:
        for entry in client.get(f"/fhir/{study}/{kind}?_count=4").json().get("entry", [])[:4]:
            name = f"/fhir/{study}/{kind}/{entry['resource']['id']}"
            yield from (name, f"{name}/_history")
    if study == "resources":
        yield from (f"/fhir/{study}/{name}" for name in ("Observation/mine-1", "MedicationAdministration/dose-2"))
        yield f"/fhir/{study}/AdverseEvent/event-2"
