"""What schemathesis cannot know of this API. Only schemathesis imports this file."""

import json
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.openapi import media_type

KEY, EXAMPLE = "Idempotency-Key", '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
TABLE = (
    b"patient,code,time,value,unit,upper_limit\nP01,CK,2006-09-04T09:00:00+09:00,152,U/L,163\n",
    b"patient,code,time,value,unit,upper_limit\nP01,CK,2006-09-04,1e999,U/L,\n",
    b"patient;code\nP01;CK\n",
)
MESSAGES = (
    b"MSH|^~\\&|LAB|ward|||20060904090000+0900||ORU^R01^ORU_R01|1|P|2.5.1\rPID|1||P01^^^urn:demo\r"
    b"OBR|1|||24325-3^Panel^LN|||20060904090000+0900\rOBX|1|NM|2157-6^CK^LN||152|U/L|20-163||||F\r",
    b"MSH|^~\\&|LAB|ward|||20060904090000+0900||ADT^A08|2|P|2.5.1\rPID|1||P01^^^urn:demo\r",
    b"MSH|^~\\&",
)
LINES = (
    b'{"patient": {"id": "P01"}}\n',
    b'{"patient": {"id": "P01"}, "labs": [{"code": "CK", "time": "2006-09-04", "value": -1, "unit": "U/L"}]}\n',
    b"1\n[]\n{}\n",
)

for name, samples in (
    ("text/csv", TABLE),
    ("application/hl7-v2", MESSAGES),
    ("x-application/hl7-v2+er7", MESSAGES),
    ("application/x-ndjson", LINES),
):
    media_type(name, strategies.sampled_from(samples) | strategies.binary(max_size=200))


@schemathesis.serializer("text/csv", "application/hl7-v2", "x-application/hl7-v2+er7", "application/x-ndjson")
def as_sent(ctx: Any, value: Any) -> bytes:
    """Bytes are sent unchanged, an example of the description as its text."""
    del ctx
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def lines(ctx: Any, response: Any) -> list[Any]:
    """The lines, each of which is JSON."""
    del ctx
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Leave out of valid requests what is never valid together, and use no example of an `Idempotency-Key` twice:
    almost all requests would be refused for it alone.
    """
    del ctx, kwargs
    if case.headers and case.headers.get(KEY) == EXAMPLE:
        case.headers[KEY] = f'"{uuid.uuid4()}"'
    if not case.meta.generation.mode.is_positive:
        return
    for part in (case.query, case.body):
        if isinstance(part, dict):
            if "revision" in part:
                part.pop("as_of", None)
            for cursor in ("cursor", "_cursor"):
                part.pop(cursor, None)
