"""`python -m tests.mutants [name…] [--seconds 60] [--seed N]`: verify against each mutant; 1 when one gets away."""

import argparse
import sys
from time import monotonic

from tests.mutants.catalogue import MUTANTS
from tests.mutants.run import catch


def main() -> int:
    """Run those that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which (default: all): {', '.join(each.name for each in MUTANTS)}")
    parser.add_argument("--seconds", type=float, default=60, help="how long verify may hurt each (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in given.name:
        if name not in known:
            parser.error(f"no mutant {name!r}")
    away = 0
    for mutant in [known[name] for name in given.name] or MUTANTS:
        began = monotonic()
        caught = catch(mutant, given.seconds, given.seed)
        found = ", ".join(f"{count} {kind}" for kind, count in caught.violations.items())
        print(
            f"{mutant.name:22} {'caught: ' + found if caught else 'GOT AWAY'}  ({monotonic() - began:.0f} s)",
            flush=True,
        )
        if caught:
            first = caught.evidence[0]
            print(f"{'':22} {first['kind']}: {first['text']}")
        away += not caught
    return 1 if away else 0


if __name__ == "__main__":
    sys.exit(main())
