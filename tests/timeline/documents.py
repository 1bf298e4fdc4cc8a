"""Small timelines to take apart."""

import json
from datetime import UTC, datetime
from typing import Any

from app.errors import InvalidDocument
from app.timeline.document import Timeline
from app.timeline.normalize import History, normalise
from app.timeline.times import latest_acceptable

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATEST = latest_acceptable(NOW)


def lab(**more: Any) -> dict[str, Any]:
    return {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163} | more


def series(**more: Any) -> dict[str, Any]:
    times = ["2005-03-16T09:48:00+09:00", "2005-03-23"]
    return {"code": "CK", "unit": "U/L", "upper_limit": 163, "times": times, "values": [1101, 1005]} | more


def document(**parts: Any) -> dict[str, Any]:
    return {"patient": {"id": "P01"}} | parts


def history(timeline: dict[str, Any]) -> History:
    """The facts of a document written as Python."""
    return normalise(Timeline.model_validate_json(json.dumps(timeline)), LATEST)


def faults(timeline: dict[str, Any]) -> list[tuple[str, str]]:
    """The places and codes of what reading a document refuses."""
    try:
        history(timeline)
    except InvalidDocument as refusal:
        return [(fault.pointer, fault.code.value) for fault in refusal.faults]
    return []
