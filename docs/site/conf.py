"""Settings of the site for Sphinx, which reads what `stage.py` gathered."""

project = "lehrnet"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "lehrnet"
html_extra_path = ["extra"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["extra", "files"]
templates_path: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
