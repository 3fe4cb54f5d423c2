"""Stand-in for Zuul's module; the action plugin of the same name does the work."""
