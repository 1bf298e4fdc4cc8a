"""ORU^R01: what each field of a result means, beside the same result in our own format."""

import pytest

from app.timeline.receipts import Note, NoteCode
from tests.hl7v2.hl7v2_messages import (
    CK,
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
from tests.timeline.documents import document
from tests.timeline.documents import history as of_document
from tests.timeline.documents import lab as native

NATIVE = {"id": "77", "source": "ELAB", "lab": "ELAB", "upper_limit": 163, "lower_limit": 30, "status": "final"}


def as_native(**more):
    """The result of `OBX` in our own format, with other fields."""
    (fact,) = of_document(document(labs=[native(**NATIVE | more)])).labs
    return fact


def test_a_result_is_the_fact_that_our_own_format_gives():
    patient = {"id": "123", "sex": "female", "birth_year": 1953}
    assert history(oru()) == of_document(document(patient=patient, labs=[native(**NATIVE)]))


def test_a_series_with_corrections_and_bounds_is_the_facts_that_our_own_format_gives():
    orders = [
        ("a-1", "20050316094800+0900", "20050317080000+0900", "1101", "U/L", "30-163", "F", {}),
        ("a-1", "20050316094800+0900", "20050318080000+0900", "1110", "U/L", "30-163", "C", {"status": "corrected"}),
        ("a-2", "20050323", "", "18.5", "ukat/L", "<2.85", "P", {"status": "preliminary"}),
        ("a-3", "20050330113300.2500+0900", "", "<10", "IU/L", "", "F", {"comparator": "<", "value": 10}),
        ("a-4", "20050406113300-0000", "", "", "U/L", "30-163", "D", {"status": "entered-in-error", "value": None}),
        ("a-5", "200504131133+0900", "", "7", "U/L", "30 - 163", "X", {"status": "cancelled"}),
    ]
    times = ["2005-03-16T09:48:00+09:00"] * 2 + ["2005-03-23", "2005-03-30T11:33:00.25+09:00"]
    times += ["2005-04-06T11:33:00-00:00", "2005-04-13T11:33:00+09:00"]
    issues = ["2005-03-17T08:00:00+09:00", "2005-03-18T08:00:00+09:00", None, None, None, None]
    limits = {"30-163": (30, 163), "30 - 163": (30, 163), "<2.85": (None, 2.85), "": (None, None)}
    segments, labs = [], []
    for (number, drawn, issued, value, unit, text, status, more), time, issue in zip(
        orders, times, issues, strict=True
    ):
        segments.append(changed(OBR, f3=f"{number}^ELAB", f7=drawn, f22=issued))
        segments.append(obx(f5=value, f6=unit, f7=text, f11=status))
        low, high = limits[text]
        stated = {"value": float(value) if value and value[0] != "<" else None, "unit": unit, "issued": issue}
        labs.append(
            native(id=number, source="ELAB", lab="ELAB", time=time, lower_limit=low, upper_limit=high, **stated | more)
        )
    assert history(message(PID, *segments)).labs == of_document(document(labs=labs)).labs


@pytest.mark.parametrize(
    ("sent", "status"),
    [("F", "final"), ("U", "final"), ("V", "final"), ("B", "final"), ("C", "corrected"), ("A", "amended"),
     ("P", "preliminary"), ("R", "preliminary"), ("S", "preliminary"), ("D", "entered-in-error"),
     ("W", "entered-in-error"), ("X", "cancelled")],
)  # fmt: skip
def test_the_status_of_a_result(sent, status):
    """Row 102."""
    assert lab(obx(f11=sent)) == as_native(status=status)


@pytest.mark.parametrize("sent", ["f", "Final", "Z", "0"])
def test_a_result_with_an_unknown_status_is_set_aside(sent):
    assert faults(oru(obx(f11=sent))) == [("OBX[1]-11", "unknown_value")]


@pytest.mark.parametrize(("sent", "value"), [("I", ""), ("I", "5"), ("O", ""), ("N", ""), ("U", "")])
def test_a_result_that_is_not_there_is_counted(sent, value):
    assert read(oru(obx(f5=value, f11=sent)))[:3] == ((), {"status": 1}, False)


@pytest.mark.parametrize(
    ("order", "found"),
    [("F", "final"), ("C", "corrected"), ("P", "preliminary"), ("R", "preliminary"), ("A", "preliminary"),
     ("M", "preliminary"), ("X", "cancelled")],
)  # fmt: skip
def test_without_a_status_of_its_own_a_result_has_that_of_its_order(order, found):
    assert lab(obx(f11=""), obr=changed(OBR, f25=order)).status == found
    assert lab(obx(f11="C"), obr=changed(OBR, f25=order)).status == "corrected"


def test_a_status_is_never_guessed():
    assert faults(oru(obx(f11=""))) == [("OBX[1]-11", "missing")]
    assert faults(oru(obx(f11=""), obr=changed(OBR, f25="Y"))) == [("OBR[1]-25", "unknown_value")]
    for pending in "OISN":
        assert read(oru(obx(f11=""), obr=changed(OBR, f25=pending))).skipped == {"status": 1}


@pytest.mark.parametrize("status", ["F", "C", "A", "D", "W", ""])
def test_the_null_value_deletes(status):
    """Row 103: two quotation marks delete a value, nothing between two delimiters does not."""
    fact = lab(obx(f5='""', f11=status))
    assert (fact.status, fact.value, fact.identity) == ("entered-in-error", None, as_native().identity)


@pytest.mark.parametrize("status", ["I", "O", "N", "U"])
def test_the_null_value_of_a_result_that_is_not_there_yet_deletes_nothing(status):
    """A deletion without a time of issue would stand above the final result that follows."""
    assert read(oru(obx(f5='""', f11=status)))[:3] == ((), {"status": 1}, False)
    of_order = changed(OBR, f25="I")
    assert read(oru(obx(f5='""', f11=""), obr=of_order))[:3] == ((), {"status": 1}, False)


@pytest.mark.parametrize("status", ["P", "R", "S"])
def test_a_preliminary_result_without_a_value_is_refused(status):
    assert faults(oru(obx(f5='""', f11=status))) == [("OBX[1]-5", "missing")]


def test_the_null_value_of_a_cancelled_result_leaves_it_cancelled():
    assert lab(obx(f5='""', f11="X")).status == "cancelled"


@pytest.mark.parametrize("status", ["D", "W", "X"])
@pytest.mark.parametrize(
    "fields",
    [
        {"f5": "CANCELLED"},
        {"f5": "1~2"},
        {"f6": "furlongs"},
        {"f6": "kU/L^U/L^L"},
        {"f5": "-4"},
        {"f7": "9-1"},
        {"f2": "", "f5": ""},
        {"f2": "FT"},
    ],
)
def test_content_that_cannot_be_read_does_not_keep_a_withdrawn_result_standing(status, fields):
    fact = lab(obx(f11=status, **fields))
    assert fact.identity == as_native().identity
    assert fact.value is None or fields == {"f7": "9-1"}


def test_a_fault_that_is_not_about_content_refuses_a_withdrawal_too():
    assert faults(oru(obx(f11="D", f14="2005"), obr=UNTIMED)) == [("OBX[1]-14", "bad_time")]


def test_the_time_of_the_specimen_is_looked_for_in_three_places():
    early, later, last = "20050301", "20050302", "20050303"
    spm = f"SPM|1|||BLD|||||||||||||{last}^20050304"
    timed = obx(f14=early)
    assert history(message(PID, changed(OBR, f7=later), timed, spm)).labs[0].time == "2005-03-02"
    assert history(message(PID, changed(OBR, f7=" "), timed, spm)).labs[0].time == "2005-03-03"
    assert history(message(PID, changed(OBR, f7='""'), OBX, spm, spm)).labs[0].time == "2005-03-03"
    assert lab(timed, obr=UNTIMED).time == "2005-03-01"


def test_a_result_without_a_time_of_its_specimen_is_refused():
    """The time of the message, of the order or of the analysis is another one."""
    assert faults(oru(obx(f19=DRAWN), obr=changed(OBR, f6=DRAWN, f7="", f22=DRAWN))) == [("OBX[1]-14", "missing")]
    two = ["SPM|1|||BLD|||||||||||||20050301", "SPM|2|||BLD|||||||||||||20050302"]
    assert faults(message(PID, changed(OBR, f7=""), OBX, *two)) == [("SPM[1]-17", "repeated_value")]


def test_the_time_of_issue_is_that_of_the_order_and_never_that_of_the_message():
    assert lab(OBX).issued is None
    assert lab(OBX, obr=changed(OBR, f22="20050317080000+0900")) == as_native(issued="2005-03-17T08:00:00+09:00")
    assert faults(oru(obr=changed(OBR, f22="20050317"))) == [("OBR[1]-22", "bad_time")]
    assert faults(oru(obr=changed(OBR, f22="2005031708"))) == [("OBR[1]-22", "bad_time")]


@pytest.mark.parametrize(
    ("placer", "filler", "sub_id", "number", "source"),
    [
        ("9^ward", "77^ELAB", "", "77", "ELAB"),
        ("9^ward", "77^LIS2^1.2.3^ISO", "", "77", "LIS2"),
        ("9^ward", "77^^1.2.3^ISO", "", "77", "urn:oid:1.2.3"),
        ("9^ward", "77^^lab.example^DNS", "", "77", "lab.example"),
        ("9^ward", "77", "", "77", "ELAB"),
        ("9^ward", "", "", "9", "ward"),
        ("9", '""', "", "9", "ELAB"),
        ("9^ward", "77^ELAB", "2", "77.2", "ELAB"),
        ("", "", "2", None, None),
        ("^ward", "^ELAB", "", None, None),
    ],
)
def test_the_number_of_a_result_and_who_gave_it(placer, filler, sub_id, number, source):
    fact = lab(obx(f4=sub_id), obr=changed(OBR, f2=placer, f3=filler))
    assert fact == as_native(id=number, source=source, lab=None if number is None else "ELAB")


def test_a_number_of_a_laboratory_without_a_name_has_no_source():
    assert lab(OBX, obr=changed(OBR, f3="77"), header=changed(MSH, f4="")).source is None


def test_a_number_that_cannot_be_kept_is_refused_or_replaced():
    order = changed(OBR, f3="A 77/5^ELAB")
    assert faults(oru(obr=order)) == [("OBR[1]-3", "bad_identifier")]
    replaced = lab(OBX, feed(key=b"k"), obr=order).id
    assert replaced is not None
    assert "77" not in replaced


def test_the_same_code_twice_is_told_apart_by_its_sub_id_only():
    """Row 101."""
    twice = [obx(f4="1"), obx(f1="2", f4="2", f5="1200")]
    assert [fact.id for fact in history(oru(*twice)).labs] == ["77.1", "77.2"]
    assert faults(oru(OBX, obx(f5="1200"))) == [(f"OBX[{n}]", "conflicting_duplicate") for n in (1, 2)]
    assert history(oru(OBX, OBX)).repeats == 1


@pytest.mark.parametrize(
    ("coding", "code"),
    [
        (CK, "CK"),
        ("CK^Creatine kinase^L", "CK"),
        ("1^our CK^L^2157-6^Creatine kinase^LN", "CK"),
        ("2157-6^CK^LN^^Creatine kinase^LN", "CK"),
        ("CK^CK^99MYO", "CK"),
        ("2532-0^LDH^LN", "LDH"),
    ],
)
def test_codes_that_are_kept(coding, code):
    assert lab(obx(f3=coding)).code == code


@pytest.mark.parametrize(
    "coding",
    [
        "2157-6^CK",
        "2157-6^CK^",
        "2157-6^Guatemalan^CDCREC",
        "13969-1^CK-MB^LN",
        "CK^CK^99LAB",
        "^CK^LN",
        "",
        "IVIG^IVIG^99MYO",
    ],
)
def test_codes_that_are_not_kept_are_counted_and_nothing_else_of_them_is_read(coding):
    broken = obx(f2="", f3=coding, f5="a~b", f6="?", f11="?", f14="?")
    assert read(oru(broken, pid="PID|1||||||?|?"), feed()).skipped == {"code": 1}
    assert history(oru(broken, OBX)).labs == (as_native(),)


@pytest.mark.parametrize(
    "coding",
    [
        "2157-6^CK-MB^LN",
        "2157-6^CK^LN^13969-1^CK-MB^LN",
        "2157-6^^LN^^CK MB",
        "2157-6^CK^LN^^^^^^CKMB activity",
        "CK^CK_MB^L",
    ],
)
def test_a_code_or_a_text_that_says_something_else_vetoes(coding):
    assert faults(oru(obx(f3=coding))) == [("OBX[1]-3", "code_conflict")]


@pytest.mark.parametrize(
    ("sent", "unit", "value"),
    [("U/L^units per liter^UCUM", "U/L", 10), ("IU/L", "IU/L", 10), ("^U/L", "U/L", 10), ("ukat/L&x", "ukat/L", 600)],
)
def test_units_that_are_read(sent, unit, value):
    fact = lab(obx(f5="10", f6=sent))
    assert (fact.unit, fact.value) == (unit, value)


@pytest.mark.parametrize(
    ("sent", "code"),
    [("", "unknown_unit"), ("furlongs", "unknown_unit"), ("kU/L^U/L^L", "unit_mismatch"), ("ng/mL", "mass_unit"),
     ("x" * 40, "too_long")],
)  # fmt: skip
def test_units_that_are_refused(sent, code):
    assert faults(oru(obx(f6=sent))) == [("OBX[1]-6", code)]


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        ("30-200", (30, 200, False)),
        ("30 - 200 U/L", (30, 200, False)),
        ("(30-200)", (30, 200, False)),
        ("[30\u2013200]", (30, 200, False)),
        (r"30\R\200", (30, 200, False)),
        ("30-200^", (30, 200, False)),
        ("30-200^^&", (30, 200, False)),
        ("<25", (None, 25, False)),
        ("\u226425", (None, 25, False)),
        ("<3.2 ukat/L", (None, 192, False)),
        (">30", (30, None, False)),
        ("70_105", (None, None, True)),
        ("M: 30-200", (None, None, True)),
        ("30-200~26-140", (None, None, True)),
        ("30~200", (None, None, True)),
        ("30-200^26-140", (None, None, True)),
        ("^30-200", (None, None, True)),
        ("30-200&26-140", (None, None, True)),
        ("30-200 mg/dL", (None, None, True)),
        ("0-0", (None, None, True)),
        ("200-30", (None, None, True)),
        ("", (None, None, False)),
        ('""', (None, None, False)),
        ("^", (None, None, False)),
    ],
)
def test_the_reference_range_is_taken_where_it_can_mean_one_thing_only(sent, limits):
    read = history(oru(obx(f7=sent), header=MSH + "||||||UNICODE UTF-8"))
    [fact] = read.labs
    noted = "limit_unreadable" in {note.code for note in read.notes.get(("labs", 0), ())}
    assert (fact.lower_limit, fact.upper_limit, noted) == limits


@pytest.mark.parametrize("sent", ["0-0", "200-30", "70_105", "30-200~26-140"])
def test_a_reference_range_that_cannot_be_read_is_left_out_and_noted(sent):
    found = history(oru(obx(f7=sent)))
    assert (found.labs[0].lower_limit, found.labs[0].upper_limit) == (None, None)
    assert Note(NoteCode.LIMIT_UNREADABLE) in found.notes["labs", 0]


@pytest.mark.parametrize("sent", ["", '""', "30-163"])
def test_a_reference_range_that_is_read_or_absent_is_not_noted(sent):
    assert Note(NoteCode.LIMIT_UNREADABLE) not in history(oru(obx(f7=sent))).notes.get(("labs", 0), ())


@pytest.mark.parametrize(
    ("sent", "unit"),
    [("E/L", "U/L"), ("E/L^Einheiten^L", "U/L"), ("E/L^^L^kU/L^^UCUM", None), ("17^^L^kU/L^^UCUM", "kU/L"),
     ("\uff35\uff0f\uff2c", "U/L"), ("17^U/L^L", "U/L"), ("U/L^IU/L^UCUM", "U/L")],
)  # fmt: skip
def test_a_unit_is_read_by_its_code_or_text_or_the_alternate_and_they_must_agree(sent, unit):
    declared = feed(unit_aliases={"E/L": "U/L"})
    body = oru(obx(f6=sent), header=MSH + "||||||UNICODE UTF-8")
    if unit is None:
        assert faults(body, declared) == [("OBX[1]-6", "unit_mismatch")]
    else:
        assert history(body, declared).labs[0].unit == unit


def test_a_score_is_a_result_like_any_other():
    scored = obx(f3="MMT8^Muscle test^99MYO", f5="62", f6="{score}", f7="0-150")
    by_day = changed(OBR, f7="20050316")
    item = {"code": "MMT8", "time": "2005-03-16", "score": 62, "id": "77", "source": "ELAB", "status": "final"}
    assert history(oru(scored, obr=by_day)).assessments == of_document(document(assessments=[item])).assessments
    assert faults(oru(scored.replace("|62|", "|<62|"))) == [("OBX[1]-5", "unsupported")]
    assert faults(oru(scored.replace("|62|", "|151|"))) == [("OBX[1]-5", "off_scale")]
    assert history(oru(changed(scored, f5="", f11="X"))).assessments[0].status == "cancelled"


def test_each_faulty_result_of_a_message_has_its_place():
    body = message(
        PID,
        changed(OBR, f22="x"),
        OBX,
        changed(OBR, f1="2", f3="78", f7="2005"),
        obx(f5="x"),
        obx(f6="x"),
        changed(OBR, f1="3", f3="79"),
        obx(f5="1,1"),
    )
    assert set(faults(body)) == {
        ("OBR[1]-22", "bad_time"),
        ("OBR[2]-7", "bad_time"),
        ("OBX[4]-5", "bad_number"),
    }


def test_a_result_without_an_order_refuses_the_message():
    assert faults(message(PID, OBX)) == [("OBR", "missing")]
    assert faults(message(PID, OBR, OBX, "PID|2||5", OBX)) == [("OBR", "missing")]


def test_no_refusal_repeats_what_was_sent():
    canary = "canary7391"
    for number in range(1, 26):
        for segment in (MSH, PID, OBR, OBX):
            parts = {
                s: changed(s, **{f"f{number}": f"{canary}~{canary}^{canary}"}) if s == segment else s
                for s in (MSH, PID, OBR, OBX)
            }
            if segment == MSH and number < 3:
                continue
            found = refusal(message(parts[PID], parts[OBR], parts[OBX], header=parts[MSH]))
            if found is not None:
                said = f"{found.detail} {found.args} {[(f.pointer, f.sentence) for f in found.faults]}"
                assert canary not in said


@pytest.mark.parametrize(
    ("producer", "organization", "facility", "name"),
    [
        ("L1^Central laboratory^L", "Other^^^^^^^^^9", "ELAB", "Central laboratory"),
        ("L1^^L", "Other", "ELAB", "L1"),
        ("", "Central laboratory^L^9", "ELAB", "Central laboratory"),
        ("", "^^^^^^^^^9", "ELAB", "9"),
        ("", "", "ELAB^1.2.3^ISO", "ELAB"),
        ('""', "", "ELAB", "ELAB"),
        ("", "", "", None),
    ],
)
def test_the_laboratory_that_measured_is_the_producer_else_the_performing_organization_else_the_sender(
    producer, organization, facility, name
):
    fact = lab(obx(f15=producer, f23=organization), header=changed(MSH, f4=facility))
    assert (fact.lab, fact.source, fact.identity) == (name, "ELAB", "#77|CK|ELAB")


@pytest.mark.parametrize("producer", ["x" * 65, r"a\X0D\b"])
def test_a_laboratory_without_a_usable_name_is_left_out_and_noted(producer):
    found = history(oru(obx(f15=producer)))
    assert found.labs[0].lab is None
    assert Note(NoteCode.DETAIL_LEFT_OUT, "lab") in found.notes["labs", 0]


def test_the_laboratory_is_no_part_of_what_identifies_a_result_without_a_number():
    fact = lab(obx(f15="L1"), obr=changed(OBR, f3=""))
    assert (fact.lab, fact.source, fact.identity) == (None, None, "@CK|1110934080000000|")
