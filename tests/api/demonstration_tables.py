"""The demonstration study written as tables: one of each kind, or all in one as a project of REDCap exports it."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.demo import TIMELINES

KINDS = ("patients", "labs", "assessments", "infusions", "medications", "adverse_events")
SEX, DIAGNOSIS = {"female": "1", "male": "2"}, {"polymyositis": "1", "dermatomyositis": "2"}
RESULTS = ("CK", "LDH", "AST", "ALT", "ALDOLASE")
TRUTH = {"true": "1", "false": "0"}
SCALES = {"MMT": 100, "ADL": 50}


def timelines() -> list[dict[str, Any]]:
    return json.loads(TIMELINES.read_text(encoding="utf-8"))


def rows() -> dict[str, list[dict[str, Any]]]:
    """The rows of each kind of table, with the names of the fields of a timeline."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for timeline in timelines():
        about = timeline["patient"]
        who = {"patient": about["id"]}
        found["patients"].append(who | {name: value for name, value in about.items() if name != "id"})
        for series in timeline["lab_series"]:
            common = {name: series[name] for name in ("code", "unit", "upper_limit", "lab")}
            draws = zip(series["times"], series["values"], strict=True)
            found["labs"] += [who | common | {"time": time, "value": value} for time, value in draws]
        for kind in KINDS[2:]:
            found[kind] += [who | item for item in timeline.get(kind, ())]
    return found


def text_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return str(value)


def written(found: Sequence[Mapping[str, Any]], columns: Iterable[str] = (), **dialect: str) -> bytes:
    """Rows as a CSV, with the columns in the given order."""
    names = [*(columns or dict.fromkeys(name for row in found for name in row))]
    text = io.StringIO(newline="")
    writer = csv.writer(text, **dialect)
    writer.writerow(names)
    writer.writerows([text_of(row.get(name)) for name in names] for row in found)
    return text.getvalue().encode()


def six_tables() -> dict[str, bytes]:
    """One table of each kind, by its name in addresses."""
    return {kind.replace("_", "-"): written(found) for kind, found in rows().items()}


def _part(kind: str, instrument: str, columns: dict[str, str], **more: Any) -> dict[str, Any]:
    where = {"redcap_repeat_instrument": [instrument]}
    return {"kind": kind, "where": where, "columns": columns, **more}


def _words(column: str, codes: dict[str, str]) -> dict[str, Any]:
    return {"column": column, "means": {code: word for word, code in codes.items()}}


MAPPING: dict[str, Any] = {
    "name": "redcap",
    "patient": "record_id",
    "parts": [
        _part(
            "patients", "",
            {"sex": "sex", "birth_year": "birth_year", "dx": "diagnosis", "weight": "weight_kg",
             "resistant": "steroid_resistant"},
            words=[_words("sex", SEX), _words("dx", DIAGNOSIS), _words("resistant", TRUTH)],
        ),
        *(
            _part("labs", "blood", {"blood_time": "time", "blood_lab": "lab", code.lower(): "value",
                                    f"{code.lower()}_uln": "upper_limit"},
                  constants={"code": code, "unit": "U/L"})
            for code in RESULTS
        ),
        *(
            _part("assessments", "visit", {"visit_date": "time", code.lower(): "score"},
                  constants={"code": code, "scale_max": str(greatest)})
            for code, greatest in SCALES.items()
        ),
        _part("infusions", "ivig", {"ivig_date": "time", "ivig_dose": "dose", "ivig_course": "course"},
              constants={"product": "IVIG", "unit": "g/kg"}),
        _part("medications", "drugs",
              {"drug": "drug", "drug_start": "start", "drug_dose": "dose", "drug_unit": "unit"}),
        _part("adverse_events", "ae",
              {"ae_onset": "onset", "ae_term": "term", "ae_grade": "severity", "ae_serious": "serious",
               "ae_related": "related"},
              words=[_words("ae_serious", TRUTH), _words("ae_related", TRUTH)]),
    ],
    "dates": "YYYY-MM-DD",
    "time_zone": "Asia/Tokyo",
}  # fmt: skip


def _local(time: str) -> str:
    """A time of the demonstration study as the clock on the wall had it; REDCap knows no offsets."""
    assert len(time) == 10 or time.endswith("+09:00"), time
    return time.removesuffix("+09:00").replace("T", " ")


def redcap() -> bytes:
    """All of the study in one table, with a row for each form of each patient."""
    found = rows()
    forms: list[dict[str, Any]] = []
    for about in found["patients"]:
        who = about["patient"]
        mine = {kind: [row for row in found[kind] if row["patient"] == who] for kind in KINDS}
        base = {"record_id": who, "redcap_event_name": "enrolment_arm_1", "consent": "1"}
        forms.append(base | {
            "sex": SEX[about["sex"]], "birth_year": about["birth_year"], "dx": DIAGNOSIS[about["diagnosis"]],
            "weight": about["weight_kg"], "resistant": int(about["steroid_resistant"]),
        })  # fmt: skip
        draws: dict[str, dict[str, Any]] = {}
        for row in mine["labs"]:
            name = row["code"].lower()
            form = draws.setdefault(row["time"], {"blood_time": _local(row["time"]), "blood_lab": row["lab"]})
            form |= {name: row["value"], f"{name}_uln": row["upper_limit"]}
        visits: dict[str, dict[str, Any]] = {}
        for row in mine["assessments"]:
            visits.setdefault(row["time"], {"visit_date": _local(row["time"])})[row["code"].lower()] = row["score"]
        repeated = {
            "blood": list(draws.values()),
            "visit": list(visits.values()),
            "ivig": [
                {"ivig_date": _local(row["time"]), "ivig_dose": row["dose"], "ivig_course": row["course"]}
                for row in mine["infusions"]
            ],
            "drugs": [
                {"drug": row["drug"], "drug_start": row["start"], "drug_dose": row["dose"], "drug_unit": row["unit"]}
                for row in mine["medications"]
            ],
            "ae": [
                {"ae_onset": _local(row["onset"]), "ae_term": row["term"], "ae_grade": row["severity"],
                 "ae_serious": int(row["serious"]), "ae_related": int(row["related"])}
                for row in mine["adverse_events"]
            ],
        }  # fmt: skip
        for instrument, filled in repeated.items():
            forms += [
                base | {"redcap_event_name": "follow_up_arm_1", "redcap_repeat_instrument": instrument,
                        "redcap_repeat_instance": number} | form
                for number, form in enumerate(filled, 1)
            ]  # fmt: skip
    first = ("record_id", "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance", "consent")
    return written(forms, dict.fromkeys([*first, *(name for form in forms for name in form)]))
