"""The readers: they turn the bytes of each format into histories. How bytes arrive and are stored is not known here."""

from collections.abc import Callable

from app.readers.json_timelines import Item, Who, read_array, read_ndjson

READERS: dict[str, Callable[[bytes, int, Who | None], list[Item]]] = {
    "application/json": read_array,
    "application/x-ndjson": read_ndjson,
}
"""The reader of a body with many timelines, by media type."""
