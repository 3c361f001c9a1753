"""Public benchmarks by name: how a row is read, asked, and scored by rule; one file each."""
