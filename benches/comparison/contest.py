"""Two sides that do the same work, run in turns: A B A B. What counts is the ratio of neighbouring turns."""

import dataclasses
import sys
import time
from typing import Callable, Optional

from .measure import Failed, median


@dataclasses.dataclass
class Side:
    """One way to do a piece of work. What it works on is made before each turn, and is not timed."""

    name: str
    command: Callable  # what was made -> a command (list of words), or several for the same time
    make: Callable = lambda: None
    check: Callable = lambda made, cost: None  # after the first turn: raises Failed if the work was not done
    clean: Callable = lambda made: None
    needs: Optional[str] = None  # a program that must be there
    own: bool = False  # it says itself, as JSON, what counts
    writes: bool = False  # its syncs are worth counting
    cold: Callable = None  # made -> directories that are taken out of the page cache before each turn
    ok: tuple = (0,)
    larder: Optional[str] = None  # another larder than the one that was built


@dataclasses.dataclass
class Rival:
    """What larder is held against, and the bound: `times` as fast at least, or `within` so many times its time."""

    side: Side
    times: Optional[float] = None
    within: Optional[float] = None
    goal: bool = True  # whether the bound is one that counts
    once: bool = False  # it is slow and no goal is about it: one turn, and only where everything is asked for

    @property
    def is_floor(self):
        return self.within is not None and self.side.needs is None

    def ratio(self, ours, theirs):
        return ours / theirs if self.within is not None else theirs / ours

    def bound(self):
        if not self.goal:
            return ""
        if self.within is not None:
            return f"≤ {self.within:g} ×"
        return f"≥ {self.times:g} ×" if self.times else ""

    def met(self, ratio):
        if not self.goal:
            return None
        if self.within is not None:
            return ratio <= self.within
        return ratio >= self.times if self.times else None


@dataclasses.dataclass
class Contest:
    """A piece of work that a goal is about."""

    goal: str
    work: str
    ours: Side
    rivals: list
    best_floor: bool = False  # the floors are ways to do one thing, and the goal is about the fastest of them
    note: str = ""
    then: Callable = lambda rows: rows  # what the rows become


def say(text):
    print(text, file=sys.stderr, flush=True)


class Turns:
    """Runs the sides of one contest and collects what each turn cost."""

    def __init__(self, bench, contest):
        self.bench, self.contest = bench, contest
        self.checked = set()
        self.syncs = {}

    def rivals(self):
        """Those of the contest, and another larder where one is given and the program is what is measured."""
        ours, other = self.contest.ours, self.bench.options.rival
        if not other or ours.own:
            return self.contest.rivals
        return [*self.contest.rivals, Rival(dataclasses.replace(ours, name=other, larder=other))]

    def turn(self, side):
        """One run of a side."""
        built = self.bench.larder
        self.bench.larder = side.larder or built
        try:
            return self.measured(side)
        finally:
            self.bench.larder = built

    def measured(self, side):
        made = side.make()
        try:
            if side.cold:
                self.bench.forget(side.cold(made))
            cost = self.bench.runner.run(side.command(made), ok=side.ok)
            if side.own:
                cost.seconds = cost.said()["seconds"]
            if side.name not in self.checked:
                side.check(made, cost)
                self.checked.add(side.name)
            return cost
        finally:
            side.clean(made)

    def count(self, side):
        """The syncs of one more run."""
        if not side.writes or self.bench.options.no_count or not self.bench.has("strace"):
            return None
        made = side.make()
        try:
            calls = self.bench.runner.count(side.command(made), ok=side.ok)
            # Starting write-back is no sync: it waits for nothing.
            return sum(count for call, count in calls.items() if call != "sync_file_range")
        finally:
            side.clean(made)

    def run(self):
        """All rivals, each in turns with larder. A list of rows for the report."""
        rows = []
        for rival in self.rivals():
            missing = rival.side.needs and not self.bench.has(rival.side.needs)
            if missing or not self.bench.wanted(rival):
                continue
            try:
                rows.append(self.versus(rival))
            except Failed as failed:
                say(f"  {rival.side.name}: {failed}")
                self.bench.trouble.append(f"{self.contest.goal}: {rival.side.name}")
                if rival.side.name not in self.checked and self.contest.ours.name in self.checked:
                    rows.append(self.row(rival, [], note=f"failed: {str(failed)[:120]}"))
                    continue
                raise
        self.count_syncs(rows)
        if self.contest.best_floor:
            floors = [row for row in rows if row["is_floor"] and row["ratio"]]
            # A bound of a rate: the fastest way counts, so that the others are no goals.
            for row in floors:
                if row is not max(floors, key=lambda row: row["ratio"]):
                    row["bound"], row["met"] = "", None
        return rows

    def versus(self, rival):
        pairs, options = [], self.bench.options
        most = 1 if rival.once else options.pairs
        # Two at least of what a goal is about.
        least = min(most, 2 if rival.bound() else 1)
        began = time.monotonic()
        while len(pairs) < least or len(pairs) < most and time.monotonic() - began < options.seconds:
            ours = self.turn(self.contest.ours)
            pairs.append((ours, self.turn(rival.side)))
        row = self.row(rival, pairs)
        say(f"  {self.contest.goal} {rival.side.name}: {row['ratio']:.2f} × "
            f"({row['least']:.2f} to {row['most']:.2f}, {len(pairs)} pairs)")
        return row

    def row(self, rival, pairs, note=""):
        ratios = [rival.ratio(ours.seconds, theirs.seconds) for ours, theirs in pairs]
        ratio = median(ratios) if ratios else None
        return {
            "goal": self.contest.goal, "work": self.contest.work, "rival": rival.side.name,
            "is_floor": rival.is_floor, "bound": rival.bound(), "unit": "× as long" if rival.within is not None else "× as fast",
            "ratio": ratio, "least": min(ratios, default=None), "most": max(ratios, default=None), "pairs": len(ratios),
            "met": rival.met(ratio) if ratio is not None else None,
            "ours": summed([ours for ours, _ in pairs]), "theirs": summed([theirs for _, theirs in pairs]),
            "note": note or self.contest.note,
        }

    def count_syncs(self, rows):
        """Beside every row, from one run of each side."""
        if not rows:
            return
        ours = self.count(self.contest.ours)
        sides = {rival.side.name: rival.side for rival in self.contest.rivals if not rival.once}
        for row in rows:
            row["ours"]["syncs"] = ours
            side = sides.get(row["rival"])
            row["theirs"]["syncs"] = self.count(side) if side and row["pairs"] else None


def summed(costs):
    """Medians of what some runs of one side cost; the peak of their memory."""
    if not costs:
        return {"seconds": None, "cpu": None, "anon": None, "written": None, "syncs": None}
    return {
        "seconds": median([cost.seconds for cost in costs]),
        "cpu": median([cost.cpu for cost in costs]),
        "anon": max(cost.anon for cost in costs),
        "written": median([cost.written for cost in costs]),
        "syncs": None,
    }
