"""API keys: make, find, rotate and revoke them.

A key is `myo_<prefix>_<secret>`. The prefix names it in lists, logs and the ledger. The secret has 256 bits and is
shown once. Only an HMAC of the key and of what it allows is stored, made with a key outside the database. A slow hash
would add nothing: nobody can try 2^256 secrets. The end of a key is part of the seal of its row (`store.seals`), which
is looked at with each use: nobody can make a revoked or expired key live again in the database.

Keys are made, listed and ended by commands of an operator. Each of these has a row in the audit, in its transaction.
"""

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from app.access.callers import ALL_SCOPES, FOREVER, Caller, Scope
from app.errors import Conflict, NotFound
from app.store import api_keys, audit
from app.store.api_keys import StoredKey
from app.store.engine import Database, Transaction
from app.timeline.times import instant_text

KEY_MARK = "myo_"
"""How each key begins, so that people and scanners recognise one."""
_FORM = re.compile(rf"{KEY_MARK}([0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}")
MINUTE = 60_000_000
FIRST_NAME = "first"
LISTED_SECONDS = 1.0
"""How long a list of all keys is used to tell keys from guesses."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `text` is the whole key; it cannot be shown again."""

    text: str
    stored: StoredKey


class ApiKeys:
    """The keys of a database. Their hashes are keyed by the secret file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marked: dict[str, int] = {}
        self._listed: dict[str, StoredKey] = {}
        self._listed_until = 0.0
        self._lock = threading.Lock()

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        studies: Iterable[str] | None = None,
        *,
        now: int,
        expires_at: int | None = None,
    ) -> NewKey:
        """Make a key and store its hash."""
        new = self._new(name, scopes, studies, now, expires_at)
        with self._database.writing() as transaction:
            api_keys.add(transaction, new.stored)
            _note(transaction, "create", now, new.stored.prefix)
        return new

    def create_first(self, now: int) -> NewKey | None:
        """Make a key with every scope, unless there was ever a key."""
        new = self._new(FIRST_NAME, ALL_SCOPES, None, now, None)
        with self._database.writing() as transaction:
            if api_keys.any_key(transaction):
                return None
            api_keys.add(transaction, new.stored)
            _note(transaction, "create-first", now, new.stored.prefix)
        return new

    def rotate(self, prefix: str, *, now: int, overlap: int) -> NewKey:
        """Make a key that allows the same as the one with this prefix, which stays valid for `overlap` microseconds.

        Raises `NotFound` and, for a key that is not valid or was rotated before, `Conflict`.
        """
        with self._database.writing() as transaction:
            old = self._known(transaction, prefix)
            if not old.valid(now) or old.successor is not None:
                raise Conflict("The key is revoked, expired or rotated already.")
            lifetime = None if old.expires_at is None else now + old.expires_at - old.created_at
            new = self._new(old.name, map(Scope, old.scopes), old.studies, now, lifetime)
            api_keys.add(transaction, new.stored)
            until = now + overlap
            api_keys.succeed(
                transaction, prefix, new.stored.prefix, until if old.expires_at is None else min(until, old.expires_at)
            )
            _note(transaction, "rotate", now, prefix, new.stored.prefix)
        return new

    def revoke(self, prefix: str, now: int) -> None:
        """Let a key be refused from now on. Raises `NotFound`; to revoke it again changes nothing."""
        with self._database.writing() as transaction:
            self._known(transaction, prefix)
            if api_keys.revoke(transaction, prefix, now):
                _note(transaction, "revoke", now, prefix)

    def all(self) -> list[StoredKey]:
        """All keys, the oldest first."""
        with self._database.reading() as connection:
            return api_keys.listed_keys(connection)

    def listed(self, now: int) -> list[StoredKey]:
        """The same for an operator. That they were listed has a row in the audit."""
        with self._database.writing() as transaction:
            _note(transaction, "list", now)
            return api_keys.listed_keys(transaction)

    def caller(self, text: str, now: int) -> Caller | None:
        """Whom a key stands for; `None` if it is not a valid one."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        prefix = match[1]
        with self._database.reading() as connection:
            stored = api_keys.find(connection, prefix)
        if stored is None or not stored.valid(now) or not self._is_key(text, stored):
            return None
        self._mark_used(stored, now)
        studies = None if stored.studies is None else frozenset(stored.studies)
        ends_at = FOREVER if stored.expires_at is None else stored.expires_at
        return Caller(f"key:{prefix}", frozenset(map(Scope, stored.scopes)), studies, ends_at)

    def was_made(self, text: str) -> bool:
        """Whether this is one of the keys, valid or not, as the database listed them in the last second. However often
        this is asked, they are read once a second at most.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            return False
        with self._lock:
            is_due = time.monotonic() >= self._listed_until
            self._listed_until = time.monotonic() + LISTED_SECONDS if is_due else self._listed_until
        if is_due:
            self._listed = {stored.prefix: stored for stored in self.all()}
        stored = self._listed.get(match[1])
        return stored is not None and self._is_key(text, stored)

    def has_session(self, prefix: str, begun_at: int, now: int) -> bool:
        """Whether a session that was made from the key with this prefix goes on: the key is valid, and it has not ended
        its sessions since.
        """
        with self._database.reading() as connection:
            stored = api_keys.find(connection, prefix)
        return stored is not None and stored.valid(now) and begun_at > (stored.sessions_after or 0)

    def end_sessions(self, prefix: str, now: int) -> None:
        """End every session that was made from a key."""
        with self._database.writing() as transaction:
            api_keys.end_sessions(transaction, prefix, now)

    def _new(
        self, name: str, scopes: Iterable[Scope], studies: Iterable[str] | None, now: int, expires_at: int | None
    ) -> NewKey:
        prefix = secrets.token_hex(4)
        text = f"{KEY_MARK}{prefix}_{secrets.token_urlsafe(32)}"
        wanted = set(scopes)
        allowed = tuple(scope for scope in Scope if scope in wanted)
        named = None if studies is None else tuple(sorted(set(studies)))
        return NewKey(text, StoredKey(prefix, self._hash(text, allowed, named), name, allowed, named, now, expires_at))

    def _is_key(self, text: str, stored: StoredKey) -> bool:
        return hmac.compare_digest(self._hash(text, stored.scopes, stored.studies), stored.hash)

    def _hash(self, text: str, scopes: Sequence[str], studies: Sequence[str] | None) -> bytes:
        """The hash of a key and of what it allows: nobody can widen a key in the database."""
        return hmac.digest(self._hash_key, json.dumps([text, scopes, studies]).encode(), hashlib.sha256)

    @cached_property
    def _hash_key(self) -> bytes:
        return self._database.keys.secret.key("key-hash")

    @staticmethod
    def _known(transaction: Transaction, prefix: str) -> StoredKey:
        stored = api_keys.find(transaction, prefix)
        if stored is None:
            raise NotFound("There is no key with this prefix.")
        return stored

    def _mark_used(self, stored: StoredKey, now: int) -> None:
        """Store the time of use, once a minute at most and without making anybody wait."""
        with self._lock:
            if now - max(self._marked.get(stored.prefix, 0), stored.last_used_at or 0) < MINUTE:
                return
            self._marked[stored.prefix] = now
        self._database.later(lambda transaction: api_keys.mark_used(transaction, [(stored.prefix, now)]))


def _note(transaction: Transaction, what: str, at: int, *prefixes: str) -> None:
    """Store the audit row of a command for keys: what was done, and the prefixes that name the keys."""
    who = audit.Who(" ".join(("keys", what, *prefixes)), "command", "command")
    audit.store(transaction, [audit.AuditEntry(who, at, None, None, "nothing")])


def key_line(key: StoredKey, now: int) -> str:
    """A key in a list: prefix, state, scopes, studies, when it was made, expires and was used last, and its name."""
    state = "valid" if key.valid(now) else "expired" if key.revoked_at is None else "revoked"
    if not key.is_sealed:
        state = "changed by somebody else"
    if key.successor is not None:
        state += f" (replaced by {key.successor})"
    studies = "all studies" if key.studies is None else ",".join(key.studies)
    times = (("made", key.created_at), ("expires", key.expires_at), ("used", key.last_used_at))
    stated = " ".join(f"{what}={'never' if at is None else instant_text(at)[:19]}" for what, at in times)
    return f"{key.prefix}  {state}  {','.join(key.scopes)}  {studies}  {stated}  {key.name}"
