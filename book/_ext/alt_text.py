"""Sphinx extension: every image says in words what it shows, or the build fails.

A notebook's figures carry their alternative text in the metadata of the output that shows them, as
``attncourse.plots.show`` and the widgets store it; MyST-NB hands on an image's size but not its text. Images written in
Markdown bring their own. A widget's still picture stands in for it where a reader's browser runs no scripts.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
RAW_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
RAW_ALT = re.compile(r"""\balt\s*=\s*("[^"]*\w[^"]*"|'[^']*\w[^']*')""", re.IGNORECASE)


def parts(node: nodes.Element, kind: str) -> list[nodes.container]:
    """The containers below a node that MyST-NB has marked as a notebook's ``kind``."""
    return [each for each in node.findall(nodes.container) if each.get("nb_element") == kind]


def add_alt_text(app: Sphinx, doctree: nodes.document) -> None:
    """Copy each output's ``metadata["image/png"]["alt"]`` to the image made from it (handler of doctree-read)."""
    executed = Path(app.env.mystnb_config.output_folder, f"{app.env.docname}.ipynb")  # MyST-NB has just written it
    cells = parts(doctree, "cell_code")
    if not cells or not executed.exists():
        return
    notebook = json.loads(executed.read_text("utf-8"))
    for cell in cells:
        outputs = [o for o in notebook["cells"][cell["cell_index"]]["outputs"] if "data" in o]
        for output, bundle in zip(outputs, parts(cell, "mime_bundle")):
            for container in bundle.children:
                alt = output["metadata"].get(container["mime_type"], {}).get("alt")
                for image in container.findall(nodes.image) if alt else ():
                    image["alt"] = alt


class StillPictures(SphinxPostTransform):
    """Keep a widget's still picture for browsers without scripts."""

    default_priority = 3  # MyST-NB chooses one form of each output at 4 and throws the others away
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for bundle in parts(self.document, "mime_bundle"):
            forms = {container["mime_type"]: container for container in bundle.children}
            if WIDGET_VIEW in forms and "image/png" in forms:
                still = [image.deepcopy() for image in forms["image/png"].findall(nodes.image)]
                forms[WIDGET_VIEW].extend(
                    [nodes.raw("", "<noscript>", format="html"), *still, nodes.raw("", "</noscript>", format="html")]
                )


class RequireAltText(SphinxPostTransform):
    """A warning for each image without words, which the strict build turns into a failure."""

    default_priority = 900  # when nothing is replaced any more
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        images = self.document.findall(nodes.image)
        silent = [(image, image["uri"]) for image in images if not image.get("alt", "").strip()]
        for raw in self.document.findall(nodes.raw):
            silent += [(raw, tag) for tag in RAW_IMAGE.findall(raw.astext()) if not RAW_ALT.search(tag)]
        for node, what in silent:
            while not node.line and node.parent:
                node = node.parent  # the nearest place that has a line number
            LOGGER.warning(
                "image without alternative text: %.80s (show figures with attncourse.plots.show(figure, alt))",
                what,
                location=node,
                type="alt_text",
            )


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", add_alt_text)
    app.add_post_transform(StillPictures)
    app.add_post_transform(RequireAltText)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
