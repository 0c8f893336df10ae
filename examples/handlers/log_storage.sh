#!/usr/bin/env sh
# Keeps every freispace storage event as it came: ARCHIVE/<year>/<month>/<event id>.json
#
#   [destination.storage-log]
#   type = "command"
#   command = ["/opt/wilco/handlers/log_storage.sh"]
#   environment = { ARCHIVE = "/srv/archive/freispace" }   # must exist, in case a mount is missing
#
#   [[route]]
#   from = "freispace"
#   events = ["storage_project.*"]
#   to = ["storage-log"]
#
# Any POSIX shell with coreutils. wilco has checked that the body is a JSON object; with jq on the PATH it is checked
# once more, for bodies from elsewhere.

set -u
umask 027
LC_ALL=C
export LC_ALL

finish() { # CODE MESSAGE: 65 is dead at once, every other code but 0 is retried
    if [ "$1" -eq 0 ]; then printf '%s\n' "$2"; else printf '%s\n' "$2" >&2; fi
    exit "$1"
}

case ${WILCO_EVENT-} in
    storage_project.*) ;;
    *) finish 0 "nothing to do for ${WILCO_EVENT-}" ;;
esac

# Both become parts of a path. wilco sets them, but a handler may also be called by hand.
case ${WILCO_EVENT_ID-} in
    '' | *[!A-Za-z0-9_]*) finish 78 "WILCO_EVENT_ID is no event id" ;;
esac
case ${WILCO_RECEIVED_AT-} in
    [0-9][0-9][0-9][0-9]-[0-9][0-9]-*) ;;
    *) finish 78 "WILCO_RECEIVED_AT is no date" ;;
esac
[ -n "${ARCHIVE-}" ] || finish 78 "ARCHIVE is not set"
[ -d "$ARCHIVE" ] || finish 75 "ARCHIVE is no folder; is it mounted?"

# The date of arrival and not today's: a second attempt after midnight must meet what the first one wrote.
year=${WILCO_RECEIVED_AT%%-*}
month=${WILCO_RECEIVED_AT#*-}
month=${month%%-*}
folder=$ARCHIVE/$year/$month
kept=$folder/$WILCO_EVENT_ID.json

mkdir -p "$folder" || finish 75 "no folder for $year/$month"

# Written under a hidden name in the same folder, then renamed, so that readers see complete files only. A
# second attempt writes the same bytes again, which also repairs a file that a crash left incomplete.
partial=$(mktemp "$folder/.partial.XXXXXX") || finish 75 "no file in $year/$month"
trap 'rm -f "$partial"' EXIT
trap 'exit 75' HUP INT TERM

cat >"$partial" || finish 75 "the body could not be written"
[ -s "$partial" ] || finish 65 "the body is empty"
if command -v jq >/dev/null; then
    jq -e 'type == "object"' "$partial" >/dev/null 2>&1 || finish 65 "the body is no JSON object"
fi

chmod 640 "$partial" && sync "$partial" && mv "$partial" "$kept" && sync "$folder" \
    || finish 75 "the body could not be kept"
finish 0 "kept $year/$month/$WILCO_EVENT_ID.json"
