"""Who may send: this machine, listed networks, and holders of a certificate that we trust."""

import re
import shutil
import socket
import ssl
import subprocess
from functools import partial

import pytest
from pydantic import ValidationError

from app.hl7v2.message_handler import MessageHandler
from app.hl7v2.mllp_connection import Limits, certificate_names
from app.hl7v2.mllp_listener import Listener, accepted_names, may_send, objection_to_exposure, tls_context
from app.settings import Settings
from tests.hl7v2.conftest import Running, logged, reply, until

EVERYWHERE = "0.0.0.0"  # noqa: S104 - never listened on


def make_certificate(folder, name, signer=None, dns=None):
    """The files of a certificate for 127.0.0.1 and of its key, signed by itself or by another."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    signed = ["-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key"] if signer else []
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -addext subjectAltName=IP:127.0.0.1"
    made += f",DNS:{dns}" if dns else ""
    subprocess.run(
        ["openssl", *made.split(), "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *signed],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Certificates: `ours` for the listener, `theirs` for a sender, `foreign` that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no program openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "theirs", "foreign"):
        make_certificate(folder, name)
    return folder


def settings(folder, **more):
    return Settings(mllp_certificate=folder / "ours.pem", mllp_key=folder / "ours.key", **more)


def wrapping(folder, name=None, **more):
    """How a sender begins TLS: it trusts our certificate and may show its own."""
    context = ssl.create_default_context(cafile=folder / "ours.pem")
    for key, value in more.items():
        setattr(context, key, value)
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return lambda plain: context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_messages_travel_over_tls(listen, folder):
    server = listen(context=tls_context(settings(folder)))
    sender = server.sender(wrapping(folder))
    assert sender.socket.version() == "TLSv1.3"
    sender.send(b"1", b"2")
    assert (sender.answer(), sender.answer()) == (b"AA 1", b"AA 2")
    server.stop()
    assert sender.answer() is None


def test_a_message_in_clear_is_not_taken_where_tls_is_asked_for(listen, folder, caplog):
    with logged(caplog) as log:
        server = listen(context=tls_context(settings(folder)))
        assert server.sender().ask(b"clear") is None
        server.end()
    assert log() == "event=turned-away sender=127.0.0.1 why=handshake tls=wrong_version_number"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_an_old_version_of_tls_is_not_spoken(listen, folder, caplog):
    with logged(caplog) as log:
        server = listen(context=tls_context(settings(folder)))
        with pytest.raises(ssl.SSLError):
            server.sender(wrapping(folder, maximum_version=ssl.TLSVersion.TLSv1_1))
        until(log)
        server.end()
    words = r"unsupported_protocol|unexpected_message"  # which of the two sides notices it first
    assert re.fullmatch(rf"event=turned-away sender=127\.0\.0\.1 why=handshake tls=({words})", log())


@pytest.mark.parametrize(
    ("shown", "why"),
    [("foreign", "certificate_self_signed_certificate"), (None, "peer_did_not_return_a_certificate")],
)
def test_the_log_says_what_is_wrong_with_a_certificate_and_not_whose_it_is(listen, folder, caplog, shown, why):
    with logged(caplog) as log:
        server = listen(context=tls_context(settings(folder, mllp_client_ca=folder / "theirs.pem")))
        assert server.sender(wrapping(folder, shown)).ask(b"1") is None
        server.end()
    assert log() == f"event=turned-away sender=127.0.0.1 why=handshake tls={why}"


def test_a_sender_that_does_not_trust_our_certificate_is_named_by_its_alert(listen, folder, caplog):
    with logged(caplog) as log:
        server = listen(context=tls_context(settings(folder)))
        stranger = ssl.create_default_context(cafile=folder / "foreign.pem")
        with pytest.raises(ssl.SSLError):
            server.sender(lambda plain: stranger.wrap_socket(plain, server_hostname="127.0.0.1"))
        until(log)
        server.end()
    assert "why=handshake tls=" in log()
    assert "unknown_ca" in log()


def test_a_sender_that_never_begins_tls_is_left(listen, folder, caplog):
    with logged(caplog) as log:
        server = listen(context=tls_context(settings(folder)), patience=0.2)
        assert server.sender().answer() is None
        server.end()
    assert log() == "event=turned-away sender=127.0.0.1 why=handshake tls=timeout"


def test_only_a_sender_with_a_certificate_that_we_trust_is_heard(listen, folder):
    """In TLS 1.3 a sender learns only after the handshake that it was refused."""
    taken, rows = [], []
    context = tls_context(settings(folder, mllp_client_ca=folder / "theirs.pem"))
    server = listen(lambda message: taken.append(message) or reply(message), context=context, record=rows.append)
    assert server.sender(wrapping(folder, "theirs")).ask(b"theirs") == b"AA theirs"
    for name in ("foreign", None):
        assert server.sender(wrapping(folder, name)).ask(b"foreign") is None
    assert taken == [b"theirs"]
    server.end()
    assert [(row.who.caller, row.who.address, row.status) for row in rows] == [
        ("mllp:theirs", "127.0.0.1", 200),
        (None, "127.0.0.1", 401),
        (None, "127.0.0.1", 401),
    ]


def test_a_sender_is_named_by_the_name_of_its_certificate_that_may_send(listen, folder):
    """One that is declared by its DNS name is not named by its common name."""
    make_certificate(folder, "engine", "theirs", dns="elab.example")
    chosen = settings(folder, mllp_client_ca=folder / "theirs.pem", mllp_subjects="elab.example=ward7")
    rows = []
    server = listen(context=tls_context(chosen), accepted=partial(accepted_names, chosen, "ward7"), record=rows.append)
    assert server.sender(wrapping(folder, "engine")).ask(b"1") == b"AA 1"
    server.end()
    assert [row.who.caller for row in rows] == ["mllp:elab.example"]


def test_a_sender_that_is_not_listed_or_finds_no_room_has_a_row(listen):
    rows = []
    server = listen(most=1, record=rows.append)
    first = server.sender()
    assert first.ask(b"1") == b"AA 1"
    assert server.sender().answer() is None
    server.end()
    other = listen(may_send=lambda address: False, record=rows.append)
    assert other.sender().answer() is None
    other.end()
    assert [row.status for row in rows] == [200, 503, 403]


def test_a_certificate_is_good_for_the_study_it_is_declared_with_and_names_the_sender(folder, letters, caplog):
    make_certificate(folder, "second", "theirs")
    chosen = settings(folder, mllp_client_ca=folder / "theirs.pem", mllp_subjects="theirs=ward7,second=ward9")
    taken, rows = [], []
    handler = MessageHandler(
        "ward7", lambda message, client: taken.append(client) or reply(message), letters, rows.append
    )
    known = partial(accepted_names, chosen, "ward7")
    limits = Limits(1_000, 30, 30)
    listener = Listener(
        handler, limits, most=4, may_send=lambda address: True, accepted=known, context=tls_context(chosen)
    )
    with logged(caplog) as log:
        server = Running(listener, socket.create_server(("127.0.0.1", 0)))
        assert server.sender(wrapping(folder, "theirs")).ask(b"1") == b"AA 1"
        assert server.sender(wrapping(folder, "second")).ask(b"2") is None
        server.end()
    assert taken == ["mllp:theirs"]
    assert "event=turned-away sender=127.0.0.1 why=subject" in log()
    assert [(row.who.caller, row.who.address, row.study, row.status) for row in rows] == [
        ("mllp:theirs", "127.0.0.1", "ward7", 200),
        ("mllp:second", "127.0.0.1", "ward7", 403),
    ]


def test_a_declared_subject_is_its_common_name_or_a_dns_name():
    certificate = {
        "subject": ((("organizationName", "ward7"),), (("commonName", "elab"),)),
        "subjectAltName": (("DNS", "elab.example"), ("IP Address", "10.0.0.1")),
    }
    assert certificate_names(certificate) == ["elab", "elab.example"]
    assert certificate_names(None) == certificate_names({}) == []
    chosen = Settings(
        mllp_certificate="x", mllp_key="x", mllp_client_ca="x", mllp_subjects="elab.example=ward7, 10.0.0.1=ward9"
    )
    assert accepted_names(chosen, "ward7", ["elab", "elab.example"]) == ["elab.example"]
    assert accepted_names(chosen, "ward9", ["elab", "elab.example"]) is None
    assert accepted_names(chosen, "ward7", []) is None
    assert accepted_names(Settings(), "ward7", []) == []


@pytest.mark.parametrize("listed", ["elab", "=ward7", "elab=", "a=b=c", "elab=ward 7"])
def test_a_subject_without_its_study_is_no_setting(listed):
    with pytest.raises(ValidationError, match="with its study"):
        Settings(mllp_subjects=listed)
    with pytest.raises(ValidationError, match="MYORESPONSE_MLLP_SUBJECTS needs MYORESPONSE_MLLP_CLIENT_CA"):
        Settings(mllp_subjects="elab=ward7")


def test_a_key_that_does_not_fit_or_asks_for_a_password_is_an_error_and_no_question(folder):
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        tls_context(Settings(mllp_certificate=folder / "ours.pem", mllp_key=folder / "theirs.key"))
    locked = folder / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", folder / "ours.key", "-out", locked],
        check=True,
        capture_output=True,
    )
    with pytest.raises(OSError, match=r".*"):
        tls_context(Settings(mllp_certificate=folder / "ours.pem", mllp_key=locked))


def test_without_a_certificate_there_is_no_tls():
    assert tls_context(Settings()) is None


@pytest.mark.parametrize(
    ("listed", "address", "may"),
    [
        ("", "203.0.113.9", True),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8, 192.0.2.7", "192.0.2.7", True),
        ("10.0.0.0/8, 192.0.2.7", "192.0.2.8", False),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("2001:db8::/32", "2001:db8::5", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_senders_are_let_in_by_their_network(listed, address, may):
    assert may_send(Settings(mllp_senders=listed), address) == may


@pytest.mark.parametrize(
    ("more", "may"),
    [
        ({}, True),
        ({"mllp_host": "localhost"}, True),
        ({"mllp_host": "::1"}, True),
        ({"mllp_host": EVERYWHERE}, False),
        ({"mllp_host": "lab.example"}, False),
        ({"mllp_host": EVERYWHERE, "mllp_senders": "10.0.0.0/8"}, True),
        ({"mllp_host": EVERYWHERE, "allow_unauthenticated": True}, True),
        ({"mllp_host": EVERYWHERE, "mllp_certificate": "a", "mllp_key": "b"}, False),
        ({"mllp_host": EVERYWHERE, "mllp_certificate": "a", "mllp_key": "b", "mllp_client_ca": "c"}, True),
    ],
)
def test_the_listener_leaves_loopback_only_where_it_is_told_who_may_send(more, may):
    """A certificate of our own says nothing about senders."""
    objection = objection_to_exposure(Settings(**more))
    assert (objection is None) == may
    assert may or "MYORESPONSE_MLLP_SENDERS" in objection


@pytest.mark.parametrize(
    "wrong",
    [
        {"mllp_senders": "10.0.0.1/8"},
        {"mllp_senders": "lab.example"},
        {"mllp_certificate": "a"},
        {"mllp_key": "b"},
        {"mllp_client_ca": "c"},
        {"mllp_port": 70_000},
        {"mllp_timeout_seconds": 0},
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)
