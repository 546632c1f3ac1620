#!/bin/sh
# Ask a look-up server about numbers, one on each line of standard input; write those that are blocked.
#
#     blocklist serve --uds /run/blocklist/lookups.sock
#     ask_service.sh /run/blocklist/lookups.sock voice < numbers.txt
#
# The scope may be left out: then every entry counts. It needs curl only. A number without an answer within a second is
# let through, and said on standard error; then the script ends with 1.
set -eu
socket=${1:?give the path of the socket}
query=${2:+?scope=$2}
status=0

# The last line may lack its newline: read fails there, and has read it all the same.
while read -r number || [ -n "$number" ]; do
    # Every byte as %XX: in an address, a space, #, ?, % and others would end the number, or change it.
    path=$(printf %s "$number" | od -A n -v -t x1 | tr -d ' \n' | sed 's/../%&/g')
    if answer=$(curl --silent --show-error --fail --globoff --max-time 1 --unix-socket "$socket" \
        "http://localhost/v1/verdicts/$path$query"); then
        case $answer in
        *'"blocked": true'*) printf '%s\n' "$number" ;;
        esac
    else
        echo "no answer about one number: it is let through" >&2
        status=1
    fi
done
exit $status
