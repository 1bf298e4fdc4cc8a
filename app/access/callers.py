"""Who calls, and what the caller may do."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.errors import Forbidden, NotFound


class Scope(StrEnum):
    """What a key or a token allows. No scope contains another one."""

    READ = "read"
    INGEST = "ingest"
    ANALYSE = "analyse"
    READ_PATIENTS = "read-patients"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from.

    `name` stands in the ledger (`key:ab12cd34`); it is `None` for local use without a key. `studies` are the studies
    that the caller may know of, `None` all of them. Until `ends_at`, in microseconds since 1970, only a change of the
    database can end what the caller may do.
    """

    name: str | None
    scopes: frozenset[Scope]
    studies: frozenset[str] | None
    ends_at: int = field(default=0, compare=False)

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the caller has the scope."""
        if scope not in self.scopes:
            raise Forbidden(
                f"This needs the scope `{scope}`.",
                headers={
                    "WWW-Authenticate": f'Bearer realm="myoresponse", error="insufficient_scope", scope="{scope}"'
                },
            )

    def require_study(self, study: str) -> None:
        """Raise `NotFound` for a study that the caller may not know of, in the words for one that does not exist.

        The database is not asked, so that also the time of the answer does not say whether there is such a study.
        """
        if self.studies is not None and study not in self.studies:
            raise NotFound("There is no study of this name.")


FOREVER = 2**63
LOCAL = Caller(None, ALL_SCOPES, None, FOREVER)
"""A program on this machine, which is not asked for a key."""
STRANGER = Caller(None, frozenset(), frozenset(), FOREVER)
"""Somebody without a key: may read what is open to everybody."""
COMMAND = "command"
"""The name of the command line in the ledger."""
