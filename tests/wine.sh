#!/bin/sh
# Runs the tests that look at Windows with a Windows Python under Wine: ctypes layouts, winreg, exit codes, paths.
# Nothing depends on it. Wine has no tracing service, so sessions are those of tests/support/etw_double.py there too.
#
#   tests/wine.sh                      the files below
#   tests/wine.sh tests/test_boot.py   these; further arguments go to pytest
#
#   WPYTHON       the command that starts the Windows Python (default: wpython); it is handed WPYTHONPATH, Linux folders
#                 for its PYTHONPATH, and what else is in the environment (such as WINDOWS_RIG)
#   WINE_SECONDS  how long one file may take (default: 300); what Wine lacks sometimes hangs
#
# That Python needs: the project's dependencies, pywintrace, psutil, pytest, hypothesis.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
wpython=${WPYTHON:-wpython}
command -v "$wpython" >/dev/null 2>&1 || {
    echo "wine.sh: $wpython is no command; set WPYTHON to what starts a Windows Python" >&2
    exit 1
}
export WPYTHONPATH="$root"

if [ $# -gt 0 ]; then
    exec timeout "${WINE_SECONDS:-300}" "$wpython" -m pytest -q -p no:cacheprovider "$@"
fi

failed=
for file in tests/test_pywintrace*.py tests/test_session*.py tests/test_handle_table.py \
    tests/test_process_snapshot.py tests/test_boot.py tests/test_doctor.py tests/test_selftest.py \
    tests/test_capture*.py tests/test_live_records.py tests/test_watch*.py tests/test_monitor.py; do
    [ -f "$file" ] || continue
    echo "== $file"
    timeout "${WINE_SECONDS:-300}" "$wpython" -m pytest -q -p no:cacheprovider "$file" || failed="$failed $file"
done
[ -z "$failed" ] || { echo "wine.sh: failed:$failed" >&2; exit 1; }
