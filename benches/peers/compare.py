"""Runs `bench-networks` and networks.py in turn and says how fast one is beside the other.

    python compare.py --program bench-networks [--width paper] [--batch 16] [--rounds 3] [--json FILE]

A ratio above 1 means that the program is faster than the best of PyTorch's modes.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys

from networks import WORKS

HERE = pathlib.Path(__file__).resolve().parent


def lines(command):
    out = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def processor():
    try:
        facts = pathlib.Path("/proc/cpuinfo").read_text()
        return next(line.split(":", 1)[1].strip() for line in facts.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description="This program's networks beside PyTorch's")
    parser.add_argument("--program", type=pathlib.Path, required=True, help="bench-networks")
    parser.add_argument("--width", default="paper")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each figure in each round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--numbers", default="f32", choices=["f32", "bf16"], help="what the program computes with")
    parser.add_argument("--modes", help="of PyTorch; default: f32,f32-cl, or bf16-cl beside bf16")
    parser.add_argument("--work", default=",".join(WORKS))
    parser.add_argument("--json", type=pathlib.Path, help="where to write every figure")
    asked = parser.parse_args()
    modes = (asked.modes or {"f32": "f32,f32-cl", "bf16": "bf16-cl"}[asked.numbers]).split(",")
    shape = ["--width", asked.width, "--batch", asked.batch, "--seconds", asked.seconds, "--device", asked.device]
    ours, theirs = {}, {}
    try:
        for nth in range(asked.rounds):
            for work in asked.work.split(","):
                print(f"round {nth + 1} of {asked.rounds}: {work}", file=sys.stderr, flush=True)
                for line in lines([asked.program, "--json", "--only", work, "--numbers", asked.numbers, *shape]):
                    if line["work"] == work:
                        ours.setdefault(work, []).append(line["images_per_second"])
                command = [sys.executable, HERE / "networks.py", *shape, "--work", work, "--modes", ",".join(modes)]
                for line in lines(command):
                    rate = line.get("images_per_second")
                    if rate is None:
                        print(f"{work} in {line['mode']}: {line['failed']}", file=sys.stderr)
                    else:
                        theirs.setdefault(work, {}).setdefault(line["mode"], []).append(rate)
    except KeyboardInterrupt:
        print("interrupted: what follows is of the rounds until here", file=sys.stderr)
    print(
        f"{processor()}, {asked.numbers}, width {asked.width}, batches of {asked.batch}, images/s; "
        f"medians of {asked.rounds} rounds"
    )
    print("\t".join(["work", "here", *(f"torch {mode}" for mode in modes), "ratio to the best", "range"]))
    table = []
    for work, rates in ours.items():
        median = {mode: statistics.median(theirs[work][mode]) for mode in modes if mode in theirs.get(work, {})}
        best = max(median, key=median.get, default=None)
        pairs = [a / b for a, b in zip(rates, theirs[work][best])] if best else []
        ratio = statistics.median(pairs) if pairs else None
        table.append({"work": work, "here": rates, "torch": theirs.get(work, {}), "best": best, "ratio": ratio})
        shown = [f"{median[mode]:.1f}" if mode in median else "-" for mode in modes]
        shown += [f"{ratio:.2f} ({best})", f"{min(pairs):.2f} to {max(pairs):.2f}"] if pairs else ["-", "-"]
        print("\t".join([work, f"{statistics.median(rates):.1f}", *shown]))
    if asked.json:
        facts = {"processor": processor(), "numbers": asked.numbers, "width": asked.width, "batch": asked.batch, "figures": table}
        asked.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
