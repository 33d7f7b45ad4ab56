"""The contests about what is read back: P5 to P8, and P10."""

import os

from .bench import counted
from .contest import Contest, Rival, Side
from .measure import Failed
from .sides import files_of, floor_side, hashers, missing


def verified(bench, name, command="verify", options=(), cold=False):
    """larder reads a store back."""
    def check(store, cost):
        if command == "verify":
            blobs = counted(r"Verified (\d+) blobs", cost.output)
            if blobs != bench.distinct(name):
                raise Failed(f"{blobs} of {bench.distinct(name)} blobs were verified")
        flipped(bench, store, command, options)

    return Side("larder", lambda store: bench.ours(store, command, *options), make=lambda: bench.added(name), check=check,
                cold=(lambda store: [store]) if cold else None)


def flipped(bench, store, command, options):
    """One byte of one blob is changed, which must be found (exit 3), and put back."""
    blob = max(files_of(store / "sha256"), key=lambda path: path.stat().st_size)
    before = blob.stat()
    blob.chmod(0o644)
    with open(blob, "r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)
        file.seek(before.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    blob.chmod(before.st_mode)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        found = bench.runner.run(bench.ours(store, command, *options), ok=(0, 3))
        if "corrupt" not in found.output:
            raise Failed(f"{command} did not find a changed byte")
    finally:
        blob.chmod(0o644)
        with open(blob, "r+b") as file:
            file.seek(before.st_size // 2)
            file.write(byte)
        os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
        blob.chmod(before.st_mode)
    # It is known to be damaged now, until it is read again.
    bench.runner.run(bench.ours(store, "repair"))


def peer_verifying(bench, peer, name):
    words = {"ostree": "fsck", "git": "fsck", "restic": "check --read-data", "borg": "check --verify-data"}
    return Side(f"{peer.name} {words.get(peer.name, 'verify')}", lambda store: peer.verify(store), needs=peer.needs,
                make=lambda: bench.peer_with(peer, name))


def p5(bench):
    blobs = files_of(bench.added("d1") / "sha256")
    tools, flags = hashers(bench, blobs), bench.flags
    times = 6 if "avx512f" in flags and "sha_ni" not in flags else 1.7 if "sha_ni" in flags else 3
    rivals = [Rival(tools["openssl"], times=times), Rival(tools["sha256sum"]), Rival(tools["one sha256sum"], once=True),
              Rival(tools["hashdeep"], once=True), Rival(tools["b3sum"])]
    stores = bench.stores()
    rivals += [Rival(peer_verifying(bench, stores[name], "d1"), once=True) for name in ("ostree", "cacache") if name in stores]
    def then(rows):
        bench.drop(stores, "d1")
        return rows

    return [Contest("P5", "verify D1 (SHA-256)", verified(bench, "d1"), rivals, then=then)]


def p6(bench):
    contests = []
    for name in ("d1", "d2"):
        work = f"scrub {name.upper()} (BLAKE3)"
        if not bench.can("scrub"):
            contests.append(missing("P6", work, "larder scrub"))
            continue
        tools = hashers(bench, files_of(bench.added(name) / "sha256"))
        contests.append(Contest("P6", work, verified(bench, name, "scrub"), [Rival(tools["b3sum"], times=0.95)]))
    return contests


def p7(bench):
    store = bench.added("d3")
    blobs, stores = files_of(store / "sha256"), bench.stores()
    tools = hashers(bench, blobs)
    rivals = [Rival(floor_side(bench, "floor: walk and read all once, 1 thread", "read", store / "sha256",
                               after=("--threads", 1)), within=1.3),
              Rival(floor_side(bench, "the same, 2 threads", "read", store / "sha256", after=("--threads", 2)), within=1.3, goal=False),
              Rival(tools["sha256sum"], times=3), Rival(tools["openssl"]), Rival(tools["rhash"]),
              Rival(tools["hashdeep"], once=True), Rival(tools["b3sum"], once=True)]
    rivals += [Rival(peer_verifying(bench, stores["ostree"], "d3"), times=6)] if "ostree" in stores else []
    rivals += [Rival(peer_verifying(bench, stores[name], "d3"), once=True)
               for name in ("git", "restic", "borg", "cacache") if name in stores]
    return [Contest("P7", "verify D3 (SHA-256)", verified(bench, "d3"), rivals)]


def p8(bench):
    contests = []
    for name in ("d1", "d3"):
        store = bench.added(name)
        # At least 0.9 × the disk's rate: at most 1.11 × the time.
        rivals = [Rival(floor_side(bench, f"floor: read all, {threads} at once", "read", store / "sha256",
                                   cold=lambda _, store=store: [store], after=("--threads", threads)), within=1.11)
                  for threads in (1, 2, 8)]
        contests.append(Contest("P8", f"verify {name.upper()}, cold", verified(bench, name, cold=True), rivals,
                                best_floor=True))
    return contests


def p10(bench):
    if not bench.can("status"):
        return [missing("P10", "status", "larder status")]
    store = bench.added("d3")
    ours = Side("larder", lambda _: bench.ours(store, "status"))
    floors = [Rival(floor_side(bench, "floor: one statx for each blob, 2 threads", "statx", store / "sha256",
                               after=("--threads", 2)), within=1.2)]
    return [Contest("P10", "status of the blobs of D3", ours, floors)]
