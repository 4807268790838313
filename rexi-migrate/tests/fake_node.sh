#!/bin/sh
# A node of a rehearsal that speaks the control protocol and does nothing else. How it behaves follows from the name
# it is called by (tests link to it): see the cases below.
behaviour=${0##*/}
while [ $# -gt 0 ]; do
    case $1 in
        --name) name=$2 ;;
        --release) release=$2 ;;
        --ledger) ledger=$2 ;;
        --rate) rate=$2 ;;
    esac
    shift
done
case $release in
    1.0) phase=singleton ;;
    1.1) phase=introduce ;;
    1.2) phase=switch ;;
    2.0) phase=remove ;;
esac
say() { printf '%s\n' "$1"; }
stats() {
    say "{\"event\":\"stats\",\"casts\":$rate,\"answered\":$rate,\"killed\":0,\"timed_out\":0,\"in_flight\":$1,\
\"jobs\":$1,\"phases\":{\"rexi.server-per-node\":\"$phase\"},\"limiting\":null}"
}
echo "process $$ of $name" >&2
echo "$$" >"$ledger"
case $behaviour in
    refusing)
        say '{"event":"refused","peer":"n1","error":"releases 1.2 and 1.0 may not connect","permanent":true}' ;;
    crashing)
        echo "out of luck" >&2
        exit 7 ;;
    killed-by-others)
        kill -9 $$ ;;
    without-disk)
        echo "cannot append to the ledger" >&2
        exit 74 ;;
    refused-before)
        say '{"event":"refused","peer":"n2","error":"n2 is not at switch yet","permanent":false}'
        say '{"event":"stats","casts":0,"answered":0,"killed":0,"in_flight":0,"jobs":0,"phases":{"rexi.server-per-node":"introduce"},'\
'"limiting":"n3 is away","waiting_for":["n3"]}' ;;
    held-by-hello)
        say '{"event":"stats","casts":0,"answered":0,"killed":0,"in_flight":0,"jobs":0,"phases":{"rexi.server-per-node":"introduce"},'\
'"limiting":"n3 does not run the per-node server","limited_by_hello":true}' ;;
    held-unheard)
        say '{"event":"stats","casts":0,"answered":0,"killed":0,"in_flight":0,"jobs":0,"phases":{"rexi.server-per-node":"introduce"},'\
'"limiting":"n3 does not run the per-node server","limited_by_hello":true,"waiting_for":["n3"]}' ;;
    babbling)
        say 'hello' ;;
    held)
        say '{"event":"refused","peer":"n2","error":"n2 is not at switch yet","permanent":false}'
        say '{"event":"stats","casts":0,"answered":0,"killed":0,"in_flight":0,"jobs":0,'\
'"phases":{"rexi.server-per-node":"introduce"},"limiting":"n2 is away"}' ;;
    *)
        say "{\"event\":\"ready\",\"incarnation\":$$,\"release\":\"$release\",\"phases\":{\"rexi.server-per-node\":\"$phase\"}}"
        stats 3 ;;
esac
while read -r line; do
    case $line in
        *'"ceiling","low":false'*)
            phase=switch
            say '{"event":"ceiling_set","ok":true,"error":null}'
            say "{\"event\":\"phases_changed\",\"phases\":{\"rexi.server-per-node\":\"$phase\"}}" ;;
        *'"ceiling"'*)
            if [ "$behaviour" = unbending ]; then
                say '{"event":"ceiling_set","ok":false,"error":"n2 of release 2.0 stands in the way"}'
            else
                phase=introduce
                say '{"event":"ceiling_set","ok":true}'
                say "{\"event\":\"phases_changed\",\"phases\":{\"rexi.server-per-node\":\"$phase\"}}"
            fi ;;
        *'"quiesce"'*)
            stats 0
            say '{"event":"quiet","in_flight":0,"jobs":0}' ;;
        *'"drain"'*)
            [ "$behaviour" = crashing-on-drain ] && exit 0
            say '{"event":"drained"}'
            exit 0 ;;
    esac
done
