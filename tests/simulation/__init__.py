"""A simulated world: the client as it is, and servers, in virtual time over a bad network.

::

    plan        what is to happen: plain data, drawn from a seed
    simulation  carries a plan out; then everything is healed, and judged by `invariants`
    users       what users do with the client, and what becomes of it
    fate        what happens to servers, hosts and the network
    servers     our own server's sessions, and name servers
    network     datagrams and streams
    system      threads, locks, queues and the clock; sockets; stand_ins puts them into caproto
    world       time, chance, and the record
    runner      many seeds, replaying one, and making its plan small
    found       plans that have failed once
    planted     faults that must be found
"""
