"""Puts the page into the wheel where it was built: build/web/ becomes glasses/page/.  hatchling runs this."""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        page = Path(self.root) / "build" / "web"
        if version != "editable" and (page / "index.html").is_file():  # a clone's server finds it where it is
            build_data["force_include"][str(page)] = "glasses/page"
