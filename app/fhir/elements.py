"""Reading the elements of one FHIR resource: each has its type checked, and each fault names its place.

There is no model of a whole resource. Elements that are not used are not read, so unknown elements and extensions do
no harm and cost no time. A `null` means the same as an absent element. The file also lists the resource types of R4.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from app.errors import Accepts, Fault, FaultCode
from app.fhir.own_address import NOWHERE, OwnAddress
from app.readers.faults import value_faults
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed, Skipped, Statement
from app.timeline.document import GREATEST_VALUE
from app.timeline.receipts import ReceiptLine, SentFact
from app.timeline.resource import KEPT_NUMBER
from app.timeline.times import TIME_FORM, with_offset
from app.timeline.vocabulary import UCUM, UCUM_NAMES, UNITS, Coding, same_unit

Element: TypeAlias = Mapping[str, Any]
"""A JSON object of a resource: the resource itself or an element of it."""

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
"""Where the addresses of the code systems of HL7 begin."""
OWN_ID = "fhir"
"""The source of a number that is only the id of its resource."""
MOST_ELEMENTS = 1_000
"""Greatest number of elements in one list of a resource; the answer may have an issue for each."""
LONGEST_SOURCE = 64
"""Characters of a source (`document.Label`)."""

_TYPE_NAMES = """
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary
    BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem
    ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest
    CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest
    CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement
    DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest
    EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit
    FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization
    ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List
    Location Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge
    MedicationRequest MedicationStatement MedicinalProduct MedicinalProductAuthorization
    MedicinalProductContraindication MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical
    MedicinalProductUndesirableEffect MessageDefinition MessageHeader MolecularSequence NamingSystem NutritionOrder
    Observation ObservationDefinition OperationDefinition OperationOutcome Organization OrganizationAffiliation
    Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition Practitioner PractitionerRole Procedure
    Provenance Questionnaire QuestionnaireResponse RelatedPerson RequestGroup ResearchDefinition
    ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis Schedule
    SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition StructureMap Subscription
    Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation
    SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport
    TestScript ValueSet VerificationResult VisionPrescription
"""
R4_TYPES = frozenset(_TYPE_NAMES.split())
"""The resource types of FHIR R4 (4.0.1). A name that is not among them is a fault; a type that is not stored is not."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

TEXT, OBJECT, ARRAY = (Accepts(types=(name,)) for name in ("string", "object", "array"))
ID = Accepts(form="1 to 64 of the characters A-Z, a-z, 0-9, dot and hyphen", pattern=f"^{_ID.pattern}$")


class Quantity(NamedTuple):
    """A number with its unit as sent; `unit_at` is the element that gave the unit."""

    value: float | None
    unit: str | None
    unit_at: str
    comparator: str | None = None


class Named(NamedTuple):
    """The number that a sender gave a fact, the source of the number, and its place."""

    source: str | None
    id: str | None
    at: str


@dataclass
class Message:
    """The bytes of a message and the feed that it was sent to; `analytes` caches the meaning of codes.

    `strict`: it is stored as a whole or not at all, so that no fact of a resource may be set aside. `own` is the
    address of the facade that it was sent to.
    """

    feed: Feed
    body: bytes
    strict: bool = False
    own: OwnAddress = NOWHERE
    analytes: dict[tuple[str | None, ...], str | None] = field(default_factory=dict)

    @cached_property
    def may_modify(self) -> bool:
        """Whether there may be a modifier extension anywhere. A name may be written with escapes."""
        if b"modifierExtension" in self.body:
            return True
        return b"\\" in self.body and b"\\u" in self.body  # looking for one byte first is a hundred times faster

    @cached_property
    def loses_numbers(self) -> bool:
        """Whether any number of the message overflows, or is not zero and rounds to zero."""
        return any(fault.code is FaultCode.NOT_FINITE for fault in value_faults(self.body, frozenset()))


class FaultyFact(NamedTuple):
    """A fact of a resource that cannot be read: its faults, and what can be read of it, or what is known of it."""

    faults: tuple[Fault, ...]
    statement: Statement | None = None
    sent: SentFact | None = None


class ReadResult(NamedTuple):
    """The statements of a resource, or the reason why it is skipped.

    `aside` are the facts that cannot be read, `statements` the others. `lines` say what else the receipt says of the
    resource, such as components that are not ours. `unknown` is what is known of a code that is not ours. `panel` is
    the withdrawal of a panel that does not list its results: a statement without a code.
    """

    statements: tuple[Statement, ...] = ()
    skipped: Skipped | None = None
    aside: tuple[FaultyFact, ...] = ()
    lines: tuple[ReceiptLine, ...] = ()
    panel: Statement | None = None
    unknown: SentFact | None = None


@dataclass(slots=True)
class Resource:
    """A resource that is being read: its content, its place in the message, and its faults so far."""

    content: Element
    place: str
    message: Message
    faults: list[Fault] = field(default_factory=list)

    @property
    def feed(self) -> Feed:
        """What the study declares of its feeds."""
        return self.message.feed

    def fault(self, at: str, code: FaultCode, accepts: Accepts | None = None, detail: str | None = None) -> None:
        """Add a fault at a place inside the resource (`.code`, `.component[2].code`), and what the place accepts."""
        self.faults.append(Fault(self.place + at, code, detail, accepts))

    def faults_since(self, count: int) -> tuple[Fault, ...]:
        """The faults after the first `count`; they are no longer faults of the resource as a whole."""
        faults = tuple(self.faults[count:])
        del self.faults[count:]
        return faults

    def text(self, part: Element, name: str, at: str = "") -> str | None:
        """A text, code, URI or time of a part; `at` is the place of the part."""
        value = part.get(name)
        if value is None or isinstance(value, str):
            return value
        self.fault(f"{at}.{name}", FaultCode.WRONG_TYPE, TEXT)
        return None

    def element(self, part: Element, name: str, at: str = "") -> Element | None:
        """An element of a part. A modifier extension on it is a fault."""
        value = part.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault(f"{at}.{name}", FaultCode.WRONG_TYPE, OBJECT)
            return None
        if "modifierExtension" in value:
            self.fault(f"{at}.{name}.modifierExtension", FaultCode.UNKNOWN_MODIFIER)
        return value

    def elements(
        self, part: Element, name: str, at: str = "", *, modifiers: bool = False
    ) -> Iterator[tuple[str, Element]]:
        """The elements of a list, each with its place. A modifier extension is a fault, unless the caller checks
        `modifiers` itself.
        """
        value = part.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            self.fault(f"{at}.{name}", FaultCode.WRONG_TYPE, ARRAY)
            return
        if len(value) > MOST_ELEMENTS:
            self.fault(f"{at}.{name}", FaultCode.TOO_MANY, Accepts(at_most_items=MOST_ELEMENTS))
            return
        for i, each in enumerate(value):
            where = f"{at}.{name}[{i}]"
            if not isinstance(each, dict):
                self.fault(where, FaultCode.WRONG_TYPE, OBJECT)
                continue
            if not modifiers:
                self.check_modifiers(each, where)
            yield where, each

    def check_modifiers(self, part: Element, at: str) -> None:
        """Add a fault for a modifier extension or for implicit rules: none are supported."""
        if "modifierExtension" in part:
            self.fault(at + ".modifierExtension", FaultCode.UNKNOWN_MODIFIER)
        if "implicitRules" in part:
            self.fault(at + ".implicitRules", FaultCode.UNKNOWN_MODIFIER)

    def only(self, part: Element, names: tuple[str, ...], at: str) -> str | None:
        """The form of an element (`effectiveDateTime`, `effectivePeriod`) that is given; two forms are a fault."""
        given = [name for name in names if part.get(name) is not None]
        if len(given) > 1:
            self.fault(at, FaultCode.REPEATED_VALUE)
        return given[0] if given else None

    def codings(self, concept: Element, at: str) -> tuple[Coding, ...]:
        """The codings of a CodeableConcept."""
        listed = concept.get("coding")
        if isinstance(listed, list) and len(listed) == 1 and type(listed[0]) is dict:
            [only] = listed
            coding = Coding(only.get("system"), only.get("code"), only.get("display"))
            if type(coding.system) is type(coding.code) is type(coding.text) is str and "modifierExtension" not in only:
                return (coding,)  # the most common form, read several times faster
        return tuple(
            Coding(self.text(each, "system", where), self.text(each, "code", where), self.text(each, "display", where))
            for where, each in self.elements(concept, "coding", at)
        )

    def meaning(self, concept: Element | None, at: str) -> str | None:
        """Our code for a CodeableConcept; `None` if its codes are not stored, or are faulty."""
        if concept is None:
            return None
        meaning = self.feed.codes.meaning(self.codings(concept, at), self.text(concept, "text", at))
        if isinstance(meaning, FaultCode):
            self.fault(at, meaning)
            return None
        return meaning

    def number(self, part: Element, name: str, at: str) -> float | None:
        """A finite JSON number."""
        value = part.get(name)
        if value is None:
            return None
        if type(value) is not int and type(value) is not float:
            self.fault(f"{at}.{name}", FaultCode.WRONG_TYPE, Accepts(types=("number",)))
            return None
        if not -1e300 < value < 1e300 or (value == 0 and self.message.loses_numbers):
            self.fault(f"{at}.{name}", FaultCode.NOT_FINITE)
            return None
        return value

    def quantity(self, part: Element, at: str) -> Quantity:
        """A Quantity. A code and a text of different units are a fault."""
        value, unit = part.get("value"), part.get("unit")
        if (
            type(unit) is str and unit == part.get("code") and part.get("system") == UCUM and unit in UNITS
            and (type(value) is int or type(value) is float) and 0 < value < GREATEST_VALUE and "comparator" not in part
        ):  # fmt: skip
            return Quantity(value, unit, ".code")  # the most common form, read several times faster
        unit, unit_at, agree = self.unit(part, at)
        if not agree:
            self.fault(at + ".unit", FaultCode.UNIT_MISMATCH, same_units(unit or ""))
        return Quantity(self.number(part, "value", at), unit, unit_at, self.text(part, "comparator", at))

    def unit(self, part: Element, at: str) -> tuple[str | None, str, bool]:
        """The unit of a quantity, the element that gives it, and whether its code and its text agree.

        It is the UCUM code, or a code that the study declares as an alias of a unit; else the text.
        """
        codes = self.feed.codes
        unit, code = codes.unit(self.text(part, "unit", at)), self.text(part, "code", at)
        if code is None or (part.get("system") not in UCUM_NAMES and not codes.declares_unit(code)):
            return unit, ".unit", True
        named = codes.unit(code) or code
        return named, ".code", unit is None or not {unit, named} <= UNITS.keys() or same_unit(unit, named)

    def time(self, part: Element, name: str, at: str = "") -> str | None:
        """A date or an instant in our own format. Another text is returned unchanged: the check comes later."""
        written = self.text(part, name, at)
        if written is None:
            return None
        read = as_time(written, self.feed.zone)
        if isinstance(read, FaultCode):
            self.fault(f"{at}.{name}", read, Accepts(form=TIME_FORM))
            return None
        return read

    def check_id(self) -> None:
        """Add a fault if the resource has an id that is not a FHIR id."""
        value = self.text(self.content, "id")
        if value is not None and not is_id(value):
            self.fault(".id", FaultCode.BAD_IDENTIFIER, ID)

    def named(self, identifiers: Iterator[tuple[str, Element]]) -> Named:
        """The number of the fact: the official identifier, else the first identifier, else the id of the resource.

        Its source is the system of the identifier, or `fhir` for an id. Without any of them, both are `None`.
        """
        chosen: tuple[str, Element] | None = None
        for at, each in identifiers:
            if is_kept(each):
                return self._kept(self.text(each, "system", at), self.text(each, "value", at), at)
            if self.text(each, "value", at) and (chosen is None or each.get("use") == "official"):
                chosen = at, each
                if each.get("use") == "official":
                    break
        if chosen is not None:
            at, each = chosen
            system = self.text(each, "system", at)
            return self._named(None if system is None else as_source(system), each["value"], at)
        own = self.content.get("id")
        return self._named(OWN_ID, own, ".id") if isinstance(own, str) else Named(None, None, ".identifier")

    def identifiers(self) -> list[Identifier]:
        """The identifiers of a Patient. Those with the use `old` count only if there are no others."""
        current: list[Identifier] = []
        old: list[Identifier] = []
        for at, each in self.elements(self.content, "identifier"):
            system, value = self.text(each, "system", at), self.text(each, "value", at)
            if value:
                (old if each.get("use") == "old" else current).append(Identifier(system or "", value))
        return current or old

    def _kept(self, source: str | None, value: str | None, at: str) -> Named:
        """The number of a resource that this service had answered: it is stored unchanged."""
        if value is not None and not self.feed.pseudonyms.may_be_kept(value):
            self.fault(at, FaultCode.BAD_IDENTIFIER)
            return Named(source, None, at)
        return Named(source, value, at)

    def _named(self, source: str | None, value: str, at: str) -> Named:
        number = self.feed.pseudonyms.number(source, value)
        if isinstance(number, FaultCode):
            self.fault(at, number)
            return Named(source, None, at)
        return Named(source, number, at)


def is_id(text: str) -> bool:
    """Whether a text can be the id of a resource."""
    return _ID.fullmatch(text) is not None


def is_kept(identifier: Element) -> bool:
    """Whether an identifier comes from an answer of this service: its value, if any, is the stored number."""
    marks = identifier.get("extension")
    return isinstance(marks, list) and {"url": KEPT_NUMBER, "valueBoolean": True} in marks


def as_time(text: str, zone: ZoneInfo | None) -> str | FaultCode:
    """A FHIR date or dateTime in our own format: a fraction of zero is dropped, and a local time gets the offset of
    the study's zone. A leap second (`:60`) becomes the second before it. Any other text is returned unchanged.
    """
    if len(text) == 25 and text[19] in "+-" and text[17] != "6":
        return text
    shape = _TIME.fullmatch(text)
    if shape is None:
        return text
    until, seconds, fraction, offset = shape.groups()
    if seconds == "60":
        if until[14:16] not in {"59", "29", "14"}:  # leap seconds end a UTC hour; offsets are quarter hours
            return text
        seconds, fraction = "59", None
    if fraction is None or not fraction.strip(".0"):
        fraction = ""
    local = f"{until}{seconds}{fraction}"
    if offset is not None:
        return local + offset
    return FaultCode.NO_OFFSET if zone is None else with_offset(local, zone)


def as_source(system: str) -> str:
    """An identifier system as the source of a fact. A system that is too long for a source is cut, and a hash of it
    keeps it distinct.
    """
    if len(system) <= LONGEST_SOURCE:
        return system
    distinct = hashlib.sha256(system.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{system[: LONGEST_SOURCE - 17]}~{distinct}"


def same_units(unit: str) -> Accepts:
    """The spellings of the unit that is meant."""
    return Accepts(one_of=tuple(spelling for spelling in UNITS if same_unit(spelling, unit)))
