"""The W&B server: whether there is a key, whether the server answers, and the upload of runs logged offline."""

import json
import netrc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from petbench.errors import RunError, UserError
from petbench.files import write_json

PROBE_SECONDS = 3.0  # to open a connection to the server
SYNC_SECONDS = 300.0  # per run, in `petbench sync`
SENT_BY_WANDB = "*.wandb.synced"  # the file that `wandb sync` itself leaves after an upload
NO_MESSAGE = "ERROR <no message>"  # what `wandb sync` prints when the server answers 400 or 401
MARKER = (
    "petbench_sync.json"  # in a W&B run's folder: sent | superseded (by a later log of the run) | incomplete
)


def sync(results_dir: str | Path, timeout: float = SYNC_SECONDS) -> str:
    """Upload what was logged offline or could not be sent in time; returns one line for each run, then a total.

    Calls `wandb sync` for each run, at most `timeout` seconds each, and marks uploaded runs, so that a second call
    sends only what is new. Raises UserError without a folder or a key; RunError, with the same lines, when an upload
    failed.
    """
    root = Path(results_dir)
    if not root.is_dir():
        raise UserError(f"results folder '{root}' does not exist. Give the folder that runs were written to.")
    folders = [
        folder
        for run in sorted([*root.glob("runs/*"), *root.glob("reports/*")])
        for folder in _unsent_folders(run)
    ]
    if not folders:
        return f"Nothing to upload: no unsent W&B run under {root}."
    if not has_key():
        raise UserError(
            f"{len(folders)} W&B runs wait under {root}, but there is no API key. "
            "Set WANDB_API_KEY or run `wandb login`, then `petbench sync` again."
        )
    if not reachable(base_url()):
        raise RunError(f"{len(folders)} W&B runs wait, but {base_url()} does not answer. Nothing was sent.")
    lines: list[str] = []
    for folder in folders:
        lines.append(_upload(folder, timeout))
        if lines[-1].startswith("not sent") and not reachable(base_url()):
            lines.append(f"not tried: the rest, since {base_url()} does not answer any more")
            break
    sent = sum(line.startswith("sent") for line in lines)
    text = "\n".join([*lines, f"{sent} of {len(folders)} W&B runs uploaded."])
    if sent < len(folders):
        raise RunError(text)
    return text


def has_key() -> bool:
    """Whether W&B would find credentials: its environment variables, or its host in the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    paths = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    path = next((found for name in paths if name and (found := Path(name).expanduser()).is_file()), None)
    if path is None:
        return False
    try:
        hosts = netrc.netrc(path).hosts
    except (netrc.NetrcParseError, OSError):
        return False
    # W&B's own service has had several host names; a self-hosted one is identified by its address.
    wanted = (urlsplit(base_url()).hostname or "", "api.wandb.ai", "api.forge.coreweave.com")
    return any(host.rsplit(":", 1)[0] in wanted for host in hosts)


def base_url() -> str:
    """The address of the W&B server, from the environment, W&B's settings file or its default."""
    if url := os.environ.get("WANDB_BASE_URL"):
        return url
    import wandb  # wandb takes seconds

    return str(wandb.setup().settings.base_url)


def reachable(url: str) -> bool:
    """Whether the server accepts a connection within PROBE_SECONDS. True behind a proxy, where only W&B can tell."""
    parts = urlsplit(url)
    if parts.scheme in getproxies():
        return True
    answered: list[bool] = []

    def knock() -> None:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS).close()
            answered.append(True)
        except OSError:
            pass

    # In a thread of its own: a name server that does not answer can block far beyond the timeout.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answered)


def offline_folders(run_folder: Path) -> list[Path]:
    return sorted(run_folder.glob("wandb/offline-run-*"))


def _unsent_folders(run_folder: Path) -> list[Path]:
    """Offline runs without a mark, and online runs marked as incomplete."""
    unsent = [
        folder
        for folder in offline_folders(run_folder)
        if not (folder / MARKER).exists() and not any(folder.glob(SENT_BY_WANDB))
    ]
    for marker in sorted(run_folder.glob(f"wandb/*run-*/{MARKER}")):
        if json.loads(marker.read_text()).get("state") == "incomplete":
            unsent.append(marker.parent)
    return unsent


def _upload(folder: Path, timeout: float) -> str:
    """Run `wandb sync` on one run's folder; returns a line that says whether it was sent."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(folder)]
    name = f"{folder.parent.parent.name} ({folder.name})"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"not sent: {name}: not finished after {timeout:.0f} s"
    # It exits 0 even when the server refused the run; then W&B's own mark is missing.
    if done.returncode != 0 or not any(folder.glob(SENT_BY_WANDB)):
        said = (done.stderr or done.stdout).strip().splitlines()
        errors = [line for line in said if "ERROR" in line] or said[-1:]
        reason = errors[-1] if errors else f"wandb sync ended with {done.returncode}"
        if NO_MESSAGE in reason:
            reason = f"{base_url()} refused it without a reason. Check that the key is valid there and for the team"
        return f"not sent: {name}: {reason}"
    write_json(folder / MARKER, {"state": "sent", "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    return f"sent: {name}"
