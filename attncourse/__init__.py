"""Readable reference implementations of attention modules in computer vision, and the tools that teach them.

Import what you need from its own file: ``from attncourse.se import SEBlock``. Importing the package brings in torch and
nothing heavier; matplotlib, torchvision and anywidget are imported by the files that draw, read data or show widgets.
"""

__version__ = "0.1.0"
