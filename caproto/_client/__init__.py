"""What a client decides: events and the present time go in; what to do, and when, comes out.

Nothing here uses a socket, a thread or a clock, so any driver can use it: the threads of
``caproto.threading``, an event loop, or a simulation.
"""
