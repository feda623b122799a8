"""The image's step that gives an engine its bytecode: it compiles what is missing, and fails where much stays so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "runtime" / "engine" / "bytecode.py"
PACKAGES = ("vllm", "torch", "transformers", "pydantic")


def engine(folder: Path, text: str = "x = 1\n") -> Path:
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise SystemExit('imported')\n")
        for number in range(60):
            (folder / package / f"module{number}.py").write_text(text)
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, SCRIPT, *arguments], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_lacks_bytecode_is_compiled_and_nothing_is_imported(tmp_path: Path) -> None:
    engine(tmp_path)
    (tmp_path / "vllm" / "template.py").write_text("def {{ name }}\n")
    status, said = run(tmp_path, "check")
    assert status == 1
    assert "0 of 245 modules have bytecode" in said
    assert "missing: " in said
    assert run(tmp_path) == (0, "244 of 245 modules have bytecode\n")
    assert run(tmp_path, "check")[0] == 0
    assert (tmp_path / "torch" / "__pycache__").is_dir()


def test_an_image_whose_engine_cannot_be_compiled_is_not_built(tmp_path: Path) -> None:
    status, said = run(engine(tmp_path, "print 'two'\n"))
    assert status == 1
    assert "4 of 244" in said


def test_an_image_without_the_engine_says_so(tmp_path: Path) -> None:
    assert run(tmp_path) == (1, "vllm is not in this image\n")
