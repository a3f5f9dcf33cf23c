"""What a stream carries, beside tf.data service without compression, on this machine, as ratios.

    python stream.py --program bench-stream [--rounds 3] [--seconds 3] [--json FILE]

Both serve batches of 64 images from memory over loopback TCP to consumers that are processes of their
own. A consumer takes a first batch, waits until all are ready, warms up for a second and then counts.
tf.data's batches lie there finished; here each one is planned, put together from its rows, and digested.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

BATCH, SIDE, POOL = 64, 128, 8


def cpu_seconds(pid):
    """Processor time of a process, its threads and what it has waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tensorflow():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow

    return tensorflow


def serve(_):
    """A dispatcher and a worker, at ports of loopback, until standard input ends."""
    service = tensorflow().data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.split("://")[1]
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address, port=0))
    print(address, flush=True)
    sys.stdin.readline()
    del worker
    os._exit(0)


def consume(asked):
    import numpy

    tf = tensorflow()
    images = numpy.random.default_rng(7).integers(0, 256, (POOL, BATCH, SIDE, SIDE, asked.channels), numpy.uint8)
    labels = numpy.zeros((POOL, BATCH), numpy.int64)
    service = tf.data.experimental.service
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).repeat()
    policy, address = service.ShardingPolicy.OFF, f"grpc://{asked.address}"
    batches = batches.apply(service.distribute(processing_mode=policy, service=address, compression=None))
    batches = batches.prefetch(2).as_numpy_iterator()
    next(batches)
    print("ready", flush=True)
    sys.stdin.readline()
    warm = time.perf_counter() + 1
    while time.perf_counter() < warm:
        next(batches)
    rows, gaps, busy, began = 0, [], cpu_seconds("self"), time.perf_counter()
    last = began
    while last - began < asked.seconds:
        rows += len(next(batches)[0])
        now = time.perf_counter()
        gaps.append(1e3 * (now - last))
        last = now
    gaps.sort()
    counted = {
        "images_per_second": rows / (last - began),
        "cores": (cpu_seconds("self") - busy) / (last - began),
        "p99_milliseconds": gaps[len(gaps) * 99 // 100],
    }
    print(json.dumps(counted), flush=True)
    os._exit(0)


def start(*words):
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def theirs(channels, consumers, seconds):
    """The figures of tf.data service, as `bench-stream` names them."""
    processes = [start("--role", "serve")]
    server = processes[0]
    try:
        address = server.stdout.readline().strip()
        words = ["--role", "consume", "--address", address, "--channels", channels, "--seconds", seconds]
        processes += [start(*words) for _ in range(consumers)]
        for consumer in processes[1:]:
            assert consumer.stdout.readline() == "ready\n", "a consumer of tf.data ended early"
        busy, began = cpu_seconds(server.pid), time.perf_counter()
        for consumer in processes[1:]:
            consumer.stdin.write("go\n")
            consumer.stdin.flush()
        counted = [json.loads(consumer.stdout.readline()) for consumer in processes[1:]]
        server_cores = (cpu_seconds(server.pid) - busy) / (time.perf_counter() - began)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    megabytes = sum(one["images_per_second"] for one in counted) * channels * SIDE * SIDE / 1e6
    return {
        "megabytes_per_second": megabytes,
        "megabytes_per_core_second": megabytes / (server_cores + sum(one["cores"] for one in counted)),
        "p99_milliseconds": max(one["p99_milliseconds"] for one in counted),
    }


def ours(program, rows, channels, consumers, seconds):
    words = ["--json", "--plain", "--rounds", 1, "--ways", "tcp", "--rows", rows, "--batch", BATCH]
    words += ["--channels", channels, "--consumers", consumers, "--seconds", seconds]
    out = subprocess.run([str(program), *map(str, words)], stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out)["figures"]


def compare(asked):
    table = []
    print("channels\tconsumers\trows\tMB/s\ttf.data\tratio\tper core-second\ttf.data\tratio\tp99, ms\ttf.data")
    for channels in (1, 3):
        for consumers in (1, 3):
            kinds = ["made"] if consumers == 1 else ["made", "shared"]
            peer, here = [], {rows: [] for rows in kinds}
            for _ in range(asked.rounds):
                peer.append(theirs(channels, consumers, asked.seconds))
                for rows in kinds:
                    here[rows].append(ours(asked.program, rows, channels, consumers, asked.seconds))
            for rows in kinds:

                def both(name):
                    return [statistics.median(run[name] for run in runs) for runs in (here[rows], peer)]

                (rate, other), (core, other_core) = both("megabytes_per_second"), both("megabytes_per_core_second")
                (p99, other_p99) = both("p99_milliseconds")
                shown = [f"{rate:.0f}", f"{other:.0f}", f"{rate / other:.2f}"]
                shown += [f"{core:.0f}", f"{other_core:.0f}", f"{core / other_core:.2f}", f"{p99:.1f}", f"{other_p99:.1f}"]
                print("\t".join([str(channels), str(consumers), rows, *shown]), flush=True)
                cell = {"channels": channels, "consumers": consumers, "rows": rows}
                table.append({**cell, "here": here[rows], "tfdata": peer})
    if asked.json:
        asked.json.write_text(json.dumps(table, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description="This program's streams beside tf.data service's")
    parser.add_argument("--program", type=pathlib.Path, help="bench-stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="counted in each cell of each round")
    parser.add_argument("--json", type=pathlib.Path, help="where to write every figure")
    parser.add_argument("--role", choices=["serve", "consume"], help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--channels", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    {"serve": serve, "consume": consume, None: compare}[asked.role](asked)


if __name__ == "__main__":
    main()
