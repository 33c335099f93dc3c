"""What a server decides: values and their types, groups of PVs, the conversation with one client.

No socket, no thread and no clock of its own: bytes and the present time come in as arguments, and
bytes go out. `caproto.threading.server` is one way to drive it; the simulation in the tests is
another. Locks are used where several threads may meet (see `caproto._locks`).

=================  ===============================================================================
``conversions``    elements of one native type as another
``snapshot``       the state of a PV at one moment, and its encodings
``properties``     units, limits, states as attributes of channel classes
``data``           `ChannelData`: one PV, its subscribers, what clients may do
``channel_types``  the classes of channels: ChannelDouble, ChannelEnum ...
``group``          `PVGroup`, `pvproperty`: PVs as class attributes
``ioc_arguments``  the command line of an IOC
``directory``      PVs by name, with modifiers and filters
``updates``        what waits to be sent to one client
``open_channel``   one channel of one client
``answers``        how reads, writes and monitors are answered
``session``        `ServerSession`: the conversation with one client
``scans``          which scan function is due
``search_replies`` the datagrams that answer a search datagram
``beacon_timer``   when the next beacon is due, and what it says
=================  ===============================================================================
"""
