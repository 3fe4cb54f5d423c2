"""A job of a review again, on this machine: the same sources, the same variables, the same playbooks, and a comparison with the original.

This room must never write outside its work folder, never push, and never run a playbook of a project that the caller did not let in.
"""
