"""Settings of Sphinx; the examples in the pages run, against a demo IOC that the build starts."""
from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(DOCS))

import make_state_diagrams  # noqa: E402

from tests.harness.ioc_process import DemoIOC  # noqa: E402

project = "caproto"
author = "caproto contributors"
copyright = "2026, caproto contributors"
release = version = importlib.metadata.version("caproto")

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "IPython.sphinxext.ipython_console_highlighting",
    "IPython.sphinxext.ipython_directive",
]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {
    "description": "EPICS Channel Access in pure Python",
    "fixed_sidebar": True,
}
html_static_path: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings name the types
numpydoc_show_class_members = False

# An exception or a warning that a snippet does not announce ends the build.
ipython_warning_is_error = True
ipython_mplbackend = ""
# Of an announced exception only the last line, which is what it says.
ipython_exec_lines = ["get_ipython().run_line_magic('xmode', 'Minimal');"]

# The snippets run in this process, so the demo IOC is told to them by the environment.
_demo = DemoIOC("random_walk")


def _start(app):
    make_state_diagrams.write(DOCS / "generated")
    for name in [name for name in os.environ if name.startswith("EPICS_")]:
        del os.environ[name]
    os.environ.update(_demo.start().environ)


def _stop(app, exception):
    _demo.kill()


def setup(app):
    app.connect("builder-inited", _start)
    app.connect("build-finished", _stop)
