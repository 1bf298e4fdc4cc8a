"""From bytes to histories: every format that is read, and nothing of how it came or where it goes."""

from collections.abc import Callable

from app.readers.json_timelines import Item, read_array, read_ndjson

READERS: dict[str, Callable[[bytes, int], list[Item]]] = {
    "application/json": read_array,
    "application/x-ndjson": read_ndjson,
}
"""The reader of a body with many timelines, by media type."""
