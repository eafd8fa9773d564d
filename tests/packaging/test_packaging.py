"""Others build on the library: installed, as a part of their project, or as a Debian package of the command."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ROOT / "tests" / "packaging" / "outside"


def run(*command, cwd=ROOT):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def readme_program():
    blocks = re.findall(r"^```cpp\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 1
    return blocks[0]


@pytest.fixture
def outside(tmp_path):
    """A clean folder with a project that is the program of the README."""
    folder = Path(shutil.copytree(OUTSIDE, tmp_path / "outside"))
    (folder / "main.cc").write_text(readme_program(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def prefix(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    run("cmake", "--build", build, "--target", "expertile_library", "expertile")
    run("cmake", "--install", build, "--prefix", folder)
    return folder


@pytest.fixture
def no_sanitizer(sanitizer):
    if sanitizer:
        pytest.skip("a build under a sanitizer is not for others")


def check_program(program, binary):
    text = run(program)
    expected = run(binary, "run", "models/tiny-qwen3_moe", "--prompt", "First Citizen:",
                   "--max-new-tokens", 20, "--ignore-eos", "--no-statistics")
    assert text == expected and len(text) > 10


def test_find_package(outside, prefix, binary, tmp_path):
    folder = tmp_path / "build"
    run("cmake", "-G", "Ninja", "-S", outside, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", folder)
    check_program(folder / "outside", binary)


def test_add_subdirectory(outside, build, binary, no_sanitizer):
    # With the options of the build and beside it, so that ccache has the objects.
    cache = dict(re.findall(r"^(CMAKE_CXX_FLAGS_RELEASE|CMAKE_BUILD_TYPE):\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M))
    folder = build.parent / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    run("cmake", "-G", "Ninja", "-S", outside, "-B", folder, f"-DEXPERTILE_SOURCE={ROOT}", "-DEXPERTILE_WARNINGS=ON",
        "-DEXPERTILE_WARNINGS_AS_ERRORS=ON", *(f"-D{name}={value}" for name, value in cache.items()))
    run("cmake", "--build", folder)
    check_program(folder / "outside", binary)
    shutil.rmtree(folder)


def test_what_is_installed(prefix, no_sanitizer):
    installed = {path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if not path.is_dir()}
    headers = {f"include/expertile/{path.name}" for path in (ROOT / "include" / "expertile").glob("*.h")}
    assert {name for name in installed if name.startswith("include/")} == headers
    libraries = sorted(Path(name).name for name in installed if "/libexpertile" in name)
    assert libraries == ["libexpertile.so", "libexpertile.so.0", "libexpertile.so.0.1.0"]
    library = next(prefix.rglob("libexpertile.so"))
    assert re.search(r"SONAME\s+libexpertile\.so\.0$", run("objdump", "-p", library), re.M)
    symbols = run("nm", "--dynamic", "--defined-only", "--demangle", library).splitlines()
    names = [re.sub(r"^(vtable|typeinfo|typeinfo name|guard variable) for ", "", line.split(" ", 2)[2]) for line in symbols]
    assert names and all("expertile::" in name for name in names), [n for n in names if "expertile::" not in n][:5]


def test_each_header_compiles_alone(prefix, tmp_path):
    for header in sorted((prefix / "include" / "expertile").glob("*.h")):
        (tmp_path / "alone.cc").write_text(f'#include "expertile/{header.name}"\n')
        run("g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", prefix / "include", tmp_path / "alone.cc")


def test_debian_package(build, tmp_path, no_sanitizer):
    run("cpack", "--config", build / "CPackConfig.cmake", "-B", tmp_path, cwd=tmp_path)
    (package,) = tmp_path.glob("*.deb")
    fields = dict(re.findall(r"^([\w-]+): (.*)$", run("dpkg-deb", "--info", package).replace("\n ", "\n"), re.M))
    assert fields["Package"] == "expertile" and fields["Version"].startswith("0.1.0")
    assert fields["Section"] == "science" and fields["Maintainer"].startswith("The Expertile project")
    for library in ("libc6", "libpng16", "libwebp7", "libgif7"):
        assert library in fields["Depends"], fields["Depends"]
    root = tmp_path / "root"
    run("dpkg", "-x", package, root)
    assert run(root / "usr" / "bin" / "expertile", "--version").strip()
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}
    assert files == {"usr/bin/expertile", "usr/share/doc/expertile/copyright"}
