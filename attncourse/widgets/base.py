"""What every widget of the course shares: it carries all that it can show, so it needs no kernel to show it.

A static page has no Python to call back. So Python computes everything beforehand: the numbers travel as bytes, the
sentences as one string per combination of choices, and the front end (``base.js`` plus one drawing function) only looks
them up. Where there is no front end either (a PDF, a repository's file view), a still picture stands in.
"""

import io
from base64 import b64encode
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
from traitlets import Bytes, Dict, Int, List, TraitError, Unicode, validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
UP, DOWN, QUIET = "#0b63a5", "#b34700", "#59636e"  # as in style.css: blue and orange differ for every kind of eye


def front_end(drawing: str) -> str:
    """The JavaScript module of one widget: the shared part, and the file that draws this widget's picture."""
    return (FOLDER / "base.js").read_text("utf-8") + "\n" + (FOLDER / drawing).read_text("utf-8")


def control(name: str, label: str, options: list[str], kind: str = "select") -> dict[str, Any]:
    """One choice: ``name`` is its key in ``state``, ``label`` what the reader sees, ``kind`` "range" or "select"."""
    if kind not in ("range", "select"):
        raise ValueError(f'kind must be "range" or "select", got {kind!r}')
    if not options:
        raise ValueError(f"control {name!r} has no options")
    return {"name": name, "label": label, "options": list(options), "kind": kind}


def position(options: list[str], wanted: Any, what: str) -> int:
    """The index of an option, or a ValueError that lists what there is."""
    if str(wanted) not in options:
        raise ValueError(f"{what} must be one of {', '.join(options)}, got {wanted!r}")
    return options.index(str(wanted))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The gates, from 0 to 1, that belong to logits of any shape."""
    return 1 / (1 + np.exp(-logits))


class CourseWidget(anywidget.AnyWidget):
    """A picture with native controls and a sentence that says what the picture shows.

    A subclass sets ``_esm = front_end("its_drawing.js")``, hands its data to this constructor and implements
    ``describe`` and ``picture``. ``state`` holds the index of the chosen option of each control; set it from Python, in
    whole or in part, and the view follows.

    Args:
        label: the title, which is also the widget's accessible name.
        controls: what the reader can choose, each made by ``control``.
        state: for each control's name the index of the option chosen at first.
        data: the numbers to draw, any shape; uint8 travels as it is, all else as float32.
        meta: small things that the drawing needs beside them (names, widths), JSON types only.
    """

    _css = (FOLDER / "style.css").read_text("utf-8")
    # ipywidgets 7, which Colab has, would display without the picture; None makes IPython ask _repr_mimebundle_
    _ipython_display_ = None

    label = Unicode().tag(sync=True)
    controls = List(Dict()).tag(sync=True)
    state = Dict().tag(sync=True)
    summaries = List(Unicode()).tag(sync=True)
    data = Bytes().tag(sync=True)
    shape = List(Int()).tag(sync=True)
    meta = Dict().tag(sync=True)

    def __init__(self, label: str, controls: list[dict[str, Any]], state: Mapping[str, int], data: np.ndarray,
                 meta: Mapping[str, Any] | None = None):
        names = [each["name"] for each in controls]
        choices = product(*(range(len(each["options"])) for each in controls))
        super().__init__(
            label=label,
            controls=controls,
            state=dict(state),
            # one sentence per combination, the last control fastest: the front end finds its place by counting
            summaries=[self.describe(dict(zip(names, indices))) for indices in choices],
            data=np.ascontiguousarray(data, dtype="u1" if data.dtype == np.uint8 else "<f4").tobytes(),
            shape=list(data.shape),
            meta=dict(meta or {}),
        )

    def describe(self, state: Mapping[str, int]) -> str:
        """What the picture shows in this state, in words that stand alone. Called before the traits are set."""
        raise NotImplementedError

    def picture(self) -> "Figure":
        """The present state as a matplotlib figure, for places that have no front end."""
        raise NotImplementedError

    @property
    def chosen(self) -> dict[str, str]:
        """The option chosen for each control, as the reader sees it."""
        return {each["name"]: each["options"][self.state[each["name"]]] for each in self.controls}

    @property
    def summary(self) -> str:
        """The sentences that describe the present state."""
        return self.describe(self.state)

    @validate("state")
    def _complete(self, proposal: dict[str, Any]) -> dict[str, int]:
        """Fill in what was not named, and refuse an index that points at no option."""
        sizes = {each["name"]: len(each["options"]) for each in self.controls}
        for name, index in proposal["value"].items():
            if name not in sizes:
                raise TraitError(f"state has no {name!r}, it has {', '.join(sizes)}")
            if not isinstance(index, int) or not 0 <= index < sizes[name]:
                raise TraitError(f"state {name!r} must be an index from 0 to {sizes[name] - 1}, got {index!r}")
        return {**dict.fromkeys(sizes, 0), **self.state, **proposal["value"]}

    def __repr__(self) -> str:
        # no model id, no address: a stored output must be the same after every run
        return f"<{type(self).__name__} widget: {', '.join(f'{k} = {v}' for k, v in self.chosen.items())}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle  # the widget view, and what Colab needs to find its widget manager
        still = io.BytesIO()
        self.picture().savefig(still, format="png", dpi=110, metadata={"Software": None})  # no version in the bytes
        data["image/png"] = b64encode(still.getvalue()).decode("ascii")
        return data, {**metadata, "image/png": {"alt": f"{self.label}. {self.summary}"}}

