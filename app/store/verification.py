"""Verify a whole database: every study, what was noted of it outside, and the secret file.

Everything is read from one snapshot, in the order in which it is compared, so that memory does not grow with it.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from app.store import audit, hash_chain, seals
from app.store.heads import Chain, ChainHead, HeadsFile, SignedHead
from app.store.ledger_keys import FINGERPRINT, keys_of
from app.store.queries import Query
from app.store.tables import revisions, studies

EXEMPT = {
    "intake": "counts of what arrived; no answer about a patient depends on them",
    "kept_answers": "answers to requests that are sent again within a day; no answer about a patient depends on them",
    "request_counts": "how many requests clients sent in the last hours; nothing but their limits depends on them",
    "study_facts.key": "a number of the row, to which nothing refers",
    "protocols.key": "a number of the row, to which nothing refers",
    "secret_fingerprint.key": "it is always 1",
    "api_keys.last_used_at": "it changes with each use, and opens nothing",
}
"""The tables and columns that no hash covers, and why. A test changes every other column and expects a fault."""

OUTSIDE = "heads outside"
"""The name of what is compared with the file of heads."""
GRACE_SECONDS = 60
"""How old a chain must be before a file of heads without it is a fault."""
_STUDIES = Query(select(studies.c.id, studies.c.key, studies.c.created_at).order_by(studies.c.id))
_HASH = Query(
    select(revisions.c.hash).where(revisions.c.study == bindparam("study"), revisions.c.number == bindparam("number")),
    "study",
    "number",
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified, how much of it there is, and the faults, of which the first comes first."""

    subject: str
    extent: str
    faults: tuple[str, ...]


def verify_database(connection: Connection, heads: HeadsFile | None, study: str | None = None) -> Iterator[Verified]:
    """Verify one study or all of them, and everything that they share. Raises `NotFound` for an unknown study.

    The file of heads is opened before the snapshot begins: it must not have heads that the snapshot cannot have.
    """
    with ExitStack() as files:
        noted = None if heads is None else _noted(heads, files)
        yield _verified_secret(connection)
        keys = () if seals.is_whole(connection, seals.NO_STUDY) else ("api_keys: the seal is not the seal of the rows",)
        yield Verified("keys of clients", "", keys)
        known = [study] if study is not None else [name for name, _, _ in _STUDIES.stream(connection)]
        for name in known:
            chain = hash_chain.verify(connection, name)
            extent = f"{chain.revisions} revisions, {chain.leaves} leaves, {chain.erased_leaves} of erased persons"
            yield Verified(f"study {name}", extent, chain.faults)
        count, faults = audit.verify(connection)
        yield Verified("audit", f"{count} rows", tuple(faults))
        if heads is not None and noted is not None:
            yield _verified_heads(connection, heads, noted)


def _noted(heads: HeadsFile, files: ExitStack) -> Iterable[SignedHead | str]:
    try:
        return files.enter_context(heads.as_it_is())
    except OSError as error:
        return [_unread(error)]


def _unread(error: OSError) -> str:
    return f"the file cannot be read: {error.strerror}"


def _verified_secret(connection: Connection) -> Verified:
    found = FINGERPRINT.row(connection)
    if found is None:
        return Verified("secret file", "", ("secret_fingerprint: the row is missing",))
    right = bytes(found[0]) == keys_of(connection).secret.fingerprint
    return Verified("secret file", "", () if right else ("secret_fingerprint: it is not that of the secret file",))


def _verified_heads(connection: Connection, heads: HeadsFile, noted: Iterable[SignedHead | str]) -> Verified:
    """Compare what was noted outside with the database. A file that is behind is no fault."""
    count, seen, faults = 0, set[Chain](), list[str]()
    names = {key: name for name, key, _ in _STUDIES.stream(connection)}
    found = FINGERPRINT.row(connection)
    if found is not None and bytes(found[1]) != heads.database:
        faults.append("secret_fingerprint: the name of the database is another one")
    try:
        for line in noted:
            if isinstance(line, str):
                faults.append(line)
                continue
            count += 1
            seen.add(line.chain)
            known = line.chain[1] in names or line.chain[1] == audit.NO_STUDY
            fault = fault_of(connection, line.chain, line.head) if known else "there is no such study"
            if fault is not None and len(faults) < hash_chain.MOST_FAULTS:
                kind, key = line.chain
                faults.append(
                    f"{kind} of {names.get(key, f'study {key}')}: line {line.line} has {line.head.number}, {fault}"
                )
    except OSError as error:
        faults.append(_unread(error))
    for name, key, created_at in _STUDIES.stream(connection):
        if ("study", key) not in seen and created_at < (time.time() - GRACE_SECONDS) * 1e6:
            faults.append(f"study of {name}: the file has no line of it")
    return Verified(OUTSIDE, f"{count} lines", tuple(faults))


def fault_of(connection: Connection, chain: Chain, head: ChainHead) -> str | None:
    """Why the database does not agree with a head that was noted outside, or `None` if it does."""
    kind, key = chain
    if kind == "seal":
        changes, seal = seals.seal_of(connection, key)
        if changes < head.number:
            return f"the database has {changes}: the end is missing"
        return None if changes > head.number or seal == head.hash else "the seal is another one"
    if kind == "audit":
        found = audit.hash_of(connection, key, head.number)
    else:
        row = _HASH.row(connection, key, head.number)
        found = None if row is None else bytes(row[0])
    if found is None:
        return "and the database has no such entry: the end is missing"
    return None if found == head.hash else "and the database has another hash"
