"""Sphinx's configuration: `python -m sphinx -W -n -j 2 docs build/docs`."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from importlib.metadata import distribution

import vbfast

project = "vbfast"
author = "The vbfast developers"
copyright = author  # noqa: A001
version = release = vbfast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["examples"]  # the gallery is made of them
templates_path = ["_templates"]

# Other projects' names lead nowhere, as the build reads nothing from the network. Ours have to be
# there.
OTHERS = "Any|array|collections|jax|joblib|matplotlib|numba|numpy|scipy|sklearn|threadpoolctl|torch|typing"
nitpick_ignore_regex = [(r"py:\w+", rf"({OTHERS})(\..*)?"), ("py:class", r"optional|default.*")]

# Pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

VALUES = [name for name in vbfast.__all__ if is_dataclass(getattr(vbfast, name))]
VALUES += ["Linear", "LogJoint", "Quadratic", "Family", "RowSource"]

# API: numpydoc lays the docstrings out, and the templates list the members of a class.
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "all",
    "ES01",  # a summary may be all that there is to say,
    "EX01",  # a method's example stand in that of its class,
    "PR07",  # a type tell what a parameter is,
    "RT01",  # "Return ..." be all about what is returned,
    "RT02",  # what is returned have a name,
    "RT03",  # or no words but its type;
    "PR08",  # descriptions may begin with a symbol
    "RT04",
    "SA01",  # and refer to nothing else
    "SA04",
    "SS05",  # "Exponentials" is a noun
    "YD01",  # a context yields nothing
}
# The fields of a value are its attributes.
numpydoc_validation_exclude = {rf"^vbfast(\.\w+)?\.{name}$" for name in VALUES}


def skip_scikit_learns(app, what, name, member, skip, options):
    """Leave out what scikit-learn gives all its estimators, and its docstrings refer to."""
    routing = re.fullmatch(r"get_metadata_routing|set_\w+_request|set_callbacks", name)
    return True if routing else None


def setup(app):
    """Connect what stands above to Sphinx's events."""
    app.connect("autodoc-skip-member", skip_scikit_learns)


# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": "fit_in_processes",  # its processes import it, which the gallery prevents
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("vbfast",),
    "parallel": 2,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "image_scrapers": ("matplotlib",),
    "plot_gallery": "True",
}

# Look
html_theme = "pydata_sphinx_theme"
html_title = f"vbfast {release}"
# MathJax in one file, with its fonts: readers need no network.
mathjax_home = "sphinx-mathjax-offline/static/mathjax"
mathjax_path = "tex-svg-full.js"
html_static_path = [
    "_static",
    str(distribution("sphinx-mathjax-offline").locate_file(f"{mathjax_home}/{mathjax_path}")),
]
html_css_files = ["vbfast.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
