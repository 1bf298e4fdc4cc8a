"""The catalogue of bad input, rows 96 to 106: HL7 v2.

The numbers are those of the research note this list comes from. Where the design answers differently from the note the
row says so. What is refused is acknowledged with the place and the code of each fault, repeats nothing of the content
of the message, and changes no byte of the database.
"""

import pytest

from tests.catalogue.feeds import (
    ORDER,
    WHO,
    Elsewhere,
    RefusedMessage,
    Tried,
    Ward,
    acknowledged,
    parameters,
    result,
    results,
    reveals_nothing,
    row,
    served,
)
from tests.catalogue.service import CANARY, NUMBER
from tests.hl7v2.hl7v2_messages import changed, message

WARD7 = {"authorities": ["WARD7"]}
UTF8 = "UNICODE UTF-8"
OTHER_MARKS = str.maketrans("|^~", "#~^")


def faulty(code: str, place: str, *observations: str, **more: str) -> RefusedMessage:
    """A message of results with one fault."""
    return RefusedMessage(results(*observations, **more), ((place, code),))


def twice(*observations: str) -> RefusedMessage:
    """A message that states one result twice, and differently."""
    return RefusedMessage(results(*observations), tuple((f"OBX^{n}", "conflicting_duplicate") for n in (1, 2)))


def no_number(written: str) -> Tried:
    """A text in place of a number is set aside; nothing of it is repeated, and the sender has nothing to mend."""

    def check(ward: Ward) -> None:
        answer = ward.message(results(result(f5=written)))
        assert acknowledged(answer)[0] == "AA"
        assert "kept 2, set aside 1" in answer.text
        reveals_nothing(answer)
        assert ward.values() == []

    return Tried(check)


def value(code: str, written: str, kind: str = "NM", **fields: str) -> RefusedMessage:
    """A result whose value is written like this."""
    return faulty(code, "OBX^1^5", result(f2=kind, f5=written, **fields))


def unread(body: bytes, *faults: tuple[str, str]) -> RefusedMessage:
    """What is no message that is read here."""
    return RefusedMessage(body, faults, "AR")


def source(name: str, charset: str, codec: str) -> bytes:
    """A message whose result has a source of this name, in a character set."""
    return results(obr=changed(ORDER, f3=f"77^{name}"), f18=charset).decode().encode(codec)


def same(ward: Ward, first: bytes, *others: bytes) -> None:
    """The other messages say what the first one says, and nothing else."""
    ward.takes(first)
    before = ward.revision()
    ward.takes(*others)
    assert ward.values() == [NUMBER]
    assert ward.revision() == before


def other_delimiters_say_the_same(ward: Ward) -> None:
    same(ward, results(), results().decode().translate(OTHER_MARKS).encode())
    answer = ward.message(results().decode().translate(OTHER_MARKS).encode())
    assert answer.text.startswith("MSH|^~\\&|MYO|TRIAL|LIS|ELAB|")


def escapes_are_read_after_everything_is_split(ward: Ward) -> None:
    injected = r"\X0D\OBX\F\2\F\NM\F\2157-6\S\CK\S\LN\F\2\F\1\F\U/L\F\\F\\F\\F\\F\F"
    ward.takes(results(result(f6=r"U\X2F\L", f16=injected), obr=changed(ORDER, f3=r"77^E\F\L\S\A\T\B\R\C\E\D")))
    assert [(lab["source"], lab["unit"], lab["value"]) for lab in ward.labs()] == [("E|L^A&B~C\\D", "U/L", NUMBER)]


def line_ends_of_any_kind_say_the_same(ward: Ward) -> None:
    same(ward, results(), results().replace(b"\r", b"\n"), results().replace(b"\r", b"\r\n"),
         results().replace(b"\r", b"\r\r\n\n"), results().rstrip(b"\r"), b"\xef\xbb\xbf" + results())  # fmt: skip


def cut_off_anywhere_it_is_refused_or_says_nothing_else(ward: Ward) -> None:
    """Within its code an OBX becomes one of a test that nobody knows, which is told in MSA-3 as of any other."""
    whole = results()
    outcomes = set()
    for length in range(len(whole)):
        answer = ward.message(whole[:length])
        reveals_nothing(answer)
        if answer.status_code == 200:
            told = answer.text.split("\r")[1].split("|")[3:]
            assert told in (["kept 3"], ["kept 3, not ours 1"], ["not ours 1"])
            outcomes.add((told == ["not ours 1"], tuple(ward.values())))
    assert outcomes == {(True, ()), (False, (NUMBER,))}


def sub_identifiers_tell_results_apart(ward: Ward) -> None:
    ward.takes(results(result(f4="1"), result(f4="2", f5="900")))
    assert ward.values() == [900, NUMBER]


def the_declared_authority_says_who_it_is(ward: Ward) -> None:
    several = f"8^^^OTHER~{CANARY}^^^WARD7~9^^^NATION"
    same(ward, results(), results(pid=changed(WHO, f3=several)))
    assert len(ward.subjects()) == 1


def each_status_does_what_it_says(ward: Ward) -> None:
    for status, number, standing in (
        ("P", "1", ["preliminary"]),
        ("F", str(NUMBER), ["final"]),
        ("C", "900", ["corrected"]),
        ("P", "1", ["corrected"]),
        ("I", "", ["corrected"]),
        ("X", "", []),
        ("F", str(NUMBER), []),
    ):
        ward.takes(results(result(f5=number, f11=status)))
        assert [lab["status"] for lab in ward.labs()] == standing


def deleted(status: str, written: str = "") -> Tried:
    """A result that is sent again with this status is withdrawn, whatever is left of its content."""

    def check(ward: Ward) -> None:
        ward.takes(results())
        ward.takes(results(result(f5=written, f6="", f11=status)))
        assert ward.values() == []
        [subject] = ward.subjects()
        assert str(NUMBER) in ward.client.get(f"{ward.home}/patients/{subject}/history").text

    return Tried(check)


def bound(sign: str, written: str, kind: str = "NM") -> Tried:
    """A value that is a bound is kept as one."""

    def check(ward: Ward) -> None:
        ward.takes(results(result(f2=kind, f5=written)))
        assert [(lab["comparator"], lab["value"]) for lab in ward.labs()] == [(sign, 1000)]

    return Tried(check)


def declared_characters_are_read(ward: Ward) -> None:
    """The same name in two character sets is the same source; what was escaped is read in the declared one."""
    same(
        ward,
        source("Hôpital", UTF8, "utf-8"),
        source("Hôpital", "8859/1", "latin-1"),
        source(r"H\XF4\pital", "8859/15", "ascii"),
        source(r"H\XC3B4\pital", "UTF-8", "ascii"),
    )
    assert [lab["source"] for lab in ward.labs()] == ["Hôpital"]


def japanese_characters_are_read(ward: Ward) -> None:
    ward.takes(source("検査部", "~ISO IR87", "iso2022_jp"), source("検査部", UTF8, "utf-8"))
    assert [lab["source"] for lab in ward.labs()] == ["検査部"]


def messages_that_come_together_are_each_answered(ward: Ward) -> None:
    bad = results(result(f6=CANARY), f10="2")
    answer = ward.message(results() + bad + results(result(f5="900"), obr=changed(ORDER, f3="78^ELAB"), f10="3"))
    assert answer.status_code == 422
    told = [segment.split("|")[1:3] for segment in answer.text.split("\r") if segment.startswith("MSA")]
    assert told == [["AA", "4711"], ["AE", "2"], ["AA", "3"]]
    reveals_nothing(answer)
    assert ward.values() == [900, NUMBER]


def a_body_beyond_the_cap_is_no_message(ward: Ward) -> None:
    before = ward.service.ledger()
    answer = ward.message(results() + b"\r" * 16_000_000)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
    reveals_nothing(answer)
    assert ward.service.ledger() == before


def a_message_sent_again_is_answered_with_the_same_bytes(ward: Ward) -> None:
    bad = results(result(f6=CANARY))
    for body, status in ((results(), 200), (bad, 422)):
        ward.message(body)  # the first receipt also says what is new
        first, before = ward.message(body), ward.service.ledger()
        again = ward.message(body)
        assert (first.status_code, first.content) == (status, again.content)
        assert acknowledged(again)[0] == ("AA" if status == 200 else "AE")
        assert again.text.split("\r")[1].split("|")[2] == "4711"
        assert ward.service.ledger() == before


def a_number_of_a_message_hides_no_other_message(ward: Ward) -> None:
    """Senders number from the beginning again: what a message says counts, not that its number is known."""
    ward.takes(results(), results(result(f5="900", f11="C")))
    assert ward.values() == [900]
    mended = results(obr=changed(ORDER, f3="78^ELAB"))
    assert ward.message(mended.replace(b"|U/L|", b"|furlong|")).status_code == 422
    ward.takes(mended)
    assert ward.values() == [900, NUMBER]


ROWS = [
    row(
        96,
        "other encoding characters: the acknowledgement has those of the standard",
        Tried(other_delimiters_say_the_same),
        *(
            unread(results().replace(b"MSH|^~\\&|", header), ("MSH^1^2", "malformed"))
            for header in (b"MSH|^^\\&|", b"MSH|^~\\||", b"MSH|^~|", b"MSH||", b"MSHA^~\\&A", b"MSH|abcd|")
        ),
    ),
    row(
        97,
        "escapes",
        Tried(escapes_are_read_after_everything_is_split),
        faulty("bad_text", "OBR^1^3", obr=changed(ORDER, f3=rf"77^{CANARY}\X0D\A")),
        faulty("unknown_unit", "OBX^1^6", result(f6=r"U\T\L")),
        faulty("unknown_unit", "OBX^1^6", result(f6=r"U\X2\L")),
        value("bad_number", r"1\X2C\234"),
    ),
    row(
        98,
        "line feeds between segments",
        Tried(line_ends_of_any_kind_say_the_same),
        faulty("malformed", "OBX^1", result() + f"\n{CANARY}"),
        unread(results(pid=f"{WHO}\n{CANARY}"), ("PID^1", "malformed")),
    ),
    row(
        99,
        "a header that ends early, a message that ends early",
        unread(b"MSH|^~\\&|A", *((f"MSH^1^{field}", "missing") for field in (9, 10, 11, 12))),
        unread(b"MSH|^~\\&", *((f"MSH^1^{field}", "missing") for field in (9, 10, 11, 12))),
        *(unread(results(**{f"f{field}": ""}), (f"MSH^1^{field}", "missing")) for field in (9, 10, 11, 12)),
        unread(results(f9="ORU^R99"), ("MSH^1^9", "unsupported")),
        unread(results(f9="ADT^A08"), ("MSH^1^9", "unsupported")),
        unread(results(f12="3.0"), ("MSH^1^12", "unknown_value")),
        unread(results(f11="X"), ("MSH^1^11", "unknown_value")),
        unread(results(f11="T"), ("MSH^1^11", "not_production")),
        unread(message(ORDER, result()), ("PID^1", "missing")),
        unread(message(WHO, ORDER), ("OBX^1", "missing")),
        unread(message(WHO), ("OBX^1", "missing")),
        unread(message(), ("PID^1", "missing")),
        RefusedMessage(message(WHO, result()), (("OBR^1", "missing"),)),
        Tried(cut_off_anywhere_it_is_refused_or_says_nothing_else),
    ),
    row(
        100,
        "no header, nothing at all: AR, also over HTTP, where the note would allow 400",
        *(
            unread(body, ("MSH^1", "malformed"))
            for body in (
                b"",
                b"\r\n",
                b"\x0b\x1c\r",
                message(WHO, ORDER, result()).partition(b"\r")[2],
                CANARY.encode(),
                b'{"canary": 7391}',
                results().decode().encode("utf-16"),
                b"\0\xff\xfe",
            )
        ),
        unread(b"msh" + results()[3:], ("MSH^1", "malformed")),
    ),
    row(
        101,
        "the same code twice, several identifiers of one patient",
        twice(result(), result(f1="2", f5="900")),
        twice(result(f4="1"), result(f4="1", f5="900")),
        Tried(lambda ward: same(ward, results(), results(result(), result()))),
        Tried(sub_identifiers_tell_results_apart),
        faulty("ambiguous_subject", "PID^1^3", pid=changed(WHO, f3=f"{CANARY}^^^WARD7~8^^^OTHER")),
        RefusedMessage(
            results(pid=changed(WHO, f3=f"{CANARY}^^^A~8^^^B")), (("PID^1^3", "ambiguous_subject"),), declared=WARD7
        ),
        RefusedMessage(
            results(pid=changed(WHO, f3=f"{CANARY}^^^WARD7~8^^^WARD7")),
            (("PID^1^3", "ambiguous_subject"),),
            declared=WARD7,
        ),
        faulty("no_subject", "PID^1^3", pid=changed(WHO, f3="")),
        faulty("no_subject", "PID^1^3", pid=changed(WHO, f3="^^^WARD7")),
        Tried(the_declared_authority_says_who_it_is, WARD7),
    ),
    row(
        102,
        "statuses: what is preliminary counts until something newer comes, as in row 85",
        Tried(each_status_does_what_it_says),
        *(deleted(status) for status in "DWX"),
        deleted("W", str(NUMBER)),
        deleted("D", "not readable"),
        faulty("unknown_value", "OBX^1^11", result(f11="Z")),
        faulty("unknown_value", "OBX^1^11", result(f11=CANARY)),
        faulty("missing", "OBX^1^11", result(f11="")),
    ),
    row(
        103,
        "values",
        *(bound(*each) for each in ((">", ">1000"), ("<", "<1000"), ("<=", "<= 1000", "ST"), (">", ">^1000", "SN"))),
        *(value("bad_number", written) for written in ("7391,25", "1,234", "1e5", "7 391", "++1", "0x1", "<")),
        *(no_number(written) for written in ("NaN", "Infinity", CANARY)),
        value("repeated_value", "350~360"),
        value("missing", ""),
        value("missing", '""', f11="P"),
        value("unsupported", "^70^-^105", "SN"),
        value("unknown_value", f"{CANARY}^70", "SN"),
        value("bad_number", f"12^{NUMBER}", "CE"),
        value("out_of_range", "-7391"),
        value("out_of_range", "1000000000"),
        faulty("missing", "OBX^1^2", result(f2="")),
        faulty("bad_number", "OBX^1^5", result(f5="\u0661\u0662"), f18=UTF8),
        deleted("F", '""'),
    ),
    row(
        104,
        "character sets",
        Tried(declared_characters_are_read),
        Tried(japanese_characters_are_read),
        *(
            RefusedMessage(source(f"H\xf4{CANARY}", declared, codec), ((place, "unknown_encoding"),))
            for place, declared, codec in (
                ("OBR^1^3", "", "latin-1"),
                ("OBR^1^3", "", "utf-8"),
                ("OBR^1^3", "ASCII", "latin-1"),
                ("OBR^1^3", UTF8, "latin-1"),
                ("MSH^1^18", "UNICODE UTF-16", "utf-8"),
                ("MSH^1^18", "CANARY", "utf-8"),
                ("MSH^1^18", "8859/1~8859/2", "latin-1"),
                ("OBR^1^3", "~ISO IR87", "latin-1"),
            )
        ),
    ),
    row(
        105,
        "MLLP frames: their edges are tried where sockets are; over HTTP the body has no frame",
        Elsewhere(
            "tests/hl7v2/test_mllp_listener.py",
            (
                "test_a_sender_that_does_not_send_messages_is_left",
                "test_a_sender_that_trickles_a_message_has_no_more_time_than_another",
                "test_messages_that_share_a_frame_are_each_answered",
                "test_a_message_beyond_the_cap_is_not_answered_and_its_beginning_is_kept",
            ),
        ),
        Elsewhere("tests/hl7v2/test_mllp_framing.py", ("test_a_message_that_never_ends_is_not_held_beyond_its_cap",)),
        Tried(messages_that_come_together_are_each_answered),
        Tried(a_body_beyond_the_cap_is_no_message),
        Tried(lambda ward: same(ward, results(), b"\x0b" + results() + b"\x1c\r")),
    ),
    row(
        106,
        "the same MSH-10 again",
        Tried(a_message_sent_again_is_answered_with_the_same_bytes),
        Tried(a_number_of_a_message_hides_no_other_message),
    ),
]


@pytest.fixture(scope="module")
def service(migrated_file):
    with served(migrated_file) as running:
        yield running


@pytest.mark.parametrize("each", parameters(ROWS))
def test_bad_message(each, service, caplog):
    caplog.set_level("DEBUG", "myoresponse")
    each.check(service)
    assert "canary" not in caplog.text.lower()
