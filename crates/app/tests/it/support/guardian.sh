# Ends what a test process leaves behind: guardian.sh BINARY FOLDER
#
# Each line on stdin is the id of a process. The end of stdin means that the process that held the pipe is done or dead,
# even by SIGKILL: end those of the processes that still run BINARY, and remove FOLDER.

binary=$1 folder=$2

pids=
while read -r pid; do
    pids="$pids $pid"
done

for pid in $pids; do
    case $(readlink "/proc/$pid/exe") in # a rebuilt binary is "BINARY (deleted)"
        "$binary"*) kill -KILL "$pid" ;;
    esac
done
rm -rf "$folder"
