"""Everything that tests need from outside: real IOCs, real C clients, free ports, waiting, leaks.

Nothing here imports pytest, so that the demo and the documentation build may use it too.
"""
