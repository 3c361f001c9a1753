"""Makes this package's launchers known to Hydra: how the jobs of a sweep are run."""

from __future__ import annotations

import sys
from types import ModuleType

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from specs_lab.cli.launchers.base import SweepLauncher
from specs_lab.cli.launchers.processes import (
    BasicLauncher,
    BasicLauncherConfig,
    ProcessLauncher,
    ProcessLauncherConfig,
)
from specs_lab.cli.launchers.rays import RayLauncher, RayLauncherConfig
from specs_lab.cli.launchers.submitted import (
    LocalQueueConfig,
    SlurmQueueConfig,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)

_NAMESPACE = "hydra_plugins"
_PLUGIN_MODULE = f"{_NAMESPACE}.specs_lab"

LAUNCHERS: dict[str, tuple[type[SweepLauncher], type]] = {
    "processes": (ProcessLauncher, ProcessLauncherConfig),
    "basic": (BasicLauncher, BasicLauncherConfig),
    "submitit_local": (SubmititLocalLauncher, LocalQueueConfig),
    "submitit_slurm": (SubmititSlurmLauncher, SlurmQueueConfig),
    "ray": (RayLauncher, RayLauncherConfig),
}
"""By the name of the choice: the launcher, and its settings."""


def register_launcher() -> None:
    """Makes the launchers known to Hydra; may be called more than once.

    Hydra takes launchers from the namespace ``hydra_plugins`` only. A real package there would be imported by every
    Hydra program of the environment, so this module merely goes by a name in it, in this process.
    """
    plugins = Plugins.instance()  # looks for installed plugins when first called, and must not find this one
    if _NAMESPACE not in sys.modules:
        namespace = ModuleType(_NAMESPACE)
        namespace.__path__ = []
        sys.modules[_NAMESPACE] = namespace
    sys.modules[_PLUGIN_MODULE] = sys.modules[__name__]
    for name, (launcher, settings) in LAUNCHERS.items():
        launcher.__module__ = _PLUGIN_MODULE
        plugins.register(launcher)
        # Hydra's own `basic` is a choice without a file, which a file would have to agree with: it is replaced.
        group = "hydra/launcher" if name == "basic" else "schema/launcher"
        ConfigStore.instance().store(group=group, name=name, node=settings, provider="specs_lab")
