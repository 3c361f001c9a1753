"""The Hydra configuration of specs_lab, importable as `specs_lab.conf`."""
