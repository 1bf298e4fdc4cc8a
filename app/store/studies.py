"""Studies, their protocols and the keys of their pseudonyms: create, change and read them at any revision."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import Conflict, NotFound, PreconditionFailed
from app.protocol.model import Protocol
from app.protocol.presets import MYOSITIS_2026
from app.store.assertions import Counts
from app.store.etags import keyed_etag
from app.store.fact_tables import LATEST, stands_at
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query
from app.store.revision_builder import LOCK_STUDY, RevisionBuilder
from app.store.seals import change, row_of
from app.store.tables import protocols, pseudonym_keys, revisions, studies, study_facts

PSEUDONYMS_MADE_OTHERWISE = (
    "The pseudonyms of this study were made with a secret that differs from the secret in the settings."
)
_NAMES = ("name", "time_zone", "test")
Identifiers = Literal["medical_record", "pseudonyms"]
MessageOffset = Literal["default", "ignore"]
ResultTime = Literal["OBR-7", "OBX-14"]
NativeIds = Literal["any", "known"]

_KEY = Query(select(studies.c.key).where(studies.c.id == bindparam("study")), "study")
_FACTS = Query(
    select(study_facts.c.name, study_facts.c.value, study_facts.c.added).where(
        study_facts.c.study == bindparam("study"), stands_at(study_facts)
    ),
    "study",
    "revision",
)
TIME_ZONE = Query(
    select(study_facts.c.value).where(
        study_facts.c.study == bindparam("study"), study_facts.c.name == "time_zone", stands_at(study_facts)
    ),
    "study",
    "revision",
)
"""The time zone of a study at a revision, as JSON text."""

_PROTOCOL = Query(
    select(protocols.c.id, protocols.c.document, protocols.c.digest, protocols.c.added).where(
        protocols.c.study == bindparam("study"), stands_at(protocols)
    ),
    "study",
    "revision",
)
_STUDY_AT = Query(
    select(
        studies.c.id, studies.c.created_at, studies.c.key, revisions.c.number, revisions.c.received_at,
        revisions.c.patients,
    )
    .join_from(studies, revisions, revisions.c.study == studies.c.key)
    .where(studies.c.id == bindparam("study"), revisions.c.number <= bindparam("revision"))
    .order_by(revisions.c.number.desc())
    .limit(1),
    "study",
    "revision",
)  # fmt: skip
_LIST = Query(
    select(studies.c.id)
    .where(studies.c.id > bindparam("after"), exists().where(revisions.c.study == studies.c.key))
    .order_by(studies.c.id)
    .limit(bindparam("limit")),
    "after",
    "limit",
)
_FIRST_OUTCOME = Query(
    select(revisions.c.first_outcome).where(
        revisions.c.study == bindparam("study"), revisions.c.number == bindparam("revision")
    ),
    "study",
    "revision",
)

_PSEUDONYM_KEY = Query(
    select(pseudonym_keys.c.fingerprint).where(pseudonym_keys.c.study == bindparam("study")), "study"
)
_PSEUDONYM_KEYS = Query(
    select(studies.c.id, pseudonym_keys.c.fingerprint)
    .join_from(pseudonym_keys, studies, studies.c.key == pseudonym_keys.c.study)
    .order_by(studies.c.id)
)
_NAMES_OF_KEYS = Query(select(studies.c.key, studies.c.id))
_INSERT_PSEUDONYM_KEY = Insertion(pseudonym_keys)

_CREATION: Any = {"id": bindparam("id"), "created_at": bindparam("at"), "locked_secret": bindparam("secret")}
_CREATE = {
    "sqlite": sqlite.insert(studies).values(_CREATION).on_conflict_do_nothing().inline(),
    "postgresql": postgresql.insert(studies).values(_CREATION).on_conflict_do_nothing().inline(),
}
_CREATE_STUDY = {name: Query(clause, "id", "at", "secret") for name, clause in _CREATE.items()}
_INSERT_FACTS = Insertion(study_facts)
_INSERT_PROTOCOL = Insertion(protocols)
_CLOSE_FACT = Query(
    study_facts.update()
    .where(
        study_facts.c.study == bindparam("of_study"),
        study_facts.c.name == bindparam("named"),
        study_facts.c.removed.is_(None),
    )
    .values(removed=bindparam("ended")),
    "ended",
    "of_study",
    "named",
)
_CLOSE_PROTOCOL = Query(
    protocols.update()
    .where(protocols.c.study == bindparam("of_study"), protocols.c.removed.is_(None))
    .values(removed=bindparam("ended")),
    "ended",
    "of_study",
)


@dataclass(frozen=True, slots=True)
class FeedDefinition:
    """What a study declares of its feeds.

    `identifiers` says whether their identifiers are numbers of medical records, which are replaced, or pseudonyms.
    `authorities` are all names of the one authority whose identifiers are used for patients. `local_codes` maps
    `system|code` to a word of the vocabulary, `unit_aliases` a unit as it is sent to a unit of the vocabulary,
    `charsets` a character set as it is sent (empty: none is sent) to its name (`readers.charsets`). The time of a
    result in HL7 v2 is in the field `result_time`. With `message_offset` `ignore`, the offset of the time of a message
    does not hold for its other times. With `native_ids` `known`, native JSON may name only patients that the study
    has. With `enrolled_only`, no feed may make a new patient. `tables` are the layouts of tables, each as JSON
    (`readers.table_layout.TableMapping`).
    """

    identifiers: Identifiers = "medical_record"
    authorities: tuple[str, ...] = ()
    local_codes: Mapping[str, str] = field(default_factory=dict)
    unit_aliases: Mapping[str, str] = field(default_factory=dict)
    charsets: Mapping[str, str] = field(default_factory=dict)
    message_offset: MessageOffset = "default"
    result_time: ResultTime = "OBR-7"
    native_ids: NativeIds = "any"
    enrolled_only: bool = False
    tables: tuple[Mapping[str, Any], ...] = ()


_FEED_DEFAULTS = asdict(FeedDefinition())
"""What a study declares of its feeds, with the values that hold if nothing is stored."""


@dataclass(frozen=True, slots=True)
class StudyDeclaration:
    """What a client declares of a study. Without a protocol a study keeps its own; a new one gets the preset for new
    studies.
    """

    name: str
    protocol: Protocol | None = None
    time_zone: str | None = None
    test: bool = False
    feeds: FeedDefinition = field(default_factory=FeedDefinition)


@dataclass(frozen=True, slots=True)
class Study:
    """A study as it stood at `revision`. `patients` is a number, times are in microseconds since 1970."""

    id: str
    name: str
    time_zone: str | None
    test: bool
    feeds: FeedDefinition
    protocol: Protocol
    protocol_digest: str
    revision: int
    received_at: int
    created_at: int
    patients: int


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What a PUT of a study or its protocol did. `revision` is `None` if it said nothing new."""

    status: Literal["created", "changed", "unchanged"]
    revision: int | None


def put_study(
    connection: Connection,
    study_id: str,
    definition: StudyDeclaration,
    *,
    client: str | None,
    received_at: int,
    only_new: bool = False,
) -> StudyOutcome:
    """Create a study (its revision 0), or change what is declared of it (its next revision).

    If it must be `only_new` and there is one already, `PreconditionFailed` is raised.
    """
    if _KEY.row(connection, study_id) is None:
        # Two clients may create it at the same time. The second one waits here, and then finds the same study.
        _CREATE_STUDY[connection.dialect.name].run(connection, study_id, received_at, keys_of(connection).new())
    builder = RevisionBuilder(connection, study_id, received_at)
    if only_new and builder.number > 0:
        raise PreconditionFailed("The study exists already.")
    stated = {name: json.dumps(getattr(definition, name)) for name in _NAMES}
    stated |= {name: json.dumps(getattr(definition.feeds, name), sort_keys=True) for name in _FEED_DEFAULTS}
    entries = _state_facts(builder, stated) + _state_protocol(builder, definition.protocol)
    return _conclude(builder, entries, "study", client)


def put_protocol(
    connection: Connection,
    study_id: str,
    protocol: Protocol,
    *,
    client: str | None,
    received_at: int,
    if_match: str | None = None,
) -> StudyOutcome:
    """Declare another protocol.

    If `if_match` is given, it must name the ETag of the protocol in force, else `PreconditionFailed` is raised.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    if if_match is not None:
        named = {tag.strip() for tag in if_match.split(",")}
        in_force = _PROTOCOL.row(connection, builder.key, LATEST)
        if in_force is None or named.isdisjoint({"*", keyed_etag(connection, study_id, in_force[2])}):
            raise PreconditionFailed
    return _conclude(builder, _state_protocol(builder, protocol), "protocol", client)


def get_study(connection: Connection, study_id: str, revision: int | None = None) -> Study:
    """A study as it stood at a revision (default: the latest). Raises `NotFound`."""
    found = _STUDY_AT.row(connection, study_id, LATEST if revision is None else min(revision, LATEST))
    if found is None or revision not in {None, found[3]}:
        study_key(connection, study_id)
        raise NotFound("The study has no revision of this number.")
    name, created_at, key, number, received_at, patients = found
    facts = {fact: json.loads(value) for fact, value, _ in _FACTS.rows(connection, key, number)}
    document, digest, _ = _protocol_at(connection, key, number)
    return Study(
        id=name,
        name=facts["name"],
        time_zone=facts["time_zone"],
        test=facts["test"],
        feeds=_feeds(facts),
        protocol=_read(document),
        protocol_digest=digest,
        revision=number,
        received_at=received_at,
        created_at=created_at,
        patients=patients,
    )


def feeds_of(connection: Connection, study_id: str) -> FeedDefinition:
    """What a study declares of its feeds now. Raises `NotFound`."""
    key = study_key(connection, study_id)
    return _feeds({fact: json.loads(value) for fact, value, _ in _FACTS.rows(connection, key, LATEST)})


def _feeds(facts: Mapping[str, Any]) -> FeedDefinition:
    declared = {name: facts[name] for name in _FEED_DEFAULTS if name in facts}
    return FeedDefinition(**declared | {name: tuple(facts.get(name, ())) for name in ("authorities", "tables")})


def protocol_in_force(connection: Connection, study_id: str) -> Protocol:
    """The protocol of a study at its latest revision. Raises `NotFound`."""
    return _read(_protocol_at(connection, study_key(connection, study_id), LATEST)[0])


def list_studies(
    connection: Connection, *, after: str | None = None, limit: int = 100, among: Collection[str] | None = None
) -> list[Study]:
    """Studies in code-point order of their identifiers: at most `limit`, after the identifier `after`; only those
    `among` the identifiers, if they are given.
    """
    if among is None:
        found = [study for (study,) in _LIST.rows(connection, after or "", limit)]
    else:
        later = (study for study in sorted(among) if study > (after or ""))
        found = list(islice((study for study in later if is_known(connection, study)), limit))
    return [get_study(connection, study) for study in found]


def protocol_changed_after_first_outcome(connection: Connection, study_id: str, revision: int) -> bool:
    """Whether the protocol in force at a revision was declared after the study had its first outcome.

    An outcome is a lab result or an assessment. If the first outcome was erased since, the answer stays the same.
    """
    key = study_key(connection, study_id)
    row = _FIRST_OUTCOME.row(connection, key, revision)
    if row is None:
        raise NotFound("The study has no revision of this number.")
    first: int | None = row[0]
    return first is not None and _protocol_at(connection, key, revision)[2] > first


def names(connection: Connection) -> dict[int, str]:
    """The identifiers of all studies, by their keys."""
    return dict(_NAMES_OF_KEYS.rows(connection))


def is_known(connection: Connection, study_id: str) -> bool:
    """Whether there is a study of this name."""
    return _KEY.row(connection, study_id) is not None


def lock(connection: Connection, study_id: str) -> bool:
    """Whether there is a study of this name. No other transaction changes it from now until this one ends."""
    return LOCK_STUDY.row(connection, study_id) is not None


def study_key(connection: Connection, study_id: str) -> int:
    """The key of a study in the other tables. Raises `NotFound`."""
    found = _KEY.row(connection, study_id)
    if found is None:
        raise NotFound("There is no study of this name.")
    key: int = found[0]
    return key


def fact_entry(verb: str, name: str, value: str) -> list[Any]:
    """The entry for a declared value in the leaf of the study."""
    return [verb, name, value]


def protocol_entry(verb: str, protocol_id: str, digest: str, document: str) -> list[Any]:
    """The entry for a protocol in the leaf of the study."""
    return [verb, "protocol", protocol_id, digest, document]


def _protocol_at(connection: Connection, key: int, revision: int) -> tuple[str, str, int]:
    row = _PROTOCOL.row(connection, key, revision)
    if row is None:
        raise NotFound("The study has no revision of this number.")
    return row[1], row[2], row[3]


@lru_cache(maxsize=64)
def _read(document: str) -> Protocol:
    return Protocol.model_validate_json(document)


def pseudonym_key(connection: Connection, study_id: str) -> str | None:
    """The fingerprint of the key that made the pseudonyms of the study; `None` if it has none."""
    known = _PSEUDONYM_KEY.row(connection, study_key(connection, study_id))
    return None if known is None else str(known[0])


def remember_pseudonym_key(connection: Connection, study_id: str, fingerprint: str) -> None:
    """Store the fingerprint of the key, in the transaction that stores the first pseudonym of the study.

    Raises `Conflict` if another key made the pseudonyms of the study: one person would become two.
    """
    key = study_key(connection, study_id)
    known = _PSEUDONYM_KEY.row(connection, key)
    if known is None:
        LOCK_STUDY.row(connection, study_id)
        _INSERT_PSEUDONYM_KEY.run(connection, [(key, fingerprint)])
        change(connection, key, [row_of(pseudonym_keys.name, fingerprint)])
    elif known[0] != fingerprint:
        raise Conflict(PSEUDONYMS_MADE_OTHERWISE)


def pseudonym_keys_of_studies(connection: Connection) -> dict[str, str]:
    """The fingerprint for each study with pseudonyms, by the identifier of the study."""
    return dict(_PSEUDONYM_KEYS.rows(connection))


def _state_facts(builder: RevisionBuilder, stated: dict[str, str]) -> list[list[Any]]:
    current = {name: (value, added) for name, value, added in _FACTS.rows(builder.connection, builder.key, LATEST)}
    defaults = {name: json.dumps(value) for name, value in _FEED_DEFAULTS.items()}
    changed = [name for name in stated if current.get(name, (defaults.get(name),))[0] != stated[name]]
    entries: list[list[Any]] = []
    for name in changed:
        if name in current:
            _CLOSE_FACT.run(builder.connection, builder.number, builder.key, name)
            entries.append([*fact_entry("removed", name, current[name][0]), current[name][1]])
        entries.append(fact_entry("added", name, stated[name]))
    _INSERT_FACTS.run(
        builder.connection, [(None, builder.key, name, stated[name], builder.number, None) for name in changed]
    )
    return entries


def _state_protocol(builder: RevisionBuilder, declared: Protocol | None) -> list[list[Any]]:
    current = _PROTOCOL.row(builder.connection, builder.key, LATEST)
    protocol = declared or MYOSITIS_2026
    digest, document = protocol.digest, protocol.model_dump_json()
    entries: list[list[Any]] = []
    if current is not None and (declared is None or current[2] == digest):
        return entries
    if current is not None:
        _CLOSE_PROTOCOL.run(builder.connection, builder.number, builder.key)
        entries.append([*protocol_entry("removed", current[0], current[2], current[1]), current[3]])
    _INSERT_PROTOCOL.run(builder.connection, [(None, builder.key, protocol.id, digest, document, builder.number, None)])
    entries.append(protocol_entry("added", protocol.id, digest, document))
    return entries


def _conclude(builder: RevisionBuilder, entries: list[list[Any]], format: str, client: str | None) -> StudyOutcome:
    if not entries:
        return StudyOutcome("unchanged", None)
    number = builder.append_revision([], Counts(), format=format, client=client, entries=entries)
    builder.write()
    return StudyOutcome("created" if number == 0 else "changed", number)
