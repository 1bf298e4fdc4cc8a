"""One bad result harms no other: what is set aside, what refuses the message, and which time a result has."""

import pytest

from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine
from tests.hl7v2.hl7v2_messages import (
    DRAWN,
    MSH,
    OBR,
    OBX,
    PID,
    UNTIMED,
    changed,
    faults,
    feed,
    history,
    lab,
    message,
    obx,
    oru,
    read,
    refusal,
)

LDH = changed(OBX, f1="2", f3="2532-0^LDH^LN", f5="300")
ASIDE = Disposition.SET_ASIDE


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"f3": "2157-6^CK-MB^LN"}, "OBX[2]-3", "code_conflict"),
        ({"f6": "furlongs"}, "OBX[2]-6", "unknown_unit"),
        ({"f6": ""}, "OBX[2]-6", "unknown_unit"),
        ({"f6": "ng/mL"}, "OBX[2]-6", "mass_unit"),
        ({"f5": ""}, "OBX[2]-5", "missing"),
        ({"f5": "1,234"}, "OBX[2]-5", "bad_number"),
        ({"f5": "350~360"}, "OBX[2]-5", "repeated_value"),
        ({"f2": ""}, "OBX[2]-2", "missing"),
        ({"f11": "Q"}, "OBX[2]-11", "unknown_value"),
        ({"f11": ""}, "OBX[2]-11", "missing"),
    ],
)
def test_a_result_with_a_fault_is_set_aside_and_the_other_one_is_kept(change, place, code):
    found = read(oru(LDH, changed(OBX, **change)))
    assert [fact.code for fact in found.histories[0].labs] == ["LDH"]
    assert [(fault.pointer, fault.code.value) for fault in found.faults] == [(place, code)]
    lines = [*found.lines, *found.histories[0].aside]
    assert [line[:3] for line in lines] == [(place, ASIDE, code)]


@pytest.mark.parametrize("change", [{"f7": "2005"}, {"f7": ""}, {"f22": "20050317"}, {"f3": "A/5^ELAB"}])
def test_a_fault_of_an_order_sets_aside_the_results_of_this_order_only(change):
    body = message(PID, OBR, LDH, changed(OBR, **({"f3": "78^ELAB"} | change)), obx(f14=""))
    assert [fact.code for fact in history(body).labs] == ["LDH"]
    assert len(faults(body)) == 1


def test_a_result_stated_twice_differently_is_set_aside_and_the_other_one_is_kept():
    found = read(oru(OBX, LDH, obx(f1="3", f5="1200")))
    assert [fact.code for fact in found.histories[0].labs] == ["LDH"]
    assert [line.place for line in found.histories[0].aside] == ["OBX[1]", "OBX[3]"]


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ((changed(PID, f3=""), OBR, LDH, OBX), ("PID-3", "no_subject")),
        ((changed(PID, f3="UNKNOWN^^^WARD7"), OBR, LDH), ("PID-3", "bad_identifier")),
        ((changed(PID, f3="1.23457E+11^^^WARD7"), OBR, LDH), ("PID-3", "bad_identifier")),
        ((PID, OBX), ("OBR", "missing")),
    ],
)
def test_a_fault_of_the_message_itself_refuses_it(segments, told):
    assert faults(message(*segments)) == [told]
    assert refusal(message(*segments)) is not None


def test_a_document_beside_a_result_is_not_ours():
    found = read(oru(OBX, changed(OBX, f1="2", f2="ED", f5="^application^pdf^Base64^AAAA")))
    assert [fact.value for fact in found.histories[0].labs] == [1101]
    assert found.lines == (ReceiptLine("OBX[2]", Disposition.NOT_OURS, "value"),)


def test_a_result_that_is_no_number_and_has_the_wrong_code_touches_nothing():
    assert read(oru(changed(OBX, f2="ST", f3="2157-6^CK-MB^LN", f5="HEMOLYZED"))).histories == ()


@pytest.mark.parametrize("status", ["D", "W", "X"])
@pytest.mark.parametrize(
    "content",
    [{}, {"f5": ""}, {"f5": '""'}, {"f2": "ST", "f5": "HEMOLYZED"}, {"f5": "WITHDRAWN"}, {"f2": "", "f5": ""},
     {"f2": "ED", "f5": "x"}, {"f5": "1", "f6": "?"}, {"f7": "h\u00f6chstens 170"}],
)  # fmt: skip
def test_of_a_withdrawal_number_code_and_time_are_enough(status, content):
    order = changed(OBR, f22="not a time")
    found = history(oru(obx(f11=status, **content), obr=order))
    (fact,) = found.labs
    assert (fact.identity, fact.issued) == (lab(OBX).identity, None)
    assert fact.status in {"entered-in-error", "cancelled"}
    assert Note(NoteCode.DETAIL_LEFT_OUT, "issued") in found.notes["labs", 0]


def test_a_cancelled_order_for_one_test_withdraws_its_result():
    (fact,) = history(message(PID, changed(OBR, f4="2157-6^CK^LN", f25="X"))).labs
    assert (fact.status, fact.value, fact.identity) == ("cancelled", None, lab(OBX).identity)


@pytest.mark.parametrize("panel", ["24325-3^Hepatic function 2000 panel^LN", "L1^Liver^L^24323-8^CMP^LN"])
def test_a_cancelled_panel_of_loinc_withdraws_its_results(panel):
    found = history(message(PID, changed(OBR, f4=panel, f25="X")))
    numbered = [lab(obx(f3=f"{code}^^LN")).identity for code in ("1920-8", "1742-6")]
    assert [(fact.code, fact.status, fact.value) for fact in found.labs] == [
        ("AST", "cancelled", None), ("ALT", "cancelled", None),
    ]  # fmt: skip
    assert [fact.identity for fact in found.labs] == numbered


def test_a_cancelled_panel_does_not_say_which_results_it_has():
    found = read(message(PID, OBR, OBX, changed(OBR, f3="78^ELAB", f25="X")))
    assert len(found.histories[0].labs) == 1
    assert [line[:3] for line in found.histories[0].aside] == [("OBR[2]-25", ASIDE, "ambiguous_withdrawal")]
    assert found.faults == ()
    assert faults(message(PID, changed(OBR, f25="F"))) == [("OBX", "missing")]
    assert faults(message(PID, changed(OBR, f4="2157-6^CK-MB^LN", f25="X"))) == [("OBR[1]-4", "code_conflict")]


EARLY, LATE, NEXT_DAY = "20050316060000+0900", "20050316180000+0900", "20050317060000+0900"


def series(*times: str, code: str = "2157-6^CK^LN") -> list[str]:
    return [changed(OBX, f1=str(n), f3=code, f4=str(n), f5=str(n * 100), f14=time) for n, time in enumerate(times, 1)]


@pytest.mark.parametrize("obr", [OBR, UNTIMED])
def test_several_times_of_one_test_in_one_order_are_set_aside_unless_the_study_declares_what_they_are(obr):
    body = oru(*series(EARLY, LATE), obr=obr)
    assert faults(body) == [("OBX[1]-14", "repeated_value"), ("OBX[2]-14", "repeated_value")]
    declared = history(oru(*series(EARLY, LATE), obr=obr), feed(time_of_result=True))
    assert [fact.time for fact in declared.labs] == ["2005-03-16T06:00:00+09:00", "2005-03-16T18:00:00+09:00"]


def test_times_of_measurement_of_different_tests_say_nothing_on_one_day_but_another_day_does():
    minute = [obx(f14=EARLY), changed(LDH, f14="20050316060300+0900")]
    assert [fact.time for fact in history(oru(*minute)).labs] == ["2005-03-16T09:48:00+09:00"] * 2
    days = [obx(f14=EARLY), changed(LDH, f14=NEXT_DAY)]
    assert faults(oru(*days)) == [("OBX[1]-14", "repeated_value"), ("OBX[2]-14", "repeated_value")]


def test_the_same_time_in_every_result_is_not_several():
    assert len(history(oru(*series(EARLY, EARLY))).labs) == 2


def test_where_each_result_has_its_own_time_one_without_it_has_none():
    declared = feed(time_of_result=True)
    assert faults(oru(*series(EARLY, "")), declared) == [("OBX[2]-14", "missing")]
    assert history(oru(*series("", "")), declared).labs[0].time == "2005-03-16T09:48:00+09:00"


def test_the_time_of_the_analysis_is_never_that_of_the_specimen():
    assert faults(oru(obx(f19=DRAWN), obr=UNTIMED), feed(time_of_result=True)) == [("OBX[1]-14", "missing")]


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4"])
def test_before_version_2_5_the_type_of_a_message_may_stand_alone(version):
    header = changed(MSH, f9="ORU", f12=version)
    assert history(oru(header=header)) == history(oru())
    merge = changed(MSH, f9="ADT", f12=version)
    link = message("EVN|A40|20050317080000+0900", PID, "MRG|456^^^WARD7", header=merge)
    assert history(link).patient == "456"


@pytest.mark.parametrize(
    ("header", "segments"),
    [
        (changed(MSH, f9="ORU"), (PID, OBR, OBX)),
        (changed(MSH, f9="ORU", f12="2.8"), (PID, OBR, OBX)),
        (changed(MSH, f9="ADT", f12="2.3"), ("EVN|A08", PID)),
        (changed(MSH, f9="ADT", f12="2.3"), (PID, "MRG|456")),
        (changed(MSH, f9="ORU^R99", f12="2.1"), (PID, OBR, OBX)),
        (changed(MSH, f9="ORM", f12="2.1"), (PID, OBR, OBX)),
    ],
)
def test_another_type_or_event_is_not_read(header, segments):
    assert faults(message(*segments, header=header)) == [("MSH-9", "unsupported")]
