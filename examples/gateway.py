"""A small gateway: serve PVs of one network in another one, read-only or writable.

Usage: python gateway.py [--writable] [--port N] NAME [NAME ...]

The client side follows the EPICS_CA_* variables, the server side the EPICS_CAS_* variables.
"""
import argparse

from caproto import AccessRights, ChannelType
from caproto.server import (
    ChannelByte,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelShort,
    ChannelString,
    Refused,
    run,
)
from caproto.threading.client import CaprotoTimeoutError, Context, ErrorResponseReceived

CLASSES = {
    ChannelType.STRING: ChannelString,
    ChannelType.INT: ChannelShort,
    ChannelType.FLOAT: ChannelFloat,
    ChannelType.ENUM: ChannelEnum,
    ChannelType.CHAR: ChannelByte,
    ChannelType.LONG: ChannelInteger,
    ChannelType.DOUBLE: ChannelDouble,
}


# begin-copy
def copy_of(pv, writable):
    """Make a channel with the type, the properties and the value of *pv*."""
    response = pv.read(timeout=10)
    channel_class = CLASSES[response.data_type]
    properties = {
        name: value
        for name, value in pv.metadata.to_dict().items()
        if name in channel_class.properties() and value is not None
    }
    return channel_class(
        value=response.value,
        max_length=pv.channel.native_data_count,
        access_rights=AccessRights.READ | (AccessRights.WRITE if writable else 0),
        **properties,
    )
# end-copy


# begin-link
class Link:
    """Keeps a channel as its PV is, and hands the writes of clients on."""

    def __init__(self, pv, channel):
        self.pv, self.channel = pv, channel
        channel.putter = self.put
        self.subscription = pv.subscribe(data_type="time")
        self.subscription.add_callback(self.on_update)

    def on_update(self, response):
        """Pass an update on, with its alarm and its time."""
        data = response.metadata
        self.channel.write(
            response.value,
            status=data.status,
            severity=data.severity,
            timestamp=data.timestamp,
        )

    def put(self, channel, value):
        """Write to the PV, and wait; so a client that waits waits for the real thing."""
        try:
            self.pv.write(value, timeout=60)
        except (ErrorResponseReceived, CaprotoTimeoutError) as error:
            raise Refused(str(error)) from error
# end-link


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writable", action="store_true", help="let clients write")
    parser.add_argument("--port", type=int, help="serve on this port")
    parser.add_argument("names", nargs="+", metavar="NAME")
    options = parser.parse_args()
    with Context() as ctx:
        pvs = ctx.get_pvs(*options.names)
        channels = {pv.name: copy_of(pv, options.writable) for pv in pvs}
        links = [Link(pv, channels[pv.name]) for pv in pvs]
        run(channels, port=options.port)
        del links  # they are alive until here


if __name__ == "__main__":
    main()
