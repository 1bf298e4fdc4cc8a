"""Acknowledgements in each version are read by another library, which allows only what the version defines."""

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.parser import get_message_info, parse_message, parse_segments

from app.errors import Fault, FaultCode
from app.hl7v2.acknowledgement import acknowledgement
from app.hl7v2.message import read_envelope
from tests.hl7v2.test_acknowledgement import RECEIPT

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
TYPES = ("ORU^R01", "ORU^R01^ORU_R01", "ORU", "ADT^A40", "ADT^A08", "ADT", "^")
FAULTS = [
    Fault("OBX[2]-6", FaultCode.UNKNOWN_UNIT),
    Fault("PID", FaultCode.MISSING),
    Fault("MSH-9", FaultCode.UNSUPPORTED),
    Fault("PID-3", FaultCode.ERASED),
    Fault("", FaultCode.TOO_MANY),
]
STRICT = VALIDATION_LEVEL.STRICT


def strictly(text: str) -> Message:
    """The acknowledgement as hl7apy reads it.

    hl7apy takes the name of a message from MSH-9.3, which was added in 2.3.1. For older versions it is told the name.
    """
    delimiters, _, version = get_message_info(text)
    if version not in {"2.1", "2.2", "2.3"}:
        read = parse_message(text, validation_level=STRICT)
    else:
        read = Message("ACK", version=version, validation_level=STRICT, encoding_chars=delimiters)
        read.children = parse_segments(text, version, delimiters, STRICT, read.reference, True)
    if version != "2.1":  # hl7apy wants a second component of each time there, which 2.1 does not define
        read.validate()
    return read


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(("code", "faults"), [("AA", ()), ("AE", FAULTS), ("AR", FAULTS[2:3])])
def test_an_acknowledgement_has_the_form_of_its_version(version, type, code, faults):
    header = f"MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||{type}|1|P|{version}||||||8859/1"
    written = acknowledgement(read_envelope([header.encode()]), code, faults, RECEIPT).decode()
    read = strictly(written)
    assert read.msh.msh_12.to_er7() == version
    assert read.msa.to_er7().startswith(f"MSA|{code}|1")
    assert "kept 3, not applied 1, set aside 1, not ours 2" in written
    for fault in faults:
        assert fault.code.value in written


@pytest.mark.parametrize(
    ("version", "written"),
    [
        ("2.1", "ERR|PID-3 204 erased: The data of this person"),
        ("2.3", "ERR|PID^1^3^204&Unknown key identifier&HL70357&erased&The data of this person"),
        ("2.5.1", "ERR||PID^1^3|204^Unknown key identifier^HL70357^erased^Person erased^99MYO|E|erased|||The data of"),
        ("2.8", "ERR||PID^1^3|204^Unknown key identifier^HL70357^erased^Person erased^99MYO|E|erased|||The data of"),
    ],
)
def test_a_person_who_was_erased_is_named_as_such(version, written):
    header = f"MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|{version}"
    answer = acknowledgement(read_envelope([header.encode()]), "AE", [Fault("PID-3", FaultCode.ERASED)]).decode()
    assert answer.split("\r")[2].startswith(written)
