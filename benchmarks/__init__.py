"""Speed and memory of specs_lab, measured: against TRL, over sizes, and before and after a change of the study."""
