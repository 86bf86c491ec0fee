#!/bin/bash
# Two machines, played by two network namespaces with a cable between them: runs a command in each, told by NODE which one it is.
# Start it by `unshare --map-root-user --net`. Machine 0 is 10.77.0.1; at the end stands what crossed the cable.
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
unshare --net sleep infinity &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add cable type veth peer name cable netns $other
plug='ip address add $ADDRESS/24 dev cable; ip link set lo up; ip link set cable up'
ADDRESS=10.77.0.1 bash -c "$plug"
ADDRESS=10.77.0.2 nsenter --target $other --net bash -c "$plug"
if [ $# -gt 0 ]; then
  NODE=1 nsenter --target $other --net "$@" &
  second=$!
  NODE=0 "$@"
  wait $second
fi
grep cable: /proc/net/dev
