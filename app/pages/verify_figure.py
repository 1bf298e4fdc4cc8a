"""The page that checks a printed figure: a form, and which methods reproduce it. Its address is a check that can be
printed beside the figure.
"""

import json
import re
from typing import Any

from pydantic import BaseModel

from app.analyses.verify import PrintedDifference, PrintedInterval, PrintedProportion, PrintedRate
from app.pages.controls import controls, elsewhere, given
from app.pages.page import Names, Page, PageReading, Refused

KINDS: dict[str, tuple[str, type[BaseModel]]] = {
    "proportion": ("k of n patients", PrintedProportion),
    "rate": ("Events per exposure", PrintedRate),
    "difference": ("Difference of two rates", PrintedDifference),
}
_TEXTS = frozenset({"value", "low", "high", "printed_in", "kind"})
"""Sent as text: a number would lose the last zero of 42.0."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_OWN = frozenset({"kind", "interval"})
AGREEMENT = {"agrees": "agrees", "last_digit": "differs in the last digit", "differs": "differs"}


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    del names
    await reading.json("/v1/session")  # who asks, before anything is shown
    query = given(reading.asked.query)
    sent = dict(query)
    kind = sent.get("kind", "proportion") if sent.get("kind", "proportion") in KINDS else "proportion"
    model = KINDS[kind][1]
    verified, problem = None, None
    if set(sent) - {"kind", "printed_in"}:
        session = reading.asked.session
        token = [] if session is None else [(b"x-csrf-token", session.token.encode())]
        body = json.dumps(figure_of(kind, model, sent)).encode()
        headers = [(b"content-type", b"application/json"), *token]
        found = await reading.asked.send("POST", "/v1/verify", body=body, headers=headers)
        if found.status >= 400 and found.status != 422:
            raise Refused(found)
        verified, problem = (found.json(), None) if found.status == 200 else (None, found.json())
    preset = query if "printed_in" in sent else [*query, ("printed_in", "percent")]
    counts = controls(model, preset, _moved(problem), without=_OWN)
    limits = controls(PrintedInterval, query, _moved(problem))
    known = [each.name for each in (*counts, *limits)]
    return {
        "kinds": [(name, title) for name, (title, _) in KINDS.items()],
        "kind": kind,
        "counts": counts,
        "limits": limits,
        "refused": elsewhere(_moved(problem), known),
        "verified": verified,
        "agreement": AGREEMENT,
        "status": 200 if problem is None else 422,
    }


def figure_of(kind: str, model: type[BaseModel], sent: dict[str, str]) -> dict[str, Any]:
    """The document for `/v1/verify` from the fields of the form. A number that is none is sent as it is: refusing it is
    not done twice.
    """
    given_by_name: dict[str, Any] = {name: _value(name, text) for name, text in sent.items()}
    figure: dict[str, Any] = {
        name: given_by_name[name] for name in model.model_fields if name in given_by_name and name not in _OWN
    }
    if "printed_in" in model.model_fields:
        figure.setdefault("printed_in", "percent")
    if {"low", "high"} & set(sent):
        figure["interval"] = {
            name: given_by_name[name] for name in PrintedInterval.model_fields if name in given_by_name
        }
    return {"kind": kind, **figure}


def _value(name: str, text: str) -> str | float | int:
    text = text.strip()
    if name in _TEXTS or _NUMBER.fullmatch(text) is None:
        return text
    return float(text) if "." in text else int(text)


def _moved(problem: dict[str, Any] | None) -> dict[str, Any] | None:
    """The faults at the names of the controls."""
    if problem is None:
        return None
    moved = [
        {**fault, "pointer": f"/query/{fault['pointer'].rpartition('/')[2]}"} for fault in problem.get("errors", ())
    ]
    return {**problem, "errors": moved}


PAGES = (Page("/v1/verify", "verify.html", _fill),)
