"""A date stays a date, an offset is never dropped, and bare digits are never a time."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.timeline.times import (
    DAY_MICROSECONDS,
    EPOCH_DAY,
    Moment,
    day_text,
    instant_text,
    latest_acceptable,
    microseconds,
    read_day,
    read_time,
    with_offset,
)
from tests.timeline.documents import LATEST, NOW

HOUR = 3_600_000_000
DAY_OF_MARCH_16 = date(2005, 3, 16).toordinal() - EPOCH_DAY


def instant(text: str) -> int:
    moment = read_time(text, LATEST)
    assert isinstance(moment, Moment)
    assert moment.instant is not None
    return moment.instant


def test_a_date_stays_a_date():
    assert read_time("2005-03-16", LATEST) == Moment(DAY_OF_MARCH_16, None, False)


def test_the_day_is_the_one_that_is_written_whatever_the_offset():
    assert read_time("2005-03-16T09:48:00+09:00", LATEST) == Moment(
        DAY_OF_MARCH_16, microseconds(datetime(2005, 3, 16, 0, 48, tzinfo=UTC)), False
    )
    for offset in ("+14:00", "-12:00", "Z"):
        assert read_time(f"2005-03-16T00:30:00{offset}", LATEST).day == DAY_OF_MARCH_16
        assert read_time(f"2005-03-16T23:30:00{offset}", LATEST).day == DAY_OF_MARCH_16


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2005-03-16T09:48:00Z", True),
        ("2005-03-16T09:48:00-00:00", True),
        ("2005-03-16T09:48:00.5Z", True),
        ("2005-03-16T09:48:00+00:00", False),
        ("2005-03-16T09:48:00+09:00", False),
        ("2005-03-16", False),
    ],
)
def test_z_and_minus_zero_name_an_instant_but_no_local_calendar(text, utc):
    assert read_time(text, LATEST).utc is utc


def test_one_instant_written_with_different_offsets_is_one_instant():
    written = [
        "2005-03-16T09:48:00+09:00",
        "2005-03-16T00:48:00Z",
        "2005-03-15T12:48:00-12:00",
        "2005-03-16T06:33:00+05:45",
    ]
    assert len({instant(text) for text in written}) == 1


def test_digits_beyond_microseconds_are_cut_not_rounded():
    whole = instant("2005-03-16T09:48:00Z")
    assert instant("2005-03-16T09:48:00.123456789Z") == whole + 123_456
    assert instant("2005-03-16T09:48:00.999999999Z") == whole + 999_999
    assert instant("2005-03-16T09:48:00.5Z") == whole + 500_000
    assert read_time("2005-03-16T09:48:00.1234567890Z", LATEST) is FaultCode.BAD_TIME


@pytest.mark.parametrize("text", ["2024-02-29", "2000-02-29T12:00:00Z", "2004-02-29T23:59:59.999999999-12:00"])
def test_a_leap_day_exists_in_a_leap_year(text):
    assert isinstance(read_time(text, LATEST), Moment)


def test_the_hour_that_a_clock_skips_or_repeats_is_told_apart_by_its_offset():
    """New York, 2005: 02:30 did not exist on April 3, and 01:30 came twice on October 30."""
    assert instant("2005-04-03T03:00:00-04:00") - instant("2005-04-03T01:59:59-05:00") == 1_000_000
    assert instant("2005-10-30T01:30:00-05:00") - instant("2005-10-30T01:30:00-04:00") == HOUR


@pytest.mark.parametrize("offset", ["+14:00", "-12:00", "+05:45", "-03:30", "-00:01"])
def test_offsets_reach_from_minus_12_to_plus_14(offset):
    assert isinstance(read_time(f"2005-03-16T09:48:00{offset}", LATEST), Moment)


@pytest.mark.parametrize("offset", ["+14:01", "+23:59", "+25:00", "-12:01", "+09:60", "-13:00", "+99:99"])
def test_an_offset_that_no_place_has_is_refused(offset):
    assert read_time(f"2005-03-16T09:48:00{offset}", LATEST) is FaultCode.BAD_TIME


@pytest.mark.parametrize("text", ["2005-03-16T09:48:00", "2005-03-16T09:48:00.5"])
def test_a_time_without_its_offset_is_refused(text):
    assert read_time(text, LATEST) is FaultCode.NO_OFFSET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20050316",
        "1675418400",
        "1675418400000",
        "2005",
        "2005-03",
        "2005-3-16",
        "2005-13-01",
        "2005-00-10",
        "2005-02-29",
        "1900-02-29",
        "2023-02-30T10:00:00Z",
        "0000-01-01",
        "2005-03-16T",
        "2005-03-16Z",
        "2005-03-16T24:00:00Z",
        "2005-03-16T09:60:00Z",
        "2016-12-31T23:59:60Z",
        "2005-03-16T09:48Z",
        "2005-03-16T9:48:00Z",
        "2005-03-16T09:48:00+0900",
        "2005-03-16T09:48:00+09",
        "2005-03-16T09:48:00 +09:00",
        "2005-03-16T09:48:00\u221209:00",  # a minus sign that is no hyphen
        "2005-03-16 09:48:00Z",
        "2005-03-16t09:48:00Z",
        "2005-03-16T09:48:00z",
        "2005-03-16T09:48:00,5Z",
        "2005-03-16T09:48:00.Z",
        "2005-W11-3",
        "2005-W11-3T09:48:00Z",
        "2005-075",
        "+2005-03-16",
        "16/03/2005",
        " 2005-03-16",
        "2005-03-16\n",
        "\uff12\uff10\uff10\uff15-03-16",
        "2005-03-16T0\u0669:48:00Z",
        "now",
        "2005-03-16T09:48:00Z" + "0" * 100_000,
    ],
)
def test_anything_else_is_no_time(text):
    assert read_time(text, LATEST) is FaultCode.BAD_TIME
    assert read_day(text, LATEST) is FaultCode.BAD_TIME


@pytest.mark.parametrize("text", ["1899-12-31", "1899-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_nothing_lies_before_1900(text):
    assert read_time(text, LATEST) is FaultCode.OUT_OF_RANGE


def test_1900_is_read():
    assert read_time("1900-01-01", LATEST).day == date(1900, 1, 1).toordinal() - EPOCH_DAY
    assert isinstance(read_time("1900-01-01T00:00:00+14:00", LATEST), Moment)


def test_a_clock_may_be_24_hours_ahead_and_no_more():
    assert instant("2026-11-23T12:00:00Z") == latest_acceptable(NOW) == LATEST
    assert instant("2026-11-24T02:00:00+14:00") == LATEST
    assert read_time("2026-11-23T12:00:00.000001Z", LATEST) is FaultCode.FUTURE_TIME
    assert isinstance(read_time("2026-11-23", LATEST), Moment)
    assert read_time("2026-11-24", LATEST) is FaultCode.FUTURE_TIME
    assert read_time("9999-12-31T23:59:59-12:00", LATEST) is FaultCode.FUTURE_TIME


def test_what_was_read_once_is_still_checked_against_the_clock():
    assert isinstance(read_time("2026-11-23T11:00:00Z", LATEST), Moment)
    assert read_time("2026-11-23T11:00:00Z", LATEST - DAY_MICROSECONDS) is FaultCode.FUTURE_TIME


def test_a_calendar_date_takes_no_time():
    assert read_day("2005-03-16", LATEST) == DAY_OF_MARCH_16
    assert read_day("2005-03-16T09:48:00Z", LATEST) is FaultCode.BAD_TIME
    assert read_day("2026-11-24", LATEST) is FaultCode.FUTURE_TIME
    assert read_day("1899-12-31", LATEST) is FaultCode.OUT_OF_RANGE


OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1901, 1, 1), datetime(2026, 1, 1), timezones=OFFSETS))  # noqa: DTZ001
@example(datetime(2004, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=14))))
def test_reading_agrees_with_the_standard_library(at):
    moment = read_time(at.isoformat(), LATEST)
    assert moment.instant == microseconds(at)
    assert day_text(moment.day) == at.date().isoformat()
    assert instant(instant_text(moment.instant)) == moment.instant


@given(st.text() | st.text("0123456789-+:.TZtz ", max_size=36))
def test_any_text_is_a_moment_or_a_fault(text):
    read = read_time(text, LATEST)
    assert isinstance(read, Moment | FaultCode)
    if isinstance(read, Moment):
        assert text.startswith(day_text(read.day))


@given(st.dates(date(1900, 1, 1), date(2026, 11, 23)))
def test_a_date_survives_being_read_and_written(day):
    assert day_text(read_day(day.isoformat(), LATEST)) == day.isoformat()


@pytest.mark.parametrize(
    ("zone", "local", "written"),
    [
        ("Asia/Tokyo", "2005-03-16T09:48:00", "2005-03-16T09:48:00+09:00"),
        ("Asia/Tokyo", "1949-07-01T09:00:00", "1949-07-01T09:00:00+10:00"),  # summer time of 1948 to 1951
        ("America/St_Johns", "2005-01-01T09:00:00", "2005-01-01T09:00:00-03:30"),
        ("America/St_Johns", "2005-07-01T09:00:00", "2005-07-01T09:00:00-02:30"),
        ("America/St_Johns", "2005-04-03T00:00:59", "2005-04-03T00:00:59-03:30"),
        ("America/St_Johns", "2005-04-03T01:01:00", "2005-04-03T01:01:00-02:30"),
        ("Europe/Berlin", "2024-03-31T01:59:59", "2024-03-31T01:59:59+01:00"),
        ("Europe/Berlin", "2024-03-31T03:00:00", "2024-03-31T03:00:00+02:00"),
        ("Asia/Kolkata", "2005-03-16T09:48:00.125", "2005-03-16T09:48:00.125+05:30"),
        ("America/New_York", "1975-02-23T12:00:00", "1975-02-23T12:00:00-04:00"),  # the energy crisis: summer time
        ("UTC", "2005-03-16T09:48:00", "2005-03-16T09:48:00+00:00"),
    ],
)
def test_a_local_time_gets_the_offset_that_its_zone_had_then(zone, local, written):
    assert with_offset(local, ZoneInfo(zone)) == written
    assert isinstance(read_time(written, LATEST), Moment)


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Europe/Berlin", "2024-03-31T02:00:00"),  # skipped
        ("Europe/Berlin", "2024-03-31T02:59:59"),
        ("Europe/Berlin", "2024-10-27T02:00:00"),  # twice
        ("Europe/Berlin", "2024-10-27T02:59:59.999999"),
        ("America/St_Johns", "2005-04-03T00:01:00"),  # clocks changed a minute after midnight
        ("America/St_Johns", "2005-10-29T23:01:00"),
        ("America/St_Johns", "2005-10-30T00:00:59"),
        ("Pacific/Apia", "2011-12-30T10:00:00"),  # a whole day was left out
        ("Africa/Monrovia", "1972-01-07T00:30:00"),  # 44 minutes and 30 seconds
    ],
)
def test_a_local_time_that_did_not_exist_or_existed_twice_is_not_read(zone, local):
    assert with_offset(local, ZoneInfo(zone)) is FaultCode.AMBIGUOUS_TIME


@pytest.mark.parametrize(
    ("zone", "local"),
    [("America/St_Johns", "1930-01-01T00:00:00"), ("Africa/Monrovia", "1970-01-01T00:00:00")],
)
def test_an_offset_with_seconds_cannot_be_written(zone, local):
    assert with_offset(local, ZoneInfo(zone)) is FaultCode.BAD_TIME


@pytest.mark.parametrize("local", ["", "now", "2005-02-29T09:00:00", "2005-03-16T24:00:00", "16/03/2005", "\ud800"])
def test_what_is_no_local_time_is_not_read(local):
    assert with_offset(local, ZoneInfo("Asia/Tokyo")) is FaultCode.BAD_TIME


@pytest.mark.parametrize("text", ["2005-03-16", "20050316", "2005-03-16T09:48:00Z", "2005-03-16T09:48:00+09:00"])
def test_an_offset_is_never_added_to_what_has_none_to_take(text):
    """Whatever a caller asks for, the time that comes out is refused where it is read."""
    assert read_time(with_offset(text, ZoneInfo("Asia/Tokyo")), LATEST) is FaultCode.BAD_TIME


ZONES = st.sampled_from(["Asia/Tokyo", "America/St_Johns", "Europe/Berlin", "Australia/Lord_Howe", "UTC"])


@given(st.datetimes(datetime(1950, 1, 1), datetime(2026, 1, 1)).map(lambda at: at.replace(microsecond=0)), ZONES)  # noqa: DTZ001
def test_a_local_time_with_its_offset_is_one_instant_that_reads_so_on_the_clocks_of_its_zone(local, zone):
    written = with_offset(local.isoformat(), ZoneInfo(zone))
    if written is FaultCode.AMBIGUOUS_TIME:
        return
    back = datetime.fromisoformat(written).astimezone(ZoneInfo(zone))
    assert back.replace(tzinfo=None) == local
    assert instant(written) == microseconds(back)


@given(st.text() | st.text("0123456789-+:.TZ ", max_size=30), ZONES)
def test_any_text_in_any_zone_is_a_time_or_a_fault(text, zone):
    assert isinstance(with_offset(text, ZoneInfo(zone)), str)
