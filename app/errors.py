"""The refusals of the service, and the faults of documents.

Each refusal is a class. Its docstring is the title that a client reads; its attributes are the HTTP status and the slug
of the problem type. A `Fault` is one thing that is wrong with a document: a place and a code, never the value at that
place. Error messages are copied into tickets and logs, and must not contain a patient's data. What would have been
accepted at that place (`Accepts`) is a fact about the service, not about what was sent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema


class FaultCode(StrEnum):
    """What can be wrong at one place of a document or a request; `SENTENCES` has the sentence of each code."""

    MISSING = "missing"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    TOO_MANY = "too_many"
    BAD_IDENTIFIER = "bad_identifier"
    BAD_TEXT = "bad_text"
    UNKNOWN_VALUE = "unknown_value"
    UNKNOWN_CODE = "unknown_code"
    UNKNOWN_UNIT = "unknown_unit"
    MASS_UNIT = "mass_unit"
    UNIT_MISMATCH = "unit_mismatch"
    BAD_TIME = "bad_time"
    NO_OFFSET = "no_offset"
    FUTURE_TIME = "future_time"
    REVERSED_PERIOD = "reversed_period"
    REVERSED_LIMITS = "reversed_limits"
    OFF_SCALE = "off_scale"
    SCALE_NOT_DECLARABLE = "scale_not_declarable"
    LENGTH_MISMATCH = "length_mismatch"
    BEFORE_BIRTH = "before_birth"
    DOSE_WITHOUT_UNIT = "dose_without_unit"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    PATH_MISMATCH = "path_mismatch"
    UNKNOWN_PARAMETER = "unknown_parameter"
    REPEATED_PARAMETER = "repeated_parameter"
    CONTRADICTION = "contradiction"
    MALFORMED = "malformed"
    DUPLICATE_KEY = "duplicate_key"
    CODE_CONFLICT = "code_conflict"
    NO_SUBJECT = "no_subject"
    AMBIGUOUS_SUBJECT = "ambiguous_subject"
    UNKNOWN_REFERENCE = "unknown_reference"
    ERASED = "erased"
    UNKNOWN_MODIFIER = "unknown_modifier"
    AMBIGUOUS_TIME = "ambiguous_time"
    VALUE_AND_REASON = "value_and_reason"
    REPEATED_VALUE = "repeated_value"
    UNSUPPORTED = "unsupported"
    NOT_PRODUCTION = "not_production"
    BAD_NUMBER = "bad_number"
    RAGGED_ROW = "ragged_row"
    UNKNOWN_COLUMN = "unknown_column"
    REPEATED_COLUMN = "repeated_column"
    UNKNOWN_ENCODING = "unknown_encoding"
    REUSED_KEY = "reused_key"
    LETTERS_UNAVAILABLE = "letters_unavailable"
    FORMULA = "formula"
    UNCLEAR_CELL = "unclear_cell"
    MERGED_CELLS = "merged_cells"
    HIDDEN = "hidden"
    UNKNOWN_SHEET = "unknown_sheet"
    REPEATED_SHEET = "repeated_sheet"
    EMPTY_SHEET = "empty_sheet"
    MACROS = "macros"
    EXTERNAL_LINK = "external_link"
    ENCRYPTED = "encrypted"


SENTENCES: dict[FaultCode, str] = {
    FaultCode.MISSING: "This field is required.",
    FaultCode.UNKNOWN_FIELD: "An object here has a field that this version does not know.",
    FaultCode.WRONG_TYPE: "The value has another JSON type than the documented one.",
    FaultCode.NOT_FINITE: "A number must be finite and must not round to zero or overflow.",
    FaultCode.OUT_OF_RANGE: "The value is outside the documented range of this field.",
    FaultCode.TOO_LONG: "The text or list is longer than this field allows.",
    FaultCode.TOO_SHORT: "The text or list is shorter than this field allows.",
    FaultCode.TOO_MANY: "The document has more items than one submission may have.",
    FaultCode.BAD_IDENTIFIER: "An identifier is 1 to 64 of the characters A-Z, a-z, 0-9, dot and hyphen. A number is "
    "no word for a missing one (`UNKNOWN`), and not what a spreadsheet makes of a number (`77.0`, `1.2E+11`).",
    FaultCode.BAD_TEXT: "Text must not be empty and must not contain control characters.",
    FaultCode.UNKNOWN_VALUE: "The value is not one of those documented for this field.",
    FaultCode.UNKNOWN_CODE: "The code is not one that this service knows.",
    FaultCode.UNKNOWN_UNIT: "The unit is missing or is not in the table of accepted units; a unit is never guessed.",
    FaultCode.MASS_UNIT: "A mass concentration is not an enzyme activity: this is CK-MB mass or another assay.",
    FaultCode.UNIT_MISMATCH: "The unit does not measure what this code reports.",
    FaultCode.BAD_TIME: "A time is a calendar date, or an RFC 3339 date-time with an offset between -12:00 and +14:00.",
    FaultCode.NO_OFFSET: "A date-time needs its offset from UTC; without one the laboratory day would be guessed.",
    FaultCode.FUTURE_TIME: "The time is more than 24 hours later than this service's clock.",
    FaultCode.REVERSED_PERIOD: "The end is before the start.",
    FaultCode.REVERSED_LIMITS: "The lower limit is greater than the upper limit.",
    FaultCode.OFF_SCALE: "The score lies outside the scale of its instrument.",
    FaultCode.SCALE_NOT_DECLARABLE: "This instrument has a fixed scale; only MMT and ADL may declare one.",
    FaultCode.LENGTH_MISMATCH: "Parallel arrays must have the same length.",
    FaultCode.BEFORE_BIRTH: "The event is before the patient's year of birth.",
    FaultCode.DOSE_WITHOUT_UNIT: "A dose and its unit are given together or not at all.",
    FaultCode.CONFLICTING_DUPLICATE: "The document states the same fact twice with different content.",
    FaultCode.PATH_MISMATCH: "The identifier in the document differs from the one in the path.",
    FaultCode.UNKNOWN_PARAMETER: "This resource does not take a query parameter of this name.",
    FaultCode.REPEATED_PARAMETER: "A query parameter may be given only once.",
    FaultCode.CONTRADICTION: "This definition contradicts another part of the protocol.",
    FaultCode.MALFORMED: "The text does not follow the grammar of its format, for example JSON (RFC 8259).",
    FaultCode.DUPLICATE_KEY: "An object has the same key twice.",
    FaultCode.CODE_CONFLICT: "The codes contradict each other, or the text names another analyte: CK-MB is not CK.",
    FaultCode.NO_SUBJECT: "It is not stated which patient this is about.",
    FaultCode.AMBIGUOUS_SUBJECT: "Several identifiers are given, and the study declares no authority that selects one.",
    FaultCode.ERASED: "The data of this person were erased from the study, and no new data are stored.",
    FaultCode.UNKNOWN_REFERENCE: "The reference points to nothing in this submission or study; none is fetched.",
    FaultCode.UNKNOWN_MODIFIER: "This modifier is not known here. It may change the meaning and cannot be ignored.",
    FaultCode.AMBIGUOUS_TIME: "This local time does not exist on that day, or exists twice; send it with its offset.",
    FaultCode.VALUE_AND_REASON: "A result has a value or the reason why it has none, not both.",
    FaultCode.REPEATED_VALUE: "Only one value is allowed here, and several are given.",
    FaultCode.UNSUPPORTED: "Content of this kind is not read here.",
    FaultCode.NOT_PRODUCTION: "The message is marked as training or debugging; this is not a test study.",
    FaultCode.BAD_NUMBER: "A number has digits and at most one decimal mark, which must be the declared one.",
    FaultCode.RAGGED_ROW: "The row and the header have different numbers of cells.",
    FaultCode.UNKNOWN_COLUMN: "The header names a column that is not documented.",
    FaultCode.REPEATED_COLUMN: "The header names a column twice.",
    FaultCode.UNKNOWN_ENCODING: "The character set is not declared, is not known, or does not match the bytes.",
    FaultCode.LETTERS_UNAVAILABLE: "The message is refused and cannot be kept, because the directory of dead letters "
    "is full or cannot be used: send it again.",
    FaultCode.REUSED_KEY: "This Idempotency-Key was sent before, with another request; each request needs its own.",
    FaultCode.FORMULA: "The cell has a formula. The result that is stored beside it may be old, so it is not read.",
    FaultCode.UNCLEAR_CELL: "The cell has an error, or shows another value than it stores.",
    FaultCode.MERGED_CELLS: "Cells are merged, so that it is not stated what all but the first of them say.",
    FaultCode.HIDDEN: "The sheet, row or column is hidden. It is not clear whether it belongs to the data.",
    FaultCode.UNKNOWN_SHEET: "The sheet has a name that is no kind of table, or is of another kind than asked for.",
    FaultCode.REPEATED_SHEET: "Two sheets of the workbook are of the same kind.",
    FaultCode.EMPTY_SHEET: "The sheet has no header.",
    FaultCode.MACROS: "The workbook has macros.",
    FaultCode.EXTERNAL_LINK: "The workbook has links to other files, or takes data from elsewhere.",
    FaultCode.ENCRYPTED: "The workbook has a password.",
}


MOST_IN_WORDS = 40
"""How many words of a set a sentence lists; `Accepts.one_of` has all of them."""

Absent = SkipJsonSchema[None]
"""A field that is left out of the JSON if nothing is stated, so that `null` is not in its schema."""
Bound = Annotated[int | float, WithJsonSchema({"type": "number"})]


def _stated(description: str, example: object) -> Any:  # noqa: ANN401 - as Field is typed
    return Field(default=None, description=description, examples=[example], exclude_if=lambda value: value is None)


class Accepts(BaseModel):
    """What a place accepts: a value must meet everything that is stated. `null` is never mentioned."""

    model_config = ConfigDict(frozen=True)

    one_of: tuple[str, ...] | Absent = _stated("All words; with `types`, also any value of these types.", ["final"])
    types: tuple[str, ...] | Absent = _stated("JSON types.", ["number"])
    at_least: Bound | Absent = _stated("Least number.", 0)
    more_than: Bound | Absent = _stated("The number is greater.", 0)
    at_most: Bound | Absent = _stated("Greatest number.", 100)
    less_than: Bound | Absent = _stated("The number is less.", 0.5)
    at_least_characters: int | Absent = _stated("Least length of a text.", 1)
    at_most_characters: int | Absent = _stated("Greatest length of a text.", 64)
    at_least_items: int | Absent = _stated("Least number of items.", 1)
    at_most_items: int | Absent = _stated("Greatest number of items.", 60)
    form: str | Absent = _stated("The form of a text in words.", "YYYY-MM-DD")
    pattern: str | Absent = _stated("The form as a regular expression.", "^[0-9]{4}$")
    see: str | Absent = _stated("Where the whole list is.", "https://www.iana.org/time-zones")

    @property
    def words(self) -> str:
        """The same for a person, as a sentence. It lists only words that any character set can write."""
        return f"Accepted: {'; '.join(self._parts())}."

    def _parts(self) -> Iterator[str]:
        if self.one_of is not None:
            listed = [word for word in self.one_of if word.isascii()][:MOST_IN_WORDS]
            more = len(self.one_of) - len(listed)
            yield ", ".join(listed) + (f" and {more} more" if more else "")
        bounds = (("more than", self.more_than), ("less than", self.less_than))
        strict = [f"{name} {bound:.12g}" for name, bound in bounds if bound is not None]
        sizes = (
            _span(self.at_least, self.at_most, ""),
            *strict,
            _span(self.at_least_characters, self.at_most_characters, " characters"),
            _span(self.at_least_items, self.at_most_items, " items"),
        )
        text = self.form or (self.pattern and f"the regular expression {self.pattern}")
        stated = [each for each in (" and ".join(filter(None, sizes)), text, self.see and f"see {self.see}") if each]
        if self.types is not None and (self.one_of is not None or not stated):
            yield f"JSON {' or '.join(self.types)}"
        yield from stated


def _span(least: float | None, most: float | None, unit: str) -> str:
    if least is not None and most is not None:
        return f"{least:.12g}{unit}" if least == most else f"{least:.12g} to {most:.12g}{unit}"
    if least is None and most is None:
        return ""
    return f"at least {least:.12g}{unit}" if most is None else f"at most {most:.12g}{unit}"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong: its place and a code; `detail` says more than the sentence of the code.

    The place is a JSON pointer (RFC 6901). Feeds use the notation of their own format: `OBX[2]-5` in HL7 v2, an
    expression in FHIR, `/7/value` for row 7 of a table. `accepts` says what the place accepts, where that can be
    said. It follows from the place, so that it takes no part in comparisons: of equal faults, the first is kept.
    """

    pointer: str
    code: FaultCode
    detail: str | None = None
    accepts: Accepts | None = field(default=None, compare=False)

    @property
    def sentence(self) -> str:
        """The fault as a sentence for a person; it never contains the submitted value."""
        return self.detail or SENTENCES[self.code]

    @property
    def explanation(self) -> str:
        """The sentence, and after it what would have been accepted."""
        return self.sentence if self.accepts is None else f"{self.sentence} {self.accepts.words}"

    def at(self, place: str) -> "Fault":
        """The same fault at another place, such as the one in the message that a document was made from."""
        return replace(self, pointer=place)


def pointer(*parts: str | int) -> str:
    """A JSON pointer from its reference tokens, escaped as RFC 6901 section 3 says."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class Cause(StrEnum):
    """Why the database cannot serve."""

    DISK_FULL = "disk_full"
    IO_ERROR = "io_error"
    READ_ONLY = "read_only"
    UNSAFE_SETTINGS = "unsafe_settings"
    LOCKED = "locked"
    UNREACHABLE = "unreachable"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    RESTARTING = "restarting"
    NO_TABLES = "no_tables"
    DAMAGED = "damaged"


CAUSES: dict[Cause, str] = {
    Cause.DISK_FULL: "The disk of the database is full.",
    Cause.IO_ERROR: "The disk of the database reports an error.",
    Cause.READ_ONLY: "The database can be read, but not written to.",
    Cause.UNSAFE_SETTINGS: "The settings of the database allow that data are lost with the power.",
    Cause.LOCKED: "The database is locked.",
    Cause.UNREACHABLE: "The database cannot be reached.",
    Cause.TOO_MANY_CONNECTIONS: "The database has no free connection.",
    Cause.RESTARTING: "The database is starting or stopping.",
    Cause.NO_TABLES: "The database does not have the tables of this version.",
    Cause.DAMAGED: "The database is damaged.",
}
"""The sentence of each cause."""


class ServiceError(Exception):
    """The request cannot be served."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"

    def __init__(
        self,
        detail: str | None = None,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail
        each_once = dict.fromkeys(faults)
        self.faults = tuple(sorted(each_once, key=lambda fault: (fault.pointer, fault.code, fault.detail or "")))
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        """Further members of the problem document, as JSON."""

    @classmethod
    def title(cls) -> str:
        """The first sentence of the class's docstring, without its full stop."""
        return (cls.__doc__ or "").strip().split("\n")[0].rstrip(".")


class MalformedDocument(ServiceError):
    """The document cannot be read."""

    status = 400
    slug = "malformed"


class AmbiguousAddress(ServiceError):
    """The address is not written in the one form that this service reads.

    A proxy may read it as another address: it has a percent-encoded slash, backslash, dot, percent sign, letter or
    digit, an empty part, `.` or `..`, a semicolon, a fragment, a control character, or begins with a host.
    """

    status = 400
    slug = "ambiguous-address"


class Unauthorized(ServiceError):
    """This needs a valid API key or bearer token."""

    status = 401
    slug = "unauthorized"


class Forbidden(ServiceError):
    """The key or token is valid, but does not allow this."""

    status = 403
    slug = "forbidden"


class ForeignOrigin(ServiceError):
    """The request names a host or an origin that this service does not accept."""

    status = 403
    slug = "foreign-origin"


class NotFound(ServiceError):
    """There is nothing at this address."""

    status = 404
    slug = "not-found"


class MethodNotAllowed(ServiceError):
    """This address does not support this method."""

    status = 405
    slug = "method-not-allowed"


class NotAcceptable(ServiceError):
    """This address has no content in a media type that Accept names."""

    status = 406
    slug = "not-acceptable"


class BodyTimeout(ServiceError):
    """The request body did not arrive in time."""

    status = 408
    slug = "body-timeout"


class HeadTimeout(ServiceError):
    """The head of the request did not arrive in time."""

    status = 408
    slug = "head-timeout"


class Conflict(ServiceError):
    """The request contradicts the state of the study or of the service."""

    status = 409
    slug = "conflict"


class Erased(ServiceError):
    """The person has been erased, and with them the content of this address."""

    status = 410
    slug = "erased"


class PreconditionFailed(ServiceError):
    """The resource has changed since the version that If-Match names."""

    status = 412
    slug = "precondition-failed"


class TooLarge(ServiceError):
    """The body is larger than this service accepts."""

    status = 413
    slug = "too-large"


class AddressTooLong(ServiceError):
    """The address is longer than this service reads."""

    status = 414
    slug = "address-too-long"


class UnsupportedMediaType(ServiceError):
    """This address does not read this media type or content coding."""

    status = 415
    slug = "unsupported-media-type"


class InvalidDocument(ServiceError):
    """The document is readable but not acceptable."""

    status = 422
    slug = "invalid"


class NothingKept(ServiceError):
    """Nothing that was sent counts: all of it was refused, set aside, or is not kept here.

    The problem has the outcome of each item with its receipt.
    """

    status = 422
    slug = "nothing-kept"


class PreconditionRequired(ServiceError):
    """Replacing or erasing needs the If-Match header with the ETag of the version that was read."""

    status = 428
    slug = "precondition-required"


class TooManyRequests(ServiceError):
    """The client has sent more requests than its rate allows."""

    status = 429
    slug = "too-many-requests"


class HeadersTooLarge(ServiceError):
    """The request headers are larger than this service reads."""

    status = 431
    slug = "headers-too-large"


class NotInstalled(ServiceError):
    """This needs a package that is not installed here."""

    status = 501
    slug = "not-installed"


class Busy(ServiceError):
    """The service cannot process the request now; it may be sent again."""

    status = 503
    slug = "busy"

    def __init__(
        self,
        detail: str | None = None,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        *,
        cause: Cause | None = None,
    ) -> None:
        super().__init__(detail or (CAUSES[cause] if cause is not None else None), faults, headers, members)
        self.cause = cause
        """Why the database cannot serve, if it is the reason."""


class Unavailable(Busy):
    """The database cannot be used until its operator has acted; sending the request again does not help before."""

    slug = "unavailable"


class TakesTooLong(ServiceError):
    """The answer takes longer to compute than this service allows.

    The same question takes as long again; ask for less, such as fewer resamples or a smaller study.
    """

    status = 504
    slug = "takes-too-long"
