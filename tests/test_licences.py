"""The list of licences names what is shipped, no more and no less, and says what each says of itself."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires

from packaging.requirements import Requirement

from conftest import ROOT

DOCUMENT = (ROOT / "docs" / "licences.md").read_text()
WORDS = {  # what packages say that is no SPDX name
    "Apache 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
    "Boost Software License": "BSL-1.0",
    "BSD License": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
    "Apache Software License": "Apache-2.0",
}
NOT_FOLLOWED = ("ray",)  # whose own packages are not listed


def table(title: str) -> list[list[str]]:
    """The cells of the rows below a heading."""
    part = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    return rows[2:]


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(requirement: Requirement) -> set[str]:
    """The packages that a requirement brings along, itself among them, as far as they are installed."""
    found, waiting = set(), [requirement]
    while waiting:
        one = waiting.pop()
        if key(one.name) in found:
            continue
        found.add(key(one.name))
        try:
            needed = [] if key(one.name) in NOT_FOLLOWED else map(Requirement, requires(one.name) or [])
        except PackageNotFoundError:
            continue
        extras = one.extras or {""}
        waiting += [
            n for n in needed if n.marker is None or any(n.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return found


def said_by(name: str) -> str | None:
    """The licence as a package says it of itself; None where it is not installed."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return None
    classified = [
        one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or [] if one.startswith("License ::")
    ]
    said = about.get("License-Expression") or about.get("License") or ""
    if said not in WORDS and not about.get("License-Expression") and classified:
        said = classified[0]
    return WORDS.get(said, said)


def test_every_python_package_is_listed_with_its_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    brought = set().union(*(brought_by(Requirement(one)) for one in needed))
    listed = {key(name): licence for name, _, licence in table("Python packages")}
    assert brought <= set(listed)
    missing = {key(Requirement(one).name) for one in needed}
    assert {name for name in set(listed) - brought if said_by(name) is not None} == set(), "needed by nothing"
    assert missing <= set(listed)
    checked = 0
    for name, licence in listed.items():
        if (said := said_by(name)) is not None:
            assert re.match(re.escape(said) + r"(?![\w-])", licence), f"{name} says {said}"
            checked += 1
    assert checked > 15


def test_every_package_of_the_page_is_listed_with_its_licence():
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]
    shipped = {
        path.removeprefix("node_modules/"): one["license"] for path, one in lock.items() if path and not one.get("dev")
    }
    listed = {name: licence for names, licence in table("In the page") for name in names.split(", ")}
    assert listed == shipped


def test_the_image_is_the_one_that_is_named():
    last = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert f"`{last}`" in DOCUMENT
    assert '".[web]"' in (ROOT / "Dockerfile").read_text()
