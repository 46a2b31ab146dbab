"""Whether two checkouts train the same weights: each makes a tiny run with every option of the config on.

    git worktree add ../before COMMIT
    python benchmarks/identical.py ../before .    # prints a hash of all weights of each run, and whether they are the same

Each checkout runs its own code on one thread, with the Python interpreter that runs this script.
All of them read this checkout's benchmarks/every-option.yaml, so all must know its keys.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tyro

CONFIG = Path(__file__).resolve().parent / "every-option.yaml"


def weights_hash(root: Path) -> str:
    """Return a hash of all weight files of a checkout's run, with their paths, and the number of files.

    Args:
        root: of the checkout.

    Raises:
        SystemExit: the run failed; the message is its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "agent.cli", "improve", str(CONFIG), str(run)]
        done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root.resolve())}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{root}: {done.stderr.strip()}")
        digest = hashlib.sha256()
        files = sorted(run.rglob("*.safetensors"))
        for file in files:
            digest.update(str(file.relative_to(run)).encode() + file.read_bytes())
        return f"{digest.hexdigest()[:16]} ({len(files)} files)"


def main(roots: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Print the hash of each checkout, and whether all are the same.

    Args:
        roots: the checkouts.
    """
    hashes = {root: weights_hash(root) for root in roots}
    for root, value in hashes.items():
        print(f"{root}: {value}")
    print("the same" if len(set(hashes.values())) == 1 else "different")


if __name__ == "__main__":
    tyro.cli(main)
