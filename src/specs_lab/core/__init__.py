"""Floor 0: errors, registries and seeds. Imports nothing else of the project."""
