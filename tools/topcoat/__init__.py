"""Topcoat: put the change under test into the container images that will ship.

This package must not do anything at import time: no configuration is read, no logger is set up.
"""

__version__ = "0.1.0"
