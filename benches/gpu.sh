#!/bin/sh
# What this machine's GPU computes rightly, and how fast beside PyTorch, in one table and one JSON file,
# within nine minutes:
#     benches/gpu.sh [FOLDER [PYTHON [bench-gpu's own flags]]]
# FOLDER holds bench-gpu and bench-networks, built with `--features cuda` (and `--profile travel`, if they are to
# come from another machine); without it they are built.
# PYTHON has torch; `python3` is tried without it, and nothing is compared where there is none.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-}
python=${2:-python3}
[ $# -gt 2 ] && shift 2 || set --
if [ -z "$folder" ]; then
    (cd "$here/.." && cargo build --release --features cuda -p benches --bin bench-gpu --bin bench-networks)
    folder=$here/../target/release
fi
if "$python" -c 'import torch' 2>/dev/null; then
    # CUDA's libraries, where they came with torch and not with the system.
    libraries=$("$python" - <<'PYTHON'
import glob, os, sysconfig, torch
places = {os.path.dirname(os.path.dirname(torch.__file__)), *sysconfig.get_paths().values()}
print(":".join(sorted({folder for place in places for folder in glob.glob(place + "/nvidia/*/lib")})))
PYTHON
    )
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries
    export LD_LIBRARY_PATH
    set -- --python "$(command -v "$python")" "$@"
else
    echo "there is no torch for $python: nothing is compared with PyTorch" >&2
fi
exec "$folder/bench-gpu" --peers "$here/peers/networks.py" "$@"
