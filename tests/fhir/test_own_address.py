"""Which addresses are those of a facade: behind a proxy, by a declared name, with the usual port."""

import pytest

from app.fhir.own_address import NOWHERE, OwnAddress

OWN = OwnAddress("t", "/myoresponse", "127.0.0.1:8000", frozenset({"trial.example"}))


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("Patient/P01", "Patient/P01"),
        ("/Patient/P01", "Patient/P01"),
        ("/myoresponse/fhir/t/Patient/P01", "Patient/P01"),
        ("http://127.0.0.1:8000/myoresponse/fhir/t/Patient/P01", "Patient/P01"),
        ("https://trial.example/myoresponse/fhir/t/Patient/P01", "Patient/P01"),
        ("HTTPS://Trial.Example:8443/myoresponse/fhir/t/Patient?identifier=a|b", "Patient?identifier=a|b"),
        ("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"),
        ("http://127.0.0.1:8001/myoresponse/fhir/t/Patient/P01", None),
        ("http://127.0.0.1:8000/fhir/t/Patient/P01", None),
        ("https://trial.example/myoresponse/fhir/u/Patient/P01", None),
        ("https://trial.example.attacker.example/myoresponse/fhir/t/Patient/P01", None),
        ("https://trial.example@attacker.example/myoresponse/fhir/t/Patient/P01", None),
        ("https://elsewhere.example/myoresponse/fhir/t/Patient/P01", None),
    ],
)
def test_an_address_is_ours_or_another_servers(text, inside):
    assert OWN.inside(text) == inside


@pytest.mark.parametrize(
    ("authority", "given"), [("trial.example", "trial.example:443"), ("trial.example:443", "trial.example")]
)
def test_the_usual_port_may_be_left_out(authority, given):
    assert OwnAddress("t", authority=authority).inside(f"https://{given}/fhir/t/Patient/P01") == "Patient/P01"
    assert OwnAddress("t", authority=authority).inside(f"https://{given}0/fhir/t/Patient/P01") is None


def test_without_a_facade_no_address_of_a_server_is_ours():
    assert NOWHERE.inside("http://x/fhir//Patient/P01") is None
