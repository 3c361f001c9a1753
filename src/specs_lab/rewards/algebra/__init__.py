"""Formulas: read without a computer algebra system, and compared by one, in a process of its own.

``symbols``, ``nodes``, ``expressions`` and ``notation`` belong to the parent process and import no sympy; ``numerics``,
``comparison`` and ``mathematics`` are imported by workers only.
"""
