"""Start two IOCs on this host, each with ports of its own, and use both as one client."""
import contextlib
import re
import subprocess
import sys

from caproto.threading.client import ClientConfiguration, Context


# begin-start
@contextlib.contextmanager
def running_ioc(*arguments):
    """Run the random_walk IOC on this host only; returns the UDP port that it listens on."""
    command = [
        sys.executable, "-u", "-m", "caproto.ioc_examples.random_walk",
        "--interfaces", "127.0.0.1", "--port", "0", "--print-ports", *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ports = process.stdout.readline()  # Ports: tcp=36141 udp=44823
            process.stdout.readline()  # PVs: [...]; when this is printed, clients can connect
            yield int(re.search(r"udp=(\d+)", ports)[1])
        finally:
            process.terminate()
# end-start


# begin-use
def main():
    with running_ioc("--prefix", "a:") as port_a, running_ioc("--prefix", "b:") as port_b:
        configuration = ClientConfiguration(
            addr_list=[("127.0.0.1", port_a), ("127.0.0.1", port_b)],
            auto_addr_list=False,
            use_repeater=False,
        )
        with Context(configuration=configuration) as ctx:
            a, b = ctx.get_pvs("a:dt", "b:dt")
            a.write(1.0)
            b.write(2.0)
            print(a.name, a.read().value)
            print(b.name, b.read().value)
            print(len(ctx.circuit_managers), "circuits")
# end-use


if __name__ == "__main__":
    main()
