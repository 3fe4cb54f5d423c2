"""RPM without rpm: version order, frozen repositories, inventories of images and the solver.

This room must never change an image and never decide what happens to one; ``topcoat.planner`` does.
"""
