"""What pip installs is omni, and nothing that lies beside it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# Beside the sources: large, or left by earlier builds (a stale build/lib would enter the wheel).
LEFT_OUT = shutil.ignore_patterns(
    ".*", "runs", "build", "dist", "node_modules", "*.egg-info", "__pycache__", "*.tar"
)


def test_the_wheel_holds_omni_only(root: Path, tmp_path: Path):
    sources = tmp_path / "sources"
    shutil.copytree(root, sources, ignore=LEFT_OUT)
    assert {"omni", "data", "eval", "train.py"} <= {entry.name for entry in sources.iterdir()}

    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    built = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {"omni", info}
    packed = {name for name in names if name.startswith("omni/") and name.endswith(".py")}
    assert packed == {file.relative_to(root).as_posix() for file in (root / "omni").rglob("*.py")}
