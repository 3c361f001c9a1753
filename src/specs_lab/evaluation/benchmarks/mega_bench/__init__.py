"""MEGA-Bench: how rows are read and asked, how responses are taken apart, and its rule-based metrics."""

from specs_lab.evaluation.benchmarks.mega_bench import benchmark as benchmark  # registers it
