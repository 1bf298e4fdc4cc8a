"""The catalogue of bad input, rows 37 to 52 again: times as FHIR, HL7 v2 and CSV write them.

The numbers are those of the research note this list comes from; `test_bad_input` has the same rows in our own format.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.catalogue.feeds import (
    ORDER,
    RefusedMessage,
    RefusedResource,
    RefusedTable,
    Tried,
    Try,
    Ward,
    observation,
    parameters,
    result,
    results,
    reveals_nothing,
    row,
    served,
    table,
)
from tests.hl7v2.hl7v2_messages import changed

NEW_YORK = {"time_zone": "America/New_York"}
TOKYO = {"time_zone": "Asia/Tokyo"}
SENT = "20050317080000"
AHEAD = datetime.now(UTC)


def at(stamp: str) -> bytes:
    """A message whose specimen was taken then. The offset of the message would be that of times without one."""
    return results(obr=changed(ORDER, f7=stamp), f18="UNICODE UTF-8", f7=SENT)


def in_fhir(code: str, *times: Any, kind: str = "value", declared: Any = None) -> list[Try]:
    """Observations at these times, which are refused."""
    place = ((kind, code, "Observation.effectiveDateTime"),)
    return [RefusedResource(observation(effectiveDateTime=time), place, declared=declared or {}) for time in times]


def in_hl7(code: str, *stamps: str, declared: Any = None) -> list[Try]:
    """Messages at these times, which are refused."""
    return [RefusedMessage(at(stamp), (("OBR^1^7", code),), declared=declared or {}) for stamp in stamps]


def in_csv(code: str, *times: str, declared: Any = None) -> list[Try]:
    """Tables at these times, which are refused."""
    return [RefusedTable(table({"time": time}), (("/2/time", code),), declared=declared or {}) for time in times]


def everywhere(code: str, times: tuple[str, ...], stamps: tuple[str, ...], **more: Any) -> list[Try]:
    """The same in all three; FHIR and CSV write times alike."""
    kind = {"future_time": "business-rule"}.get(code, "value")
    return [*in_fhir(code, *times, kind=kind, **more), *in_hl7(code, *stamps, **more), *in_csv(code, *times, **more)]


def kept(sent: Any, time: str, declared: Any = None) -> Tried:
    """Something that is accepted, and the time that is then read."""

    def check(ward: Ward) -> None:
        ward.takes(sent)
        assert [lab["time"] for lab in ward.labs()] == [time]

    return Tried(check, declared or {})


def in_all(written: str, stamp: str, time: str, **more: Any) -> list[Try]:
    """A time that all three accept, and what is then read."""
    sent = observation(effectiveDateTime=written), at(stamp), table({"time": written})
    return [kept(each, time, **more) for each in sent]


def skipped_and_repeated_hours_are_named_by_an_offset(ward: Ward) -> None:
    ward.takes(
        observation(effectiveDateTime="2005-10-30T01:30:00-04:00"),
        observation(effectiveDateTime="2005-10-30T01:30:00-05:00", identifier=[{"value": "2"}]),
        table({"time": "2005-10-30T01:30:00-05:00", "id": "3"}),
        at("20051030013000-0400"),
    )
    assert {lab["time"] for lab in ward.labs()} == {"2005-10-30T01:30:00-04:00", "2005-10-30T01:30:00-05:00"}


def a_clock_may_run_ahead(ward: Ward) -> None:
    ahead = AHEAD + timedelta(hours=22)
    ward.takes(observation(effectiveDateTime=ahead.isoformat(timespec="seconds")))
    ward.takes(at(ahead.strftime("%Y%m%d%H%M%S+0000")), table({"time": ahead.isoformat(timespec="seconds")}))
    assert len(ward.labs()) == 3


ROWS = [
    row(
        37,
        "days that do not exist",
        *everywhere("bad_time", ("2023-02-30", "2023-13-01", "2023-02-29T10:00:00Z"), ("20230230", "20231301")),
    ),
    row(38, "24:00", *everywhere("bad_time", ("2023-02-03T24:00:00Z",), ("202302032400+0000", "20230203240000+0000"))),
    row(
        39,
        "leap second: FHIR allows it and it is kept as the second before; the note would flag it, which no fact can be."
        " HL7 v2 and CSV have none, as our own format",
        kept(observation(effectiveDateTime="2016-12-31T23:59:60Z"), "2016-12-31T23:59:59Z"),
        *in_hl7("bad_time", "20161231235960+0000"),
        *in_csv("bad_time", "2016-12-31T23:59:60Z"),
    ),
    row(
        40,
        "no offset; in a study that declares the zone of its clocks it is the offset that they had",
        *everywhere("no_offset", ("2023-02-03T10:00:00",), ("20230203100000", "202302031000")),
        *in_all("2023-02-03T10:00:00", "202302031000", "2023-02-03T10:00:00+09:00", declared=TOKYO),
        RefusedResource(observation(issued="2023-02-03T10:00:00"), (("value", "no_offset", "Observation.issued"),)),
        RefusedMessage(results(obr=changed(ORDER, f22="20230203100000"), f7=SENT), (("OBR^1^22", "no_offset"),)),
        RefusedTable(table({"issued": "2023-02-03T10:00:00"}), (("/2/issued", "no_offset"),)),
    ),
    row(41, "a date for a time", *in_all("2005-03-16", "20050316", "2005-03-16")),
    row(
        42,
        "a month, a year: the note would keep them out of interval arithmetic; the design knows dates and times only",
        *everywhere("bad_time", ("2023-02", "2023"), ("202302", "2023")),
    ),
    row(
        43,
        "bare digits: in HL7 v2 they are how a date is written",
        *in_fhir("bad_time", "20230203"),
        *in_csv("bad_time", "20230203"),
        kept(at("20230203"), "2023-02-03"),
    ),
    row(
        44,
        "seconds or milliseconds",
        *in_fhir("wrong_type", 1675418400, kind="structure"),
        *everywhere("bad_time", ("1675418400", "1675418400000"), ("1675418400", "1675418400000")),
    ),
    row(
        45,
        "other spellings: one rule for FHIR; a table may have a space for T, as spreadsheets and databases write it",
        *everywhere(
            "bad_time",
            ("2023-02-03T10:00:00\u221205:00", "2023-02-03t10:00:00Z", "2023-02-03T10:00:00z"),
            ("20230203100000\u22120500", "20230203T100000+0000", "20230203100000Z", "20230203100000+00:00"),
        ),
        *in_fhir("bad_time", "2023-02-03 10:00:00Z"),
        kept(table({"time": "2023-02-03 10:00:00Z"}), "2023-02-03T10:00:00Z"),
    ),
    row(46, "-00:00", *in_all("2005-03-16T09:48:00-00:00", "20050316094800-0000", "2005-03-16T09:48:00-00:00")),
    row(
        47,
        "offsets beyond the world's",
        *everywhere(
            "bad_time",
            tuple(f"2023-02-03T10:00:00{offset}" for offset in ("+25:00", "+14:01", "+23:59", "-12:01")),
            tuple(f"20230203100000{offset}" for offset in ("+2500", "+1401", "+2359", "-1201")),
        ),
    ),
    row(
        48,
        "the ends of the calendar",
        *everywhere("out_of_range", ("0001-01-01T00:00:00+14:00", "1899-12-31"), ("00010101000000+1400", "18991231")),
        *everywhere("future_time", ("9999-12-31T23:59:59-12:00",), ("99991231235959-1200",)),
    ),
    row(
        49,
        "nine digits of a second: kept as written; HL7 v2 has four, and no more than six are read",
        *(
            kept(sent, "2005-03-16T09:48:00.123456789+09:00")
            for sent in (
                observation(effectiveDateTime="2005-03-16T09:48:00.123456789+09:00"),
                table({"time": "2005-03-16T09:48:00.123456789+09:00"}),
            )
        ),
        kept(at("20050316094800.1234+0900"), "2005-03-16T09:48:00.1234+09:00"),
        *in_hl7("bad_time", "20050316094800.123456789+0900"),
    ),
    row(
        50,
        "the future; up to 24 hours are a clock that runs ahead, which is not flagged",
        *everywhere(
            "future_time",
            ("2999-01-01", (AHEAD + timedelta(hours=26)).isoformat(timespec="seconds")),
            ("29990101", (AHEAD + timedelta(hours=26)).strftime("%Y%m%d%H%M%S+0000")),
        ),
        Tried(a_clock_may_run_ahead),
    ),
    row(
        51,
        "hours that a clock skips or repeats, in a study that declares its zone",
        *everywhere(
            "ambiguous_time",
            ("2005-04-03T02:30:00", "2005-10-30T01:30:00"),
            ("20050403023000", "200510300130"),
            declared=NEW_YORK,
        ),
        Tried(skipped_and_repeated_hours_are_named_by_an_offset, NEW_YORK),
    ),
    row(
        52,
        "HL7 v2 time without a zone; also where a specimen or an observation has a time of its own",
        *in_hl7("no_offset", "20050316094800"),
        RefusedMessage(
            results(result(f14="20050316094800"), obr=changed(ORDER, f7=""), f7=SENT), (("OBX^1^14", "no_offset"),)
        ),
        RefusedMessage(
            results(result(), "SPM|1|||BLD|||||||||||||20050316094800", obr=changed(ORDER, f7=""), f7=SENT),
            (("SPM^1^17", "no_offset"),),
        ),
        kept(at("20050316094800"), "2005-03-16T09:48:00+09:00", TOKYO),
        kept(results(obr=changed(ORDER, f7="20050316094800")), "2005-03-16T09:48:00+09:00"),
        RefusedMessage(
            results(obr=changed(ORDER, f7="20050316094800")), (("OBR^1^7", "contradiction"),), declared=NEW_YORK
        ),
    ),
]


@pytest.fixture(scope="module")
def service(migrated_file):
    with served(migrated_file) as running:
        yield running


@pytest.mark.parametrize("each", parameters(ROWS))
def test_bad_time(each, service, caplog):
    caplog.set_level("DEBUG", "myoresponse")
    each.check(service)
    assert "canary" not in caplog.text.lower()


@pytest.mark.parametrize("sent", [observation(), results(), table()], ids=["fhir", "hl7v2", "csv"])
def test_what_the_rows_change_is_accepted_as_it_is_and_not_repeated(service, sent):
    ward = Ward(service)
    ward.takes(sent)
    assert ward.values() == [7391.25]
    assert "canary" not in service.database().lower()
    answer = ward.message(sent) if isinstance(sent, bytes) else None
    if answer is not None:
        reveals_nothing(answer)
