"""A receipt turned into what people and machines read: terminal summary, JSON, JUnit, the reviewer's page, review comments, live view.

This room must never decide or change anything, and must never print a value without escaping it for where it goes: names and messages come from
the changes under test.
"""

from topcoat.report.document import load, receipt_from_dict, receipt_to_dict, save

__all__ = ["load", "receipt_from_dict", "receipt_to_dict", "save"]
