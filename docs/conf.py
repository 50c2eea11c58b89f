"""Sphinx's configuration: ``python -m sphinx -W -n -j 2 docs build/docs``."""

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
exclude_patterns = ["examples"]  # what the gallery is made of
templates_path = ["_templates"]

# The build reads nothing from the network: names of other projects lead nowhere. Ours have to lead
# somewhere.
others = "dask|distributed|jax|joblib|matplotlib|numpy|scipy|sklearn|torch"
nitpick_ignore_regex = [(r"py:\w+", rf"({others})(\..*)?")]

# Pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# API
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False  # the templates list them
numpydoc_validation_checks = {
    "all",
    # All checks but these:
    "ES01",  # a summary may be all that there is to say,
    "EX01",  # a method's example stand in that of its class,
    "PR07",  # a type tell what a parameter is,
    "RT01",  # "Return ..." be all about what is returned,
    "RT02",  # what is returned have a name,
    "RT03",  # or no words but its type;
    "PR08",  # descriptions may begin with a symbol,
    "RT04",
    "SA01",  # and refer to nothing else
    "SA04",
    "SS05",  # "Exponentials" is a noun
    "YD01",  # a context may yield nothing
}
# Values list their fields as attributes; protocols are not called.
fields = [name for name in vbfast.__all__ if is_dataclass(getattr(vbfast, name))]
fields += ["families.LogJoint", "families.Linear", "families.Quadratic", "numba_api.ElboTerms"]
protocols = ["RowSource", "families.Family"]
numpydoc_validation_exclude = {rf"^vbfast\.{re.escape(name)}$" for name in fields + protocols}


def is_of_scikit_learn(app, what, name, member, skip, options):
    """Leave out what scikit-learn gives every estimator: its docstrings refer to its own pages."""
    return True if re.fullmatch(r"get_metadata_routing|set_\w+_request", name) else None


def lead_to_the_gallery(app, name, source):
    """Make links to an example links to its page, and to their folder one to the gallery."""
    page = re.sub(rf"\]\(examples/(?!{not_shown})(\w+)\.py\)", r"](gallery/\1.rst)", source[0])
    source[0] = page.replace("](examples)", "](gallery/index.rst)")


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("autodoc-skip-member", is_of_scikit_learn)
    app.connect("source-read", lead_to_the_gallery)


# Gallery
# Fits in other processes: their functions have to be imported there, or their engines installed.
not_shown = "fit_(?:in_processes|with_ray|with_spark)"
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": not_shown,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("vbfast",),
    "parallel": 2,
    "write_computation_times": False,  # a page that asks the network for its table
    "show_signature": False,
}

# Look. MathJax comes in one file, with its fonts: readers need no network either.
mathjax_path = "tex-svg-full.js"
mathjax = f"sphinx-mathjax-offline/static/mathjax/{mathjax_path}"
html_theme = "pydata_sphinx_theme"
html_title = f"vbfast {release}"
html_static_path = ["_static", str(distribution("sphinx-mathjax-offline").locate_file(mathjax))]
html_css_files = ["vbfast.css"]
html_show_sourcelink = False
# Pages that have none below them need no list of those.
html_sidebars = {page: [] for page in ("start", "how-it-is-fast", "benchmarks")}
html_theme_options = {"navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
