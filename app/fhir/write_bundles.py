"""Bundles of FHIR R4: what a search found, and the versions of one resource."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.fhir.write_resources import resource_of
from app.timeline.resource import Found
from app.timeline.times import instant_text


def searchset(
    base: str, found: Iterable[Found], *, links: Mapping[str, str], total: int | None, revision: int, received_at: int
) -> dict[str, Any]:
    """A page of a search: `base` is the address of the facade, `links` are addresses by relation, and `revision` is the
    one that the whole walk reads.
    """
    entries = [
        {"fullUrl": f"{base}/{each.type}/{each.id}", "resource": resource_of(each), "search": {"mode": "match"}}
        for each in found
    ]
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "meta": {"versionId": str(revision), "lastUpdated": instant_text(received_at)},
        "type": "searchset",
    }
    if total is not None:
        bundle["total"] = total
    bundle["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    return bundle | ({"entry": entries} if entries else {})


def history(base: str, versions: Iterable[Found], address: str, named: str) -> dict[str, Any]:
    """The versions of one resource, newest first; `named` is the id that the client knows it by.

    A version that says that the resource is no more is an entry without one, as after a DELETE.
    """
    entries = [_version(base, version, named) for version in versions]
    return {
        "resourceType": "Bundle",
        "type": "history",
        "total": len(entries),
        "link": [{"relation": "self", "url": address}],
        "entry": entries,
    }


def _version(base: str, version: Found, named: str) -> dict[str, Any]:
    place = f"{version.type}/{named}"
    method, status = ("DELETE", "204 No Content") if version.gone else ("PUT", "200 OK")
    entry: dict[str, Any] = {"fullUrl": f"{base}/{place}"}
    if not version.gone:
        entry["resource"] = resource_of(version, named)
    return entry | {
        "request": {"method": method, "url": place},
        "response": {
            "status": status,
            "etag": f'W/"{version.version}"',
            "lastModified": instant_text(version.received_at),
        },
    }
