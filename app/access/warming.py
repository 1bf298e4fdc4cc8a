"""A first analysis before any question, so that no question waits until the libraries of statistics are loaded."""

import gc
import json
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.timeline.document import Timeline


_DAYS = ["2005-03-14", "2005-04-11", "2005-04-18", "2005-04-25", "2005-05-09", "2005-06-06", "2005-08-01", "2005-10-01"]
_LATEST = 2**62


@cache
def warm() -> None:
    """Answer every question about three invented patients whose CK becomes normal and later abnormal. This loads all
    libraries.
    """
    from app.analyses import Options, report
    from app.protocol.presets import SEED_2008
    from app.timeline.cohort import Cohort
    from app.timeline.normalize import normalise

    report(Cohort.of_histories(normalise(_patient(number), _LATEST) for number in range(3)), SEED_2008, Options())
    settle()


@cache
def settle() -> None:
    """Let the garbage collector ignore what is loaded now and stays. Otherwise it would visit half a million objects
    again and again while timelines are stored.
    """
    gc.collect()
    gc.freeze()


def _patient(number: int) -> "Timeline":
    from app.timeline.document import Timeline

    ck = [900, 1000, 700, 500, 300 + number, 150, 140, 400]
    document = {
        "patient": {"id": f"W{number}"},
        "lab_series": [{"code": "CK", "unit": "U/L", "upper_limit": 200, "times": _DAYS, "values": ck}],
        "assessments": [
            {"code": "MMT", "time": day, "score": 60 + number + 2 * visit} for visit, day in enumerate(_DAYS)
        ],
        "infusions": [{"time": "2005-04-11", "product": "IVIG"}],
        "adverse_events": [{"onset": "2005-04-12", "term": "headache"}],
    }
    return Timeline.model_validate_json(json.dumps(document))
