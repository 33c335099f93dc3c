"""An oven, step 7: PVs inside a program that does other things as well."""
import random
import time

from caproto import AccessRights
from caproto.server import ChannelData, ChannelDouble, ChannelEnum
from caproto.threading.server import Server


# begin-rights
class OperatorsOnly(ChannelDouble):
    """A number that everyone may read; some users may write it."""

    operators = ("operator", "root")

    def check_access(self, host_name, client_name):
        """Decide by the names that the client has sent; they are not verified."""
        if client_name in self.operators:
            return AccessRights.READ | AccessRights.WRITE
        return AccessRights.READ
# end-rights


# begin-main
def main():
    temperature = ChannelDouble(value=20.0, units="C", precision=1, access_rights=AccessRights.READ)
    setpoint = OperatorsOnly(value=20.0, units="C", precision=1)
    state = ChannelEnum(value="Idle", enum_strings=("Idle", "Running"))
    pvs: dict[str, ChannelData] = {
        "oven:temperature": temperature, "oven:setpoint": setpoint, "oven:state": state,
    }
    with Server(pvs) as server:
        print(f"serving on port {server.tcp_port}", flush=True)
        state.write("Running")
        for _ in range(200):  # the program's own work
            time.sleep(0.05)
            measured = temperature.value + 0.1 * (setpoint.value - temperature.value)
            temperature.write(measured + 0.01 * random.random())
        state.write("Idle")
# end-main


if __name__ == "__main__":
    main()
