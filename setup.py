"""The entry point that people expect; the metadata lives in pyproject.toml."""
from setuptools import setup

setup()
