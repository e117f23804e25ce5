"""Sphinx extension: each line of code in an element of its own that knows its indentation.

So the style sheet can let a line that is too long for the page go on below itself, further in than it began.
"""

import re
from collections.abc import Iterator
from typing import Any

from pygments.formatters import HtmlFormatter
from sphinx.application import Sphinx
from sphinx.highlighting import PygmentsBridge


class HangingLines(HtmlFormatter):
    def wrap(self, source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        return super().wrap((is_code, hanging(line) if is_code else line) for is_code, line in source)


def hanging(line: str) -> str:
    """A line of highlighted code, and its number of leading spaces as a length."""
    text = re.sub(r"<[^>]*>", "", line)
    return f'<span class="code-line" style="--indent: {len(text) - len(text.lstrip(" "))}ch">{line}</span>'


def setup(app: Sphinx) -> dict[str, Any]:
    PygmentsBridge.html_formatter = HangingLines
    return {"parallel_read_safe": True, "parallel_write_safe": True}
