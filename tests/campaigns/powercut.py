#!/usr/bin/env python3
"""Cuts the power under a real filesystem while commands run, and looks at what is on the disk afterwards.

    cargo build && sudo tests/campaigns/powercut.py               # ext4, xfs, btrfs: those that can be made here
    sudo tests/campaigns/powercut.py --filesystems ext4 --cuts 60

Needs root, Linux, loop devices, /dev/fuse, mkfs.xfs with reflinks, and mkfs of whatever is to be tested; some minutes,
bounded by --cuts. Nothing outside --dir is touched, and every mount is taken away at the end.

How a cut is made: the store lives in a filesystem on a disk that records each write and each flush that it is given
(recorder.py), and what was acknowledged meanwhile. Cuts are moments of that record, evenly over each command, and its
end. What the drive had been told to flush before is on it; of what it was given since, three disks are made:
with all of it, with nothing of it, and with some of it by chance, in any order and torn at 512 bytes. Each is mounted,
which replays the filesystem's own journal.

What is checked in each: every name acknowledged before the cut is there with its bytes, every name acknowledged as gone
is gone, no name has bytes that it never had; a moved source or its name is there; verify finds nothing; a further add
works; after gc nothing is staged.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from recorder import Recorder, Replay, survivors  # noqa: E402

MAKERS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}
# In MiB: what xfs and btrfs demand at least, with room for what is kept.
SIZES = {"ext4": 128, "xfs": 320, "btrfs": 256}


def sh(*words, **more):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def noise(seed, size):
    out, n = b"", 0
    while len(out) < size:
        out += hashlib.sha256(f"{seed}/{n}".encode()).digest()
        n += 1
    return out[:size]


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Broken(Exception):
    pass


class Cutter:
    """Runs commands on a store in a mounted image whose writes are recorded, and notes moments meanwhile."""

    def __init__(self, work, kind, program):
        self.work, self.kind, self.program = pathlib.Path(work), kind, program
        self.image, self.before = self.work / "image", self.work / "before"
        with open(self.image, "wb") as image:
            image.truncate(SIZES[kind] << 20)
        sh(*MAKERS[kind], str(self.image))
        sh("cp", "--reflink=always", str(self.image), str(self.before))
        self.recorded, self.mounted = self.work / "recorded", self.work / "mounted"
        for directory in (self.recorded, self.mounted):
            directory.mkdir()
        self.recorder = Recorder(self.image, self.recorded)
        sh("mount", "-o", "loop", str(self.recorded / "disk"), str(self.mounted))
        self.cuts = []

    def words(self, root, *args):
        return [self.program, "--store", str(root / "store"), "--json", *args]

    def run(self, args, before, after, moved=None, cuts=20):
        """Runs one command to its end. `before` and `after`: name -> digest, of all names."""
        told = {}
        # What was acknowledged at which moment of the record.
        moments = [(self.recorder.position(), {})]
        child = subprocess.Popen(self.words(self.mounted, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for text in child.stdout:
            line = json.loads(text)
            if line["event"] == "added":
                told[line["name"]] = line["digest"]
            elif line["event"] in ("removed", "unlinked") and "name" in line:
                told[line["name"]] = None
            elif line["event"] == "renamed":
                told[line["from"]] = None
                told[line["name"]] = after[line["name"]]
            elif line["event"] == "linked":
                told[line["name"]] = after[line["name"]]
            moments.append((self.recorder.position(), dict(told)))
        errors = child.stderr.read().decode()
        if child.wait() != 0:
            raise Broken(f"{args} ends with {child.returncode}: {errors}")
        # What its end acknowledges is all of it.
        moments.append((self.recorder.position(), {name: after.get(name) for name in before.keys() | after.keys()}))
        first, last = moments[0][0], moments[-1][0]
        at = {first + round((last - first) * i / max(1, cuts - 1)) for i in range(cuts)} | {last}
        for position in sorted(at):
            known = [told for moment, told in moments if moment <= position][-1]
            self.cuts.append((position, args, before, after, known, moved or {}))

    def stop(self):
        """Unmounts it; the record is complete."""
        sh("umount", str(self.mounted))
        sh("umount", str(self.recorded))
        self.recorder.end()

    def looks(self, chance):
        """Every disk that is to be looked at, with the cut that it comes from."""
        replay = Replay(self.recorder.log, self.before)
        for number, cut in enumerate(self.cuts):
            open_writes = replay.reach(cut[0])
            # Where nothing is open there is one disk alone.
            for how in ("all", "none", "some") if open_writes else ("all",):
                clone = self.work / "clone"
                sh("cp", "--reflink=always", str(self.before), str(clone))
                with open(clone, "r+b") as image:
                    for offset, data in survivors(open_writes, how, chance):
                        image.seek(offset)
                        image.write(data)
                yield number, how, cut, clone
                clone.unlink()

    def look(self, cut, clone):
        _, args, before, after, told, moved = cut
        root = self.work / "look"
        root.mkdir(exist_ok=True)
        mounted = subprocess.run(["mount", "-o", "loop", str(clone), str(root)], stderr=subprocess.PIPE)
        if mounted.returncode != 0:
            raise Broken(f"it cannot be mounted: {mounted.stderr.decode()}")
        try:
            self.judge(root, args, before, after, told, moved)
        finally:
            sh("umount", str(root))

    def larder(self, root, *args, codes=(0,)):
        done = subprocess.run(self.words(root, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if done.returncode not in codes:
            raise Broken(f"after the cut {args} ends with {done.returncode}: {done.stderr.decode()} {done.stdout.decode()[-900:]}")
        return done

    def judge(self, root, args, before, after, told, moved):
        if not (root / "store" / "larder.toml").exists():
            if before or told:
                raise Broken("the store is gone")
            return
        lines = [json.loads(text) for text in self.larder(root, "ls").stdout.splitlines()]
        names = {line["name"]: line["digest"] for line in lines if line["event"] == "name"}
        for name in before.keys() | after.keys() | names.keys():
            allowed = {before.get(name), after.get(name)}
            if name in told:
                allowed = {told[name]}
            if names.get(name) not in allowed:
                raise Broken(f"{name} is {names.get(name)} and may be {allowed}; told: {name in told}")
        # verify reads the rest.
        for name, digest in list(names.items())[:: max(1, len(names) // 8)]:
            if sha(self.larder(root, "cat", name).stdout) != digest:
                raise Broken(f"{name} has other bytes than its digest")
        for path, (name, digest) in moved.items():
            source = root / path
            if source.exists() and sha(source.read_bytes()) == digest:
                continue
            if names.get(name) != digest:
                raise Broken(f"the moved source {path} is nowhere")
        self.larder(root, "verify")
        (root / "probe").write_bytes(b"probe")
        self.larder(root, "add", str(root / "probe"), "--name", "a probe")
        hard = [line["name"] for line in lines if line["event"] == "name" and line["alias"] == "hardlinked"]
        for name in hard:
            path = root / "store" / "names" / name
            if not path.exists() or sha(path.read_bytes()) != names[name]:
                raise Broken(f"names/{name} does not agree with the records")
        self.larder(root, "gc", "--grace", "0s", "--orphan-ttl", "0s", "--yes-most")
        self.larder(root, "gc", "--grace", "0s", "--orphan-ttl", "0s", "--yes-most")
        self.larder(root, "verify")
        staged = list((root / "store" / "staging").rglob("*"))
        if staged:
            raise Broken(f"staging holds {staged}")
        self.larder(root, "rebuild")
        self.larder(root, "verify")

    def end(self):
        for directory in (self.mounted, self.recorded, self.work / "look"):
            subprocess.run(["umount", "-l", str(directory)], stderr=subprocess.DEVNULL)


def scenario(cutter, cuts, durability):
    """A life of a store, cut all along."""
    root, sources = cutter.mounted, cutter.work / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    tree = {}
    for i in range(120):
        data = noise(i % 90, 700 + 37 * i if i % 10 else 400_000)
        path = sources / "tree" / str(i % 7) / str(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        tree[f"tree/{i % 7}/{i}"] = sha(data)
    cutter.larder(root, "init", "--durability", durability)
    state = {}

    def step(args, after, moved=None, most=cuts):
        nonlocal state
        cutter.run(args, state, after, moved, most)
        state = after

    step(["add", str(sources / "tree")], {**state, **tree})
    for i in range(4):
        path = sources / f"one-{i}"
        path.write_bytes(noise(f"one-{i}", 3000))
        step(["add", str(path)], {**state, f"one-{i}": sha(path.read_bytes())}, most=max(2, cuts // 4))
    step(["mv", "one-0", "moved/one"], {**{n: d for n, d in state.items() if n != "one-0"}, "moved/one": state["one-0"]}, most=max(2, cuts // 4))
    step(["link", "one-1", "deep/er/one"], {**state, "deep/er/one": state["one-1"]}, most=max(2, cuts // 4))
    (sources / "other").write_bytes(b"other bytes")
    step(["add", str(sources / "other"), "--name", "one-2", "--replace"], {**state, "one-2": sha(b"other bytes")}, most=max(2, cuts // 4))
    inside = {}
    for i in range(25):
        path = root / "inside" / str(i)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(noise(f"inside-{i}", 9000))
        inside[f"inside/{i}"] = (f"in/inside/{i}", sha(path.read_bytes()))
    sh("sync", "-f", str(root))
    step(["add", "--move", str(root / "inside"), "--prefix", "in"], {**state, **dict(inside.values())}, moved=inside)
    step(["compact"], state, most=max(2, cuts // 2))
    step(["rm", "tree/0", "tree/1", "tree/2"], {n: d for n, d in state.items() if n[:6] not in ("tree/0", "tree/1", "tree/2")}, most=max(2, cuts // 2))
    step(["gc", "--grace", "0s"], state)
    step(["rebuild"], state, most=max(2, cuts // 2))
    step(["add", str(sources / "tree")], {**state, **tree})
    step(["rm", "."], {}, most=max(2, cuts // 2))
    step(["gc", "--grace", "0s", "--yes-most"], {}, most=max(2, cuts // 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(HERE.parent.parent / "target" / "debug" / "larder"))
    parser.add_argument("--dir", default=None, help="where the images lie; about 2 GiB")
    parser.add_argument("--filesystems", default="ext4,xfs,btrfs")
    parser.add_argument("--durability", default="batch,each")
    parser.add_argument("--cuts", type=int, default=6, help="so many in one command, fewer in short ones")
    parser.add_argument("--seed", type=int, default=1, help="of what a drive does with writes that were not flushed")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    if os.geteuid() != 0:
        raise SystemExit("it takes root to mount")
    base = pathlib.Path(tempfile.mkdtemp(prefix="larder-powercut-", dir=options.dir))
    broken = total = 0
    try:
        with open(base / "outer", "wb") as outer:
            outer.truncate(6 << 30)
        sh("mkfs.xfs", "-q", "-m", "reflink=1", str(base / "outer"))
        (base / "work").mkdir()
        sh("mount", "-o", "loop", str(base / "outer"), str(base / "work"))
        for kind in options.filesystems.split(","):
            if not shutil.which(MAKERS[kind][0]):
                print(f"{kind}: cannot be made here")
                continue
            for durability in options.durability.split(","):
                started = time.monotonic()
                work = base / "work" / f"{kind}-{durability}"
                work.mkdir()
                cutter = Cutter(work, kind, program)
                bad = looks = 0
                try:
                    scenario(cutter, options.cuts, durability)
                    cutter.stop()
                    for number, how, cut, clone in cutter.looks(random.Random(options.seed)):
                        looks += 1
                        try:
                            cutter.look(cut, clone)
                        except (Broken, subprocess.SubprocessError) as why:
                            bad += 1
                            print(f"BROKEN {kind} {durability} cut {number}, {how} kept, during {cut[1][:3]}: {why}", flush=True)
                finally:
                    cutter.end()
                broken += bad
                total += looks
                writes = sum(entry is not None for entry in cutter.recorder.log)
                print(f"{kind}, durability {durability}: {writes} writes, {len(cutter.recorder.log) - writes} flushes, "
                      f"{len(cutter.cuts)} cuts, {looks} disks, {bad} broken, "
                      f"{time.monotonic() - started:.0f} s", flush=True)
                shutil.rmtree(work, ignore_errors=True)
        print(f"powercut: {total} disks, {broken} broken")
        return 1 if broken or not total else 0
    finally:
        subprocess.run(["umount", "-l", str(base / "work")], stderr=subprocess.DEVNULL)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
