"""Turning search parameters into criteria of the store: codes are resolved, patients looked up, numbers replaced."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from app.errors import Accepts, Conflict, Fault, FaultCode, InvalidDocument
from app.fhir.date_parameter import SEARCHED_DATE, bound
from app.fhir.elements import as_source
from app.fhir.search_parameters import ORDERS, TIMES, PageSearch
from app.fhir.write_resources import ADMINISTRATION_STATUS, CATEGORIES, CATEGORY_SYSTEM
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.store import client_ids, resources
from app.store.resource_search import Bound, Criteria, Number
from app.store.snapshot import StudyAt
from app.store.studies import Study
from app.submission import feeds
from app.timeline.resource import SUBJECT_SYSTEM, SupportedType, read_logical_id
from app.timeline.vocabulary import KNOWN, STATUSES, SYSTEMS

MOST_VALUES = 50
"""The greatest number of values of one parameter."""
MOST_TIMES = 10
"""How often a date parameter may be given."""
IDENTIFYING = ("identifier", "patient_identifier", "subject_identifier")
"""Fields whose values are identifiers of a hospital: no link in an answer repeats them."""
_VALUES = Accepts(at_most_items=MOST_VALUES)
_COMMA = re.compile(r"(?<!\\),")
_BAR = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([,|$\\])")
_PSEUDONYM = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NEVER_KEPT = frozenset({"registered", "unknown", "on-hold", "stopped"})
"""Statuses of R4 that no stored resource has."""


class Token(NamedTuple):
    """A `system|code`. System: `None` if not given, "" if it must be absent. Code: "" means any code."""

    system: str | None
    code: str


@dataclass(frozen=True)
class SearchedStudy:
    """The study that is searched. Its feed is read only if a search names a hospital's number, so that a service
    without a secret can be searched.
    """

    study: StudyAt
    secret: str | None
    now: int

    @cached_property
    def feed(self) -> Feed:
        """The feed of the study. Raises `Conflict` if numbers are replaced and the secret is missing or another one."""
        return feeds.feed(self.study.declared, self.study.pseudonyms_made_with(), self.secret, self.now)

    @cached_property
    def can_replace(self) -> bool:
        """Whether the service has the secret that it needs to look up a hospital's numbers."""
        try:
            return self.feed is not None
        except Conflict:
            return False

    def subject(self, reference: str) -> str | None:
        """The subject identifier of the patient of a reference (`P01`, `Patient/P01`), if the study has one."""
        name = reference.rpartition("Patient/")[2]
        if self.study.knows(name):
            return name
        found = self.client_id("Patient", name)
        return None if found is None else found.patient

    def client_id(self, resource: SupportedType, name: str) -> client_ids.ClientId | None:
        """The resource with this client id. A subject identifier is not a client id, because our own answers refer to
        patients by it.
        """
        if (resource == "Patient" and self.study.knows(name)) or not self.can_replace:
            return None
        return self.study.client_id(resource, self.feed.pseudonyms.alias(resource, name))


def criteria_of(searched: SearchedStudy, resource: SupportedType, query: PageSearch) -> Criteria:
    """The criteria of a search. Raises `InvalidDocument` with a fault for each parameter that cannot be read."""
    faults: list[Fault] = []
    dates = [each for name in TIMES for each in _bounds(query, name, faults)]
    updated = _bounds(query, "last_updated", faults, of_instants=True)
    names = {name: _values(query, name, faults) for name in _LISTED}
    statuses = _statuses(resource, names["status"], faults)
    if faults:
        raise InvalidDocument(faults=faults)
    ids = None if names["ids"] is None else _ids(searched, resource, names["ids"])
    numbers = None
    if names["identifier"] is not None and resource == "Patient":
        ids = _both(ids, _identified(searched, names["identifier"]))
    elif names["identifier"] is not None:
        numbers = tuple(_number(searched.feed, _token(value)) for value in names["identifier"])
    people = _people(searched, names)
    sort: str | None = getattr(query, "sort", None)
    return Criteria(
        resource,
        patients=None if people is None else tuple(sorted(people)),
        ids=None if ids is None else tuple(sorted(ids)),
        codes=None if names["code"] is None else _words_of(searched.study.declared, names["code"]),
        statuses=statuses,
        numbers=numbers,
        dates=tuple(dates),
        updated=tuple(updated),
        kinds=None if names["category"] is None else _kinds_of(names["category"]),
        order=None if sort is None else ORDERS[sort.removeprefix("-")],
        backwards=sort is not None and sort.startswith("-"),
    )


_REFERRING = ("patient", "subject", "subject_patient")
_LISTED = ("ids", "code", "category", "status", *_REFERRING, *IDENTIFYING)


def alias_of(query: PageSearch, name: str) -> str:
    """The name of a parameter in an address."""
    return type(query).model_fields[name].alias or name


def _values(query: PageSearch, name: str, faults: list[Fault]) -> list[str] | None:
    """The comma-separated values of a parameter, of which one must be met; `None` if it was not given."""
    text: str | None = getattr(query, name, None)
    if text is None:
        return None
    values = [value for part in _COMMA.split(text) if (value := part.strip())]
    if not values or "\0" in text:
        faults.append(Fault(f"/query/{alias_of(query, name)}", FaultCode.BAD_TEXT))
    if len(values) > MOST_VALUES:
        faults.append(
            Fault(f"/query/{alias_of(query, name)}", FaultCode.TOO_MANY, f"At most {MOST_VALUES} values.", _VALUES)
        )
    return values


def _bounds(query: PageSearch, name: str, faults: list[Fault], *, of_instants: bool = False) -> list[Bound]:
    texts: list[str] = getattr(query, name, [])
    at = f"/query/{alias_of(query, name)}" if texts else ""
    if len(texts) > MOST_TIMES:
        faults.append(Fault(at, FaultCode.TOO_MANY, f"At most {MOST_TIMES} times.", Accepts(at_most_items=MOST_TIMES)))
    read = [bound(text, of_instants=of_instants) for text in texts[:MOST_TIMES]]
    faults += [Fault(at, each, _DATES, SEARCHED_DATE) for each in read if isinstance(each, FaultCode)]
    return [each for each in read if not isinstance(each, FaultCode)]


_DATES = (
    "A date of a search is a year, month, day, or time with offset. A prefix eq, ne, gt, lt, ge, le, sa or eb may come "
    "first. For several dates, repeat the parameter."
)


def _statuses(resource: SupportedType, words: list[str] | None, faults: list[Fault]) -> tuple[str, ...] | None:
    if words is None:
        return None
    names = ADMINISTRATION_STATUS if resource == "MedicationAdministration" else {name: name for name in STATUSES}
    codes = {_token(word).code for word in words}
    known = dict.fromkeys([*names.values(), *sorted(_NEVER_KEPT)])
    if not known.keys() >= codes:
        faults.append(Fault("/query/status", FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=tuple(known))))
    return tuple(ours for ours, theirs in names.items() if theirs in codes)


def _people(searched: SearchedStudy, names: dict[str, list[str] | None]) -> set[str] | None:
    """The subject identifiers of the patients that meet every parameter about patients; `None` if there is none."""
    people: set[str] | None = None
    for name in _REFERRING:
        named = names[name]
        if named is not None:
            people = _both(people, {who for each in named if (who := searched.subject(each)) is not None})
    for name in ("patient_identifier", "subject_identifier"):
        identified = names[name]
        if identified is not None:
            people = _both(people, _identified(searched, identified))
    return people


def _both(first: set[str] | None, second: set[str] | None) -> set[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _identified(searched: SearchedStudy, values: Iterable[str]) -> set[str]:
    """The subject identifiers of the patients with these identifiers: a hospital's, or our own.

    Raises `Conflict` if a hospital's identifier is named and cannot be replaced.
    """
    found = set()
    for token in map(_token, values):
        if token.system in {None, SUBJECT_SYSTEM} and searched.study.knows(token.code):
            found.add(token.code)
        if token.system != SUBJECT_SYSTEM and token.code and (token.system is not None or searched.can_replace):
            subject = searched.feed.pseudonyms.patient([Identifier(token.system or "", token.code)])
            found.update(set() if isinstance(subject, FaultCode) else {subject})
    return found


def _number(feed: Feed, token: Token) -> Number:
    """A sender's number as it is stored. A number that looks like a pseudonym may come from one of our answers, so it
    is searched unchanged, too.

    The criteria are part of the links to further pages. They hold the stored number only, not a hospital's.
    """
    source = as_source(token.system) if token.system else None
    kept = feed.pseudonyms.number(source, token.code)
    ids = set() if isinstance(kept, FaultCode) else {str(kept)}
    if _PSEUDONYM.fullmatch(token.code):
        ids.add(token.code)
    return Number(source, tuple(sorted(ids)) if token.code else None, without_source=token.system == "")


def _ids(searched: SearchedStudy, resource: SupportedType, names: Iterable[str]) -> set[str]:
    """Our identifiers of the resources with these ids or client ids; unknown ids are left out."""
    found = set()
    for name in names:
        alias = searched.client_id(resource, name)
        if alias is not None:
            found.add(logical_id_of(alias))
        elif searched.study.knows(name) if resource == "Patient" else read_logical_id(name) is not None:
            found.add(name)
    return found


def logical_id_of(alias: client_ids.ClientId) -> str:
    """Our own identifier of the resource with a client id."""
    if alias.kind is None or alias.identity is None:
        return alias.patient
    return resources.logical_id(alias.patient_key, alias.kind, alias.identity, alias.draw)


def _kinds_of(values: Iterable[str]) -> tuple[str, ...]:
    """The kinds of facts of these categories. A category that is not ours has none, as an unknown code."""
    tokens = [_token(value) for value in values]
    return tuple(
        kind
        for kind, category in CATEGORIES.items()
        if any(token.system in {None, CATEGORY_SYSTEM} and token.code in {"", category} for token in tokens)
    )


def _words_of(study: Study, values: Iterable[str]) -> tuple[str, ...]:
    """Our codes for these codes. An unknown code has none, so a search for it finds nothing."""
    return tuple(sorted({word for value in values for word in _meanings(study, _token(value))}))


def _meanings(study: Study, token: Token) -> Iterator[str]:
    """Our codes for a code; without a system, those of every system that has the code."""
    named = None if token.system is None else SYSTEMS.get(token.system, token.system)
    for (system, code), word in KNOWN.items():
        if token.code in {"", code} and named in {None, system}:
            yield word
    for local, word in study.feeds.local_codes.items():
        system, _, code = local.partition("|")
        if token.code in {"", code} and token.system in {None, system}:
            yield word


def _token(text: str) -> Token:
    parts = [_ESCAPED.sub(r"\1", part) for part in _BAR.split(text, maxsplit=1)]
    return Token(None, parts[0]) if len(parts) == 1 else Token(parts[0], parts[1])
