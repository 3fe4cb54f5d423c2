"""Plugins for the Ansible that replays a job.

This folder must never hold anything that needs topcoat itself.
"""
