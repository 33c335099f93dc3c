"""Settings of Sphinx; the examples in the pages run, against a demo IOC that the build starts."""
from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(DOCS))

import make_state_diagrams  # noqa: E402
import make_tables  # noqa: E402
from IPython.sphinxext import ipython_directive  # noqa: E402

import caproto  # noqa: E402
from tests.harness.ioc_process import DemoIOC  # noqa: E402

project = "caproto"
author = "caproto contributors"
copyright = "2026, caproto contributors"
release = version = caproto.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "IPython.sphinxext.ipython_console_highlighting",
    "IPython.sphinxext.ipython_directive",
    "sphinx_copybutton",
    "public_names",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"caproto {release}"
html_static_path = ["_static"]
html_css_files = ["caproto.css"]
# Links are underlined in their own colour, and blue on both backgrounds.
html_theme_options = {
    "light_css_variables": {"color-link-underline": "currentColor"},
    "dark_css_variables": {"color-link-underline": "currentColor"},
}

# Of a session, the copy button takes what was typed: no prompts, no output.
copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d+\]: | +\.{3,}: ?"
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as they are written, not as they are printed
autodoc_typehints = "none"  # the docstrings name the types
numpydoc_show_class_members = False

# An exception or a warning that a snippet does not announce ends the build.
ipython_warning_is_error = True
ipython_mplbackend = ""
ipython_savefig_dir = "generated"


class Shell(ipython_directive.EmbeddedSphinxShell):
    """The shell of the snippets: of an announced exception it prints the last line only."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.IP.InteractiveTB.set_mode("Minimal")


ipython_directive.EmbeddedSphinxShell = Shell

# The snippets run in this process, so the demo IOC is told to them by the environment.
_demo = DemoIOC("random_walk")


def _start(app):
    make_state_diagrams.write(DOCS / "generated")
    make_tables.write(DOCS / "generated")
    for name in [name for name in os.environ if name.startswith("EPICS_")]:
        del os.environ[name]
    os.environ.update(_demo.start().environ)


def _stop(app, exception):
    _demo.kill()


def setup(app):
    app.connect("builder-inited", _start)
    app.connect("build-finished", _stop)
