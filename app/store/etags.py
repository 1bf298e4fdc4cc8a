"""ETags of what a study holds: keyed and by study, so that equal content of two studies has different ETags."""

import hmac

from sqlalchemy import Connection

from app.store.ledger_keys import keys_of


def keyed_etag(connection: Connection, study: str, content: str) -> str:
    """The strong ETag of a representation of a study, with its quotes."""
    signed = f"{len(study)}:{study}{content}".encode()
    return f'"{hmac.digest(keys_of(connection).etag, signed, "sha256").hex()[:32]}"'
