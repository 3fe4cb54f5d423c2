"""Package transactions from the host on the roots of images, by long-lived workers under the system's own Python with its dnf and rpm.

This room must never decide what is installed: an update's plan or a build's recipe did.
"""

from topcoat.transactions.pool import Facts, Options, Outcome, Transactions, Wanted
from topcoat.transactions.system_python import SystemPython

__all__ = ["Facts", "Options", "Outcome", "SystemPython", "Transactions", "Wanted"]
