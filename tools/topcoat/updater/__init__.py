"""The update of an image: a package transaction from the host on it, or composed from packages without it; and the layers that come out.

This room must never decide what to update: the plan did, and it is a promise.
"""

from topcoat.updater.synthesiser import Known, Synthesiser
from topcoat.updater.system_python import SystemPython
from topcoat.updater.transaction import Options, Outcome, Transactions, Wanted
from topcoat.updater.updater import Updater

__all__ = ["Known", "Options", "Outcome", "Synthesiser", "SystemPython", "Transactions", "Updater", "Wanted"]
