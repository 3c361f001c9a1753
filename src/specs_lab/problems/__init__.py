"""Floor 1: visual problems with checkable answers, drawn by programs. Imports ``core`` only.

One file a family under :mod:`specs_lab.problems.families`; a problem is fixed by (family, seed, index).
"""
