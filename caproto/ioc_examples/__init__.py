"""Demo IOCs. Each is a program: ``python -m caproto.ioc_examples.random_walk --help``."""
