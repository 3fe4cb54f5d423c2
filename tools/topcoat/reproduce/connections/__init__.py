"""Ways of Ansible to a node that ansible-core does not have.

This folder must only hold connection plugins: Ansible loads every file in it.
"""
