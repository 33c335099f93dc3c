"""Read and write texts of more than 39 characters.

Demo IOC: python -m caproto.ioc_examples.long_texts
"""
from caproto.threading.client import Context

with Context() as ctx:
    # A field that is a string: 39 characters by its name, all of them with a $ after it.
    short, whole = ctx.get_pvs("text:valve.DESC", "text:valve.DESC$")
    print(short.read().value)
    print(whole.read().value)
    whole.write("Cooling water valve of the second mirror, downstream side")
    print(whole.read().value)

    # An array of CHAR that holds a text: .value is an array of numbers, .text is the text.
    note = ctx.get_pv("text:note")
    response = note.read()
    print(type(response.value).__name__, response.value[:6])
    print(response.text)
    note.write("One line.\nAnother one, with an ångström.")
    print(note.read().text)
