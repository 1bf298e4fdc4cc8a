"""Exports that are read again: each belongs to a study, and must come as it was written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import Conflict, InvalidDocument, ServiceError
from app.readers.exports import ExportHead, LinesSeen, head_of_export
from app.readers.pseudonyms import fingerprint, study_key
from app.readers.streams import Line, Lines
from app.store import studies
from app.store.engine import Database


@dataclass(frozen=True, slots=True)
class ReadExport:
    """An export that was read, as far as it was read."""

    head: ExportHead
    seen: LinesSeen = field(default_factory=LinesSeen)

    @property
    def is_whole(self) -> bool:
        """Whether all lines came, unchanged."""
        return (self.seen.count, self.seen.digest) == (self.head.lines, self.head.digest)

    @property
    def objection(self) -> str:
        """What is wrong with an export that is not whole."""
        head, count = self.head, self.seen.count
        what = (
            f"has {count:,} of its {head.lines:,} lines"
            if count != head.lines
            else f"has its {count:,} lines, and some of them were changed"
        )
        return f"The export of study {head.study} at revision {head.revision} {what}"


class Exports:
    """The exports in a stream of lines for one study.

    `secret` makes the pseudonyms of the study. `moved_from` is the name of another study whose export is taken, too.
    """

    def __init__(self, database: Database, study: str, secret: str | None, moved_from: str | None = None) -> None:
        self.read: list[ReadExport] = []
        self.refused: dict[int, ServiceError] = {}
        """The refusals of lines of exports that are not taken, by the number of the line."""
        self.made_with: str | None = None
        """The fingerprint of the key of the study, if pseudonyms in an export were made with it."""
        self._of_study = database, study, secret, moved_from
        self._refusal: ServiceError | None = None
        self._begun = False

    def timelines(self, lines: Sequence[Line]) -> list[Line]:
        """The lines without the first line of each export.

        An export that is not taken is raised if nothing comes before it. Later its lines are among `refused`.
        """
        found = []
        self.refused.clear()
        for line in lines:
            text = line.text or b""
            try:
                head = head_of_export(text)
                if head is not None:
                    self._begin(head)
                    continue
            except ServiceError as refusal:
                if not self._begun:
                    raise
                self._refusal = refusal
            if self._refusal is not None:
                self.refused[line.number] = self._refusal
            elif self.read:
                self.read[-1].seen.add(text)
            self._begun = True
            found.append(line)
        return found

    def _begin(self, head: ExportHead) -> None:
        self.made_with = key_of_export(head, *self._of_study) or self.made_with
        self.read.append(ReadExport(head))
        self._refusal, self._begun = None, True


def key_of_export(
    head: ExportHead, database: Database, study_id: str, secret: str | None, moved_from: str | None
) -> str | None:
    """The fingerprint of the key with which the pseudonyms of an export and those of a study are made, if one key is.

    Raises `NotFound` for an unknown study. Raises `Conflict` if the export is of another study than `moved_from`, or if
    its pseudonyms were made with another key: the study's feeds would give each person another pseudonym.
    """
    with database.reading() as transaction:
        declared = studies.get_study(transaction, study_id).feeds
        made_with = studies.pseudonym_key(transaction, study_id)
    makes = declared.identifiers == "medical_record"
    if head.pseudonyms is not None and (makes or made_with is not None):
        if made_with is None and secret is None:
            raise Conflict(
                f"The export of study {head.study} has pseudonyms, and the service has no secret to compare their key: "
                "set MYORESPONSE_PSEUDONYM_SECRET_FILE to the secret that they were made with."
            )
        key = made_with or fingerprint(study_key(secret or "", study_id))
        if key != head.pseudonyms:
            raise Conflict(
                f"The pseudonyms in the export of study {head.study} were made with another key than those of study "
                f"{study_id}, whose feeds would make a second patient of each person. The key depends on the secret "
                f"and on the name: use the name {head.study} and its secret, or a study without pseudonyms of its own "
                "that declares `identifiers` as `pseudonyms`."
            )
    if head.study not in {study_id, moved_from}:
        raise Conflict(
            f"This is an export of study {head.study}, not of {study_id}. If it is to go to {study_id}, add "
            f"`--moved-from {head.study}` to the command, or `moved_from={head.study}` to the address."
        )
    return head.pseudonyms if makes else None


def whole_exports(exports: Exports, body: bytes) -> bytes:
    """A text of lines without the first lines of its exports.

    Raises `InvalidDocument` if one of them is not whole, and what refuses one.
    """
    cutter = Lines(len(body))
    lines = exports.timelines(cutter.feed(body) + cutter.end())
    for refusal in exports.refused.values():
        raise refusal
    for each in exports.read:
        if not each.is_whole:
            raise InvalidDocument(f"{each.objection}.")
    return b"\n".join(line.text or b"" for line in lines) if exports.read else body
