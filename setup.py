"""What pyproject.toml cannot say: the packages under src, and the top-level `conf` as `specs_lab.conf`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("src"), "specs_lab.conf"],
    package_dir={"": "src", "specs_lab.conf": "conf"},
)
