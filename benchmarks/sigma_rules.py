"""Sigma rules over real Sysmon records: seconds, and whether pySigma's SQLite backend finds the same.

    python benchmarks/sigma_rules.py LOG.jsonl.gz RULES [--rounds 3]

LOG holds Sysmon's records as OTRF/Security-Datasets publishes them, packed JSON lines of several hosts; a capture of each
host is made first. A round is a process of its own, from its start to the whole answer over all captures. SQLite is asked
about the distinct records, each with its count; hits are compared rule by rule, as events.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks_common import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from sigma_oracle import SqliteRules, documents, real_records

_ROUND = """
import sys, time, json
start, cpu = time.perf_counter(), time.process_time()
import regtrace as rt
with rt.open(sys.argv[1]) as captures:
    rows = captures.queries.rules(sys.argv[2]).to_arrow()
wall, cpu = time.perf_counter() - start, time.process_time() - cpu
hits = [rule for rule, section in zip(rows["rule_id"].to_pylist(), rows["section"].to_pylist()) if section == "hit"]
counts = {name: rules for name, rules, section in zip(*(rows[column].to_pylist() for column in ("gap", "rules", "section"))) if section == "count"}
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "hits": hits, "counts": counts}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("rules", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        captures = Path(folder) / "hosts"
        ingest = [
            sys.executable,
            "-m",
            "cli.app",
            "ingest",
            str(options.log),
            "--each-host",
            "-o",
            str(captures),
        ]
        subprocess.run(ingest, check=True, capture_output=True)
        found: dict[str, int] = {}
        for _ in range(options.rounds):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _ROUND, str(captures), str(options.rules)],
                check=True,
                capture_output=True,
                text=True,
            )
            said = json.loads(done.stdout)
            found = dict(Counter(said["hits"]))
            print(f"regtrace: {said['wall_s']:.2f} s, {said['cpu_s']:.2f} s CPU; {said['counts']}")
    records = real_records(options.log)
    start = time.perf_counter()
    counts = list(records.values())
    oracle = SqliteRules(records)
    expected = {}
    for document in documents(options.rules):
        events = sum(counts[number] for number in oracle.numbers(document))
        if events:
            expected[document["id"]] = events
    print(
        f"SQLite, {len(records):,} distinct of {sum(counts):,} records: {time.perf_counter() - start:.2f} s; "
        f"{len(expected)} rules, {sum(expected.values()):,} events"
    )
    print("the same" if expected == found else f"different: {sorted(expected.items() ^ found.items())}")


if __name__ == "__main__":
    main()
