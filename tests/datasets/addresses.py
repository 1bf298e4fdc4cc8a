"""Finding a fact by its address, from what `app/timeline/source_facts.py` says of addresses and nothing else."""

from typing import Any


def fact_at(documents: dict[str, dict[str, Any]], address: str) -> dict[str, Any]:
    """The one fact of the timelines (by patient) that an address names."""
    record, section, *rest = address.split("/", 2)
    if section in {"patient", "ended"}:
        assert rest == []
        return documents[record][section]
    where = rest[0]
    code = None
    if section in {"labs", "assessments"}:
        code, where = where.split("/", 1)
    kind, last = where.split("/", 1)
    named, value = kind.split(":", 1)
    if named == "id":
        wanted = {"id": value, "source": last}
    else:
        when = {"adverse_events": "onset", "medications": "start"}.get(section, "time")
        what = {"infusions": "product", "medications": "drug", "adverse_events": "term"}.get(section, "source")
        wanted = {when: value, what: last}
    if code is not None:
        wanted["code"] = code
    found = [
        fact
        for fact in documents[record][section]
        if all(fact.get(name, "") == value for name, value in wanted.items()) and (named == "id" or "id" not in fact)
    ]
    assert len(found) == 1, (address, len(found))
    return found[0]
