"""The contests about records: bulk loads, single commits, lookups, sizes, rebuilding, and the catalog."""

import os
import re
import shutil
import subprocess

from .bench import size
from .contest import Contest, Rival, Side, say
from .measure import Failed, median
from .sides import floor_side

DATABASES = [("lmdb", "LMDB"), ("sqlite", "SQLite"), ("redb", "redb")]


def many(bench):
    """Records at this scale."""
    return max(10, int(1_000_000 * bench.options.scale))


def loaded(bench, driver):
    """A database with D4, made once and kept."""
    key = ("rows", driver, "d4")
    if key not in bench.kept:
        directory = bench.fresh()
        bench.runner.run([bench.driver(driver), "load", directory, bench.data("d4") / "records.tsv"])
        bench.kept[key] = directory
    return bench.kept[key]


def loading(bench, driver, name):
    manifest = bench.data("d4") / "records.tsv"

    def check(directory, cost):
        if cost.said()["count"] != many(bench):
            raise Failed(f"{cost.said()['count']} of {many(bench)} records")
        bench.runner.run([bench.driver(driver), "lookup", directory, many(bench), 1000])

    return Side(name, lambda directory: [bench.driver(driver), "load", directory, manifest], make=bench.fresh, check=check,
                clean=bench.remove, own=True, writes=True)


def databases(bench):
    return [(driver, name) for driver, name in DATABASES if bench.wants_peer(driver)]


def p11(bench):
    rivals = [Rival(loading(bench, driver, f"{name}, sorted" if driver != "sqlite" else "SQLite, larder's columns and indexes"),
                    times=2 if driver == "lmdb" else None) for driver, name in databases(bench)]
    rivals.append(Rival(loading_map(bench)))
    return [Contest("P11", "D4 in bulk", loading(bench, "ours", "larder"), rivals)]


def loading_map(bench):
    manifest = bench.data("d4") / "records.tsv"
    return Side("parse into a HashMap", lambda directory: [bench.driver("map"), "load", directory, manifest],
                make=bench.fresh, own=True)


def p12(bench):
    contests = []
    for threads, count in ((1, 2000), (8, 8000)):
        count = max(80, int(count * min(1, bench.options.scale * 10)))

        def side(driver, name, threads=threads, count=count):
            return Side(name, lambda directory: [bench.driver(driver), "commit", directory, count, "--threads", threads],
                        make=bench.fresh, clean=bench.remove, own=True, writes=True)

        together = ("append, one sync for all that wait", 1, 1 / 0.8)
        alone = ("append + fdatasync", 0, 1 / 0.9)
        name, shared, within = together if threads > 1 else alone

        def floor(name, *more, threads=threads, count=count, shared=shared):
            return floor_side(bench, f"floor: {name}", "append", make=bench.fresh, clean=bench.remove, writes=True,
                              after=(count, "--threads", threads, "--together", shared, *more))

        within = round(within, 2)
        rivals = [Rival(floor(name), within=within),
                  Rival(floor(f"{name}, room made ahead", "--ahead", 1), within=within, goal=False)]
        rivals += [Rival(side(driver, name), times=4 if threads > 1 else None) for driver, name in databases(bench)]
        words = "1 thread" if threads == 1 else f"{threads} threads"
        contests.append(Contest("P12", f"durable single commits, {words}", side("ours", "larder"), rivals))
    return contests


def filled(bench, count):
    """A store with so many names, as many of them in no run as there may be."""
    key = ("filled", count)
    if key not in bench.kept:
        bench.kept[key] = bench.fresh()
        bench.runner.run([bench.driver("ours"), "fill", bench.kept[key], count])
    return bench.kept[key]


def row(goal, work, rival, bound, ratio, least, most, pairs, met, unit, ours=None, theirs=None, note="", is_floor=True):
    """A row that is no plain ratio of times."""
    return {"goal": goal, "work": work, "rival": rival, "is_floor": is_floor, "bound": bound, "unit": unit, "ratio": ratio,
            "least": least, "most": most, "pairs": pairs, "met": met, "ours": ours or {}, "theirs": theirs or {},
            "note": note}


def p13(bench):
    """Starts of processes take a millisecond: a program starts both sides in turns and times each start."""
    rows = []
    name = "hf/org0000/model-00000/part-00000-0000000.safetensors"
    starts = 20 if bench.options.scale < 0.1 else 100
    for count, words, bound in ((1000, "a thousand", 0.3), (many(bench), f"{many(bench):,}", 0.3)):
        store = filled(bench, count)
        found = bench.told(store, "path", name)
        if not found:
            raise Failed(f"{name} is not there")
        rivals = [("the same program printing its version", [str(bench.larder), "--version"], bound)]
        for driver, title in databases(bench) if count != 1000 else []:
            rivals.append((f"{title}, start and lookup", [str(bench.driver(driver)), "one", str(loaded(bench, driver)), "7"], None))
        rivals.append(("a program that does nothing", bench.floor("nothing"), None))
        for rival, command, most in rivals:
            ours = bench.ours(store, "path", name)
            cost = bench.runner.run(bench.floor("spawn", starts, *ours, "+", *command))
            mine, theirs = cost.said()["times"]
            extra = [(a - b) * 1000 for a, b in zip(mine, theirs)]
            middle = median(extra)
            extra.sort()
            tenth = len(extra) // 10
            rows.append(row("P13", f"start and one lookup, {words} names", rival, f"≤ + {most} ms" if most else "", middle,
                            extra[tenth], extra[-1 - tenth], starts, middle <= most if most else None, "ms more",
                            {"seconds": median(mine)}, {"seconds": median(theirs)}, note="spread: without a tenth at each end"))
            say(f"  P13 {words} names, {rival}: {middle:+.2f} ms")
    return rows


def p14(bench):
    times = max(1000, int(1_000_000 * min(1, bench.options.scale)))

    def side(driver, name):
        if driver == "map":
            directory = bench.data("d4")
        else:
            directory = loaded(bench, driver)
        return Side(name, lambda _: [bench.driver(driver), "lookup", directory, many(bench), times], own=True)

    rivals = [Rival(side("map", "HashMap in memory"))]
    rivals += [Rival(side(driver, name)) for driver, name in databases(bench)]
    contest = Contest("P14", f"lookups in a running process, {many(bench):,} names", side("ours", "larder"), rivals)

    def rated(rows):
        """The goal is a rate."""
        if rows and rows[0]["ours"].get("seconds"):
            rate = times / rows[0]["ours"]["seconds"]
            rows.append(row("P14", contest.work, "lookups a second", "≥ 1,000,000/s", rate, None, None, rows[0]["pairs"],
                            rate >= 1e6, "/s", rows[0]["ours"]))
        return rows

    contest.then = rated
    return [contest]


def p15(bench):
    """Bytes on the disk once both have been made small."""
    if not bench.wants_peer("sqlite"):
        return []
    sizes, whole = {}, 0
    for driver in ["ours"] + [driver for driver, _ in databases(bench)]:
        copy = bench.fresh()
        shutil.copytree(loaded(bench, driver), copy, symlinks=True)
        if driver != "lmdb":
            bench.runner.run([bench.driver(driver), "settle", copy])
        if driver == "ours":
            sizes[driver] = size(copy, "index") + current_generation(copy)
            whole = size(copy, "journal", "index")
        else:
            sizes[driver] = size(copy)
        bench.remove(copy)
    rows = []
    for driver, name in databases(bench):
        ratio = sizes["ours"] / sizes[driver]
        bound = "≤ 1 ×" if driver == "sqlite" else ""
        say(f"  P15 {name}: {ratio:.2f} ×")
        rows.append(row("P15", "D4 on the disk after compaction", name + (", same columns and indexes" if bound else ", names alone"),
                        bound, ratio, ratio, ratio, 1, ratio <= 1 if bound else None, "× the bytes",
                        {"written": sizes["ours"]}, {"written": sizes[driver]}, note="MB: on the disk"))
    ratio = whole / sizes["sqlite"]
    rows.append(row("P15", "the same, with the generation before, which stays until the next compaction",
                    "SQLite, same columns and indexes", "", ratio, ratio, ratio, 1, None, "× the bytes", {"written": whole},
                    {"written": sizes["sqlite"]}))
    return rows


def current_generation(store):
    """Bytes of the newest base of the journal and of the segments behind it."""
    files = list((store / "journal").iterdir())
    number = max((int(path.name[:16], 16) for path in files if path.suffix == ".base"), default=0)
    needed = [path for path in files if path.suffix == ".base" and int(path.name[:16], 16) == number
              or path.suffix == ".log" and int(path.name[:16], 16) > number]
    return sum(path.stat().st_blocks * 512 for path in needed)


def p17(bench):
    store = bench.fresh()
    bench.runner.run([bench.driver("ours"), "load", store, bench.data("d4") / "records.tsv"])
    bench.kept["rebuild", "d4"] = store
    ours = Side("larder rebuild", lambda _: bench.ours(store, "-q", "rebuild"), writes=True,
                check=lambda _, cost: bench.runner.run([bench.driver("ours"), "lookup", store, many(bench), 1000]))
    contests = [Contest("P17", "rebuild D4 from the journal", ours,
                        [Rival(loading(bench, "ours", "larder, D4 in bulk (P11)"), within=1.2)])]
    from_disk = bench.init()
    bench.runner.run(bench.ours(from_disk, "-q", "add", bench.data("d3")))
    bench.kept["from-disk", "d3"] = from_disk

    def lost():
        for part in ("index", "journal"):
            subprocess.run(["rm", "-rf", from_disk / part], check=True)
        os.sync()
        return from_disk

    ours = Side("larder rebuild --from-disk", lambda made: bench.ours(made, "-q", "rebuild", "--from-disk"), make=lost,
                check=lambda made, cost: bench.check_added(made, "d3"), writes=True)
    walk = floor_side(bench, "floor: walk and statx", "walk", from_disk)
    contests.append(Contest("P17", "rebuild D3 from the disk", ours, [Rival(walk, within=1.5)]))
    return contests


def p18(bench):
    """The most anonymous memory that larder had in anything that was run."""
    used = [(row["ours"].get("anon") or 0, row["goal"], row["work"]) for row in bench.rows if row["ours"].get("anon")]
    if not used:
        return []
    most, goal, work = max(used)
    mib = most / 2**20
    say(f"  P18: {mib:.0f} MiB, {goal} {work}")
    return [row("P18", "anonymous memory of anything above", f"the most: {goal}, {work}", "≤ 64 MiB", mib, None, None,
                len(used), mib <= 64, "MiB", {"anon": most})]


LINE = re.compile(r"^\s+([\d.]+) times as long as SQLite \((.*?)([\d.]+) to ([\d.]+)")


def p19(bench):
    """`cargo bench --bench catalog` runs its own turns; this reads what it prints."""
    if not bench.wants_peer("sqlite"):
        return []
    scale = bench.options.scale * 0.1
    say(f"  P19: cargo bench --bench catalog, {scale * 1_000_000:.0f} entries")
    environment = {**os.environ, "LARDER_BENCH_SCALE": str(scale), "TMPDIR": str(bench.scratch)}
    done = subprocess.run(["cargo", "bench", "--bench", "catalog"], cwd=bench.root, env=environment, capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise Failed(f"cargo bench --bench catalog: {done.stderr.strip()[-400:]}")
    rows, name = [], None
    for line in done.stdout.splitlines():
        found = re.match(r"^(catalog/\w+):", line)
        if found:
            name = found[1].removeprefix("catalog/")
        found = LINE.match(line)
        if found and name:
            ratio, most, least = (1 / max(float(found[i]), 1e-9) for i in (1, 3, 4))
            bound = name in ("register", "prefix", "state", "tag", "digest")
            rows.append(row("P19", f"catalog of {scale * 1_000_000:,.0f} entries: {name}", "SQLite, same columns and durability",
                            "≥ 1.5 ×" if bound else "", ratio, least, most, 7, ratio >= 1.5 if bound else None, "× as fast",
                            is_floor=False))
    if not rows:
        raise Failed("cargo bench --bench catalog printed no ratios")
    return rows

