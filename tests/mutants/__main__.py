"""`python -m tests.mutants [name…] [--seconds 60] [--seed N]`: verify against each mutant; 1 when one gets away."""

import argparse
import json
import sys
from time import monotonic

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.run import catch


def arguments() -> argparse.Namespace:
    """Parse the command line; ends with 2 when it is wrong."""
    known = {mutant.name: mutant for mutant in MUTANTS}
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which (default: all): {', '.join(known)}")
    parser.add_argument("--seconds", type=float, default=60, help="how long verify may try each (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", default="0/1", metavar="K/N", help="of those: each N-th, beginning with K")
    parser.add_argument("--json", action="store_true", help="print what was caught as one JSON array")
    given = parser.parse_args()
    for name in given.name:
        if name not in known:
            parser.error(f"no mutant {name!r}")
    first, step = map(int, given.share.split("/"))
    given.mutants = ([known[name] for name in given.name] or list(MUTANTS))[first::step]
    return given


def within(mutant: Mutant, seconds: float, seed: int) -> dict[str, object]:
    """Try briefly, then for as long as allowed."""
    began = monotonic()
    caught = catch(mutant, min(20.0, seconds), seed)
    if not caught and seconds > 20:
        caught = catch(mutant, seconds, seed)
    return {
        "mutant": mutant.name,
        "breaks": mutant.breaks,
        "violations": caught.violations,
        "first": caught.evidence[0] if caught else None,
        "seconds": round(monotonic() - began, 1),
    }


def main() -> int:
    """Run those that were named, or all."""
    given = arguments()
    found = []
    for mutant in given.mutants:
        result = within(mutant, given.seconds, given.seed)
        found.append(result)
        if not given.json:
            show(result)
    if given.json:
        print(json.dumps(found, ensure_ascii=False))
    return 0 if all(result["violations"] for result in found) else 1


def show(result: dict[str, object]) -> None:
    """A mutant in two lines."""
    violations, first = result["violations"], result["first"]
    assert isinstance(violations, dict)
    counts = ", ".join(f"{count} {kind}" for kind, count in violations.items())
    print(f"{result['mutant']:20} {'caught: ' + counts if counts else 'GOT AWAY'}  ({result['seconds']} s)", flush=True)
    if isinstance(first, dict):
        print(f"{'':20} {first['kind']}: {first['text']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
