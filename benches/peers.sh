#!/bin/sh
# The networks and training steps here beside the same in PyTorch, on this machine, as ratios:
#     benches/peers.sh PYTHON [WIDTH [BATCH [ROUNDS [NUMBERS]]]]
# PYTHON has torch, numpy and safetensors. In each round both take their turn at every piece of work,
# and what is said is the median over the rounds, and its range. NUMBERS are f32, beside PyTorch's two
# layouts, or bf16, beside its bf16, which takes minutes a step on a processor without such arithmetic.
set -eu
cd "$(dirname "$0")/.."
python=${1:?expected the python that has torch}
cargo build --workspace --release --bin bench-networks
exec "$python" benches/peers/compare.py --program target/release/bench-networks \
    --width "${2:-paper}" --batch "${3:-16}" --rounds "${4:-3}" --numbers "${5:-f32}"
