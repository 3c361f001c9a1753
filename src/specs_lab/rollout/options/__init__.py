"""The choices of the config group ``rollout``."""
