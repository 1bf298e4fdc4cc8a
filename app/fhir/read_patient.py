"""The subject of a resource: the content and identifiers of a Patient, and the references to a Patient.

References are resolved inside the message. `Patient/x` that is not in the message is looked up in the study later.
Nothing is ever fetched from another server.
"""

import re
from datetime import date
from typing import Any, get_args
from urllib.parse import unquote

from app.errors import Accepts, FaultCode
from app.fhir.bundle_entries import RecordLink, Reference
from app.fhir.elements import R4_TYPES, Element, Message, ReadResult, Resource, as_time
from app.readers.pseudonyms import Identifier
from app.readers.statements import Place, Statement, left_out
from app.timeline.receipts import ReceiptLine
from app.timeline.times import Moment, read_time
from app.timeline.vocabulary import Sex

RESOURCE_IDS = "urn:fhir:resource"
"""The authority of a Patient's `id`, for a Patient without identifiers where identifiers are replaced."""

IF_NONE_EXIST = Accepts(form="identifier=system|value, of a resource that is created by POST")
"""The condition of a create that is read."""

_PLACES = {"sex": ".gender", "birth_year": ".birthDate"} | dict.fromkeys(
    ("ended", "ended_date", "ended_reason"), ".deceasedDateTime"
)
_MERGES = frozenset({"replaced-by", "replaces"})
_OTHER_LINKS = frozenset({"refer", "seealso"})
_LINK_TYPES = Accepts(one_of=("replaced-by", "replaces", "refer", "seealso"))
_SEXES: frozenset[str] = frozenset(get_args(Sex))
_RELATIVE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_ABSOLUTE = re.compile(r"(https?://.+/)([A-Za-z]+/[A-Za-z0-9\-.]{1,64})")
_BIRTH = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-\d\d)?)?", re.ASCII)
_DIED = re.compile(r"(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_ELSEWHERE = re.compile(r"https?://", re.IGNORECASE)
_SUBJECTS = Accepts(
    form="Patient/[id], the address of this facade and Patient/[id], the fullUrl of an entry, or an identifier"
)
_ACCEPTED_SUBJECTS = {FaultCode.UNSUPPORTED: Accepts(one_of=("Patient",)), FaultCode.UNKNOWN_REFERENCE: _SUBJECTS}
OF_ANOTHER_SERVER = "The reference is an address of another server or of another study. Nothing is fetched."
_TYPES = ("Patient", "http://hl7.org/fhir/StructureDefinition/Patient")


def patient(resource: Resource) -> ReadResult:
    """The statement of a Patient: sex, year of birth, and the day of death. What cannot be read of them is left out,
    and so are modifier elements that are not stored: a death without its day, links to similar records, and `active`
    without a record that replaces it.
    """
    content = resource.content
    resource.check_modifiers(content, "")
    fields: dict[str, Any] = {}
    lines: list[ReceiptLine] = []
    sex = resource.text(content, "gender")
    if sex in _SEXES:
        fields["sex"] = sex
    elif sex is not None:
        lines.append(left_out(resource.place + ".gender", "sex"))
    birth = resource.text(content, "birthDate")
    if birth is not None and _is_date(birth):
        fields["birth_year"] = int(birth[:4])
    elif birth is not None:
        lines.append(left_out(resource.place + ".birthDate", "birth_year"))
    died = content.get("deceasedDateTime")
    if isinstance(died, str) and (day := _DIED.fullmatch(died)) is not None and _is_date(day[1]):
        fields["ended"] = {"date": day[1], "reason": "died"}
    elif died is not None:
        lines.append(left_out(resource.place + ".deceasedDateTime", "deceased"))
    if content.get("deceasedBoolean") not in {None, False}:
        lines.append(left_out(resource.place + ".deceasedBoolean", "deceased"))
    links = content.get("link")
    kinds = (
        [str(each.get("type")) if isinstance(each, dict) else "" for each in links] if isinstance(links, list) else []
    )
    lines += [left_out(f"{resource.place}.link[{i}]", "link") for i, kind in enumerate(kinds) if kind in _OTHER_LINKS]
    if content.get("active") is False and "replaced-by" not in kinds:
        lines.append(left_out(resource.place + ".active", "active"))
    return ReadResult((Statement("patient", fields, Place(resource.place, _PLACES)),), lines=tuple(lines))


def patient_subject(resource: Resource) -> str | FaultCode:
    """The subject identifier of a Patient, from its identifiers, or from its id if it has none."""
    given = resource.identifiers()
    if given:
        return resource.feed.pseudonyms.patient(given)
    own = resource.content.get("id")
    if not isinstance(own, str):
        return FaultCode.NO_SUBJECT
    if resource.feed.pseudonyms.fingerprint is None:
        return resource.feed.pseudonyms.patient([Identifier(None, own)])
    subject = resource.feed.pseudonyms.patient([Identifier(RESOURCE_IDS, own)])
    return FaultCode.NO_SUBJECT if isinstance(subject, FaultCode) else subject


def identifier_searched(query: str) -> Identifier | None:
    """The identifier in `identifier=system|value`; without `|` its authority is ""."""
    name, _, searched = query.partition("=")
    if name not in {"identifier", "identifier:exact"} or "&" in searched:
        return None
    system, bar, value = unquote(searched).rpartition("|")
    return Identifier(system if bar else "", value) if value else None


class References:
    """The Patients and Medications of a message, found by the references to them."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._by_url: dict[str, list[Element]] = {}
        self._by_name: dict[str, list[tuple[str | None, Element]]] = {}
        self._subjects: dict[tuple[str, str | None], str | Reference | FaultCode] = {}

    def add(self, url: str | None, content: Element) -> None:
        """Register a resource by the full address of its entry, and by its type and id."""
        kind, own = content["resourceType"], content.get("id")
        base = server_of(url)
        if url is not None:
            self._by_url.setdefault(url, []).append(content)
        names = {f"{kind}/{own}"} if isinstance(own, str) else set()
        if url is not None and base is not None:
            names.add(url[len(base) :])
        for name in names:
            self._by_name.setdefault(name, []).append((base, content))

    def found(self, reference: str, base: str | None) -> list[Element]:
        """The resources of the message that a reference names; `base` is the server in the entry's address."""
        relative = self._relative(reference)
        if relative is None or reference in self._by_url:
            return self._by_url.get(reference, [])
        named = self._by_name.get(f"{relative[1]}/{relative[2]}", [])
        return [content for at, content in named if at is None or base is None or at == base]

    def _relative(self, reference: str) -> re.Match[str] | None:
        """The parts of a reference to a resource of this facade, with or without its address."""
        relative = _RELATIVE.fullmatch(reference)
        if relative is not None or ("/" not in reference and "?" not in reference):
            return relative
        return _RELATIVE.fullmatch(self._message.own.inside(reference) or "")

    def subject(self, resource: Resource, base: str | None) -> tuple[str | Reference | None, str]:
        """The subject of a resource and its place; `None` and a fault if there is no valid subject."""
        if resource.content["resourceType"] == "Patient":
            return self._at_place(resource, patient_subject(resource), ".identifier")
        subject = resource.element(resource.content, "subject")
        if subject is None:
            if resource.content.get("subject") is None:
                resource.fault(".subject", FaultCode.NO_SUBJECT)
            return None, resource.place + ".subject"
        kind = resource.text(subject, "type", ".subject")
        if kind is not None and kind not in _TYPES:
            return self._at_place(resource, FaultCode.UNSUPPORTED, ".subject.type")
        return self._at_place(resource, *self._subject_of(resource, subject, base, ".subject"))

    def links(self, resource: Resource, base: str | None) -> tuple[RecordLink, ...]:
        """The records that were merged with the record of a Patient. Other links say nothing that is stored."""
        content = resource.content
        issued = _issued(resource)
        links = []
        for at, each in resource.elements(content, "link"):
            kind = resource.text(each, "type", at)
            if kind not in _MERGES:
                if each.get("type") is None:
                    resource.fault(at + ".type", FaultCode.MISSING, _LINK_TYPES)
                elif kind is not None and kind not in _OTHER_LINKS:
                    resource.fault(at + ".type", FaultCode.UNKNOWN_VALUE, _LINK_TYPES)
                continue
            replaces = kind == "replaces"
            if content.get("active") is (
                not replaces
            ):  # the record that was replaced is active, or the surviving is not
                resource.fault(".active", FaultCode.CONTRADICTION)
            other = resource.element(each, "other", at)
            if other is None:
                if each.get("other") is None:
                    resource.fault(at + ".other", FaultCode.MISSING)
                continue
            if other.get("type") is not None and other["type"] not in _TYPES:
                resource.fault(at + ".other.type", FaultCode.UNSUPPORTED, Accepts(one_of=("Patient",)))
                continue
            who, where = self._at_place(resource, *self._subject_of(resource, other, base, at + ".other"))
            if who is not None:
                links.append(RecordLink(who, replaces, where, issued))
        return tuple(links)

    def _subject_of(
        self, resource: Resource, subject: Element, base: str | None, at: str
    ) -> tuple[str | Reference | FaultCode, str, str | None]:
        """The patient of the identifier, else of the reference, the place that names it, and what is wrong there in
        words. If both name a patient, they must agree. `at` is the place of the reference in the resource.
        """
        reference = resource.text(subject, "reference", at)
        identifier = resource.element(subject, "identifier", at)
        leads = None if reference is None else self._by_reference(reference, resource, base)
        lost = leads is FaultCode.UNKNOWN_REFERENCE and _ELSEWHERE.match(reference or "") is not None
        detail = OF_ANOTHER_SERVER if lost and self._message.own.inside(reference or "") is None else None
        if identifier is None:
            return (FaultCode.NO_SUBJECT, at, None) if leads is None else (leads, at + ".reference", detail)
        named = self._by_identifier(resource, identifier, at + ".identifier")
        if leads is not None and isinstance(named, FaultCode):
            return leads, at + ".reference", detail
        if isinstance(leads, str) and not isinstance(leads, FaultCode) and leads != named:
            return FaultCode.AMBIGUOUS_SUBJECT, at, None
        return named, at + ".identifier", None

    def _at_place(
        self, resource: Resource, who: str | Reference | FaultCode, at: str, detail: str | None = None
    ) -> tuple[str | Reference | None, str]:
        if not isinstance(who, FaultCode):
            return who, resource.place + at
        resource.fault(at, who, _ACCEPTED_SUBJECTS.get(who), detail)
        return None, resource.place + at

    def _by_identifier(self, resource: Resource, identifier: Element, at: str) -> str | FaultCode:
        value = resource.text(identifier, "value", at)
        if not value:
            return FaultCode.NO_SUBJECT
        system = resource.text(identifier, "system", at)
        return resource.feed.pseudonyms.patient([Identifier(system or "", value)])

    def _by_reference(self, reference: str, resource: Resource, base: str | None) -> str | Reference | FaultCode:
        if reference.startswith("#"):
            return self._contained(resource, reference[1:])
        return self.patient_at(reference, base)

    def patient_at(self, reference: str, base: str | None) -> str | Reference | FaultCode:
        """The patient that a reference to another resource names; `base` is the server in the address of the entry."""
        known = self._subjects.get((reference, base))
        if known is None:
            known = self._subjects[reference, base] = self._resolve(reference, base)
        return known

    def _contained(self, resource: Resource, own: str) -> str | FaultCode:
        who = contained(resource, own)
        if who is None:
            return FaultCode.UNKNOWN_REFERENCE
        if who.get("resourceType") != "Patient":
            return FaultCode.UNSUPPORTED
        if "modifierExtension" in who:
            return FaultCode.UNKNOWN_MODIFIER
        given = Resource(who, resource.place, resource.message).identifiers()
        return resource.feed.pseudonyms.patient(given)

    def _resolve(self, reference: str, base: str | None) -> str | Reference | FaultCode:
        kind, mark, query = (self._message.own.inside(reference) or reference).partition("?")
        if mark and kind == "Patient":
            identifier = identifier_searched(query)
            named = None if identifier is None else self._message.feed.pseudonyms.patient([identifier])
            return FaultCode.UNKNOWN_REFERENCE if named is None else named
        relative = self._relative(reference)
        if relative is not None and relative[1] != "Patient":
            return FaultCode.UNSUPPORTED if relative[1] in R4_TYPES else FaultCode.UNKNOWN_REFERENCE
        found = self.found(reference, base)
        if any(content["resourceType"] != "Patient" for content in found):
            return FaultCode.UNSUPPORTED
        subjects = {patient_subject(Resource(content, "", self._message)) for content in found}
        if len(subjects) > 1:
            return FaultCode.AMBIGUOUS_SUBJECT
        if subjects:
            return subjects.pop()
        return FaultCode.UNKNOWN_REFERENCE if relative is None else Reference(relative[2])


def _issued(resource: Resource) -> int | None:
    """When the sender's server last changed a resource; `None` if it does not say it, or not in a form that counts."""
    meta = resource.content.get("meta")
    written = meta.get("lastUpdated") if isinstance(meta, dict) else None
    time = as_time(written, resource.feed.zone) if isinstance(written, str) else None
    read = read_time(time, resource.feed.latest) if isinstance(time, str) and not isinstance(time, FaultCode) else None
    return read.instant if isinstance(read, Moment) else None


def server_of(url: str | None) -> str | None:
    """The server in a full address of a resource; `None` for other addresses, such as `urn:uuid:...`."""
    if url is None or not url.startswith("http"):
        return None
    absolute = _ABSOLUTE.fullmatch(url)
    return None if absolute is None else absolute[1]


def contained(resource: Resource, own: str) -> Element | None:
    """The contained resource with this id."""
    listed = resource.content.get("contained")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and own and each.get("id") in (own, "#" + own):
            return each
    return None


def _is_date(text: str) -> bool:
    if _BIRTH.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text if len(text) == 10 else f"{text[:4]}-01-01")
    except ValueError:
        return False
    return True
