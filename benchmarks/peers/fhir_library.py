"""`fhir_library.py RELEASE TIMES FILE`: fhir.resources parses the bytes of a bundle; RELEASE is R4B or R5."""

import sys
from importlib.metadata import version
from pathlib import Path

from turns import take_turns

release, times, file = sys.argv[1:]
if release == "R4B":
    from fhir.resources.R4B.bundle import Bundle
else:
    from fhir.resources.bundle import Bundle
body = Path(file).read_bytes()


def parse() -> int:
    """How many entries there are."""
    return len(Bundle.model_validate_json(body).entry)


take_turns(f"fhir.resources {version('fhir.resources')} ({release})", parse, int(times))
