"""What a harness measures, and the promises that the figures belong to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number of one promise."""

    promise: str
    """The number of the promise: `P3`."""
    what: str
    """What was counted or measured, with its conditions."""
    value: str
    """The count or the measure, with its unit."""


class NotHere(Exception):
    """This machine cannot run the harness. The text says what is missing."""


PROMISES: dict[str, tuple[str, str]] = {
    "P1": (
        "A write that was acknowledged survives the death of the process.",
        "WAL with `synchronous=FULL`; the answer is sent after COMMIT has returned, never before.",
    ),
    "P2": (
        "A write that was acknowledged survives a loss of power.",
        "As above; readiness refuses PostgreSQL without `fsync`, `full_page_writes` or `synchronous_commit`.",
    ),
    "P3": (
        "A request that is sent again never counts twice.",
        "The identity of each fact is unique; an `Idempotency-Key` is a row in the transaction of its effect.",
    ),
    "P4": ("A refused or failed document leaves nothing behind.", "One transaction for each document."),
    "P5": (
        "Each item of a batch has one outcome.",
        "Atomic, or each item for itself; outcomes are in the order of the items.",
    ),
    "P6": (
        "A correction supersedes and never erases.",
        "Revisions that are only added to; a number rule over all statements.",
    ),
    "P7": ("An analysis reads one state of the study.", "One snapshot of the database at one revision."),
    "P8": (
        "The same question to the same revision has the same bytes as its answer.",
        "Total orders, exact sums, a digest of the input.",
    ),
    "P9": (
        "No patient data are in logs, problems, addresses or metrics.",
        "Errors carry a pointer and a code, and the log the template of a route.",
    ),
    "P10": (
        "A client never learns of a study that is not its own.",
        "Each statement names its study; tags are keyed for each study.",
    ),
    "P11": ("Small groups do not identify a person.", "Counts below the declared size are withheld."),
    "P12": (
        "What was done is recorded, and no record can be changed unnoticed.",
        "Chained entries with keys and signed heads outside the database; `python -m app verify`.",
    ),
    "P13": (
        "A server that is asked to stop finishes what it has accepted.",
        "Readiness refuses first; then requests are finished, with a limit of time.",
    ),
    "P14": ("Hostile bodies do not use up memory or processor.", "One budget for each request, charged at the door."),
    "P15": (
        "Overload is refused and does not slow down what was admitted.",
        "Admission by count and bytes, limits by client, worker processes with a deadline.",
    ),
    "P16": (
        "Migrations go both ways without a loss.",
        "One transaction for all migrations; tables are added to before anything is removed.",
    ),
    "P17": ("A backup can be restored.", "Online backup of SQLite, `pg_dump` and `pg_restore` of PostgreSQL."),
    "P18": (
        "Times and zones are kept.",
        "Microseconds of UTC as integers, with offset and precision; waits use a clock that never jumps.",
    ),
    "P19": (
        "Only good tokens are accepted.",
        "An allowed list of algorithms, audience, expiry and key, checked by a library.",
    ),
    "P20": ("No update is lost.", "Strong ETags; PUT of something that exists needs `If-Match`."),
    "P21": ("What is installed is known.", "Locks with hashes."),
    "P22": (
        "Each answer is a documented one.",
        "The description lists each status; a last handler answers with a problem document.",
    ),
    "P23": (
        "Where nothing happens, no claim is supported more often than its error rate.",
        "One rule book of claims (`docs/claims.md`); exact tests; families of tests adjusted together.",
    ),
    "P24": (
        "An interval of a model covers what it says.",
        "The numbers of patients and visits from which a model is offered were fixed by simulation; else it is null.",
    ),
    "P25": (
        "An interval of 95 % contains the truth in 95 % of studies; of approximate ones the page says how many do.",
        "Exact methods for rates; t for means; what is approximate is named in each answer.",
    ),
}
"""What is promised, and by which mechanism, by number."""
