"""Answers that are kept under the key of their request, in the transaction of what the request changed.

A request with an `Idempotency-Key` runs in one transaction (`OneTransaction`). Its first statement reserves the key,
its last one stores the answer. So there is never a change without its answer, or an answer without its change; of two
requests with one key, the second waits for the first and then finds its answer.

Keys and requests are stored as hashes with the secret of the study: they may contain numbers of patients. The answer
contains what it says about patients, so that the erasure of a person removes the answers of the study.
"""

import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import Busy
from app.store.audit import numbers_of_answer
from app.store.engine import Database
from app.store.heads import part_noted
from app.store.ledger_keys import keys_of
from app.store.tables import kept_answers, studies
from app.store.writer_queue import Gathered, Item, Result, Task, run_tasks

_RUNNING = 0
"""The status of a reserved key, which only its own transaction sees."""
_OF_KEY = (
    kept_answers.c.study == bindparam("of_study"),
    kept_answers.c.client == bindparam("of_client"),
    kept_answers.c.route == bindparam("of_route"),
    kept_answers.c.key == bindparam("of_key"),
)
_STUDY = select(studies.c.key, studies.c.locked_secret).where(studies.c.id == bindparam("id"))
_FIND = select(
    kept_answers.c.request,
    kept_answers.c.status,
    kept_answers.c.headers,
    kept_answers.c.body,
    kept_answers.c.patients,
).where(*_OF_KEY, kept_answers.c.created_at > bindparam("after"))
_PRUNE = kept_answers.delete().where(kept_answers.c.created_at <= bindparam("until"))
_KEEP = (
    kept_answers.update()
    .where(*_OF_KEY)
    .values(
        status=bindparam("new_status"),
        headers=bindparam("new_headers"),
        body=bindparam("new_body"),
        patients=bindparam("new_patients"),
    )
)
_FORGET = kept_answers.delete().where(kept_answers.c.study == bindparam("of_study"), kept_answers.c.status != _RUNNING)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with a key: the study, who sent it, its route, the key, and everything else that makes the request.

    `content` has parts, because the body is large and is not copied.
    """

    study: str
    client: str
    route: str
    key: str
    content: tuple[bytes, ...]
    now: int
    kept_for: int
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to a request that was processed; `same` unless the key belongs to a request with other content.

    `patients` are the numbers of its patients in the audit, as they were stored.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    same: bool = True
    patients: bytes = b""


class KeyTaken(Exception):
    """Another request with this key was committed in the meantime."""


class OneTransaction(Database):
    """A database for one request: everything that it writes is one transaction, which begins with the first write.

    What it reads before that comes from separate snapshots. Later it comes from the transaction.
    """

    def __init__(self, database: Database, request: KeyedRequest) -> None:
        vars(self).update(vars(database))
        self._whole = database
        self._request = request
        self._open = ExitStack()
        self._connection: Connection | None = None
        self._place: dict[str, object] = {}
        self._failed: Busy | None = None
        self._afterwards: list[Callable[[], object]] = []

    def found(self) -> KeptAnswer | None:
        """The answer that is kept for the key."""
        with self._whole.reading() as connection:
            place, content = self._placed(connection)
            after = self._request.now - self._request.kept_for
            found = connection.execute(_FIND, place | {"after": after}).first() if place else None
        if found is None:
            return None
        same = hmac.compare_digest(found.request, content)
        body = zlib.decompress(found.body)
        return KeptAnswer(found.status, json.loads(found.headers), body, same, bytes(found.patients or b""))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The transaction, if it has begun; else a snapshot."""
        if self._connection is not None:
            yield self._connection
            return
        with self._whole.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A part of the transaction. An exception in the block undoes this part."""
        try:
            connection = self._begun()
            with part_noted(connection), self.failures.translated(), connection.begin_nested():
                yield connection
        except Busy as failure:
            self._failed = failure
            raise

    def alone(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in the transaction, once: what the request wrote before cannot be run again here."""
        with self.writing() as connection:
            return work(connection)

    def together(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in the transaction."""
        with self.writing() as connection:
            return work(connection)

    def gathered(self, name: str, item: Item, work: Gathered[Item, Result]) -> Result:
        """Let `work` store the item in the transaction."""
        task = Task(item, work, name)
        with self.writing() as connection:
            run_tasks([task], connection)
            return task.outcome()

    def later(self, work: Callable[[Connection], object]) -> None:
        """Run `work` soon, in a transaction of its own."""
        self._whole.later(work)

    def afterwards(self, work: Callable[[], object]) -> None:
        """Run `work` after the commit: it may need the database, or what others read of it."""
        self._afterwards.append(work)

    def keep(self, answer: KeptAnswer) -> None:
        """Store the answer and commit. Without a write there is nothing to keep.

        Raises `Busy` if a part failed for it: then a part of the request is missing, and nothing of it is stored.
        """
        if self._failed is not None:
            raise self._failed
        if self._connection is not None and self._place:
            with self.failures.translated():
                written = {
                    "new_status": answer.status,
                    "new_headers": json.dumps(dict(answer.headers)),
                    "new_body": zlib.compress(answer.body, 1),
                    "new_patients": numbers_of_answer(self._connection, self._request.study),
                }
                self._connection.execute(_KEEP, self._place | written)
        self._open.close()
        for work in self._afterwards:
            work()

    def undo(self) -> None:
        """Roll back what has not been committed."""
        with suppress(_Undone):
            self._open.__exit__(_Undone, _Undone(), None)

    def _begun(self) -> Connection:
        """The transaction, with the key reserved in it. Raises `KeyTaken`."""
        if self._connection is None:
            connection = self._open.enter_context(self._whole.writing())
            with self.failures.translated():
                self._reserve(connection)
            self._connection = connection
        return self._connection

    def _reserve(self, connection: Connection) -> None:
        """Lock the study as every writer does, before the row of the key locks it in part, and reserve the key."""
        self._place, content = self._placed(connection, _STUDY.with_for_update())
        if not self._place:
            return  # the work will say that there is no such study
        connection.execute(_PRUNE, {"until": self._request.now - self._request.kept_for})
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert
        row = {name.removeprefix("of_"): value for name, value in self._place.items()}
        reserve = insert(kept_answers).values(
            **row, request=content, created_at=self._request.now, status=_RUNNING, headers="{}", body=b""
        )
        reserved = connection.execute(reserve.on_conflict_do_nothing().returning(kept_answers.c.created_at))
        if reserved.first() is None:
            raise KeyTaken

    def _placed(
        self, connection: Connection, query: Select[tuple[int, bytes]] = _STUDY
    ) -> tuple[dict[str, object], bytes]:
        """The place of the key in the table, and the hash of the request; nothing for an unknown study."""
        request = self._request
        study = connection.execute(query, {"id": request.study}).first()
        if study is None:
            return {}, b""
        secret = keys_of(connection).unlock(study.locked_secret)
        place = {
            "of_study": study.key,
            "of_client": request.client,
            "of_route": request.route,
            "of_key": _hashed(secret, b"idempotency key", request.key.encode()),
        }
        return place, _hashed(secret, b"idempotent request", *request.content)


class _Undone(Exception):
    """Ends the transaction of a request that is not to be stored."""


def forget_answers(connection: Connection, study: int) -> None:
    """Delete the kept answers of a study, because a person is erased from it. That of the erasure itself, which names
    nobody, is still to come.
    """
    connection.execute(_FORGET, {"of_study": study})


def _hashed(secret: bytes, purpose: bytes, *parts: bytes) -> bytes:
    """The keyed hash of the parts, as lines."""
    digest = hmac.new(secret, purpose, hashlib.sha256)
    for number, part in enumerate(parts):
        digest.update(b"\n" if number else b"\0")
        digest.update(part)
    return digest.digest()
