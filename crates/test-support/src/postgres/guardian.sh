# Keeps one private PostgreSQL server: guardian.sh BIN HOME PRIMARY [-c SETTING=VALUE]...
#
# It is the standby of the server that the connection string PRIMARY names, or a new one if that is empty.
#
# Each line on stdin is a port: start the server there and answer with its process id. The end of stdin means
# that the process that held the pipe is done or dead, even by SIGKILL: end the server and remove HOME.

bin=$1 home=$2 primary=$3
shift 3
exec 2>>"$home/log"
trap '' PIPE

family() {
    echo "$server"
    grep -ls "^PPid:[[:space:]]*$server\$" /proc/[0-9]*/status | cut -d/ -f3
}

# Gone, or a zombie that we have not waited for yet.
ended() {
    ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$server/status"
}

ended_by() {
    kill -CONT $(family) 2>/dev/null # a frozen server hears nothing but SIGKILL
    tries=250
    until ended; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        kill -"$1" "$server" 2>/dev/null # again and again, as a server that has just begun ignores the first
        sleep 0.02
    done
}

if [ -n "$primary" ]; then
    "$bin/pg_basebackup" --pgdata="$home/data" --dbname="$primary" --write-recovery-conf --checkpoint=fast --no-sync \
        </dev/null >&2
else
    "$bin/initdb" --pgdata="$home/data" --username=signpost --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
        --no-sync --no-instructions </dev/null >&2
fi

server=
while read -r port; do
    [ -z "$server" ] || wait "$server" # PostgreSQL takes its dead predecessor for a live one until it is reaped
    "$bin/postgres" -D "$home/data" -p "$port" "$@" </dev/null >&2 &
    server=$!
    echo "$server"
done

if [ -n "$server" ]; then
    ended_by INT || ended_by QUIT || ended_by KILL
    # A killed server leaves the System V segment that its lock file names.
    [ ! -f "$home/data/postmaster.pid" ] || ipcrm -m "$(sed -n '7s/.* //p' "$home/data/postmaster.pid")"
fi
rm -rf "$home"
