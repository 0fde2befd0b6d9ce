# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What build-image and build-crun share: messages, and Debian packages into a folder of our own. Nothing is installed and the
# machine's own apt state is not changed.

# One line of progress.
say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}
need() { # command, Debian package
	command -v "$1" >/dev/null || die "'$1' is not installed: apt-get install $2"
}
sum() { sha256sum -- "$1" | cut -d' ' -f1; }
sum_text() { sha256sum | cut -d' ' -f1; }
size_of() { stat -c %s -- "$1"; }

# The candidate version of a package, from the machine's package lists.
deb_version() { # package
	local v
	v=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
	[[ -n $v && $v != '(none)' ]] ||
		die "Debian package '$1' is unknown here: 'apt-get update', and check /etc/apt/sources.list"
	printf '%s\n' "$v"
}
deb_field() { # package=version, field
	apt-cache show "$1" 2>/dev/null | sed -n "s/^$2: //p;/^\$/q"
}
# Fetches a package into a folder, unless it is there; checks it against the signed package lists either way. Prints its path.
deb_fetch() { # package, version, folder
	local file want
	want=$(deb_field "$1=$2" SHA256)
	[[ -n $want ]] || die "no SHA256 for '$1' $2 in the package lists: 'apt-get update'"
	file=$3/$(basename "$(deb_field "$1=$2" Filename)")
	if [[ ! -f $file || $(sum "$file") != "$want" ]]; then
		printf '%s: fetching %s %s (%s KiB)\n' "${0##*/}" "$1" "$2" $(($(deb_field "$1=$2" Size) / 1024)) >&2
		rm -rf "$3/partial.$$"
		mkdir -p "$3/partial.$$"
		(cd "$3/partial.$$" && apt-get -q -o APT::Sandbox::User=root download "$1=$2") >"$3/partial.$$.log" 2>&1 || {
			tail -n 3 "$3/partial.$$.log" >&2
			rm -rf "$3/partial.$$" "$3/partial.$$.log"
			die "cannot fetch '$1' $2: is the network there, and '$3' not full? (a copy put into that folder is used)"
		}
		local got=("$3/partial.$$"/*.deb)
		[[ $(sum "${got[0]}") == "$want" ]] || die "'${got[0]##*/}' does not have the SHA256 of the package lists"
		mv -f "${got[0]}" "$file"
		rm -rf "$3/partial.$$" "$3/partial.$$.log"
	fi
	printf '%s\n' "$file"
}
