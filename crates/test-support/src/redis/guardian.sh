# Keeps one private Redis server: guardian.sh SERVER HOME [OPTION]...
#
# Each line on stdin is a port: start the server there and answer with its process id. The end of stdin means
# that the process that held the pipe is done or dead, even by SIGKILL: end the server and remove HOME.

program=$1 home=$2
shift 2
exec 2>>"$home/log"
# A sentinel keeps in its configuration file what it is told.
: >"$home/redis.conf"
trap '' PIPE

server=
while read -r port; do
    [ -z "$server" ] || wait "$server"
    "$program" "$home/redis.conf" --port "$port" "$@" </dev/null >&2 &
    server=$!
    echo "$server"
done

if [ -n "$server" ]; then
    kill -KILL "$server" 2>/dev/null
    wait "$server"
fi
rm -rf "$home"
