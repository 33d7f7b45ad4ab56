"""Runs programs and says what they cost.

How each figure is had:
  * seconds: wall time from the start of the first process to the end of the last; a driver that opens something first
    says itself, as a line of JSON, which part counts;
  * cpu: user and system time of the processes and everything they waited for (`wait4`); flusher threads of the kernel
    are nobody's, and not counted;
  * anon: the peak of `RssAnon` of /proc/PID/status, summed over the processes that run at the same time, looked at every
    2 ms at first and every 20 ms later: a peak between two looks is missed;
  * written: `write_bytes` of /proc/PID/io, read when the process has ended and before it is reaped, so that it has those
    of its children too: pages made dirty, whether or not they have reached the disk yet;
  * syncs, calls: `strace -f -c --seccomp-bpf` in a run of its own, which no time is taken from.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

SYNCS = "fsync,fdatasync,syncfs,sync,sync_file_range,msync"


class Failed(Exception):
    """A program did not do what it was run for."""


class Cost:
    """What one run took."""

    def __init__(self, seconds, cpu, anon, written, output):
        self.seconds, self.cpu, self.anon, self.written, self.output = seconds, cpu, anon, written, output

    def said(self):
        """The line of JSON that a driver ends with."""
        return json.loads(self.output.strip().splitlines()[-1])


class Watch(threading.Thread):
    """Looks at the anonymous memory of processes and of all they start."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.peak, self.over = pids, 0, threading.Event()

    def run(self):
        looks, over = 0, False
        while not over:
            self.peak = max(self.peak, sum(anonymous(pid) for pid in family(self.pids)))
            looks += 1
            over = self.over.wait(0.002 if looks < 50 else 0.02)


def family(pids):
    """Processes and their descendants."""
    found, left = [], list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                left += [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found


def anonymous(pid):
    """Bytes of anonymous memory."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.M)
    return int(found[1]) * 1024 if found else 0


def written(pid):
    """Bytes that a process, which has ended and is not reaped, has caused to be written, and its children with it."""
    try:
        io = pathlib.Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    values = dict(line.split(": ") for line in io.splitlines())
    return max(0, int(values["write_bytes"]) - int(values["cancelled_write_bytes"]))


class Runner:
    """Runs programs, one at a time or several at once, and ends them when it is interrupted."""

    def __init__(self, environment=None):
        self.environment = {**os.environ, "LC_ALL": "C", **(environment or {})}
        self.running = []

    def run(self, commands, ok=(0,)):
        """Runs one command (a list of words), or several at the same time (a list of lists). Gives the Cost."""
        many = commands if isinstance(commands[0], (list, tuple)) else [commands]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = time.perf_counter()
            for command in many:
                self.running.append(subprocess.Popen(
                    [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    env=self.environment, start_new_session=True))
            watch = Watch([process.pid for process in self.running])
            watch.start()
            cpu = bytes_written = 0
            codes = []
            try:
                for process in list(self.running):
                    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                    seconds = time.perf_counter() - began
                    bytes_written += written(process.pid)
                    _, status, usage = os.wait4(process.pid, 0)
                    process.returncode = os.waitstatus_to_exitcode(status)
                    codes.append(process.returncode)
                    cpu += usage.ru_utime + usage.ru_stime
                    self.running.remove(process)
            finally:
                watch.over.set()
                watch.join()
            out.seek(0)
            err.seek(0)
            output, errors = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        if any(code not in ok for code in codes):
            raise Failed(f"{many[0]} ended with {codes}: {errors.strip()[-600:] or output.strip()[-600:]}")
        return Cost(seconds, cpu, watch.peak, bytes_written, output)

    def count(self, commands, ok=(0,), which=SYNCS):
        """Runs the same under strace. How often each of the calls was made (of all, where `which` is None)."""
        many = commands if isinstance(commands[0], (list, tuple)) else [commands]
        calls = {}
        with tempfile.TemporaryDirectory() as scratch:
            wrapped = []
            for i, command in enumerate(many):
                words = ["strace", "-f", "-c", "-o", f"{scratch}/{i}"]
                words += ["--seccomp-bpf", "-e", f"trace={which}"] if which else []
                wrapped.append(words + list(command))
            self.run(wrapped, ok)
            for i in range(len(many)):
                for line in pathlib.Path(f"{scratch}/{i}").read_text().splitlines():
                    words = line.split()
                    # % time, seconds, usecs/call, calls, errors (perhaps), syscall
                    if len(words) >= 5 and words[0][0].isdigit() and words[3].isdigit() and words[-1] != "total":
                        calls[words[-1]] = calls.get(words[-1], 0) + int(words[3])
        return calls

    def stop(self):
        """Ends what runs, with everything that it started."""
        for process in self.running:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(10)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.running = []


def median(numbers):
    """The middle of some numbers."""
    numbers = sorted(numbers)
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2
