"""``python -m tests.benchmarks [--peers PYTHON] [WORD ...]``: the table, or some of its rows."""
from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from tests.benchmarks.libraries import in_c, peers_of
from tests.benchmarks.rig import Rig
from tests.benchmarks.table import ROWS, as_json, as_rst, machine, run, text_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("words", nargs="*", help="only rows whose name has one of these")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (3)")
    parser.add_argument(
        "--peers",
        metavar="PYTHON",
        help="interpreter of an environment with any of pyepics, aioca, cothread, caproto (PyPI's)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the table for the manual")
    arguments = parser.parse_args()
    rows = [
        row
        for row in ROWS
        if not arguments.words or any(word in row.name for word in arguments.words)
    ]
    peers = peers_of(arguments.peers) if arguments.peers else []
    c_client = in_c() if any(row.in_c for row in rows) else None
    c_clients = [] if c_client is None else [c_client]
    print(*(f"{what}: {value}" for what, value in machine().items()), sep=", ")
    print("peers:", ", ".join(peer.name for peer in peers) or "none", "\n")
    with contextlib.closing(Rig()) as rig:
        results = run(rows, [*c_clients, *peers], arguments.repeats, rig)
    print("\n" + text_table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(results, peers), indent=1) + "\n")
    if arguments.rst:
        arguments.rst.write_text(as_rst(results, peers, arguments.repeats))
    return 0 if all("ours" in result.figures for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
