#!/usr/bin/env python3
"""Cuts the power under a real filesystem while commands run, and looks at what is on the disk afterwards.

    cargo build && sudo tests/campaigns/powercut.py               # ext4, xfs, btrfs: those that can be made here
    sudo tests/campaigns/powercut.py --filesystems ext4 --cuts 60

Needs root, Linux, loop devices, mkfs.xfs with reflinks, and mkfs of whatever is to be tested; some minutes, bounded by
--cuts. Nothing outside --dir is touched, and every mount is taken away at the end.

How a cut is made: the store lives in a filesystem in an image file, and that file lies on an xfs that can clone files.
Cloning the image is one atomic step, so the clone is what the device held at one moment: everything that the filesystem
had handed to it, and nothing that only the page cache knew. Clones are taken without a pause while commands run, one
more right after every acknowledgement. Then each clone is mounted, which replays the filesystem's own journal.

What is not modelled is a drive that loses what it said it had written (no barrier is ever ignored here); the simulated
machine does that, with every item kept or dropped.

What is checked in every clone: every name acknowledged before the clone began is there with its bytes, every name
acknowledged as gone is gone, no name has bytes that it never had; a moved source or its name is there; verify finds
nothing; a further add works; after gc nothing is staged.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
MAKERS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}


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
    """Runs commands on a store in a mounted image and takes clones of the image meanwhile."""

    def __init__(self, work, maker, program):
        self.work, self.program = pathlib.Path(work), program
        self.image = self.work / "image"
        with open(self.image, "wb") as image:
            image.truncate(640 << 20)
        sh(*maker, str(self.image))
        self.mounted = self.work / "mounted"
        self.mounted.mkdir()
        sh("mount", "-o", "loop", str(self.image), str(self.mounted))
        self.cuts = []

    def words(self, root, *args):
        return [self.program, "--store", str(root / "store"), "--json", *args]

    def run(self, args, before, after, moved=None, cuts=20):
        """Runs one command with cuts. `before` and `after`: name -> digest, of all names."""
        told = {}
        done = threading.Event()
        child = subprocess.Popen(self.words(self.mounted, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def listen():
            for text in child.stdout:
                line = json.loads(text)
                if line["event"] == "added":
                    told[line["name"]] = line["digest"]
                elif line["event"] in ("removed", "unlinked"):
                    told[line["name"]] = None
                elif line["event"] == "renamed":
                    told[line["from"]] = None
                    told[line["name"]] = after[line["name"]]
                elif line["event"] == "linked":
                    told[line["name"]] = after[line["name"]]
            done.set()

        listener = threading.Thread(target=listen)
        listener.start()
        known = -1
        taken = 0
        while not done.is_set():
            if len(told) != known or taken < cuts // 2:
                known = len(told)
                if taken < cuts:
                    self.cut(args, before, after, dict(told), moved)
                    taken += 1
            done.wait(0.002)
        listener.join()
        errors = child.stderr.read().decode()
        if child.wait() != 0:
            raise Broken(f"{args} ends with {child.returncode}: {errors}")
        # What its end acknowledges is all of it.
        told = {name: after.get(name) for name in before.keys() | after.keys()}
        self.cut(args, before, after, told, moved)

    def cut(self, args, before, after, told, moved):
        clone = self.work / f"cut-{len(self.cuts)}"
        sh("cp", "--reflink=always", str(self.image), str(clone))
        self.cuts.append((clone, args, before, after, told, moved or {}))

    def look(self, cut):
        clone, args, before, after, told, moved = cut
        root = self.work / "look"
        root.mkdir(exist_ok=True)
        # Two filesystems with one identity are no trouble for ext4; for the others it is told.
        sh("mount", "-o", "loop" + (",nouuid" if self.kind == "xfs" else ""), str(clone), str(root))
        try:
            self.judge(root, args, before, after, told, moved)
        finally:
            sh("umount", str(root))
            clone.unlink()

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
        subprocess.run(["umount", "-l", str(self.mounted)], stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "-l", str(self.work / "look")], stderr=subprocess.DEVNULL)


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
        step(["add", str(path)], {**state, f"one-{i}": sha(path.read_bytes())}, most=cuts // 4)
    step(["mv", "one-0", "moved/one"], {**{n: d for n, d in state.items() if n != "one-0"}, "moved/one": state["one-0"]}, most=cuts // 4)
    step(["link", "one-1", "deep/er/one"], {**state, "deep/er/one": state["one-1"]}, most=cuts // 4)
    (sources / "other").write_bytes(b"other bytes")
    step(["add", str(sources / "other"), "--name", "one-2", "--replace"], {**state, "one-2": sha(b"other bytes")}, most=cuts // 4)
    inside = {}
    for i in range(25):
        path = root / "inside" / str(i)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(noise(f"inside-{i}", 9000))
        inside[f"inside/{i}"] = (f"in/inside/{i}", sha(path.read_bytes()))
    sh("sync", "-f", str(root))
    step(["add", "--move", str(root / "inside"), "--prefix", "in"], {**state, **dict(inside.values())}, moved=inside)
    step(["compact"], state, most=cuts // 2)
    step(["rm", "tree/0", "tree/1", "tree/2"], {n: d for n, d in state.items() if n[:6] not in ("tree/0", "tree/1", "tree/2")}, most=cuts // 2)
    step(["gc", "--grace", "0s"], state)
    step(["rebuild"], state, most=cuts // 2)
    step(["add", str(sources / "tree")], {**state, **tree})
    step(["rm", "."], {}, most=cuts // 2)
    step(["gc", "--grace", "0s", "--yes-most"], {}, most=cuts // 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(HERE.parent.parent / "target" / "debug" / "larder"))
    parser.add_argument("--dir", default=None, help="where the images lie; about 2 GiB")
    parser.add_argument("--filesystems", default="ext4,xfs,btrfs")
    parser.add_argument("--durability", default="batch,each")
    parser.add_argument("--cuts", type=int, default=16, help="at most so many in one command")
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
                cutter = Cutter(work, MAKERS[kind], program)
                cutter.kind = kind
                bad = 0
                try:
                    try:
                        scenario(cutter, options.cuts, durability)
                    finally:
                        sh("umount", str(cutter.mounted))
                    for number, cut in enumerate(cutter.cuts):
                        try:
                            cutter.look(cut)
                        except Broken as why:
                            bad += 1
                            print(f"BROKEN {kind} {durability} cut {number} during {cut[1][:3]}: {why}", flush=True)
                finally:
                    cutter.end()
                broken += bad
                total += len(cutter.cuts)
                print(f"{kind}, durability {durability}: {len(cutter.cuts)} cuts, {bad} broken, "
                      f"{time.monotonic() - started:.0f} s", flush=True)
                shutil.rmtree(work, ignore_errors=True)
        print(f"powercut: {total} cuts, {broken} broken")
        return 1 if broken or not total else 0
    finally:
        subprocess.run(["umount", "-l", str(base / "work")], stderr=subprocess.DEVNULL)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
