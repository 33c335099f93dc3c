"""The command line tools; each module has a ``main`` and is a console script."""
