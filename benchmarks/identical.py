"""Whether two checkouts make the same weights: a tiny run of every option that is kept, in each.

    git worktree add ../before COMMIT
    python benchmarks/identical.py ../before .    # prints a hash of all weights of each run, and whether they are one

Each checkout runs its own code, by the interpreter of this one, on one thread.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tyro

CONFIG = Path(__file__).resolve().parent / "every-option.yaml"


def weights(root: Path) -> str:
    """Return a hash of all weights that a checkout's run leaves, by the place of each file.

    Args:
        root: of the checkout.
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
    """Print the hash of each checkout.

    Args:
        roots: the checkouts.
    """
    found = {root: weights(root) for root in roots}
    for root, told in found.items():
        print(f"{root}: {told}")
    print("the same" if len(set(found.values())) == 1 else "different")


if __name__ == "__main__":
    tyro.cli(main)
