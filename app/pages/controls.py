"""The parameters of an operation as the controls of a form: from the fields that the API itself declares."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.http.parameters import accepted_value, fields_of
from app.pages.labels import label, method
from app.pages.page import PINNED
from app.pages.wording import figure
from app.protocol.parts import BY_ALL, BY_COURSE

PAGE_ONLY = frozenset({"show"})
"""Parameters of pages that the API does not know."""
_GROUPS = (*BY_ALL, BY_COURSE)
_NAMES = {
    "level": "Confidence level", "by": "Subgroups by", "median": "Median of a flat curve",
    "plateau": "Curve that ends at 0.5", "interval": "Scale of survival intervals", "zeros": "Zero differences",
    "proportion": "Interval of a proportion",
    "multiplicity": "Adjustment over weeks", "signed_rank_p": "p of the signed-rank test", "profile": "Defaults of",
    "patients": "List each patient", "patient": "List one patient alone",
    "null": "Simulate no effect", "rescue": "After rescue treatment",
    "resamples": "Resamples", "seed": "Seed", "half_width": "Half width", "n": "Patients (n)",
    "sd": "Standard deviation", "k": "Patients who have it (k)", "value": "Printed figure", "low": "Lower limit",
    "high": "Upper limit", "k1": "First group: who have it", "n1": "First group: patients",
    "k2": "Second group: who have it", "n2": "Second group: patients",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FormControl:
    """One control. `refused` says why the value that was sent is not accepted."""

    name: str
    label: str
    note: str
    value: str
    kind: str
    """`choice`, `number` or `text`."""
    choices: Sequence[tuple[str, str]] = ()
    hints: Sequence[str] = ()
    accepted: str = ""
    refused: str = ""
    default: str = ""

    @property
    def changed(self) -> bool:
        """Whether it has another value than by default."""
        return bool(self.value) and self.value != self.default


def given(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters for the API: a control that was left empty is not sent."""
    return [(name, value) for name, value in query if value != "" and name not in PAGE_ONLY]


def controls(
    model: type[BaseModel], query: Sequence[tuple[str, str]], problem: Mapping[str, Any] | None = None,
    *, without: frozenset[str] = frozenset(),
) -> list[FormControl]:  # fmt: skip
    """A control for each field of a model of parameters, with the values of a request and why they were refused."""
    sent = dict(query)
    refused = faults_of(problem)
    found = []
    for (_, name), field in fields_of(model):
        if name in without or name in PINNED:
            continue
        accepts = accepted_value(field)
        words = tuple(accepts.one_of or ()) if accepts else ()
        types = (accepts.types or ()) if accepts else ()
        is_flag = bool(accepts) and "boolean" in types
        kind = "choice" if words or is_flag else "number" if {"number", "integer"} & set(types) else "text"
        default = field.default if isinstance(field.default, int | float | str) else None
        choices = [(word, method(word)) for word in words] or ([("true", "yes"), ("false", "no")] if is_flag else [])
        found.append(
            FormControl(
                name=name,
                label=_NAMES.get(name) or label(name),
                note=(field.description or "").replace("`", ""),
                value=sent.get(name, ""),
                kind=kind,
                choices=[("", "choose" if field.is_required() else _unless_given(default)), *choices]
                if choices
                else (),
                hints=_GROUPS if name == "by" else (),
                accepted="" if accepts is None else accepts.words,
                refused=refused.get(name, ""),
                default="" if default is None else _plain(default),
            )
        )
    return found


def _unless_given(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "as the protocol says" if default is None else str(default)


def _plain(default: float | str | bool) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    return default if isinstance(default, str) else figure(default, 6)


def faults_of(problem: Mapping[str, Any] | None, before: str = "/query/") -> dict[str, str]:
    """What is wrong with each parameter, by its name."""
    found: dict[str, str] = {}
    for fault in (problem or {}).get("errors", ()):
        if fault["pointer"].startswith(before):
            found[fault["pointer"].removeprefix(before).strip("/")] = fault["detail"]
    return found


def elsewhere(problem: Mapping[str, Any] | None, known: Iterable[str], before: str = "/query/") -> list[str]:
    """What is wrong and belongs to none of these controls."""
    names = set(known)
    return [
        fault["detail"]
        for fault in (problem or {}).get("errors", ())
        if fault["pointer"].removeprefix(before).strip("/") not in names
    ]
