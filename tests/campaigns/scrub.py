#!/usr/bin/env python3
"""Scrubs a large store of real files as an operation: killed, throttled, paused, resumed, and finished.

    cargo build --release && tests/campaigns/scrub.py /usr ~/.cargo/registry      # minutes; as much room as these take
    tests/campaigns/scrub.py --seed 7 --kills 20 /usr/share

Takes the given trees into a store below --dir, damages some blobs (a changed byte, a cut, a missing file), and then:
  1. scrubs again and again, each time killed (SIGKILL) after a while by chance, until a pass is over. No blob that was on
     record as read before a kill is read again, no pass begins anew, and its coverage never goes back;
  2. scrubs with --rate: it takes as long as that asks for, and no pass of it is killed;
  3. scrubs with --max-duration, over and over, and pauses, resumes and stops one that runs, from another process;
  4. scrubs with --sha256 to the end.
Every whole pass must have found exactly what was damaged, with the byte ranges of large blobs; `stats` and exit codes must
tell. At the end the damage is undone, and a last scrub finds nothing and ends every finding. What is read is bounded by
--dir's disk; the same seed damages the same blobs. Ends with 1 if anything was not so.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20


class Broken(Exception):
    pass


def must(true, text):
    if not true:
        raise Broken(text)


class Store:
    def __init__(self, program, root):
        self.program, self.root = program, root

    def start(self, *words):
        return subprocess.Popen([self.program, "--store", self.root, "--json", *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def run(self, *words, codes=(0,)):
        done = subprocess.run([self.program, "--store", self.root, "--json", *map(str, words)], capture_output=True, text=True)
        must(done.returncode in codes, f"larder {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def summary(self, *words, codes=(0,)):
        return self.run(*words, codes=codes)[-1]

    def status(self):
        return self.summary("scrub", "--status", codes=(0, 3))

    def blob(self, digest):
        hexes = digest.removeprefix("sha256:")
        return self.root / "sha256" / hexes[:2] / hexes[2:]


def written(path, change):
    """Changes a file in place and keeps its times, as a disk would."""
    before = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as file:
        change(file)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)


def flipping(at):
    def change(file):
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    return change


def damage(store, numbers, large_from):
    """Damages some blobs; says of each what must be found, and how it is undone."""
    files = sorted(path for part in os.scandir(store.root / "sha256") for path in pathlib.Path(part.path).iterdir())
    sized = [(path, path.stat().st_size) for path in files]
    small = [one for one in sized if 0 < one[1] < large_from]
    large = [one for one in sized if one[1] >= large_from]
    must(len(small) > 6, "the trees have too few files")
    chosen = numbers.sample(small, 6) + numbers.sample(large, min(3, len(large)))
    wrong = {}
    for number, (path, size) in enumerate(chosen):
        digest = "sha256:" + path.parent.name + path.name
        if number == 0:
            aside = store.root.parent / "aside"
            os.rename(path, aside)
            wrong[digest] = ("missing", None, lambda path=path, aside=aside: os.rename(aside, path))
        elif number == 1:
            kept = path.read_bytes()
            written(path, lambda file: file.truncate(size // 2))
            wrong[digest] = ("corrupt", None, lambda path=path, kept=kept: written(path, lambda file: file.write(kept)))
        else:
            at = numbers.randrange(size)
            written(path, flipping(at))
            place = (at // MIB * MIB, min(size, at // MIB * MIB + MIB)) if size >= large_from else None
            wrong[digest] = ("corrupt", place, lambda path=path, at=at: written(path, flipping(at)))
    return wrong


def check(found, wrong, what):
    """A whole pass has found what is wrong, and nothing else."""
    seen = {}
    for event in found:
        if event["event"] == "verified" and event["status"] != "ok":
            seen[event["digest"]] = event
    must(set(seen) == set(wrong), f"{what}: found {sorted(seen)} instead of {sorted(wrong)}")
    for digest, (status, place, _) in wrong.items():
        must(seen[digest]["status"] == status, f"{what}: {digest} is {seen[digest]['status']}, and not {status}")
        if place:
            told = json.dumps(seen[digest])
            must(str(place[0]) in told and str(place[1]) in told, f"{what}: {digest} does not tell {place}: {told}")


def killed(store, numbers, kills, wrong, whole):
    """1. Killed over and over, until it ends by itself."""
    passes, times, before = set(), 0, 0
    earlier = store.status()["pass"]["number"]
    while True:
        child = store.start("scrub")
        # All of them together are less than a pass takes.
        wait = whole * numbers.uniform(0.1, 1) / (kills + 1)
        if times < kills:
            try:
                out, err = child.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.communicate()
                times += 1
                status = store.status()
                if status["pass"]["number"] == earlier:
                    continue  # it was killed before it began
                must(status["pass"]["blobs"] >= before, f"a kill lost {before - status['pass']['blobs']} blobs on record")
                before = status["pass"]["blobs"]
                passes.add(status["pass"]["number"])
                continue
        else:
            out, err = child.communicate()
        must(child.returncode == 3, f"a scrub with findings ended with {child.returncode}\n{err[-2000:]}")
        events = [json.loads(line) for line in out.splitlines()]
        summary = events[-1]
        must(summary["end"] == "done", f"it ended as {summary['end']}")
        passes.add(summary["pass"])
        must(len(passes) == 1, f"a kill began another pass: {passes}")
        must(times == 0 or summary["resumed"], "it did not go on")
        check(events, wrong, "killed")
        return times, summary, before


def throttled(store, wrong, seconds):
    """2. At a rate."""
    size = store.status()["coverage"]["all_bytes"]
    rate = int(size / seconds)
    began = time.monotonic()
    events = store.run("scrub", "--rate", rate, codes=(3,))
    took = time.monotonic() - began
    must(took > 0.85 * seconds, f"--rate {rate} was to take {seconds} s and took {took:.1f}")
    check(events, wrong, "throttled")
    return took


def steered(store, wrong, piece):
    """3. In pieces of time; paused, resumed and stopped from outside."""
    pieces = 0
    while True:
        events = store.run("scrub", "--max-duration", f"{piece}s", codes=(0, 3))
        pieces += 1
        if events[-1]["end"] == "done":
            break
        must(events[-1]["end"] == "time_over", f"it ended as {events[-1]['end']}")
        must(pieces < 1000, "it comes to no end")
    check(events, wrong, f"in pieces of {piece} s")
    size = store.status()["coverage"]["all_bytes"]
    child = store.start("scrub", "--rate", int(size / 60))
    until(lambda: store.status()["running"], "it runs")
    store.run("scrub", "--pause")
    time.sleep(4)
    first = store.status()["pass"]["blobs"]
    time.sleep(2)
    must(store.status()["pass"]["blobs"] == first, "it goes on though it is paused")
    must(child.poll() is None, "a paused scrub ended")
    store.run("scrub", "--resume")
    until(lambda: store.status()["pass"]["blobs"] > first, "it goes on")
    store.run("scrub", "--stop")
    out, _ = child.communicate(timeout=60)
    must(json.loads(out.splitlines()[-1])["end"] == "stopped", "it was not stopped")
    return pieces


def until(true, what):
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise Broken(f"never: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("trees", nargs="+", type=pathlib.Path)
    parser.add_argument("--dir", type=pathlib.Path, default=None, help="where the store is made (a directory beside target)")
    parser.add_argument("--program", default=HERE.parent.parent / "target" / "release" / "larder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30, help="how long a pass at a rate is to take")
    options = parser.parse_args()
    numbers = random.Random(options.seed)
    base = pathlib.Path(tempfile.mkdtemp(prefix="larder-scrub-", dir=options.dir or HERE.parent.parent / "target"))
    try:
        store = Store(options.program.resolve(), base / "store")
        store.run("init")
        began = time.monotonic()
        for number, tree in enumerate(options.trees):
            summary = store.summary("add", tree, "--name", f"tree-{number}", codes=(0, 3))
        took = time.monotonic() - began
        began = time.monotonic()
        good = store.summary("scrub")
        whole = time.monotonic() - began
        must(good["end"] == "done" and good["ok"] == good["blobs"], f"a fresh store is not good: {good}")
        print(f"seed {options.seed}: {good['blobs']} blobs, {good['bytes'] / 2**30:.1f} GiB, taken in in {took:.0f} s and read in {whole:.0f} s")
        wrong = damage(store, numbers, 4 * MIB)
        times, summary, kept = killed(store, numbers, options.kills, wrong, whole)
        print(f"killed {times} times; the last went on from {kept} blobs and read {summary['blobs']}: {len(wrong)} found of {len(wrong)}")
        print(f"at a rate: {throttled(store, wrong, max(options.seconds, 1.5 * whole)):.0f} s, {len(wrong)} found")
        # Putting blobs in order is a part of each piece.
        piece = max(1, round(whole / 8))
        print(f"in {steered(store, wrong, piece)} pieces of {piece} s, paused, resumed and stopped: {len(wrong)} found")
        check(store.run("scrub", "--sha256", codes=(3,)), wrong, "by SHA-256")
        print(f"by SHA-256: {len(wrong)} found")
        must(store.status()["findings"] == len(wrong), "not all findings are on record")
        for _, _, undo in wrong.values():
            undo()
        last = store.summary("scrub")
        must(last["ok"] == last["blobs"] and store.status()["findings"] == 0, f"good again, and still found: {last}")
        print("undone: nothing is found, and nothing is on record")
    except Broken as broken:
        print(f"BROKEN: {broken}")
        return 1
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
