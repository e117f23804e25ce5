"""Sentences about photographs: ``caption("photo.jpg")``. The command is ``python -m attncourse.captioning``."""

from attncourse.captioning.decoder import Caption, Captioner, DecoderConfig, beam_search, read_along
from attncourse.captioning.storage import caption, load_captioner

__all__ = ["Caption", "Captioner", "DecoderConfig", "beam_search", "caption", "load_captioner", "read_along"]
