# SPDX-License-Identifier: Apache-2.0
# For network tests: network namespaces of the test's own, and CNI plugins run by hand. NODE stands for the host: bridges,
# addresses and firewall rules of a test are made in there, never on the machine itself.

CNI_PATH=$(dirname "$(find /usr/lib/cni /opt/cni/bin -name host-local 2>/dev/null | head -n 1)")
NETS=$BATS_FILE_TMPDIR/ns
NODE=$NETS/node

# netns_new NAME: a namespace at $NETS/NAME with lo up.
netns_new() {
	mkdir -p "$NETS"
	: >"$NETS/$1"
	unshare --net="$NETS/$1" ip link set lo up
}
netns_delete_all() {
	local f
	for f in "$NETS"/*; do
		umount "$f" 2>/dev/null || true
	done
	rm -rf "$NETS"
}
# within NAME COMMAND...
within() {
	local ns=$1
	shift
	nsenter --net="$NETS/$ns" "$@"
}
node() { within node "$@"; }

# cni COMMAND POD IFNAME PLUGIN <CONF: prints the result.
cni() {
	CNI_COMMAND=$1 CNI_CONTAINERID=test-$2 CNI_NETNS=$NETS/$2 CNI_IFNAME=$3 CNI_PATH=$CNI_PATH node "$CNI_PATH/$4"
}
# conf NAME PLUGIN JSON-FIELDS [V4-SUBNET [V6-SUBNET]]: a network configuration with host-local addresses.
conf() {
	local ranges='' r
	for r in "${@:4}"; do ranges+="${ranges:+,}[{\"subnet\": \"$r\"}]"; done
	printf '{"cniVersion": "0.4.0", "name": "%s", "type": "%s", %s, "ipam": {"type": "host-local", "dataDir": "%s", "ranges": [%s], "routes": [{"dst": "0.0.0.0/0"}]}}' \
		"$1" "$2" "$3" "$BATS_FILE_TMPDIR/ipam" "$ranges"
}
# The first address of that family that a namespace's interface has.
address() { # POD IFNAME 4|6
	within "$1" ip -j "-$3" addr show dev "$2" scope global | jq -r '.[0].addr_info[0].local'
}
