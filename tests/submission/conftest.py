"""The ledger of the tests of the store: on each engine, with a study of its own for every test."""

from tests.store.conftest import database, study

__all__ = ["database", "study"]
