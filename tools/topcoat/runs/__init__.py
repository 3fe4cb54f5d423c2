"""One run from references to receipt: the rooms below, wired in the order of the main job.

This room must never decide what an image needs (``planner``) nor how a layer is made (``builder``); it only connects them.
"""
