"""Widgets that are live in Jupyter and Colab, and stay alive on a static page where no kernel runs.

``base.py`` and ``base.js`` are what all widgets share; each chapter's widgets stand in a file of its stem.
"""
