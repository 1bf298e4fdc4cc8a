"""Which scope each operation needs. An operation that is not listed here is refused to everybody.

An operation is a method and the template of its address. A test holds the table against all routes.
"""

from app.access.callers import Scope

_STUDY = "/v1/studies/{study}"
_FHIR = "/fhir/{study}"
_PATIENT = f"{_STUDY}/patients/{{patient}}"
_TYPES = (
    "Patient", "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest", "AdverseEvent",
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_BUNDLE = ("POST", "")
"""Of the addresses of the facade that are not supported, this one is."""
_LIST = f"{_STUDY}/analyses/what-is-missing"
"""The question whose answer is a list of patients."""
_QUESTIONS = [
    f"{_STUDY}/analyses/{name}"
    for name in (
        "response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions", "baseline-table",
        "ck-normal-interval", "ck-normal-groups", "planning", "comparisons", "repeated-measures",
        "specification-curve", "caveats", "sensitivity", "courses", "safety", "improvement-score",
        "definition-of-improvement", "steroid-sparing",
    )
]  # fmt: skip
"""The others."""

OPEN = frozenset(
    {
        "GET /", "GET /livez", "GET /readyz", "GET /docs", "GET /docs/api", "GET /docs/search", "GET /docs/{name}",
        "GET /docs/files", "GET /openapi.json", "GET /openapi.yaml",
        "GET /problems", "GET /problems/{slug}", "GET /pages/files/{digest}/{name}",
    }
)  # fmt: skip
"""What everybody may read without a key: how to use the service, and whether it runs. Nothing here is about a study."""

KNOWN = frozenset({"GET /v1/session", "POST /v1/session", "DELETE /v1/session"})
"""What every caller with a key may do, whatever its scopes: it is about the caller."""

FORMS = frozenset(
    {
        "POST /pages/sign-in", "POST /pages/sign-out", "POST /pages/studies", "POST /pages/studies/{study}/add",
        "POST /pages/studies/{study}/declaration", "POST /pages/studies/{study}/set-aside/{item}",
        "POST /pages/studies/{study}/patients/{patient}/take-back",
        "POST /pages/studies/{study}/patients/{patient}/decisions/{pair}",
        "POST /pages/studies/{study}/protocol", "POST /pages/studies/{study}/protocol/try",
    }
)  # fmt: skip
"""What a form of a page sends. It does nothing by itself: it makes requests in the name of its sender, and each of them
needs its own scope.
"""

_NEEDS: dict[Scope, tuple[str, ...]] = {
    Scope.READ: (
        "GET /v1/studies", f"GET {_STUDY}", f"GET {_STUDY}/protocol", f"GET {_STUDY}/revisions", f"GET {_STUDY}/intake",
        f"GET {_STUDY}/changes/stream",
        f"GET {_STUDY}/datasets", f"GET {_STUDY}/charts", f"GET {_FHIR}/metadata", "GET /v1/protocols",
        "GET /v1/protocols/{protocol}", "GET /v1/templates/labs.csv", "GET /v1/templates/{kind}.csv",
        "GET /v1/templates/tables.xlsx",
        *(f"GET {_FHIR}/{name}/{rest}" for name in _TYPES for rest in ("_history", "${operation}")),
        *(f"{method} {_FHIR}{rest}" for rest in ("", "/{rest:path}") for method in _METHODS
          if (method, rest) != _BUNDLE),
    ),
    Scope.INGEST: (
        f"PUT {_PATIENT}", f"POST {_PATIENT}/events", f"POST {_STUDY}/timelines", f"POST {_STUDY}/labs",
        f"POST {_STUDY}/tables", f"POST {_STUDY}/tables/{{kind}}",
        f"POST {_STUDY}/hl7v2", f"POST {_FHIR}", f"POST {_FHIR}/",
        *(f"POST {_FHIR}/{name}" for name in _TYPES),
        *(f"{method} {_FHIR}/{name}/{{id}}" for name in _TYPES for method in ("PUT", "DELETE")),
        *(f"PUT {_FHIR}/{name}" for name in _TYPES),
        f"POST {_FHIR}/DiagnosticReport",
        f"POST {_FHIR}/{{type}}/$validate", f"POST {_FHIR}/{{type}}/{{id}}/$validate",
    ),
    Scope.ANALYSE: (
        f"GET {_STUDY}/report", f"GET {_STUDY}/report.pdf", f"GET {_STUDY}/report.md",
        f"GET {_STUDY}/analyses", *(f"{method} {path}" for path in _QUESTIONS for method in ("GET", "POST")),
        f"GET {_STUDY}/comparisons/{{other}}", f"GET {_STUDY}/charts/{{name}}", f"GET {_STUDY}/changes",
        f"GET {_FHIR}/MeasureReport/{{analysis}}",
        "POST /v1/analyses", "POST /v1/verify", "GET /v1/planning/proportion", "GET /v1/planning/paired-change",
        "GET /v1/planning/median-time",
    ),
    Scope.READ_PATIENTS: (
        f"GET {_STUDY}/patients", f"GET {_PATIENT}", f"GET {_PATIENT}/history", f"GET {_PATIENT}/verdicts",
        f"GET {_STUDY}/set-aside", f"GET {_STUDY}/decisions",
        f"GET {_STUDY}/datasets/{{name}}", f"GET {_STUDY}/series", f"GET {_LIST}", f"POST {_LIST}",
        *(f"GET {_FHIR}/{name}{rest}" for name in _TYPES
          for rest in ("", "/{id}", "/{id}/_history", "/{id}/_history/{version}")),
        *(f"POST {_FHIR}/{name}/_search" for name in _TYPES),
    ),
    Scope.ADMIN: (
        f"PUT {_STUDY}", f"PUT {_STUDY}/protocol", f"DELETE {_PATIENT}", "GET /v1/audit", "GET /metrics",
        f"POST {_STUDY}/set-aside/{{item}}/dismissal", f"POST {_PATIENT}/decisions/{{pair}}",
    ),
}  # fmt: skip
NEEDS: dict[str, Scope] = {operation: scope for scope, operations in _NEEDS.items() for operation in operations}
"""The scope that each operation needs, apart from those that are open."""
