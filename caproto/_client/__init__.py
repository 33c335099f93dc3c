"""What a client decides: facts, wishes and the present time in; what to do, and when, out.

Nothing here knows a socket, a thread, a lock or a clock, so any driver can use it: the threads of
``caproto.threading``, an event loop, or a simulation.
"""
