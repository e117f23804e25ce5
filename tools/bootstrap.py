"""Make .venv with the exact versions of requirements.lock, once. `make` calls this before everything else.

Needs only Python's standard library. A second call finds the stamp and does nothing; an interrupted one goes on.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def main() -> int:
    if sys.version_info < (3, 11):
        version = sys.version.split()[0]
        return fail(f"the book needs Python 3.11 or newer, this is {version}: try make PYTHON=python3.12")
    wanted = hashlib.sha256(sys.version.encode())
    for name in ("requirements.lock", "pyproject.toml"):
        wanted.update((ROOT / name).read_bytes())
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted.hexdigest() and PYTHON.exists():
        return 0
    if shutil.disk_usage(ROOT).free < 12e9:
        print("Less than 12 GB of disk are free: PyTorch with CUDA needs about 8 of them.", flush=True)
    if not (PYTHON.exists() and run(PYTHON, "-m", "pip", "--version", quiet=True)):
        print("Creating .venv", flush=True)
        if not create_venv():
            return fail("Python's venv module is incomplete here: sudo apt install python3-venv")
    print("Installing the versions of requirements.lock (a few minutes, about 5 GB, the first time)", flush=True)
    pip = (PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    if not run(*pip, "--no-deps", "-r", ROOT / "requirements.lock"):
        return fail("the packages could not be installed, see pip's lines above; the same command goes on from there")
    if not run(*pip, "--no-deps", "--quiet", "-e", ROOT):
        return fail("attncourse itself could not be installed: see pip's last lines above")
    stamp.write_text(wanted.hexdigest())
    return 0


def create_venv() -> bool:
    """Debian leaves pip out of python3; where we may, we install its python3-venv and try again."""
    arguments = (sys.executable, "-m", "venv", "--clear", VENV)
    if run(*arguments, quiet=True):
        return True
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("Installing python3-venv", flush=True)
        run("apt-get", "update", quiet=True)
        run("apt-get", "install", "-y", "python3-venv", quiet=True)
        return run(*arguments, quiet=True)
    return False


def run(*command: str | Path, quiet: bool = False) -> bool:
    sink = subprocess.DEVNULL if quiet else None
    return subprocess.run([str(part) for part in command], stdout=sink, stderr=sink).returncode == 0


def fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
