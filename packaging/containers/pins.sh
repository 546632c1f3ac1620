#!/bin/sh
# Print the pins of some packages, with their hashes, out of a file of pins: pins.sh FILE NAME…
# It fails if one of them is not there, so that nothing is ever installed without a hash.
set -eu
file=$1
shift
for name in "$@"; do
    awk -v name="$name" '
        /^[^ \t#]/ { wanted = ($0 ~ "^" name "(\\[[^]]*\\])?==") }
        wanted && !/^[ \t]*#/ { print; found = 1 }
        END { exit !found }
    ' "$file" || { echo "pins.sh: $file does not pin $name" >&2; exit 1; }
done
