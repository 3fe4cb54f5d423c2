"""The update of an image: a package transaction from the host on it, or composed from packages without it; and the layers that come out.

This room must never decide what to update: the plan did, and it is a promise.
"""

from topcoat.updater.synthesiser import Known, Synthesiser
from topcoat.updater.updater import Updater

__all__ = ["Known", "Synthesiser", "Updater"]
