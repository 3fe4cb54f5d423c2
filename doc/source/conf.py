"""Sphinx's configuration: jobs and roles come from their sources through zuul-sphinx.

This file must never need the package installed: the documentation builds from the checkout alone.
"""

project = "Topcoat"
author = "The Topcoat authors"
project_copyright = "The Topcoat authors"

extensions = ["reno.sphinxext", "zuul_sphinx"]
# zuul.d and roles lie two folders up; zuul-sphinx finds them by itself.
exclude_patterns = []
nitpicky = False
pygments_style = "sphinx"
html_theme = "alabaster"
# The theme takes custom.css from there.
html_static_path = ["_static"]
html_theme_options = {"description": "One yum update, only where it is needed, proven", "page_width": "1100px", "sidebar_width": "240px"}
html_show_sphinx = False
