"""Read and write a PV that has one of a few named states.

Demo IOC: python -m caproto.ioc_examples.types_and_enums
"""
from caproto import WriteError
from caproto.threading.client import Context

with Context() as ctx:
    pv = ctx.get_pv("types:enum")
    print("states:", pv.metadata.enum_strings)

    # The value is a number that knows its name.
    state = pv.read().value
    print(state == 1, state.name)

    # Write a name or a number.
    pv.write("Three")
    print(pv.read().text)
    pv.write(0)
    print(pv.read().text)

    # The server refuses what is not a state.
    try:
        pv.write("Four")
    except WriteError as error:
        print(error)
    pv.write(1)
