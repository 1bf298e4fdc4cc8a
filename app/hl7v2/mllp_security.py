"""Who may send: programs on this machine, senders with a certificate that we trust, or those of listed networks."""

import ssl
from ipaddress import ip_address

from app.settings import Settings


def objection_to_exposure(settings: Settings) -> str | None:
    """Why the listener must not listen where the settings say, or `None` where it may.

    A certificate of our own does not count: it tells senders who we are and not us who they are.
    """
    known = settings.mllp_client_ca is not None or settings.sender_networks
    if settings.mllp_listens_on_loopback or known or settings.allow_unauthenticated:
        return None
    return (
        "Whoever reaches this listener can write into the study, so it listens on loopback only until it is told who "
        "may send. Name the senders' networks in MYORESPONSE_MLLP_SENDERS, or set MYORESPONSE_MLLP_CLIENT_CA (with "
        "MYORESPONSE_MLLP_CERTIFICATE) so that they must show a certificate, or, where something in front of it "
        "decides who may send, MYORESPONSE_ALLOW_UNAUTHENTICATED=true."
    )


def may_send(settings: Settings, address: str) -> bool:
    """Whether a sender at this address is let in; everybody is where no networks are listed."""
    sender = ip_address(address.partition("%")[0])  # without the zone of a link-local address
    return not settings.sender_networks or any(sender in network for network in settings.sender_networks)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or later as the settings say; `None` where they name no certificate.

    Raises `OSError` (`ssl.SSLError` is one) where a file cannot be used; a key with a password is one of these.
    """
    if settings.mllp_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.mllp_certificate, settings.mllp_key, password=str)  # no question at a terminal
    if settings.mllp_client_ca is not None:
        context.load_verify_locations(settings.mllp_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
