project = "mezzotint"
copyright = "the mezzotint authors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "alabaster"
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]
