#!/bin/sh
# Instructions of fixed pieces of work, counted by Callgrind, beside those kept in a file:
#     benches/instructions.sh [KEPT]
# A count of another processor is comparable where both have AVX2 and no kernel is made for more:
# Callgrind knows no AVX-512. To keep new counts, write what this prints to a file.
set -eu
cd "$(dirname "$0")/.."
kept=${1:-}
cargo build --release -p benches --bin bench-instructions
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT
printf 'work\tinstructions%b\n' "${kept:+\tkept\tratio}"
for work in generator-tile recognizer-step batch; do
    valgrind --tool=callgrind --callgrind-out-file="$counts/$work" --toggle-collect='*counted*' \
        target/release/bench-instructions "$work" 2> "$counts/log" || { cat "$counts/log" >&2; exit 1; }
    count=$(sed -n 's/^summary: \([0-9]*\).*/\1/p;s/^totals: \([0-9]*\).*/\1/p' "$counts/$work" | head -1)
    before=$([ -z "$kept" ] || awk -F '\t' -v work="$work" '$1 == work { print $2 }' "$kept")
    if [ -n "$before" ]; then
        awk -v a="$count" -v b="$before" -v work="$work" 'BEGIN { printf "%s\t%s\t%s\t%.3f\n", work, a, b, a / b }'
    else
        printf '%s\t%s\n' "$work" "$count"
    fi
done
