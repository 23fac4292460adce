"""What the measuring scripts here share: runs of `longhaul` that can be continued, and intervals."""
import contextlib
import json
import math
import os
import shutil
import sqlite3
import subprocess

# Student's t, two-sided 95 %, by degrees of freedom.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
           2.120, 2.110, 2.101, 2.093]


def write(path, text):
    """Also makes its directory; the path again."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as target:
        target.write(text)
    return path


def finished(directory):
    """`run.json` of a run that ended well; None for any other."""
    try:
        with open(os.path.join(directory, "run.json")) as source:
            run = json.load(source)
    except (OSError, ValueError):
        return None
    good = run["outcome"]["is_complete"] and run["outcome"]["exit_code"] == 0
    return run if good else None


def remove(directory):
    """What an earlier, unfinished run left."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(directory + ".log")


def up_together(longhaul, wanted):
    """Runs `longhaul up` for all (file, directory, flags) at the same time; their `run.json`, in order.

    A finished run is taken as it is; what an unfinished one left is removed.
    """
    started = []
    for file, directory, flags in wanted:
        if finished(directory):
            continue
        remove(directory)
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        with open(directory + ".log", "w") as log:
            started.append(subprocess.Popen(
                [longhaul, "up", file, "--dir", directory, *flags], stdout=log, stderr=log))
    for process in started:
        process.wait()
    runs = [finished(directory) for _, directory, _ in wanted]
    for (_, directory, _), run in zip(wanted, runs):
        if run is None:
            raise SystemExit(f"{directory} did not end well; all it said is in {directory}.log")
    return runs


def up(longhaul, file, directory, *flags):
    return up_together(longhaul, [(file, directory, flags)])[0]


def simulate(longhaul, file, *flags):
    done = subprocess.run([longhaul, "simulate", file, "--json", *flags], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"longhaul simulate {file} ended with code {done.returncode}: {done.stderr[-400:]}")
    return json.loads(done.stdout)


def interval(values):
    """Mean and half the width of its 95 % interval; None for the latter with one value. Values of one run are no repetitions."""
    count = len(values)
    if count - 1 > len(STUDENT):
        raise SystemExit(f"{count} repetitions: an interval is known up to {len(STUDENT) + 1}")
    mean = sum(values) / count
    if count < 2:
        return mean, None
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return mean, STUDENT[count - 2] * deviation / math.sqrt(count)


def shown(values, digits=3):
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if half is None else f" +- {half:.{digits}f}")


def events(directory, kind):
    """(seconds, content) of all events of a kind in a run's log, in order."""
    with contextlib.closing(sqlite3.connect(os.path.join(directory, "run.sqlite"))) as log:
        rows = log.execute("SELECT time_ns, json FROM events WHERE kind = ? ORDER BY time_ns", [kind])
        return [(time / 1e9, json.loads(text)[kind]) for time, text in rows]
