"""Sphinx extension: pages that load everything from the site itself, and only what they use.

The last word on each page before it is written. It keeps the widget manager (3.6 MB) off the pages that show no widget,
fails the build when a script or style sheet would come from elsewhere, and turns the theme's menus into the two links a
reader wants: Colab, and the notebook itself.
"""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

# the theme's name of a button, and how we show it; the label becomes its class
NOTEBOOK_LINKS = {
    "Colab": {"text": "Open in Colab", "icon": "fas fa-play", "label": "colab"},
    ".ipynb": {"text": "Download", "icon": "fas fa-download", "label": "download"},
}
PAGE_LINKS = {"source-repository-button": {"text": "Repository", "icon": None, "label": "repository"}}


def finish_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None):
    """Handler of html-page-context, which runs after the theme's and MyST-NB's."""
    has_widget = WIDGET_VIEW in context.get("body", "")
    if not has_widget:  # a progress bar leaves widget state behind too, but nothing to show
        context["script_files"] = [script for script in context["script_files"] if not serves_widgets(script)]
    for file in (*context["script_files"], *context["css_files"]):
        if re.match(r"(https?:)?//", str(file.filename)):
            LOGGER.warning("%s would come from another site", file.filename, location=pagename, type="selfcontained")
    context["header_buttons"] = header_links(context.get("header_buttons", []), is_notebook(app, pagename))
    context["metatags"] = context.get("metatags", "") + description(context.get("title", ""), doctree)


def serves_widgets(script: Any) -> bool:
    return script.attributes.get("type") == WIDGET_STATE or "_static/widgets/" in str(script.filename)


def is_notebook(app: Sphinx, pagename: str) -> bool:
    return pagename in app.env.found_docs and app.env.doc2path(pagename).endswith(".ipynb")


def header_links(groups: list[dict[str, Any]], notebook: bool) -> list[dict[str, Any]]:
    """The theme's button groups, flattened to what is worth a click: each link says what it opens."""
    buttons = [button for group in groups for button in group.get("buttons", [group])]
    named = {button.get("text") or button.get("label"): button for button in buttons}
    wanted = NOTEBOOK_LINKS if notebook else PAGE_LINKS
    return [{**named[name], "tooltip": None, **look} for name, look in wanted.items() if name in named]


def description(title: str, doctree: nodes.document | None) -> str:
    """Meta tags for search engines and link previews, made from the page's first paragraph."""
    paragraph = next(doctree.findall(nodes.paragraph), None) if doctree else None
    if paragraph is None:
        return ""
    text = " ".join(paragraph.astext().split())
    text = text if len(text) <= 160 else text[:157].rsplit(" ", 1)[0] + " …"
    title = re.sub(r"<[^>]*>", "", title)  # it comes as HTML, escaped already
    return (
        f'<meta name="description" content="{escape(text)}">\n<meta property="og:title" content="{title}">\n'
        f'<meta property="og:description" content="{escape(text)}">\n<meta property="og:type" content="article">\n'
    )


def link_to_repository(app: Sphinx, config: Config):
    """The roles {repo} and {colab}: links to a file, made from the one repository address in _config.yml."""
    address, branch = config.html_theme_options["repository_url"], config.html_theme_options["repository_branch"]
    on_colab = address.replace("https://github.com", "https://colab.research.google.com/github")
    config.extlinks = {"repo": (f"{address}/blob/{branch}/%s", None), "colab": (f"{on_colab}/blob/{branch}/%s", None)}


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.extlinks")
    app.connect("config-inited", link_to_repository)
    app.connect("html-page-context", finish_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
