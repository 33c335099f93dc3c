"""Read one PV with the client's decisions and a loop of our own: no thread and no Context.

Usage: python3 examples/drive_the_client.py random_walk:dt
"""
import select
import socket
import sys
from contextlib import nullcontext
from time import monotonic as now

from caproto import CLIENT, Broadcaster, bcast_socket
from caproto._client.circuit_session import CircuitSession
from caproto._client.operations import Read
from caproto._client.pvs import PVState, PVTable
from caproto._client.search_book import SearchBook, SearchNews
from caproto._environment import ClientConfiguration

if len(sys.argv) != 2:
    sys.exit(__doc__)

GIVE_UP = now() + 10.0
destinations = ClientConfiguration.from_environment().search_addresses()
table, book = PVTable(nullcontext()), SearchBook(now(), use_repeater=False)
udp, datagrams, news, answers = bcast_socket(reuse=False), Broadcaster(CLIENT), SearchNews(), []


def readable(sock, deadline):
    """Wait for *sock* until *deadline*; tell whether it can be read."""
    if now() >= GIVE_UP:
        sys.exit(f"{sys.argv[1]!r}: there was no answer within 10 s.")
    return select.select([sock], [], [], max(0.0, min(deadline, GIVE_UP) - now()))[0]


# Search until a server has answered.
(pv,) = table.file(sys.argv[1:], 0, lambda name: PVState(name, 0, now()))
for pvs, lost, delay in table.announced([pv], now()).searches:
    book.add("me", [pv.name for pv in pvs], [pv.key for pv in pvs], now(), lost=lost, delay=delay)
while not news.found:
    for sequence, searches in book.due(now()):
        for destination in destinations:
            udp.sendto(datagrams.search_datagram(sequence, searches), destination)
    if readable(udp, book.next_deadline()):
        book.received(datagrams.recv(*udp.recvfrom(65536)), now(), news)
udp.close()

# Give the PV to a circuit.
(_, server, version), (_, keys) = news.found.popitem()
session = CircuitSession(server, 0, version, host_name="here", client_name="me", now=now())
for circuit, pvs in table.found(server, keys, {(server, 0): session}, "", now()).attach.items():
    channels = circuit.attach(pvs)
    table.attached(circuit, channels)
    circuit.create(channels.values())

# Drive the circuit: bytes out, bytes in, deadlines.
with socket.create_connection(server) as tcp:
    circuit.established(now())
    while not answers:
        tcp.sendall(b"".join(circuit.data_to_send()))
        if not readable(tcp, circuit.deadline):
            circuit.beat(now(), now())
            continue
        then, error = circuit.receive_data(tcp.recv(65536), now())
        if error is not None:
            raise error
        table.created(circuit, then.created, now())
        for pv in then.created:
            circuit.start(Read(pv, answers.append), pv.channel)
        for target, argument in then.out:
            target.deliver(argument)
print(answers[0].data)
