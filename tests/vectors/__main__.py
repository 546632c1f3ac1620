"""Write the vectors; what is no longer one of them is removed."""

import sys

from vectors.files import difference, made, write
from vectors.rows import VECTORS


def main() -> int:
    files = made()
    differing = difference(files, VECTORS)
    if "--check" in sys.argv[1:]:
        print("\n".join(differing) or "The committed vectors are what this program makes.")
        return 1 if differing else 0
    write(files, VECTORS)
    size = sum(map(len, files.values()))
    print(f"{len(files)} files of {size:,} bytes in {VECTORS}; {len(differing)} of them have changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
