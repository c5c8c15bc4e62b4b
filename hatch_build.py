"""Puts what `ssc run` needs of a clone into the wheel, as `ssc/project/` (`ssc.workflow.project`)."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PROJECT = ("Snakefile", "config.yaml", "config", "envs", "profiles", "report", "rules", "workflow_scripts")


class Project(BuildHookInterface):
    """Hatchling's hook; an editable installation has the clone itself."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Name the files, unless the installation is editable."""
        if version != "editable":
            build_data["force_include"] |= {part: f"ssc/project/{part}" for part in _PROJECT}
