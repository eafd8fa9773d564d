"""The package: types, the command, examples and the walk-through of docs/python.md."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import expertile
import pytest
from expertile.original import CALLS, PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples" / "python").glob("*.py"))


@pytest.fixture(scope="module")
def environment(cache):
    path = str(Path(expertile.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": path, "EXPERTILE_HOME": str(cache)}


def run(command, environment, **options):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command(binary, environment):
    command = [sys.executable, "-m", "expertile"]
    assert run([*command, "--version"], environment) == run([binary, "--version"], environment)
    done = subprocess.run([*command, "inspect", "nowhere"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_types(tmp_path):
    """The package and its stubs, and a client of them, under mypy."""
    package = Path(expertile.__file__).parent
    (tmp_path / "client.py").write_text(
        "import expertile\n"
        "model = expertile.AutoModelForCausalLM.from_pretrained('x')\n"
        "path: str | dict[str, str] = model.compile(ctx_len=5)\n"
        "text: str = model.generate(prompts=['x']).generated_texts[0]\n"
    )
    shutil.copytree(package, tmp_path / "expertile", ignore=shutil.ignore_patterns("*.so", "bin", "__pycache__"))
    assert (tmp_path / "expertile" / "_core.pyi").exists()
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "mypy"]
    done = subprocess.run([*command, "client.py", "expertile"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, environment, tmp_path):
    assert run([sys.executable, ROOT / "examples" / "python" / name], environment, cwd=ROOT)


def code_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_walk_through(environment, tmp_path):
    """All blocks of docs/python.md but those of torch, one after another."""
    text = (ROOT / "docs" / "python.md").read_text()
    code = "\n".join(block for block in code_blocks(text) if "torch" not in block and "transformers" not in block)
    (tmp_path / "walk.py").write_text(code)
    os.symlink(ROOT / "models", tmp_path / "models")
    run([sys.executable, "walk.py"], environment, cwd=tmp_path)


def test_table_of_the_originals_parameters():
    """docs/python.md says of every parameter what original.py does."""
    text = (ROOT / "docs" / "python.md").read_text()
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", text, re.MULTILINE)}
    for row in PARAMETERS:
        assert row.name in rows, row.name
        assert row.becomes in rows[row.name] and row.note in rows[row.name], row.name
        assert all(call in rows[row.name] for call in row.calls)
    for name in expertile.options():
        assert name in rows, name
    assert CALLS == ("from_pretrained", "export", "compile", "generate")


def test_profile(qwen, tmp_path):
    prompt = "First Citizen:\nBefore we proceed any further, hear me speak.\n" * 4
    profile = qwen.profile(prompt)
    description, tokens = qwen.description, len(qwen.tokenizer.encode(prompt))
    rows = profile.expert_rows
    assert rows.shape == (description.num_moe_layers, description.num_experts) == profile.expert_seconds.shape
    assert (rows.sum(axis=1) == tokens * description.experts_per_token).all()
    placed = expertile.dispatch.placement(description.num_experts, 8)
    assert all((profile.nsp_rows[:, nsp] == rows[:, placed.nsp == nsp].sum(axis=1)).all() for nsp in range(8))
    assert profile.nsp_seconds.sum() == pytest.approx(profile.expert_seconds.sum()) and profile.expert_seconds.sum() > 0
    profile.write_report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert (profile.plot().images[0].get_array() == rows).all()
