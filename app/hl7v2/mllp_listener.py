"""The MLLP listener, and its security: from where it may be reached, which senders may connect, and TLS.

`Listener` accepts connections and stops them. `objection_to_exposure` says why the settings are not safe enough,
`may_send` checks the address of a sender, `tls_context` loads the certificates.

One thread stores all messages of the study in the order in which they were complete, on any connection: two
corrections of one result are stored in that order even if the sender opened another connection in between. More
threads would not be faster, because the ledger of a study has one writer at a time.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address

from app.hl7v2.message_handler import MessageHandler
from app.hl7v2.mllp_connection import NO_ROOM, NOT_ALLOWED, Connection, Limits
from app.settings import Settings

RELIEF_SECONDS = 1.0
"""Pause after the system could not open a connection, for example because it has no free descriptors."""
log = logging.getLogger("myoresponse")


class Listener:
    """Serves the senders of one study on one socket."""

    def __init__(
        self,
        handler: MessageHandler,
        limits: Limits,
        *,
        most: int,
        may_send: Callable[[str], bool],
        accepted: Callable[[Sequence[str]], Sequence[str] | None] = lambda names: names,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._most = most
        self._may_send = may_send
        self._accepted = accepted
        self._context = context
        self._served: dict[asyncio.Task[None], Connection] = {}

    async def run(self, listening: socket.socket, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set. Then accept no connection, store and acknowledge the messages that are
        complete, and close. The socket is closed afterwards.
        """
        listening.setblocking(False)
        with ThreadPoolExecutor(1, "message-handler") as worker:
            accepting = asyncio.create_task(self._accept(listening, worker))
            stop_signal = asyncio.create_task(stopping.wait())
            try:
                await asyncio.wait([accepting, stop_signal], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = accepting.done()
                accepting.cancel()
                stop_signal.cancel()
                listening.close()
                await self._finish()
            if ended:
                accepting.result()

    async def _finish(self) -> None:
        for task, connection in self._served.items():
            connection.stop()
            if not connection.working:
                task.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def _accept(self, listening: socket.socket, worker: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, (address, *_) = await loop.sock_accept(listening)
            except ConnectionError:  # the sender has closed it already
                continue
            except OSError:
                log.warning("event=accept status=failed")
                await asyncio.sleep(RELIEF_SECONDS)
                continue
            if objection := self._objection(address):
                log.warning("event=turned-away sender=%s why=%s", address, objection)
                self._handler.note(address, None, NO_ROOM if objection == "full" else NOT_ALLOWED)
                accepted.close()
                continue
            connection = Connection(address, self._handler, worker, self._limits, self._accepted)
            task = asyncio.create_task(connection.serve(accepted, self._context))
            self._served[task] = connection
            task.add_done_callback(self._served.pop)
            task.add_done_callback(partial(_release, accepted))

    def _objection(self, address: str) -> str | None:
        """Why a sender may not connect, in one word; checked before TLS, so that an unknown sender learns nothing."""
        if not self._may_send(address):
            return "unlisted"
        return "full" if len(self._served) >= self._most else None


def _release(accepted: socket.socket, _: asyncio.Task[None]) -> None:
    """Close the socket of a connection that has ended, also of one that was stopped before it began."""
    accepted.close()


def objection_to_exposure(settings: Settings) -> str | None:
    """Why the listener must not listen at the address of the settings, or `None` if it may.

    The certificate of the service does not count: it identifies the service, not the senders.
    """
    known = settings.mllp_client_ca is not None or settings.sender_networks
    if settings.mllp_listens_on_loopback or known or settings.allow_unauthenticated:
        return None
    return (
        "Every sender that reaches this listener can write into the study. Without a list of senders it listens on "
        "loopback only. Name the senders' networks in MYORESPONSE_MLLP_SENDERS, or set MYORESPONSE_MLLP_CLIENT_CA "
        "(with MYORESPONSE_MLLP_CERTIFICATE) so that they must show a certificate, or, if a proxy in front of it "
        "decides who may send, set MYORESPONSE_ALLOW_UNAUTHENTICATED=true."
    )


def may_send(settings: Settings, address: str) -> bool:
    """Whether a sender at this address may connect; every sender may if no networks are listed."""
    sender = ip_address(address.partition("%")[0])  # without the zone of a link-local address
    return not settings.sender_networks or any(sender in network for network in settings.sender_networks)


def accepted_names(settings: Settings, study: str, names: Sequence[str]) -> Sequence[str] | None:
    """The names of a certificate that may send to the study; all if none is declared, `None` if none of them may."""
    declared = settings.sender_subjects
    if not declared:
        return names
    return [name for name in names if (name, study) in declared] or None


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or later with the certificates of the settings; `None` if they name no certificate.

    Raises `OSError` (`ssl.SSLError` is one) if a file cannot be used, for example a key with a password.
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
