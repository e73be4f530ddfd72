"""Every analysis on many events within 8 GiB, against pandas; one key's timeline against DuckDB by itself.

    python benchmarks/analyses.py [--events 50000000] [--cap-s 900] [--only hot,tree] [--folder DIR]

Each case runs in a process of its own: opening the capture, the question, and its whole answer as Arrow batches. It is
asked of a small capture first, so that loading libraries counts for nobody.
Where benchmarks/analyses_pandas.py has a form of the case, pandas reads the columns it needs with pyarrow and makes the
same answer, straightforwardly, as one DataFrame: benchmarks/analyses_agree.py compares both forms, value by value.
Whoever needs more than 8 GiB or more than the cap is stopped.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks_common import describe_machine
from large_capture import large_capture

LIMIT_GIB = 8
_SMALL = 2000  # events of the capture on which a case is tried first


def child(case: str, form: str, capture: str, small: str) -> None:
    """Run one case, on a small capture first so that everything is loaded, and print what it took."""
    import analyses_pandas
    import analyses_regtrace

    forms = {"regtrace": analyses_regtrace.CASES, "pandas": analyses_pandas.CASES}
    forms[form][case](Path(small))
    start, cpu = time.perf_counter(), time.process_time()
    rows = forms[form][case](Path(capture))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "rows": rows,
        "wall_s": wall,
        "cpu_s": cpu,
        "mib": used.ru_maxrss // 1024,
    }
    print(json.dumps(found))


def run(case: str, form: str, capture: Path, small: Path, cap_s: float) -> dict[str, float] | str:
    """Run one case in a process of its own; return what it took, or why it did not finish."""
    words = [sys.executable, __file__, "--child", case, form, str(capture), str(small)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True)
        end, stopped = time.monotonic() + cap_s, ""
        while process.poll() is None and not stopped:
            time.sleep(0.1)
            if time.monotonic() > end:
                stopped = f"more than {cap_s:.0f} s"
            elif _resident_gib(process.pid) > LIMIT_GIB:
                stopped = f"more than {LIMIT_GIB} GiB"
        if stopped:
            process.kill()
        out, _ = process.communicate()
        if stopped or process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            return stopped or f"failed: {said[-1][:200] if said else process.returncode}"
    found: dict[str, float] = json.loads(out)
    return found


def _resident_gib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 2**20 if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--base-events", type=int, default=5_000_000)
    parser.add_argument("--cap-s", type=float, default=900)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="cases, separated by commas")
    parser.add_argument("--forms", default="regtrace,pandas", help="one or both")
    parser.add_argument("--folder", type=Path, help="where the capture is kept; None: a temporary folder")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    from analyses_pandas import FORMS
    from analyses_regtrace import CASES

    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        capture = large_capture(folder, arguments.events, arguments.base_events)
        small = large_capture(Path(name), _SMALL)
        print(f"{describe_machine()}; {arguments.events:,} events", flush=True)
        print(
            f"{'case':22} {'rows':>11}  {'s':>7} {'CPU s':>7} {'MiB':>6}  {'pandas s':>8} {'CPU s':>7} {'MiB':>6}  ratio"
        )
        chosen = arguments.only.split(",") if arguments.only else list(CASES)
        for case in chosen:
            ours, theirs = {}, {}
            for _ in range(arguments.rounds):
                for form, best in (("regtrace", ours), ("pandas", theirs)):
                    if form not in arguments.forms.split(",") or (form == "pandas" and case not in FORMS):
                        continue
                    found = run(case, form, capture, small, arguments.cap_s)
                    if isinstance(found, str):
                        best.setdefault("stopped", found)
                    elif not best or found["wall_s"] < best.get("wall_s", float("inf")):
                        best.update(found)
            print(
                f"{case:22} {_shown(ours)}  {_shown(theirs, rows=False)}  {_ratio(ours, theirs)}", flush=True
            )


def _shown(found: dict, *, rows: bool = True) -> str:
    if "wall_s" not in found:
        why = found.get("stopped", "not run")
        return f"{why:>35}" if rows else f"{why:>23}"
    count = f"{found['rows']:>11,}  " if rows else " "
    return f"{count}{found['wall_s']:>7.1f} {found['cpu_s']:>7.1f} {found['mib']:>6.0f}"


def _ratio(ours: dict, theirs: dict) -> str:
    if "wall_s" not in ours or "wall_s" not in theirs:
        return "-"
    return f"{theirs['wall_s'] / ours['wall_s']:.1f} ({theirs['cpu_s'] / ours['cpu_s']:.1f} CPU)"


if __name__ == "__main__":
    main()
