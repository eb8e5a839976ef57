"""`python -m benchmarks [NAME]... [--json]`: exit code 1 when a limit was not kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys

from benchmarks.suite import BENCHMARKS


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))} (there are {', '.join(BENCHMARKS)})")
    results = []
    for name in options.names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        result = BENCHMARKS[name]()
        results.append(result)
        if not options.json:
            print(f"\n{result.title}   (at most {result.limit}: {'kept' if result.kept else 'NOT KEPT'})")
            for label, value in result.rows:
                print(f"  {label:<16} {value}")
            sys.stdout.flush()
    if options.json:
        machine = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
        }
        print(json.dumps({"machine": machine, "results": [result.as_dict() for result in results]}, indent=1))
    else:
        print(f"\nFor the README ({os.cpu_count()} cores):")
        for result in results:
            print(f"- {result.readme}")
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
