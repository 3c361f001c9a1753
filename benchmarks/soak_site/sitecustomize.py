"""Python imports this by itself, as long as this folder is on its path."""

import soak_child

soak_child.install()
