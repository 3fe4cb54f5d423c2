"""What dnf would change in an image, as libsolv answers from the image's inventory and the frozen repositories alone.

This room must never change an image and never decide what happens to one; ``topcoat.planner`` does.
"""
