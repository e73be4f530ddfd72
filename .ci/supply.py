#!/usr/bin/env python3
"""What regtrace is made of: a lock for development, wheels for every system, oldest versions, licences, and a build twice.

Needs a package index, and uv (`pip install uv`). Each step prints what it saw and returns 0 only where that is right:

    python .ci/supply.py lock       # write .ci/requirements-dev.txt: the newest versions that fit together, exactly
    python .ci/supply.py wheels     # is there a wheel of every library, so that an installation compiles nothing?
    python .ci/supply.py oldest     # the tests with the oldest versions that pyproject.toml allows; more words go to pytest
    python .ci/supply.py licences   # write docs/licences.md from what the installed libraries declare
    python .ci/supply.py build      # are wheel and source archive the same bytes when they are built again?
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / ".ci" / "requirements-dev.txt"
LICENCES = ROOT / "docs" / "licences.md"
EXTRAS = ("fast", "mcp", "perfetto", "plots", "sigma", "tui")  # for users; Spark brings a Java of its own
EXTRA_WORDS = [word for extra in EXTRAS for word in ("--extra", extra)]
PLATFORMS = {
    "Linux, x86-64": "x86_64-unknown-linux-gnu",
    "Linux, ARM64": "aarch64-unknown-linux-gnu",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
    "Windows, ARM64": "aarch64-pc-windows-msvc",
    "macOS, ARM64": "aarch64-apple-darwin",
    "macOS, x86-64": "x86_64-apple-darwin",
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ALLOWED_MISSING = {"Windows, ARM64"}  # evtx; Python for x86-64 runs there too (docs/reliability.md)


def main() -> int:
    """Do one step."""
    steps = {"lock": lock, "wheels": wheels, "oldest": oldest, "licences": licences, "build": build}
    if len(sys.argv) < 2 or sys.argv[1] not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    return steps[sys.argv[1]]()


def uv(*words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run uv in the checkout."""
    try:
        return subprocess.run(
            ["uv", *words], cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
        )  # fmt: skip
    except FileNotFoundError:
        sys.exit("uv is not installed: pip install uv")


def lock() -> int:
    """Write the versions of everything that development needs, for all systems, and the hashes of their files.

    `pip install -r` takes no other file then; regtrace itself is installed by a second command: `pip install --no-deps -e .`.
    """
    return uv(
        "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal", "--python-version", "3.11", "--upgrade",
        "--no-annotate", "--generate-hashes", "--quiet", "--custom-compile-command", "python .ci/supply.py lock", "-o", str(LOCK),
    ).returncode  # fmt: skip


def wheels() -> int:
    """Look for a set of wheels, and of nothing else, for each system and Python."""
    red = 0
    for name, platform in PLATFORMS.items():
        for python in PYTHONS:
            done = uv(
                "pip", "compile", "pyproject.toml", *EXTRA_WORDS, "--only-binary", ":all:", "--python-platform", platform,
                "--python-version", python, "--quiet", "-o", os.devnull, quiet=True,
            )  # fmt: skip
            missing = " ".join(done.stderr.split())[:200] if done.returncode else "a wheel of everything"
            print(f"{name}, Python {python}: {missing}")
            red |= done.returncode != 0 and name not in ALLOWED_MISSING
    return int(red)


def oldest() -> int:
    """Run the tests in an environment of the oldest versions that regtrace and its extras allow."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        pins = Path(folder) / "oldest.txt"
        asked = uv(
            "pip", "compile", "pyproject.toml", *EXTRA_WORDS, "--resolution", "lowest-direct", "--python-version",
            "3.11", "--quiet", "-o", str(pins), quiet=True,
        )  # fmt: skip
        if asked.returncode:
            print(asked.stderr, file=sys.stderr)
            return asked.returncode
        print(pins.read_text(encoding="utf-8"))
        done = (
            uv("venv", "--quiet", "--python", "3.11", str(environment)).returncode
            or uv(
                "pip",
                "install",
                "--quiet",
                "--python",
                str(python),
                "-c",
                str(pins),
                "-e",
                ".[dev]",
            ).returncode
        )
        return (
            done or subprocess.run([python, "-m", "pytest", *sys.argv[2:]], cwd=ROOT, check=False).returncode
        )


def licences() -> int:
    """Write the page of licences: each library that an installation brings, as its metadata declares it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"regtrace": project["dependencies"]} | {
        extra: project["optional-dependencies"][extra] for extra in (*EXTRAS, "spark")
    }
    lines = [
        "# Licences of what regtrace needs",
        "",
        "Made by `python .ci/supply.py licences` from what the libraries declare themselves. regtrace is MIT. What these libraries",
        "need themselves is not listed; `.ci/requirements-dev.txt` names it.",
        "",
        "| library | needed for | licence |",
        "| --- | --- | --- |",
    ]
    for extra, requirements in wanted.items():
        for requirement in sorted(requirements):
            name = re.split(r"[\[<>=;!~ ]", requirement)[0]
            purpose = "every installation" if extra == "regtrace" else f"`regtrace[{extra}]`"
            purpose += " on Windows" if "win32" in requirement else ""
            try:
                licence = declared(distribution(name))
            except PackageNotFoundError:
                licence = "not installed where this page was made"
            lines.append(f"| {name} | {purpose} | {licence} |")
    LICENCES.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def declared(library: Distribution) -> str:
    """Return the licence that a library declares: its expression, its first line of licence, or its classifiers."""
    fields = library.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if line.startswith("License")
    ]
    text = (
        fields.get("License-Expression")
        or ", ".join(classifiers)
        or (fields.get("License") or "").split("\n")[0]
    )
    return text.strip() or "not declared"


def build() -> int:
    """Build twice, in two copies of the checkout, and compare."""
    hashes = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            copy, built = Path(folder) / "checkout", Path(folder) / "built"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(built)],
                cwd=copy, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            hashes.append(
                {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in built.iterdir()}
            )
    for name, digest in sorted(hashes[0].items()):
        print(name, digest, "the same" if hashes[1].get(name) == digest else "DIFFERS")
    return int(hashes[0] != hashes[1] or len(hashes[0]) != 2)


if __name__ == "__main__":
    sys.exit(main())
