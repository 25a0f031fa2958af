"""How large is what the Dockerfile puts onto its base image?  Does its steps without Docker, writes container.csv.

    python -m benchmarks.container [--note WORDS]

The steps are done below a folder that is the root of a namespace of its own (`unshare`, `chroot`), in which /usr is
this machine's and /usr/local its Python, as in the image. The page is that of build/web/, not built anew. Linux only.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.installation import bytes_of
from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table

MACHINE = ("usr", "bin", "sbin", "lib", "lib64", "etc", "proc", "dev")  # folders of it that a container sees
LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules")
LOOPBACK = (  # up in a new network namespace: struct ifreq with IFF_UP
    "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh22x', b'lo', 1))"
)


class Stage(NamedTuple):
    """A stage of a Dockerfile: its base image, its name ("" where it has none), and (instruction, arguments) pairs."""

    base: str
    name: str
    steps: list[tuple[str, str]]

    def last(self, instruction: str) -> str:
        """The arguments of the last such instruction, which is the one that counts. Raises ValueError for none."""
        found = [arguments for name, arguments in self.steps if name == instruction]
        if not found:
            raise ValueError(f"the stage {self.name!r} has no {instruction}")
        return found[-1]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield name.upper(), arguments.strip()


def read_stages(file: Path) -> list[Stage]:
    """The stages of a Dockerfile in their order."""
    stages = []
    for name, arguments in instructions(file.read_text()):
        if name == "FROM":
            base, *alias = arguments.split(" AS ")
            stages.append(Stage(base, alias[0] if alias else "", []))
        else:
            stages[-1].steps.append((name, arguments))
    return stages


class Container:
    """A folder as the root of a file system, and what was told by ENV, WORKDIR and USER so far."""

    def __init__(self, root: Path):
        self.root, self.folder, self.user = root, "/", ""
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.environment["LD_LIBRARY_PATH"] = "/usr/local/lib"  # of a Python that was built for another place
        self.environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        for name in ("tmp", "opt", "photos"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "tmp").chmod(0o1777)
        for name in MACHINE:
            place = Path("/") / name
            if place.is_symlink():
                (root / name).symlink_to(place.readlink())
            elif place.is_dir():
                (root / name).mkdir()

    def command(self, arguments: Sequence[str], photos: Path | None = None, network: bool = True) -> list[str]:
        """What runs `arguments` in the container. photos: to be mounted at /photos. network: False, one of its own."""
        mounts = [(f"/{name}", name) for name in MACHINE if not (self.root / name).is_symlink()]
        mounts = [(source, place) for source, place in mounts if Path(source).is_dir()]
        mounts.append((sys.base_prefix, "usr/local"))
        if photos:
            mounts.append((str(photos), "photos"))
        script = [f"mount --rbind {shlex.quote(source)} {self.root / place}" for source, place in mounts]
        if not network:
            script.append(shlex.join([sys.executable, "-c", LOOPBACK]))
        env = ["env", "-i", "-C", self.folder, *(f"{name}={value}" for name, value in self.environment.items())]
        user = []
        if self.user and os.geteuid() == 0:
            number, _, group = self.user.partition(":")
            user = ["setpriv", f"--reuid={number}", f"--regid={group}", "--clear-groups"]
        script.append("exec " + shlex.join(["chroot", str(self.root), *user, *env, *arguments]))
        alone = ["unshare", "--mount", *([] if network else ["--net"])]
        if os.geteuid() != 0:
            alone += ["--user", "--map-root-user"]
        return [*alone, "sh", "-ec", "\n".join(script)]

    def run(self, arguments: Sequence[str], **options) -> subprocess.CompletedProcess:
        """The same, run to its end; stdout and stderr as text."""
        return subprocess.run(self.command(arguments, **options), capture_output=True, text=True, check=False)

    def do(self, stage: Stage, others: dict[str, Path]) -> None:
        """All steps of a stage. others: the roots of the stages that it copies from.

        Raises RuntimeError with the words of a command that fails.
        """
        for name, arguments in stage.steps:
            if name == "RUN":
                done = self.run(["sh", "-c", arguments])
                if done.returncode:
                    raise RuntimeError(f"RUN {arguments}: {done.stderr[-2000:]}")
            elif name == "COPY":
                self._copy(arguments.split(), others)
            elif name == "ENV":
                key, _, value = arguments.partition("=")
                self.environment[key] = value.replace(f"${key}", self.environment.get(key, ""))
            elif name == "WORKDIR":
                self.folder = arguments
                self._inside(arguments).mkdir(parents=True, exist_ok=True)
            elif name == "USER":
                self.user = arguments

    def _inside(self, path: str) -> Path:
        return self.root / os.path.join(self.folder, path).lstrip("/")

    def _copy(self, words: list[str], others: dict[str, Path]) -> None:
        source = ROOT
        if words[0].startswith("--from="):
            source = others[words.pop(0).removeprefix("--from=")]
        *files, target = words
        for file in files:
            origin, place = source / file.lstrip("/"), self._inside(target)
            if origin.is_dir():
                shutil.copytree(origin, place, symlinks=True, ignore=LEFT_OUT, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, place)


def build(folder: Path) -> Container:
    """The image's last stage, built in `folder`; the page is that of build/web/, or where it is not built, a stand-in.

    Raises RuntimeError with the words of a command that fails.
    """
    page, *stages = read_stages(ROOT / "Dockerfile")
    others = {page.name: folder / page.name}
    web = others[page.name] / "src" / "build" / "web"
    if (ROOT / "build" / "web" / "index.html").is_file():
        shutil.copytree(ROOT / "build" / "web", web)
    else:
        web.mkdir(parents=True)
        (web / "index.html").write_text("<title>a stand-in for the page</title>")
    for number, stage in enumerate(stages):
        container = Container(folder / (stage.name or str(number)))
        container.do(stage, others)
        others[stage.name] = container.root
    return container


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_note(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        container = build(Path(folder))
        size = bytes_of(container.root)
    base = read_stages(ROOT / "Dockerfile")[-1].base
    print(f"{size:,} bytes on top of {base}")
    page = "with the page" if (ROOT / "build" / "web" / "index.html").is_file() else "without the page"
    lines = header(page, note=options.note)
    write_table(pd.DataFrame([{"base": base, "bytes": size}]), RESULTS / "container.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
