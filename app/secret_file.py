"""The secret file: 32 random bytes outside the database, from which every key of the service is made.

Who has the database but not this file can neither make a ledger that verifies nor recognise an erased person. All
processes of one service share the file, so that what one of them signs is valid for the others. Back it up separately
from the data: without it, the ledger cannot be verified and nothing can be added to it.
"""

import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from app.disk import sync_directory

Purpose = Literal["ledger", "audit", "cursor", "etag", "session", "key-hash", "fingerprint", "rates", "letters"]

_LENGTH = 32
_TEXT = re.compile(r"[0-9a-f]{64}\n?")
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?:file:)?([^?]+)")
_BESIDE = "MYORESPONSE_SECRET_FILE names it"


class UnusableSecretFile(Exception):
    """Why the secret file cannot be used, for the operator."""


class NoSecretFile(UnusableSecretFile):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The content of the secret file. Ask for the key of a purpose; nobody else reads `root`."""

    root: bytes = field(repr=False)

    def key(self, purpose: Purpose) -> bytes:
        """32 bytes for one purpose. From one key, nobody can compute another."""
        return hmac.digest(self.root, purpose.encode("ascii"), "sha256")

    @property
    def fingerprint(self) -> bytes:
        """What a database remembers of its secret file: it recognises the file, and does not show it."""
        return self.key("fingerprint")

    @classmethod
    def read(cls, path: Path) -> "SecretFile":
        """The secret file at `path`. Raises `NoSecretFile` and `UnusableSecretFile`."""
        try:
            with path.open("rb") as file:
                _refuse_others(path, os.fstat(file.fileno()))
                text = file.read(_LENGTH * 2 + 2).decode("ascii", "replace")
        except FileNotFoundError:
            raise NoSecretFile(f"there is no secret file {path}; {_BESIDE}") from None
        except OSError as error:
            raise UnusableSecretFile(f"the secret file {path} cannot be read: {error.strerror}; {_BESIDE}") from None
        if _TEXT.fullmatch(text) is None:
            raise UnusableSecretFile(f"the secret file {path} must have 64 hexadecimal digits and nothing else")
        return cls(bytes.fromhex(text.strip()))

    @classmethod
    def create(cls, path: Path) -> "SecretFile":
        """Make the secret file, unless there is one, and read it. Of several processes, one makes it."""
        if not path.exists():
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            try:
                _write(draft, secrets.token_hex(_LENGTH) + "\n")
                with suppress(FileExistsError):
                    path.hardlink_to(draft)  # never a file that is only half written
                sync_directory(path.parent)
            except OSError as error:
                raise UnusableSecretFile(
                    f"the secret file {path} cannot be made: {error.strerror}; {_BESIDE}"
                ) from None
            finally:
                draft.unlink(missing_ok=True)
        return cls.read(path)


def secret_path(database_url: str, chosen: Path | None = None) -> Path:
    """Where the secret file is: as chosen, else beside the file of SQLite, else in the working directory."""
    return chosen or beside(database_url, "secret")


def beside(database_url: str, kind: str) -> Path:
    """A file of this kind beside the file of SQLite; with PostgreSQL `myoresponse.<kind>` in the working directory."""
    file = _SQLITE.match(database_url)
    return Path(f"{file[1]}.{kind}") if file else Path(f"myoresponse.{kind}")


def _refuse_others(path: Path, status: os.stat_result) -> None:
    """Refuse a file that others may read. A group may read it only if root is its owner, as with mounted secrets."""
    if not stat.S_ISREG(status.st_mode):
        raise UnusableSecretFile(f"the secret file {path} is not a file")
    allowed = 0o640 if status.st_uid == 0 else 0o600
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077 & ~allowed:
        raise UnusableSecretFile(f"others may read or write the secret file {path}: chmod 600 {path}")


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner may read, down to the disk."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
