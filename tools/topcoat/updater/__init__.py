"""The yum layer: a package transaction on an image from the host, and the one layer that comes out of it.

This room must never decide what to update: the plan did, and it is a promise.
"""

from topcoat.updater.synthesiser import Composed, Known, Synthesiser
from topcoat.updater.system_python import SystemPython
from topcoat.updater.transaction import Options, Outcome, Transactions, Wanted
from topcoat.updater.updater import Updater

__all__ = ["Composed", "Known", "Options", "Outcome", "Synthesiser", "SystemPython", "Transactions", "Updater", "Wanted"]
