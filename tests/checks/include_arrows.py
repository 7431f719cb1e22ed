#!/usr/bin/env python3
"""Reads every #include under src/ and checks design.md section 3: arrows between rooms only point down, Torch stays in its
rooms, libraries stay in .cpp files. Prints FILE:LINE for each violation; exit code 1 if there are any.

  include_arrows.py TREE        checks TREE/src
  include_arrows.py --self-test plants violations in a scratch tree and sees whether each is caught
"""
import pathlib
import re
import sys
import tempfile

# From the top down; a room may include itself and what stands below it.
ROOMS = ["app", "pipeline", "model", "plan", "pose", "io", "comm", "device", "base"]
# topology/ is a library of its own beside src/.
BESIDE = ["topology"]

TORCH = ("ATen/", "torch/", "c10/")
TORCH_ROOMS = ["pipeline", "model", "device"]

# Libraries behind a face of ours: in .cpp and .cu files only.
HIDDEN = ("hdf5", "H5", "mpi.h", "nccl.h", "libav", "libsw", "jpeglib.h", "jerror.h", "opencv2/", "spdlog/", "fmt/", "toml++/", "nlohmann/")
# Headers of ours that only .cpp files of their room include, and the libraries they may show.
INTERNAL = {"src/comm/courier.hpp": (), "src/comm/tag.hpp": (), "src/io/libav.hpp": ("libav", "libsw"), "src/io/jpeg.hpp": (),
            "src/pose/forms.hpp": ("nlohmann/",), "src/pose/clip_reader.hpp": ("nlohmann/",)}

# They bundle different versions of fmt, so a file with both does not compile.
APART = (TORCH, ("spdlog/", "fmt/"))

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^">]+)[">]')
HEADERS = (".hpp", ".h", ".cuh")
SOURCES = HEADERS + (".cpp", ".cu")


def check_file(path, name):
    """Yields (line number, text) for each violation in the file; name is its path from the tree's root."""
    room = name.split("/")[1]
    if room not in ROOMS:
        yield 1, f"src/{room} is no room of the house ({', '.join(ROOMS)})"
        return
    seen = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, target = match[1] == '"', match[2]
        first = target.split("/")[0] if "/" in target else ""
        seen.append((number, target))
        if first in ROOMS:
            if ROOMS.index(first) < ROOMS.index(room):
                yield number, f"{room} includes {target}: the arrow points up"
            if f"src/{target}" in INTERNAL and first != room:
                yield number, f"{target} is internal to {first}"
            if f"src/{target}" in INTERNAL and name.endswith(HEADERS):
                yield number, f"{target} is internal: only .cpp files of {first} include it"
        elif quoted and first not in BESIDE:
            yield number, f'"{target}" names no room: write "ROOM/file.hpp", and <> for libraries'
        if target.startswith(TORCH) and room not in TORCH_ROOMS:
            yield number, f"{target}: Torch is for {', '.join(TORCH_ROOMS)}, not for {room}"
        if target.startswith(HIDDEN) and name.endswith(HEADERS) and not target.startswith(INTERNAL.get(name, ("\0",))):
            yield number, f"{target}: this library stays in .cpp files"
    for number, target in seen:
        if target.startswith(APART[1]) and any(other.startswith(APART[0]) for _, other in seen):
            yield number, f"{target} and Torch in one file: each brings its own fmt"


def check_tree(root):
    """Returns (number of files, list of violations)."""
    files, violations = 0, []
    for path in sorted((root / "src").rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix not in SOURCES or not path.is_file() or name.count("/") < 2:
            continue
        files += 1
        violations += [f"{name}:{number}: {text}" for number, text in check_file(path, name)]
    return files, violations


def self_test():
    good = {
        "src/app/main.cpp": '#include "app/x.hpp"\n#include "base/e.hpp"\n#include <CLI/CLI.hpp>\n#include "topology/gpus.hpp"\n',
        "src/model/unet.hpp": '#pragma once\n#include <ATen/ATen.h>\n#include "plan/slices.hpp"\n',
        "src/io/libav.hpp": "#include <libavutil/frame.h>\n",
        "src/io/video.cpp": '#include "io/libav.hpp"\n#include <hdf5.h>\n#include <nlohmann/json.hpp>\n',
        "src/comm/mpi.cpp": "#include <mpi.h>\n// #include <ATen/ATen.h>\n",
        "src/base/log.cpp": "#include <spdlog/spdlog.h>\n#include <sys/mman.h>\n#include <vector>\n",
    }
    planted = {  # each must be caught on its last line
        "src/io/up.cpp": '#include <vector>\n\n#include "pipeline/run.hpp"\n',
        "src/base/up.hpp": '#pragma once\n  #  include "device/meter.hpp"\n',
        "src/plan/angle.cpp": "#include <app/main.hpp>\n",
        "src/plan/torch.cpp": "#include <ATen/core/Tensor.h>\n",
        "src/io/torch.cpp": "#include <c10/util/Half.h>\n",
        "src/comm/torch.cpp": "#include <torch/torch.h>\n",
        "src/pose/torch.hpp": "#include <ATen/ATen.h>\n",
        "src/app/torch.cpp": "#include <ATen/ATen.h>\n",
        "src/io/public.hpp": "#include <hdf5.h>\n",
        "src/comm/public.hpp": "#include <mpi.h>\n",
        "src/base/log.hpp": "#include <spdlog/fwd.h>\n",
        "src/pipeline/av.cpp": '#include "io/libav.hpp"\n',
        "src/io/av.hpp": '#include "io/libav.hpp"\n',
        "src/io/relative.cpp": '#include "../app/main.hpp"\n',
        "src/model/both.cpp": "#include <ATen/ATen.h>\n#include <fmt/format.h>\n",
        "src/attic/x.cpp": "",
    }
    mistakes = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)

        def write(name, text):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return path

        for name, text in good.items():
            write(name, text)
        files, violations = check_tree(root)
        if files != len(good):
            mistakes.append(f"read {files} files of {len(good)}")
        mistakes += [f"taken for a violation: {text}" for text in violations]
        for name, text in planted.items():
            path = write(name, text)
            expected = f"{name}:{max(1, text.count(chr(10)))}: "
            found = check_tree(root)[1]
            if len(found) != 1 or not found[0].startswith(expected):
                mistakes.append(f"planted {expected} found {found}")
            path.unlink()
    for text in mistakes:
        print(text)
    print(f"{len(planted)} violations planted, {len(mistakes)} mistakes")
    return 1 if mistakes else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    files, violations = check_tree(pathlib.Path(sys.argv[1]))
    for text in violations:
        print(text)
    print(f"{files} files read, {len(violations)} violations")
    return 1 if violations or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
