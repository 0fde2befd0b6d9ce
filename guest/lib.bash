# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts here and tools/lab share: messages, kernel images, and Debian packages into a folder of our own. Nothing is installed and the
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
		(cd "$3/partial.$$" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$1=$2") >"$3/partial.$$.log" 2>&1 || {
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

# The ELF file in a kernel image of x86 (Linux Documentation/x86/boot.rst), to which a VMM can give control by PVH.
unpack_vmlinux() { # bzImage, where to
	local start length magic tool
	[[ $(dd if="$1" iflag=skip_bytes,count_bytes skip=$((0x202)) count=4 bs=1M status=none) == HdrS ]] ||
		die "'${1##*/}' is no x86 kernel image"
	start=$((($(le "$1" $((0x1f1)) 1) + 1) * 512 + $(le "$1" $((0x248)) 4)))
	length=$(le "$1" $((0x24c)) 4)
	dd if="$1" iflag=skip_bytes,count_bytes,fullblock skip="$start" count="$length" bs=1M status=none >"$2.payload"
	magic=$(od -An -t x1 -N 4 "$2.payload" | tr -d ' ')
	case $magic in
	02214c18) tool=lz4 && need lz4 lz4 ;;
	28b52ffd) tool=zstd && need zstd zstd ;;
	fd377a58) tool=xz && need xz xz-utils ;;
	1f8b*) tool=gzip ;;
	*) die "the kernel's payload is packed in an unknown way (it starts with $magic)" ;;
	esac
	# But for gzip, the kernel's build appends the unpacked size, which the tools take for garbage.
	[[ $tool == gzip ]] || truncate -s -4 "$2.payload"
	"$tool" -dc <"$2.payload" >"$2" || die "unpacking the kernel with $tool failed"
	rm "$2.payload"
	readelf -h "$2" 2>/dev/null | grep -q 'Class: *ELF64' || die "the unpacked kernel is no ELF file"
	# XEN_ELFNOTE_PHYS32_ENTRY (18): the entry point that PVH boot uses.
	readelf -n "$2" 2>/dev/null | grep -qi '0x00000012' || die "the kernel has no PVH entry note"
}
# A little-endian number in a file.
le() { # file, offset, bytes
	od -An -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}
