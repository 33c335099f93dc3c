"""Figures. ``python -m tests.benchmarks`` (or ``make bench``) prints the table.

Every row checks what it measures: counts, last values, nothing lost that must not be lost. The
tests run each once, small, and judge only the correctness: on a busy machine times mean nothing.
"""
