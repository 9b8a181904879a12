"""specvit: how well can stellar parameters be measured from this spectrum, and what is the best estimate?

Importing the package costs nothing: sub-packages (`specvit.simulate`, `specvit.models`, ...) load torch when
they are imported themselves.
"""

__version__ = "0.1.0"
