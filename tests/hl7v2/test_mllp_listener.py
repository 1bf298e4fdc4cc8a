"""Conversations over a real socket: what is acknowledged is stored, and what cannot be is never acknowledged."""

import os
import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from app.errors import Busy, Cause, Unavailable
from app.hl7v2.message_handler import MOST_IN_A_FRAME, answerable
from app.hl7v2.mllp_framing import END, START, framed
from app.timeline.receipts import Disposition, Receipt
from tests.hl7v2.conftest import WAIT, Gate, logged, reply, until

SECRET = b"MSH|secret"


def test_messages_of_a_connection_are_answered_in_their_order(listen):
    sender = listen().sender()
    sender.send(b"1", b"2", b"3")
    assert [sender.answer() for _ in range(3)] == [b"AA 1", b"AA 2", b"AA 3"]


def test_a_message_in_single_bytes_and_two_in_one_packet_are_answered_alike(listen):
    sender = listen().sender()
    for byte in framed(b"slow"):
        sender.socket.sendall(bytes([byte]))
    sender.send(b"a", b"b")
    assert [sender.answer() for _ in range(3)] == [b"AA slow", b"AA a", b"AA b"]


def test_messages_that_share_a_frame_are_each_answered(listen):
    sender = listen().sender()
    sender.send(b"MSH|1\rMSH|2\n", b"as\nit\ncame\n")
    assert [sender.answer() for _ in range(3)] == [b"AA MSH|1\r", b"AA MSH|2\r", b"AA as\nit\ncame\n"]


def test_a_batch_and_more_messages_than_anybody_sends_together_are_answered_as_one():
    batch = b"BHS|1\rMSH|1\rMSH|2\rBTS|2\r"
    assert answerable(batch) == [batch]
    assert len(answerable(b"MSH|1\r" * MOST_IN_A_FRAME)) == MOST_IN_A_FRAME
    many = b"MSH|1\r" * (MOST_IN_A_FRAME + 1)
    assert answerable(many) == [many]
    assert answerable(b"") == [b""]


def test_a_sender_that_wants_no_answer_gets_none_and_the_next_is_answered(listen):
    def take(message):
        taken = reply(message)
        return type(taken)(b"", "AA", (), None, {}) if message == b"quiet" else taken

    sender = listen(take).sender()
    sender.send(b"quiet", b"loud")
    assert sender.answer() == b"AA loud"


def test_nothing_is_acknowledged_before_it_is_stored(listen):
    gate = Gate()
    sender = listen(gate.take).sender()
    sender.send(b"1")
    gate.wait()
    assert not sender.has_answer(within=0.3)
    gate.go_on.release()
    assert sender.answer() == b"AA 1"


def test_the_next_message_is_looked_at_only_after_the_last_was_acknowledged(listen):
    gate = Gate()
    sender = listen(gate.take).sender()
    sender.send(b"1", b"2")
    gate.wait()
    assert not gate.begun.acquire(timeout=0.3)
    gate.go_on.release()
    assert sender.answer() == b"AA 1"
    gate.go_on.release()
    assert sender.answer() == b"AA 2"


def test_messages_of_several_connections_are_taken_one_by_one_in_the_order_in_which_they_were_complete(listen):
    gate = Gate()
    server = listen(gate.take)
    begun_first, second, third = server.sender(), server.sender(), server.sender()
    begun_first.socket.sendall(START + b"1")
    second.send(b"2")
    gate.wait()
    begun_first.socket.sendall(END)
    third.send(b"3")
    assert not gate.begun.acquire(timeout=0.3), "two messages of one study were in work at a time"
    for _ in range(3):
        gate.go_on.release()
    assert [second.answer(), begun_first.answer(), third.answer()] == [b"AA 2", b"AA 1", b"AA 3"]
    assert gate.taken[0] == b"2"


def test_a_sender_that_missed_the_answer_asks_again_and_gets_the_same(listen):
    gate = Gate()
    server = listen(gate.take)
    first = server.sender()
    first.send(b"1")
    gate.wait()
    first.socket.close()
    gate.go_on.release()
    again = server.sender()
    gate.go_on.release()
    assert again.ask(b"1") == b"AA 1"
    assert gate.taken == [b"1", b"1"]


@pytest.mark.parametrize(
    "error", [Busy(), Unavailable(cause=Cause.DISK_FULL), RuntimeError(SECRET.decode()), OSError("disk")]
)
def test_what_cannot_be_taken_now_is_not_answered_and_can_be_sent_again(listen, caplog, error):
    """A negative answer would let the sender go on to the next message; a closed connection makes it try again."""
    errors = [error]

    def take(message):
        if errors:
            raise errors.pop()
        return reply(message)

    with logged(caplog) as log:
        server = listen(take)
        assert server.sender().ask(SECRET) is None
        assert server.sender().ask(SECRET) == b"AA " + SECRET
        server.end()
    assert "secret" not in log()
    end = "failure" if not isinstance(error, Busy) else error.cause or "busy"
    assert f"end={end}" in log()
    if not isinstance(error, Busy):
        assert f"event=failure type={type(error).__name__} at=" in log()
        assert f"{os.path.basename(__file__)}:" in log()


def test_a_message_that_we_fail_on_is_kept_for_whoever_mends_us_and_one_that_came_at_a_bad_time_is_not(listen, letters):
    errors = [RuntimeError(), Busy()]

    def take(message):
        raise errors.pop()

    server = listen(take)
    assert server.sender().ask(b"1") is None
    assert list(letters.all()) == []
    assert server.sender().ask(b"1") is None
    (letter,) = letters.all()
    assert (letter.message(), letter.note().code, letter.note().faults) == (b"1", None, ())


def test_a_refused_message_is_on_the_disk_before_the_sender_learns_of_it(listen, letters):
    gate = Gate("AE")
    sender = listen(gate.take).sender()
    sender.send(b"1")
    gate.wait()
    assert list(letters.all()) == []
    gate.go_on.release()
    assert sender.answer() == b"AE 1"
    (letter,) = letters.all()
    assert (letter.message(), letter.note().sender) == (b"1", "127.0.0.1")


def test_a_refusal_that_cannot_be_kept_is_answered_by_name_and_all_else_goes_on(listen, letters, caplog):
    letters.directory.rmdir()
    with logged(caplog) as log:
        server = listen(lambda message: reply(message, "AA" if b"good" in message else "AE"))
        sender = server.sender()
        faulty = b"MSH|^~\\&|LAB|A|MYO|MYO|20240502||ORU^R01|17|P|2.5.1\rPID|||4711"
        answer = sender.ask(faulty).split(b"\r")
        assert answer[1] == b"MSA|AR|17"
        assert answer[2].startswith(b"ERR|||207^Application internal error^HL70357|E|letters_unavailable|||The message")
        batch = b"BHS|^~\\&|LAB|A|MYO|MYO|20240502||||B1\r" + faulty + b"\rBTS|1\r"
        assert b"MSA|AR|B1" in sender.ask(batch)
        assert sender.ask(b"good") == b"AA good"
        letters.prepare()
        assert sender.ask(faulty) == b"AE " + faulty
        server.end()
    assert log().count("event=letters status=unavailable why=ENOENT") == 2
    assert len(list(letters.all())) == 1


def test_a_message_beyond_the_cap_is_not_answered_and_its_beginning_is_kept(listen, letters, caplog):
    with logged(caplog) as log:
        server = listen(largest=100)
        sender = server.sender()
        sender.socket.sendall(START + b"x" * 102)
        assert sender.answer() is None
        assert server.sender().ask(b"next") == b"AA next"
        server.end()
    (letter,) = letters.all()
    note = letter.note()
    assert (letter.message(), note.code, note.whole) == (b"x" * 100, None, False)
    assert [(fault.code, fault.sentence[:22]) for fault in note.faults] == [("too_long", "The message is longer ")]
    assert "end=framing-too_long" in log()


def test_a_message_that_another_interrupts_is_not_answered_and_both_are_kept(listen, letters):
    sender = listen().sender()
    sender.socket.sendall(START + b"one" + framed(b"two"))
    assert sender.answer() is None
    (letter,) = letters.all()
    assert (letter.message(), letter.note().whole) == (b"one" + START + b"two", False)


@pytest.mark.parametrize(
    ("sent", "settings", "reason"),
    [
        (START + b"half", {"patience": 0.2}, "slow why=no_end"),
        (START + b"whole\x1c\n", {"patience": 0.2}, "slow why=no_carriage_return"),
        (b"GET / HTTP/1.1", {"patience": 0.2}, "slow why=http"),
        (b"\x16\x03\x01" + b"hello" * 20, {"patience": 0.2}, "slow why=tls"),
        (b"\r\nMSH|^~\\&|LAB", {"patience": 0.2}, "slow why=message_without_frame"),
        (b"x" * 2_000, {}, "framing-malformed why=no_frame"),
        (START + b"x" * 2_000, {}, "framing-too_long why=no_end"),
        (START + b"one" + START + b"two\x1c\r", {}, "framing-malformed why=frame_in_frame"),
        (b"", {"idle": 0.2}, "idle"),
        (b"\r\n\r\n", {"idle": 0.2, "patience": 0.01}, "idle"),
    ],
)
def test_a_sender_that_does_not_send_messages_is_left(listen, letters, caplog, sent, settings, reason):
    with logged(caplog) as log:
        server = listen(**settings)
        sender = server.sender()
        sender.socket.sendall(sent)
        assert sender.answer() is None
        server.end()
    assert log().endswith(f"end={reason}")
    assert (list(letters.all()) == []) == (not reason.startswith("framing") or reason.endswith("no_frame"))


def test_a_sender_that_trickles_a_message_has_no_more_time_than_another(listen, caplog):
    """A byte now and then must not hold a connection for ever."""
    with logged(caplog) as log:
        sender = listen(patience=0.5).sender()
        stopped = threading.Event()

        def trickle():
            with suppress(OSError):
                sender.socket.sendall(START)
                while not stopped.wait(0.05):
                    sender.socket.sendall(b"x")

        trickling = threading.Thread(target=trickle)
        trickling.start()
        assert sender.answer() is None
        stopped.set()
        trickling.join(WAIT)
    assert "end=slow" in log()


def test_a_sender_that_leaves_within_a_message_leaves_nothing_behind(listen, letters, caplog):
    with logged(caplog) as log:
        server = listen()
        sender = server.sender()
        sender.socket.sendall(START + b"half")
        sender.socket.shutdown(socket.SHUT_WR)
        assert sender.answer() is None
        assert server.sender().ask(b"1") == b"AA 1"
        server.end()
    assert "end=lost" in log()
    assert list(letters.all()) == []


def test_a_sender_that_closes_its_half_after_a_message_is_still_answered(listen):
    sender = listen().sender()
    sender.send(b"1")
    sender.socket.shutdown(socket.SHUT_WR)
    assert (sender.answer(), sender.answer()) == (b"AA 1", None)


def test_a_sender_that_reads_no_answers_is_left_and_costs_no_memory(listen, caplog):
    """Its answers fill the buffers of the network; then its next messages are not looked at."""
    taken = []

    def take(message):
        taken.append(1)
        return type(reply(message))(b"x" * 200_000, "AA", (), None, {})

    with logged(caplog) as log:
        server = listen(take, patience=0.5)
        sender = server.sender()
        sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sender.send(*[b"m"] * 200)
        until(lambda: "end=" in log())
        server.end()
    assert "end=deaf" in log()
    assert len(taken) < 200


def test_a_sender_of_no_listed_network_is_turned_away_before_it_says_anything(listen, caplog):
    with logged(caplog) as log:
        server = listen(may_send=lambda address: address != "127.0.0.1")
        sender = server.sender()
        assert sender.answer() is None
        server.end()
    assert log() == "event=turned-away sender=127.0.0.1 why=unlisted"


def test_no_more_connections_are_served_than_allowed_and_one_that_ends_makes_room(listen, caplog):
    with logged(caplog) as log:
        server = listen(most=2)
        senders = [server.sender(), server.sender()]
        assert [sender.ask(b"1") for sender in senders] == [b"AA 1", b"AA 1"]
        assert server.sender().answer() is None
        assert "why=full" in log()
        senders[0].socket.shutdown(socket.SHUT_WR)
        assert senders[0].answer() is None
        until(lambda: server.sender().ask(b"2") == b"AA 2")


def test_a_listener_that_stops_answers_what_has_arrived_and_takes_nothing_more(listen):
    gate = Gate()
    server = listen(gate.take)
    working, idle, half = server.sender(), server.sender(), server.sender()
    half.socket.sendall(START + b"half")
    working.send(b"1", b"2")
    gate.wait()
    server.stop()
    assert (idle.answer(), half.answer()) == (None, None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
    assert not working.has_answer(within=0.1)
    gate.go_on.release()
    assert (working.answer(), working.answer()) == (b"AA 1", None)
    server.end()
    assert gate.taken == [b"1"]


def test_a_listener_stops_at_once_where_nobody_has_sent_anything(listen):
    server = listen()
    server.sender()
    server.end()


def test_results_that_were_set_aside_are_counted_in_the_log(listen, caplog):
    receipt = Receipt(Counter({Disposition.KEPT: 3, Disposition.SET_ASIDE: 2}))
    with logged(caplog) as log:
        listen(lambda message: replace(reply(message), receipt=receipt)).sender().ask(SECRET)
        assert " code=AA ms=" in log()
        assert log().count(" set_aside=2") == 1
